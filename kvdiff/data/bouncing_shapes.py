"""Coloured shapes that bounce: a data set with classes that needs no file, for tests and first trials."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count

SHAPES = ("square", "disc", "triangle")
"""What label 0, 1 and 2 mean."""


def bouncing_shapes(
    num_clips: int, *, num_frames: int = 8, size: int = 16, channels: int = 3, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """One shape a clip, in straight motion, reflected at the frame's edges.

    Args:
        num_clips: how many clips.
        num_frames: frames a clip.
        size: height and width in pixels, at least 8. A shape is half as large.
        channels: 3 for shapes in colour, 1 for white ones.
        seed: of shapes, colours, positions and velocities; the same arguments give the same clips.

    Returns:
        (clips, labels): uint8 [num_clips, num_frames, size, size, channels], bright on black, and int32 [num_clips],
        indices into `SHAPES`.
    """
    check_count("num_clips", num_clips)
    check_count("num_frames", num_frames)
    check_count("seed", seed, at_least=0)
    check_count("size", size, at_least=8)
    check_choice("channels", str(check_count("channels", channels)), ("1", "3"))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(SHAPES), num_clips)
    colours = rng.integers(128, 256, (num_clips, 3)) if channels == 3 else np.full((num_clips, 1), 255)
    room = float(size - size // 2)
    starts, velocity = rng.uniform(0.0, room, (num_clips, 1, 2)), rng.uniform(-1.5, 1.5, (num_clips, 1, 2))
    corners = room - np.abs(room - (starts + velocity * np.arange(num_frames)[:, None]) % (2.0 * room))
    masks = np.stack([_inside(labels[i], corners[i], size) for i in range(num_clips)])
    clips = masks[..., None] * colours[:, None, None, None]
    return clips.astype(np.uint8), labels.astype(np.int32)


def _inside(label: int, corners: np.ndarray, size: int) -> np.ndarray:
    """Whether a pixel's middle lies in the shape whose bounding box begins at `corners` [frames, 2] (row, column)."""
    side = size // 2
    middle = np.arange(size) + 0.5
    row = (middle[None, :, None] - corners[:, 0, None, None]) / side  # 0 to 1 inside the box.
    column = (middle[None, None, :] - corners[:, 1, None, None]) / side
    box = (row >= 0) & (row < 1) & (column >= 0) & (column < 1)
    if SHAPES[label] == "disc":
        return (row - 0.5) ** 2 + (column - 0.5) ** 2 < 0.25
    return box & (np.abs(column - 0.5) <= row / 2) if SHAPES[label] == "triangle" else box
