"""Moving MNIST: handwritten digits that move in straight lines and bounce off the edges."""

from __future__ import annotations

import os
import pathlib

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_path, check_real

_DIGIT = 28  # The images are 28×28.


def moving_mnist(
    num_clips: int,
    *,
    num_frames: int = 20,
    size: int = 64,
    num_digits: int = 2,
    velocity: float = 0.1,
    split: str = "train",
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
) -> np.ndarray:
    """Clips after Srivastava et al. (2015, arXiv:1502.04681), moving as TensorFlow Datasets' `moving_sequence` does.

    Every digit starts anywhere, moves in a direction drawn evenly by `velocity` times the room it has a frame, and is
    reflected exactly; its corner lies on the nearest pixel. Where digits overlap, the brighter pixel shows.

    Args:
        num_clips: how many clips.
        num_frames: frames a clip.
        size: height and width in pixels, at least 28.
        num_digits: digits a clip.
        velocity: of every digit, in parts of `size` - 28 a frame.
        split: "train" or "test": which images.
        seed: of the choice of images, positions and directions.
        path: a .npz file of the images: `x_train` and `x_test`, as `keras.datasets.mnist` has it, or one array `x`,
            whose last tenth are the test images; uint8 [images, 28, 28]. By default the file that
            `keras.datasets.mnist.load_data()` has left in `~/.keras/datasets`. Nothing is downloaded here.

    Returns:
        uint8 [num_clips, num_frames, size, size, 1], digits bright on black. The same arguments give the same clips.

    Raises:
        FileNotFoundError: no file of images.
        ValueError: arguments or a file that are not as above.
    """
    check_count("num_clips", num_clips)
    check_count("num_frames", num_frames)
    check_count("seed", seed, at_least=0)
    check_count("num_digits", num_digits)
    check_count("size", size, at_least=_DIGIT)
    check_real("velocity", velocity, above=0.0, below=np.inf)
    digits = _digits(path, check_choice("split", split, ("train", "test")))
    rng = np.random.default_rng([seed, split == "test"])
    shape = (num_clips, num_digits)
    images = digits[rng.integers(0, len(digits), shape)]
    return drawn(images, corners(rng, shape, num_frames, velocity, size - _DIGIT), size)


def corners(
    rng: np.random.Generator, shape: tuple[int, int], num_frames: int, velocity: float, room: int
) -> np.ndarray:
    """Of moving digits the first row and column in each frame: int [clips, digits, frames, 2], from 0 to `room`."""
    starts = rng.uniform(0.0, 1.0, (*shape, 1, 2))
    directions = rng.normal(size=(*shape, 1, 2))
    directions *= velocity / np.linalg.norm(directions, axis=-1, keepdims=True)
    places = starts + directions * np.arange(num_frames)[:, None]
    return np.round(_reflected(places) * room).astype(np.int64)


def drawn(images: np.ndarray, places: np.ndarray, size: int) -> np.ndarray:
    """Clips uint8 [clips, frames, size, size, 1] of `images`, uint8 [clips, digits, 28, 28], at their `corners`."""
    num_clips, num_digits, num_frames, _ = places.shape
    clips = np.zeros((num_clips, num_frames, size, size, 1), np.uint8)
    for clip, digit, frame in np.ndindex(num_clips, num_digits, num_frames):
        top, left = places[clip, digit, frame]
        window = clips[clip, frame, top : top + _DIGIT, left : left + _DIGIT, 0]
        np.maximum(window, images[clip, digit], out=window)
    return clips


def _reflected(places: np.ndarray) -> np.ndarray:
    """Fold unbounded places into [0, 1] by reflection."""
    return 1.0 - np.abs(1.0 - places % 2.0)


def _digits(path: str | os.PathLike[str] | None, split: str) -> np.ndarray:
    """The images of a split, uint8 [images, 28, 28]."""
    path = check_path("path", path) if path is not None else pathlib.Path.home() / ".keras" / "datasets" / "mnist.npz"
    if not path.is_file():
        hint = "pass `path`, or have keras.datasets.mnist.load_data() download it once"
        raise FileNotFoundError(f"{path}: no such file of MNIST's images; {hint}")
    with np.load(path, allow_pickle=False) as arrays:
        if f"x_{split}" in arrays:
            images = arrays[f"x_{split}"]
        elif "x" in arrays:
            cut = len(arrays["x"]) * 9 // 10
            images = arrays["x"][:cut] if split == "train" else arrays["x"][cut:]
        else:
            raise ValueError(f"{path}: expected arrays x_train and x_test, or x. Received: {sorted(arrays)}")
    if images.shape[1:] != (_DIGIT, _DIGIT) or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"{path}: expected uint8 [images, 28, 28]. Received: {images.dtype} {list(images.shape)}")
    return images
