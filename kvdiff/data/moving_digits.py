"""Real handwritten digits, moving and bouncing: a small data set whose past determines its future."""

from __future__ import annotations

from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, check_flag, check_real, received

NUM_TRAIN_DIGITS = 1300
"""Of scikit-learn's 1,797 digit images the first 1,300 are for training, the next 200 for validation, 297 for tests."""

_SPLITS = {"train": slice(1300), "validation": slice(1300, 1500), "test": slice(1500, None)}
_SEEDS = {"train": 0, "validation": 2, "test": 1}
_DIGIT = 8  # The images are 8×8.
_AT_ONCE = 500  # Clips that are drawn at once: in floats they take several times the memory of the result.


class _Settings(TypedDict, total=False):
    num_frames: int
    size: int
    digit_size: int
    split: str
    seed: int
    min_speed: float | None
    max_speed: float | None
    digits: Any
    angles: Any
    bounce: bool


@overload
def moving_digits(
    num_clips: int, *, return_labels: Literal[False] = ..., **settings: Unpack[_Settings]
) -> np.ndarray: ...
@overload
def moving_digits(
    num_clips: int, *, return_labels: Literal[True], **settings: Unpack[_Settings]
) -> tuple[np.ndarray, np.ndarray]: ...
def moving_digits(
    num_clips: int,
    *,
    num_frames: int = 8,
    size: int = 16,
    digit_size: int | None = None,
    split: str = "train",
    seed: int = 0,
    min_speed: float | None = None,
    max_speed: float | None = None,
    digits: Any = None,
    angles: Any = None,
    bounce: bool = True,
    return_labels: bool = False,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """One handwritten digit a clip, in straight motion, reflected exactly at the frame's edges.

    Positions are real numbers, not whole pixels, so the motion can be read off two frames and continued. The digits are
    scikit-learn's bundled images (E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI, 1998),
    which need no download. The splits share no image; the same arguments give the same clips.

    Args:
        num_clips: how many clips.
        num_frames: frames a clip.
        size: height and width of a frame in pixels.
        digit_size: height and width of a digit in pixels, at least 8: the images are 8×8, and larger ones interpolated.
            By default half of `size`.
        split: "train", "validation" or "test": which images.
        seed: of the choice of images, positions and velocities.
        min_speed, max_speed: pixels a frame; by default a sixteenth and three sixteenths of a digit.
        digits: which digit each clip shows, int [num_clips] from 0 to 9; by default any.
        angles: where each moves to, float [num_clips] in radians: 0 is right, pi / 2 is down; by default anywhere.
        bounce: whether digits may meet the edges. If not they start where they meet none, for which `max_speed` over
            all frames must stay within `size - digit_size`.
        return_labels: whether to return which digits they are as well.

    Returns:
        uint8 [num_clips, num_frames, size, size, 1], digits bright on black; with `return_labels` a pair of that and
        int [num_clips].
    """
    check_count("num_clips", num_clips)
    check_count("num_frames", num_frames)
    check_count("seed", seed, at_least=0)
    check_count("size", size, at_least=_DIGIT)
    digit_size = max(size // 2, _DIGIT) if digit_size is None else digit_size
    check_count("digit_size", digit_size, at_least=_DIGIT, at_most=size)
    check_flag("return_labels", return_labels)
    check_choice("split", split, _SPLITS)
    min_speed, max_speed = (
        part * digit_size if speed is None else speed for speed, part in ((min_speed, 1 / 16), (max_speed, 3 / 16))
    )
    check_real("max_speed", max_speed, above=0.0)
    check_real("min_speed", min_speed, above=0.0, below=max_speed, closed=True)
    room = float(size - digit_size)
    if not check_flag("bounce", bounce) and max_speed * (num_frames - 1) > room:
        furthest = f"at most {room / max(num_frames - 1, 1):g}, for a way of {room:g} pixels without a bounce"
        raise ValueError(f"`max_speed`: expected {furthest}. Received: {max_speed:g}")
    rng = np.random.default_rng([seed, _SEEDS[split]])
    images, labels = _digits(split)
    chosen = rng.integers(0, len(images), num_clips)
    if digits is not None:
        chosen = _showing(_each("digits", digits, num_clips), labels, chosen)
    angle = rng.uniform(0.0, 2.0 * np.pi, num_clips)
    angle = angle if angles is None else _each("angles", angles, num_clips)
    speed = rng.uniform(min_speed, max_speed, num_clips)
    velocity = speed[:, None] * np.stack([np.sin(angle), np.cos(angle)], axis=1)
    start = rng.uniform(0.0, room, (num_clips, 2)) if room else np.zeros((num_clips, 2))
    if not bounce:
        way = velocity * (num_frames - 1)
        start = start * (1.0 - np.abs(way) / max(room, 1e-9)) - np.minimum(way, 0.0)
    positions = start[:, None] + velocity[:, None] * np.arange(num_frames)[:, None]
    places, clips = _bounced(positions, room), np.empty((num_clips, num_frames, size, size, 1), np.uint8)
    for number in range(0, num_clips, _AT_ONCE):
        some = slice(number, number + _AT_ONCE)
        frames = _render(images[chosen[some]], places[some], size, digit_size)
        clips[some] = np.round(np.clip(frames, 0.0, 1.0) * 255.0)[..., None]
    return (clips, labels[chosen]) if return_labels else clips


def _digits(split: str) -> tuple[np.ndarray, np.ndarray]:
    """The images of a split, float32 [n, 8, 8] in [0, 1], and their labels, int [n]."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError(
            'moving_digits needs scikit-learn, which bundles the images: pip install "keras-video-diffusion[demo]"'
        ) from error
    data = load_digits()
    part = _SPLITS[split]
    return (data.images[part] / 16.0).astype(np.float32), data.target[part]


def _each(name: str, value: Any, num_clips: int) -> np.ndarray:
    """A finite number for each clip."""
    array = check_array(name, value)
    if array.shape != (num_clips,) or not np.isfinite(array).all():
        raise ValueError(f"`{name}`: expected a number for each of {num_clips} clips. Received: {received(value)}")
    return array


def _showing(digits: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """For each clip an image of its digit, by the number `drawn`."""
    if not np.isin(digits, np.arange(10)).all():
        raise ValueError(f"`digits`: expected whole numbers from 0 to 9. Received: {received(digits)}")
    images = [np.flatnonzero(labels == digit) for digit in range(10)]
    choices = zip((images[int(digit)] for digit in digits), drawn, strict=True)
    return np.array([own[number % len(own)] for own, number in choices])


def _bounced(positions: np.ndarray, room: float) -> np.ndarray:
    """Fold unbounded positions into [0, room] by reflection."""
    if room == 0.0:
        return np.zeros_like(positions)
    return room - np.abs(room - positions % (2.0 * room))


def bicubic(distance: np.ndarray) -> np.ndarray:
    """Keys' cubic interpolation kernel, a = -1/2 (Keys 1981, eq. 15): shifts sum to one at every sub-pixel phase."""
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d**2 + 1.0
    far = ((-0.5 * d + 2.5) * d - 4.0) * d + 2.0
    return np.where(d < 1.0, near, np.where(d < 2.0, far, 0.0))


def _render(digits: np.ndarray, positions: np.ndarray, size: int, digit_size: int = _DIGIT) -> np.ndarray:
    """Draw digit n with its corner at positions[n, f] (row, column): [clips, frames, size, size]."""
    scale = digit_size / _DIGIT
    # The middles of a frame's pixels and of a digit's, in pixels of the frame.
    here, there = np.arange(size) + 0.5, (np.arange(_DIGIT) + 0.5) * scale
    offset = here[:, None] - there[None, :]
    rows, columns = (
        bicubic((offset - positions[:, :, axis, None, None]) / scale).astype(np.float32) for axis in (0, 1)
    )
    return np.einsum("nfyi,nij,nfxj->nfyx", rows, digits, columns, optimize=True)
