"""Files that take one shape of clips: others are refused by name, and a batch goes through clip by clip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np


def check_shape(runtime: str, sizes: Sequence[int | str], shape: Sequence[int]) -> None:
    """Raise unless a file takes such clips.

    Args:
        runtime: whose file it is.
        sizes: of the file's clips, [frames, height, width, channels]; axes of any size by name.
        shape: of the clips at hand, [batch, frames, height, width, channels].

    Raises:
        ValueError: another shape.
    """
    if any(isinstance(size, int) and size != found for size, found in zip(sizes, shape[1:], strict=True)):
        raise ValueError(
            f"{runtime}: expected clips of {list(sizes)}, the shape this model was exported for. "
            f"Received: {list(shape[1:])}"
        )


def one_by_one(
    run: Callable[[dict[str, np.ndarray]], Sequence[np.ndarray]],
    feed: Mapping[str, np.ndarray],
    batch: int,
    inputs: Mapping[str, int],
    outputs: Sequence[int],
) -> list[np.ndarray]:
    """What a network that takes one clip gives for a batch.

    Args:
        run: from a feed for one clip to its outputs.
        feed: the inputs for all clips, by name.
        batch: how many clips there are.
        inputs: by name the axis of an input that has the batch; others are the same for all clips.
        outputs: the axis of each output that has it.
    """
    of_clips = [
        run({name: np.take(value, [index], inputs[name]) if name in inputs else value for name, value in feed.items()})
        for index in range(batch)
    ]
    return [np.concatenate(parts, axis) for parts, axis in zip(zip(*of_clips, strict=True), outputs, strict=True)]
