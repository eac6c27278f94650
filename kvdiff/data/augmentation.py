"""Clips changed in ways that their data may have: flips and turns, other parts of the picture, other speeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.data.windows import ClipWindows
from kvdiff.diffusion.checks import check_array, check_choice, check_kind, check_mapping, check_real
from kvdiff.diffusion.process.noise import AUGMENTATION, uniform

FLIPS = ("left_right", "turns", "up_down")
"""The symmetries that data may have."""


def turned(
    clip: np.ndarray, *, flips: Sequence[str], numbers: np.ndarray, vectors: Sequence[tuple[int, int]] = ()
) -> np.ndarray:
    """A clip [frames, height, width, channels] as one of its mirror images.

    Args:
        clip: the clip.
        flips: which of `FLIPS` the data has; "turns" are by quarters.
        numbers: three uniform numbers in (0, 1) that choose.
        vectors: pairs of channels (across, down) that are components of vectors.
    """
    flipped = [axis for axis, name in enumerate(("up_down", "left_right")) if name in flips and numbers[axis] < 0.5]
    quarters = int(4 * numbers[2]) if "turns" in flips else 0
    out = np.flip(clip, tuple(1 + axis for axis in flipped)) if flipped else clip
    out = np.rot90(out, quarters, axes=(1, 2)) if quarters else out
    if not vectors or not (flipped or quarters):
        return np.ascontiguousarray(out)
    out = out.copy()
    for across, down in vectors:
        u = -out[..., across] if 1 in flipped else out[..., across]
        v = -out[..., down] if 0 in flipped else out[..., down]
        for _ in range(quarters):  # A quarter against the clock: what pointed right points up, against the rows.
            u, v = v, -u
        out[..., across], out[..., down] = u, v
    return out


@dataclasses.dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How clips of videos are changed when they are read, each in a way of its own in every epoch.

    What happens to a clip is a function of (seed, epoch, number of the sample) alone, so a training goes on bit for bit
    and several workers agree.

    ```python
    augment = kvdiff.data.Augmentation(flips=["left_right"], crop=1.25, speeds=(1, 2))
    clips = kvdiff.data.video_dataset_from_directory("videos", image_size=64, augment=augment)
    ```

    Attributes:
        flips: which symmetries the data has: any of "up_down", "left_right" and "turns", by quarters, as in
            `FieldBatches`.
        crop: frames are read this many times larger, 1 to 8, and each clip shows a part of them, drawn anew.
        speeds: each clip is drawn one of them, of those for which its video is long enough: 2 takes every second frame.
            With `target_fps` any number above 0; without whole numbers.
        swaps: by the name of a flip, pairs of labels that it exchanges: `{"left_right": [(3, 4)]}`, where 3 is "to the
            left" and 4 "to the right". Other labels stay as they are.
    """

    flips: Sequence[str] = ()
    crop: float = 1.0
    speeds: Sequence[float] = (1.0,)
    swaps: Mapping[str, Sequence[tuple[int, int]]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        given = check_kind("flips", self.flips, (list, tuple), f"a list of {list(FLIPS)}")
        flips = tuple(check_choice("flips", flip, FLIPS) for flip in given)
        object.__setattr__(self, "flips", flips)
        check_real("crop", self.crop, above=1.0, below=8.0, closed=True)
        speeds = check_kind("speeds", self.speeds, (list, tuple), "numbers above 0")
        if not speeds:
            raise ValueError("`speeds`: expected at least one. Received: none")
        checked = tuple(float(check_real("speeds", speed, above=0.0, below=100.0)) for speed in speeds)
        object.__setattr__(self, "speeds", checked)
        swaps = {}
        for flip, pairs in check_mapping("swaps", self.swaps).items():
            if flip not in flips or "turns" in flips:
                wanted = "names of `flips`, and no 'turns' among them, for which labels are not known"
                raise ValueError(f"`swaps`: expected {wanted}. Received: {flip!r}, of {flips}")
            array = check_array(f"swaps[{flip!r}]", pairs, "pairs of labels")
            is_pairs = array.ndim == 2 and array.shape[1] == 2 and array.dtype.kind in "iu"
            if not is_pairs or len(set(array.flat)) < array.size:
                raise ValueError(f"`swaps`: expected pairs of labels, each label once. Received: {pairs!r}")
            swaps[flip] = tuple((int(one), int(other)) for one, other in array)
        object.__setattr__(self, "swaps", swaps)

    def check(self, image_size: tuple[int, int], windows: ClipWindows, *, has_labels: bool) -> None:
        """Raise ValueError where the clips are not such that they can be changed so."""
        if "turns" in self.flips and image_size[0] != image_size[1]:
            raise ValueError(f"`augment`: expected square clips for 'turns'. Received: {image_size}")
        if windows.target_fps is None and any(speed % 1.0 for speed in self.speeds):
            raise ValueError(f"`augment`: expected whole `speeds` without `target_fps`. Received: {self.speeds}")
        if self.swaps and not has_labels:
            raise ValueError(f"`augment`: expected labels for `swaps` to exchange. Received: none, and {self.swaps}")

    @property
    def config(self) -> dict[str, Any]:
        """The arguments, as JSON has them."""
        swaps = {flip: [list(pair) for pair in pairs] for flip, pairs in self.swaps.items()}
        return {"flips": list(self.flips), "crop": self.crop, "speeds": list(self.speeds), "swaps": swaps}

    def read_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(height, width) at which frames are read."""
        height, width = (math.ceil(side * self.crop) for side in image_size)
        return height, width

    def numbers(self, seed: int, epoch: int, sample: int) -> np.ndarray:
        """What decides all about a sample: three numbers for flips, two for the place, one for the speed."""
        return uniform(np, seed, epoch, np.array([sample]), 6, AUGMENTATION)[0].astype(np.float64)

    def frames(
        self, times: np.ndarray, windows: ClipWindows, clip: tuple[int, float, int], numbers: np.ndarray
    ) -> np.ndarray:
        """The frames of a clip, int64 [num_frames], at a speed that is drawn.

        `clip` is what `ClipWindows.start` goes by: its number, its uniform number, and how many the video has.
        """
        fit = [speed for speed in self.speeds if windows.at_speed(speed).fits(times)]
        speed = fit[int(numbers[5] * len(fit))] if fit else 1.0
        cut = windows.at_speed(speed)
        if windows.sampling == "all":
            first = windows.start(times, *clip)
            start = cut.start_near(times, first if windows.target_fps is None else first / speed)
        else:
            start = cut.start(times, *clip)
        return cut.frames(times, start)

    def picture(self, clip: np.ndarray, image_size: tuple[int, int], numbers: np.ndarray) -> np.ndarray:
        """A clip of frames that were read, cut to `image_size`, and one of its mirror images."""
        (height, width), (down, across) = image_size, numbers[3:5]
        top, left = int(down * (clip.shape[1] - height + 1)), int(across * (clip.shape[2] - width + 1))
        return turned(clip[:, top : top + height, left : left + width], flips=self.flips, numbers=numbers)

    def label(self, label: int, numbers: np.ndarray) -> int:
        """The label of the changed clip."""
        for axis, flip in enumerate(("up_down", "left_right")):
            if flip in self.swaps and numbers[axis] < 0.5:
                pairs = self.swaps[flip]
                label = {**dict(pairs), **{other: one for one, other in pairs}}.get(label, label)
        return label
