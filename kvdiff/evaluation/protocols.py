"""Frozen protocols: every choice that papers leave open, made once and written into every result.

Which clips, which frames of them, how they are resized, how many samples, whether known frames count, what is averaged
in which order: figures differ by more between such choices than between models. A protocol is named `name@version`, its
SHA-256 goes into the result, and results of unlike protocols are not compared. To change one is to add a version.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_clip_shape, check_count, check_kind
from kvdiff.diffusion.tasks import masks

DEMO = "moving-digits-demo@2"
"""The protocol that `kvdiff demo` holds its model to."""


@dataclasses.dataclass(frozen=True)
class ClipRule:
    """Which real clips are taken.

    Attributes:
        source: "moving_digits": drawn on the fly. "array": a .npy file of clips, taken in order from their first frame.
            "videos": a folder of video files, each clip from a file and a start drawn at random.
        what: which data, in words.
        pattern: of "videos", the files that count, as in `fnmatch`, matched against the file's name.
        frame_stride: of "videos", every so many-th frame.
        seed: of what is drawn.

    Frames of "videos" are scaled by area averaging to cover the protocol's size; what stands over is cut off evenly.
    """

    source: str
    what: str
    pattern: str = "*"
    frame_stride: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice("source", self.source, ("moving_digits", "array", "videos"))


@dataclasses.dataclass(frozen=True)
class Task:
    """Which frames of each clip are known, and how often the others are generated.

    Attributes:
        name: "prediction", "interpolation" or "generation".
        past, future: known frames at the start and at the end.
        samples: generated for each clip. PSNR and SSIM are of their mean and of the best of each clip by its
            mean over frames; every other figure is of the first sample, but for the calibration of their spread.
        frechet: whether the Fréchet video distance is measured.
    """

    name: str
    past: int = 0
    future: int = 0
    samples: int = 1
    frechet: bool = True

    def known(self, frames: int) -> np.ndarray:
        """bool [frames]."""
        return masks.ends(frames, self.past, self.future)

    @property
    def baseline(self) -> str:
        """What needs no model, in words; `blend_known` computes it."""
        return "linear blend" if self.future else "repeat last"


@dataclasses.dataclass(frozen=True)
class Protocol:
    """A way to evaluate, complete.

    Attributes:
        name, version: of the protocol; its title is `name@version`.
        clips: which real clips.
        clip_shape: (frames, height, width, channels); grey is one channel.
        num_clips: real clips, and generated ones for each of a task's samples. As many real ones again are the floor of
            the Fréchet distance; where the data has fewer, halves of the first do.
        tasks: what is generated.
        follows: whose choices these are.
        psnr_of: "frames": the mean of frames' decibels. "clips": decibels of the mean error over a clip's generated
            frames.
        frechet_counts_known: whether known frames are part of the clips that the Fréchet distance is measured of.
        frechet_hold: times that each frame is repeated for it; the network needs 9 frames.
        bootstrap: draws behind the Fréchet distance's interval.
        neighbours: k of precision, recall, density and coverage.
        bits_per_dim_clips: how many clips the variational bound is measured on; 0: it is not, for it takes as many
            network calls as there are timesteps.

    Generated frames are rounded to 8 bits before anything is measured. PSNR and SSIM are of generated frames alone.
    """

    name: str
    version: int
    clips: ClipRule
    clip_shape: tuple[int, int, int, int]
    num_clips: int
    tasks: tuple[Task, ...]
    follows: str
    psnr_of: str = "frames"
    frechet_counts_known: bool = True
    frechet_hold: int = 1
    bootstrap: int = 100
    neighbours: int = 5
    bits_per_dim_clips: int = 0

    def __post_init__(self) -> None:
        check_choice("psnr_of", self.psnr_of, ("frames", "clips"))

    @property
    def title(self) -> str:
        """`name@version`, with the number of clips where it is not the protocol's own."""
        title = f"{self.name}@{self.version}"
        frozen = PROTOCOLS.get(title)
        return title if frozen in (None, self) else f"{title} (changed: {self.num_clips} clips)"

    @property
    def config(self) -> dict[str, Any]:
        """Every choice, JSON-able."""
        return {
            **dataclasses.asdict(self),
            "clip_shape": list(self.clip_shape),
            "tasks": list(map(dataclasses.asdict, self.tasks)),
        }

    @property
    def sha256(self) -> str:
        """Of every choice: equal for equal protocols alone."""
        return digest(self.config)

    def reduced(self, num_clips: int) -> Protocol:
        """The same with another number of clips, for a quick look; its results compare with their like alone."""
        bits = min(self.bits_per_dim_clips, num_clips)
        return dataclasses.replace(self, num_clips=num_clips, bits_per_dim_clips=bits)


def digest(config: dict[str, Any]) -> str:
    """The SHA-256 of choices, whatever their order."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def protocol_named(title: str) -> Protocol:
    """The frozen protocol of a title such as "moving-digits-8@1"."""
    return PROTOCOLS[check_choice("protocol", title, PROTOCOLS)]


def half_and_half(frames: int) -> tuple[Task, ...]:
    """The tasks of a first look, one sample each: the second half, the half between two quarters, the whole clip."""
    quarter = check_count("frames", frames, at_least=4) // 4
    past = Task("prediction", past=frames // 2, frechet=False)
    return past, Task("interpolation", past=quarter, future=quarter, frechet=False), Task("generation", frechet=False)


def protocol_for(clips: np.ndarray, name: str = "own-clips") -> Protocol:
    """A protocol of your own clips, [clips, frames, height, width, channels]: all of them, by `half_and_half`."""
    check_kind("name", name, str)
    clips = check_array("clips", clips)
    shape = check_clip_shape("clips", clips.shape[1:])
    rule, tasks = ClipRule("array", "your own clips"), half_and_half(shape[0])
    return Protocol(name, 1, rule, shape, len(clips), tasks, "the demo", psnr_of="clips")


_UNSEEN = ClipRule("moving_digits", "digits and paths never seen in training, one digit a clip", seed=1000)
_DEMO = Protocol(
    name="moving-digits-demo",
    version=1,
    clips=_UNSEEN,
    clip_shape=(8, 16, 16, 1),
    num_clips=64,
    tasks=half_and_half(8),
    follows="the demo",
    psnr_of="clips",
)
_DIGITS = Protocol(
    name="moving-digits-8",
    version=1,
    clips=ClipRule("moving_digits", "digits and paths that the shipped model never saw, one digit a clip", seed=1000),
    clip_shape=(8, 16, 16, 1),
    num_clips=256,
    tasks=(
        Task("prediction", past=4, samples=4),
        Task("interpolation", past=2, future=2, frechet=False),
        Task("generation"),
    ),
    follows="the demo, with more clips",
    psnr_of="clips",
    frechet_hold=2,
    bits_per_dim_clips=8,
)
_LARGER: dict[str, Any] = dict(
    version=2, clips=_UNSEEN, clip_shape=(8, 32, 32, 1), follows="version 1, with larger frames"
)
_FROZEN = (
    _DEMO,
    _DIGITS,
    dataclasses.replace(_DEMO, **_LARGER),
    dataclasses.replace(_DIGITS, **_LARGER),
    Protocol(
        name="moving-digits-20",
        version=1,
        clips=_UNSEEN,
        clip_shape=(20, 32, 32, 1),
        num_clips=256,
        tasks=(Task("prediction", past=4),),
        follows="moving-digits-8, for longer: whether a digit is still itself after 16 generated frames",
        psnr_of="clips",
    ),
    Protocol(
        name="moving-mnist-5-10",
        version=1,
        clips=ClipRule("array", "the first sequences of mnist_test_seq.npy (Srivastava et al. 2015, arXiv:1502.04681)"),
        clip_shape=(15, 64, 64, 1),
        num_clips=256,
        tasks=(Task("prediction", past=5, samples=10),),
        follows="5 frames to 10 and 256 clips as in MCVD (Voleti et al. 2022, arXiv:2205.09853), which draws its own "
        "digits",
    ),
    Protocol(
        name="kth-10-30",
        version=1,
        clips=ClipRule("videos", "persons 21 to 25 of KTH Actions", pattern="person2[1-5]_*"),
        clip_shape=(40, 64, 64, 1),
        num_clips=256,
        tasks=(Task("prediction", past=10, samples=10),),
        follows="persons, 10 frames to 30 and 256 clips as in MCVD (Voleti et al. 2022, arXiv:2205.09853)",
    ),
    Protocol(
        name="ucf101-uncond-16",
        version=1,
        clips=ClipRule("videos", "all 13,320 videos of UCF-101, training and test", pattern="v_*"),
        clip_shape=(16, 64, 64, 3),
        num_clips=2048,
        tasks=(Task("generation"),),
        follows="2048 clips of both splits as in StyleGAN-V (Skorokhodov et al. 2022, arXiv:2112.14683), at 64 × 64",
    ),
    Protocol(
        name="bair-1-15",
        version=1,
        clips=ClipRule("array", "the 256 test clips of BAIR robot pushing, [256, 16 frames or more, 64, 64, 3]"),
        clip_shape=(16, 64, 64, 3),
        num_clips=256,
        tasks=(Task("prediction", past=1, samples=100),),
        follows="1 frame to 15, the known one counted, and 100 samples a clip as in RaMViD (Höppe et al. 2022, "
        "arXiv:2206.07696); its Fréchet distance is the mean over the 100, this one's of the first",
    ),
)

PROTOCOLS = {f"{protocol.name}@{protocol.version}": protocol for protocol in _FROZEN}
"""The frozen protocols by title."""
