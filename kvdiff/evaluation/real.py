"""The real clips of a protocol: which files, which frames, and a digest of what was taken."""

from __future__ import annotations

import dataclasses
import fnmatch
import hashlib
import os
import pathlib
from typing import Any

import numpy as np

from kvdiff.data.moving_digits import moving_digits
from kvdiff.diffusion.checks import check_kind, check_path
from kvdiff.evaluation.protocols import Protocol
from kvdiff.media import check_links, list_clip_files, read_clip
from kvdiff.media.pixels import with_channels

_SHIPPED_TRAINING = 60_000  # The training clips of the shipped model, of seed 0.


@dataclasses.dataclass(frozen=True, eq=False)
class RealClips:
    """uint8 clips [clips, frames, height, width, channels]; `to_pixels` of `kvdiff.media` turns floats into them.

    Attributes:
        truth: what generated clips are compared with.
        second: as many others, for the floor of the Fréchet distance; None where the data has too few.
        training: what the model was trained on, to find copies; None where it is not at hand.
        source: where they come from, in words.
        labels: int [clips], what each clip of `truth` shows, for a classifier; None where nobody says.
    """

    truth: np.ndarray
    second: np.ndarray | None = None
    training: np.ndarray | None = None
    source: str = "your own clips"
    labels: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, clips in (("truth", self.truth), ("second", self.second), ("training", self.training)):
            if clips is not None and (clips.ndim != 5 or clips.dtype != np.uint8):
                wanted = "uint8 [clips, frames, height, width, channels]"
                raise ValueError(f"`{name}`: expected {wanted}. Received: {clips.dtype} {list(clips.shape)}")

    @property
    def config(self) -> dict[str, Any]:
        """What a result says of them; `sha256` is of the pixels of `truth`."""
        return {
            "source": self.source,
            "shape": list(self.truth.shape),
            "sha256": hashlib.sha256(np.ascontiguousarray(self.truth).tobytes()).hexdigest(),
            "for_the_floor": 0 if self.second is None else len(self.second),
            "training_clips": 0 if self.training is None else len(self.training),
        }


def real_clips(
    protocol: Protocol,
    data: pathlib.Path | None = None,
    training: pathlib.Path | None = None,
    *,
    links: str | os.PathLike[str] | None = None,
) -> RealClips:
    """Read the clips that a protocol asks for.

    Args:
        protocol: the protocol.
        data: the .npy file or the folder of videos that its rule speaks of; None for what is drawn on the fly.
        training: a .npy file of clips of the protocol's shape that the model was trained on.
        links: where links in the folder may lead besides it: into another folder, or "anywhere".

    Raises:
        ValueError, FileNotFoundError: no data where it is needed, or too little, or of another shape.
    """
    check_kind("protocol", protocol, Protocol)
    data = None if data is None else check_path("data", data)
    training = None if training is None else check_path("training", training)
    rule, count = protocol.clips, protocol.num_clips
    trained = None if training is None else _array(training, protocol, at_least=1)
    if rule.source == "moving_digits":
        if data is not None:
            raise ValueError(f"`data`: expected none, for {protocol.name} draws its clips itself. Received: {data}")
        return _digits(protocol, trained)
    if data is None:
        raise ValueError(f"`data`: {protocol.name} needs {rule.what}. Received: nothing")
    if rule.source == "array":
        clips = _array(data, protocol, at_least=count)[: 2 * count]
    else:
        clips = _windows(data, protocol, 2 * count, check_links(links))
    second = clips[count:] if len(clips) == 2 * count else None
    return RealClips(clips[:count], second, trained, f"{rule.what}, from {data.name}")


def _digits(protocol: Protocol, training: np.ndarray | None) -> RealClips:
    frames, size = protocol.clip_shape[:2]
    seeds = protocol.clips.seed, protocol.clips.seed + 1
    (truth, labels), (second, _) = (
        moving_digits(protocol.num_clips, num_frames=frames, size=size, split="test", seed=seed, return_labels=True)
        for seed in seeds
    )
    if training is None and any(not task.known(frames).any() for task in protocol.tasks):
        training = moving_digits(_SHIPPED_TRAINING, num_frames=frames, size=size, seed=0)
    return RealClips(truth, second, training, protocol.clips.what, labels)


def _array(path: pathlib.Path, protocol: Protocol, at_least: int) -> np.ndarray:
    """The first frames of a .npy file's clips. [frames, clips, height, width], as Moving MNIST comes, is turned."""
    if path.suffix != ".npy" or not path.is_file():
        raise FileNotFoundError(f"{path}: expected a .npy file of clips. Received: no such file")
    clips = np.load(path, mmap_mode="r", allow_pickle=False)
    if clips.ndim == 4:
        clips = np.swapaxes(clips, 0, 1)[..., None]
    frames, *frame_shape = protocol.clip_shape
    wanted = f"uint8 [{at_least} or more, {frames} or more, {', '.join(map(str, frame_shape))}]"
    fits = clips.ndim == 5 and len(clips) >= at_least and clips.shape[1] >= frames
    if not fits or list(clips.shape[2:]) != frame_shape or clips.dtype != np.uint8:
        raise ValueError(f"{path}: expected {wanted}. Received: {clips.dtype} {list(clips.shape)}")
    return np.ascontiguousarray(clips[: max(2 * protocol.num_clips, at_least) if at_least > 1 else None, :frames])


def _windows(folder: pathlib.Path, protocol: Protocol, count: int, links: str | None) -> np.ndarray:
    """`count` clips, each from a video and a start drawn at random; videos too short are left out."""
    files = [path for path in list_clip_files([folder], links) if fnmatch.fnmatch(path.name, protocol.clips.pattern)]
    files.sort(key=lambda path: path.name)  # Whichever folders they lie in.
    if not files:
        raise ValueError(f"{folder}: expected videos named {protocol.clips.pattern}. Received: none")
    rng = np.random.default_rng(protocol.clips.seed)
    span = (protocol.clip_shape[0] - 1) * protocol.clips.frame_stride + 1
    windows: list[np.ndarray] = []
    too_short: set[pathlib.Path] = set()
    while len(windows) < count:
        path = files[rng.integers(len(files))]
        place = rng.random()  # Drawn for every file, so that one too short does not move all clips that follow.
        video = _video(path, protocol, links or folder)
        if len(video) >= span:
            start = int(place * (len(video) - span + 1))
            windows.append(video[start : start + span : protocol.clips.frame_stride])
        elif len(too_short | {path}) == len(files):
            raise ValueError(f"{folder}: expected videos of at least {span} frames. Received: only shorter ones")
        else:
            too_short.add(path)
    return np.stack(windows)


def _video(path: pathlib.Path, protocol: Protocol, links: str | os.PathLike[str]) -> np.ndarray:
    _, height, width, channels = protocol.clip_shape
    return with_channels(read_clip(path, size=(height, width), links=links), channels)
