"""The clips of the benchmark show what they say, with images of their split alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.moving_mnist.digits import DIGIT, MARGIN, clips, crops, scaled
from tests.benchmarks.moving_mnist.measures import interval


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A hundred images, each of one grey level, whose labels are that level."""
    levels = np.arange(100, 200, dtype=np.uint8)
    images = np.broadcast_to(levels[:, None, None], (100, DIGIT, DIGIT))
    np.savez(tmp_path / "mnist.npz", x=images, y=levels)
    return tmp_path / "mnist.npz"


@pytest.mark.parametrize(
    ("split", "first", "last"), [("train", 100, 185), ("validation", 185, 190), ("test", 190, 200)]
)
def test_a_split_has_its_own_images(file: Path, split: str, first: int, last: int) -> None:
    data = clips(file, split, 40, 2, seed=0)
    assert data.labels.min() >= first and data.labels.max() < last
    assert set(np.unique(data.pixels)) == {0, *np.unique(data.labels)}


def test_a_crop_has_its_digit_in_the_middle(file: Path) -> None:
    data = clips(file, "train", 20, 3, seed=1)
    found = crops(scaled(data.pixels[:, 2]), data.corners[:, :, 2])
    middle = found[:, MARGIN:-MARGIN, MARGIN:-MARGIN]
    brightness = np.round((middle.min(axis=(1, 2, 3)) + 1.0) * 127.5)  # Where the other one covers it: the brighter.
    assert (brightness >= data.labels.reshape(-1)).all()
    brighter = data.labels == data.labels.max(axis=1, keepdims=True)
    np.testing.assert_array_equal(brightness.reshape(-1, 2)[brighter], data.labels[brighter])


def test_an_interval_holds_the_mean() -> None:
    mean, low, high = interval(np.arange(100.0))
    assert mean == 49.5 and 40.0 < low < mean < high < 60.0
