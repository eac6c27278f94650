"""Moving digits whose digit and direction are chosen."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.data import moving_digits


def test_what_clips_show_and_where_it_moves_is_chosen() -> None:
    digits, angles = np.arange(40) % 10, np.arange(40) % 8 * np.pi / 4
    chosen = dict(digits=digits, angles=angles, min_speed=0.5, max_speed=1.0, bounce=False)
    clips, labels = moving_digits(40, return_labels=True, **chosen)
    np.testing.assert_array_equal(labels, digits)
    mass = clips[..., 0].astype(np.float64)
    places = (
        np.stack([mass.sum(axis=axis) @ np.arange(16) for axis in (3, 2)], axis=-1) / mass.sum(axis=(2, 3))[..., None]
    )
    steps = np.diff(places, axis=1)  # Row and column, the same in every frame: no edge was met.
    assert np.abs(steps - steps.mean(axis=1, keepdims=True)).max() < 0.15
    way = steps.mean(axis=1)
    speed = np.linalg.norm(way, axis=1)
    assert speed.min() > 0.45 and speed.max() < 1.05
    np.testing.assert_allclose(way / speed[:, None], np.stack([np.sin(angles), np.cos(angles)], axis=1), atol=0.1)


def test_one_choice_leaves_the_others_as_they_were() -> None:
    plain, labels = moving_digits(6, seed=3, return_labels=True)
    same, again = moving_digits(6, seed=3, return_labels=True, bounce=True)
    np.testing.assert_array_equal(plain, same)
    np.testing.assert_array_equal(labels, again)
    turned, others = moving_digits(6, seed=3, angles=np.zeros(6), return_labels=True)
    np.testing.assert_array_equal(others, labels)
    np.testing.assert_array_equal(turned[:, 0], plain[:, 0])  # Where they start.
    assert (turned[:, 1:] != plain[:, 1:]).any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(digits=[1, 2]), "`digits`: expected a number for each of 3 clips. Received"),
        (dict(digits=[1, 2, 10]), "`digits`: expected whole numbers from 0 to 9. Received"),
        (dict(digits=[1, 2, 0.5]), "`digits`: expected whole numbers from 0 to 9. Received"),
        (dict(angles=[1, 2, np.nan]), "`angles`: expected a number for each of 3 clips. Received"),
        (
            dict(bounce=False),
            "`max_speed`: expected at most 1.14286, for a way of 8 pixels without a bounce. Received: 1.5",
        ),
    ],
)
def test_choices_that_cannot_be(wrong: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        moving_digits(3, **wrong)
