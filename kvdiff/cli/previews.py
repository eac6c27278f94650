"""Pictures of a training on the way."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.training.cluster import num_workers

if TYPE_CHECKING:
    from kvdiff.data import VideoBatches


def previews(batches: VideoBatches | None, folder: pathlib.Path, every: int) -> list[Any]:
    """Generated clips, and predictions of some of `batches`; none where several workers train."""
    from kvdiff.training import Previews

    if not every or num_workers() > 1:
        return []
    if batches is None:
        return [Previews(folder / "previews", every=every, scale=2)]
    past = np.stack([batches.sample(0, place)[0] for place in range(min(4, batches.num_samples))])
    return [Previews(folder / "previews", every=every, past=past[:, : past.shape[1] // 2], scale=2)]
