"""Small folders of real files, written with this package's own encoder."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff import media

SMALL = dict(num_frames=4, image_size=8, batch_size=4, num_workers=1, verbose=False)


def first_values(dataset) -> list[list[int]]:
    """The grey of every clip's first frame, a list a batch."""
    batches = ((batch[0] if isinstance(batch, tuple) else batch).numpy() for batch in dataset)
    return [batch[:, 0, 0, 0, 0].tolist() for batch in batches]


def numbered_clip(first: int, frames: int = 12, size: int = 16) -> np.ndarray:
    """Frame i is grey of value first + i: a clip whose frames tell where they come from."""
    values = (first + np.arange(frames)).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (frames, size, size, 3)).copy()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two classes: `a` of six clips whose grey begins at 0, 20, …, `b` of four from 120 on. GIFs, hence exact."""
    pytest.importorskip("av")
    root = tmp_path_factory.mktemp("videos")
    for label, count, base in (("a", 6, 0), ("b", 4, 120)):
        (root / label).mkdir()
        for index in range(count):
            media.write_clip(root / label / f"{index}.gif", numbered_clip(base + 20 * index), fps=10)
    return root
