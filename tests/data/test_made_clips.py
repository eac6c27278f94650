"""Data sets made on the fly: moving MNIST and bouncing shapes."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.data import bouncing_shapes, moving_mnist
from kvdiff.data.moving_mnist import _reflected


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Stand-ins for digits: full 28×28 squares of one brightness, training images dark and test images bright."""
    path = tmp_path_factory.mktemp("mnist") / "mnist.npz"
    values = np.arange(100, dtype=np.uint8)[:, None, None]
    squares = np.broadcast_to(values, (100, 28, 28))
    np.savez(path, x_train=squares + np.uint8(50), x_test=squares[:50] + np.uint8(200))
    return path


def corners(clip: np.ndarray, value: int) -> np.ndarray:
    """Where the square of a brightness has its corner in every frame."""
    return np.array([np.argwhere(frame[..., 0] == value).min(axis=0) for frame in clip])


def test_digits_move_straight_and_bounce(images):
    clips = moving_mnist(20, num_digits=1, path=images)
    assert clips.shape == (20, 20, 64, 64, 1) and clips.dtype == np.uint8
    for clip in clips:
        place = corners(clip, clip.max())
        assert (np.count_nonzero(clip, axis=(1, 2, 3)) == 28 * 28).all()
        steps = np.linalg.norm(np.diff(place, axis=0), axis=1)
        assert steps.max() <= 0.1 * 36 + np.sqrt(2) and np.median(steps) > 0.1 * 36 - np.sqrt(2)


def test_motion_is_that_of_the_definition(images):
    """Slow formula: walk a frame at a time and turn round at the walls."""
    rng = np.random.default_rng([3, 0])
    image = rng.integers(0, 100, (1, 1)).item() + 50
    place, velocity = rng.uniform(0.0, 1.0, (1, 1, 1, 2)).ravel(), rng.normal(size=(1, 1, 1, 2)).ravel()
    velocity *= 0.3 / np.linalg.norm(velocity)
    walked = []
    for _ in range(20):
        walked.append(np.round(place * 36))
        place = place + velocity
        for axis in range(2):
            if not 0 <= place[axis] <= 1:
                place[axis] = -place[axis] if place[axis] < 0 else 2 - place[axis]
                velocity[axis] *= -1
    clip = moving_mnist(1, num_digits=1, velocity=0.3, seed=3, path=images)[0]
    np.testing.assert_array_equal(corners(clip, image), walked)


def test_reflection_is_exact():
    np.testing.assert_allclose(_reflected(np.array([1.1, -0.2, 2.3, 0.4, -1.3])), [0.9, 0.2, 0.3, 0.4, 0.7])


def test_the_brighter_pixel_shows_where_digits_overlap(images):
    for clip in moving_mnist(10, num_digits=2, size=40, path=images):
        dim, bright = sorted(set(np.unique(clip)) - {0})[-2:] if len(np.unique(clip)) > 2 else (0, clip.max())
        assert (np.count_nonzero(clip == bright, axis=(1, 2, 3)) == 28 * 28).all(), dim


def test_splits_seeds_and_files(images, tmp_path):
    train = moving_mnist(8, path=images)
    np.testing.assert_array_equal(train, moving_mnist(8, path=images))
    assert (train != moving_mnist(8, path=images, seed=1)).any()
    assert train.max() < 150 <= moving_mnist(8, path=images, split="test").max()
    np.savez(tmp_path / "one.npz", x=np.broadcast_to(np.arange(1, 101, dtype=np.uint8)[:, None, None], (100, 28, 28)))
    assert (
        moving_mnist(50, path=tmp_path / "one.npz").max()
        <= 90
        < moving_mnist(9, path=tmp_path / "one.npz", split="test").max()
    )


def test_nothing_is_downloaded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"mnist.npz: no such file .*load_data"):
        moving_mnist(1)
    (tmp_path / ".keras" / "datasets").mkdir(parents=True)
    np.savez(tmp_path / ".keras" / "datasets" / "mnist.npz", x_train=np.full((3, 28, 28), 9, np.uint8))
    assert moving_mnist(1).max() == 9


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", y=np.zeros(3))
    with pytest.raises(ValueError, match="expected arrays x_train and x_test"):
        moving_mnist(1, path=tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", x=np.zeros((3, 32, 32)))
    with pytest.raises(ValueError, match=r"expected uint8 \[images, 28, 28\]"):
        moving_mnist(1, path=tmp_path / "b.npz")
    with pytest.raises(ValueError, match="`size`"):
        moving_mnist(1, size=27)


def test_shapes_are_told_apart_by_their_area():
    clips, labels = bouncing_shapes(60, num_frames=5, size=32, channels=1)
    assert clips.shape == (60, 5, 32, 32, 1) and clips.dtype == np.uint8 and set(np.unique(clips)) == {0, 255}
    assert labels.dtype == np.int32 and set(labels) == {0, 1, 2}
    area = np.count_nonzero(clips, axis=(1, 2, 3, 4)) / 5
    for label, wanted in enumerate((256, np.pi * 64, 128)):
        np.testing.assert_allclose(area[labels == label], wanted, rtol=0.1)


def test_shapes_move_and_stay_inside():
    clips, _ = bouncing_shapes(20, num_frames=40, size=16)
    assert clips.shape[-1] == 3
    lit = (clips > 0).any(axis=-1)
    assert (lit.sum(axis=(2, 3)) >= 20).all()  # Nothing leaves the frame: the smallest shape has 32 pixels.
    assert (lit[:, 0] != lit[:, 20]).any(axis=(1, 2)).mean() > 0.9
    np.testing.assert_array_equal(clips, bouncing_shapes(20, num_frames=40, size=16)[0])
