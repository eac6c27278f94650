"""Alignment, sharpness and identity against slow formulas and clips whose answers are known."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from kvdiff.data.moving_digits import bicubic
from kvdiff.evaluation import RealClips, TaskClips, aligned_psnr, evaluate, gradient_energy, identity, sharpness_ratio
from kvdiff.evaluation.appearance import REACH, STEP
from kvdiff.evaluation.quality import MAX_PSNR, psnr
from kvdiff.evaluation.scoring import score_identity
from tests.evaluation.guesser import FRAMES, GENERATION, PREDICTION, Guesser, noise_clips, noisy, protocol


def moved(frame: np.ndarray, down: float, right: float) -> np.ndarray:
    """A frame [height, width, channels] moved, pixel by pixel."""
    height, width, _ = frame.shape
    result = np.zeros_like(frame)
    for y, x in np.ndindex(height, width):
        top, left = y - down, x - right  # Where this pixel comes from.
        for i, j in itertools.product(range(-2, 4), repeat=2):
            row, column = int(np.floor(top)) + i, int(np.floor(left)) + j
            weight = bicubic(np.array(top - row)) * bicubic(np.array(left - column))
            result[y, x] += weight * frame[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
    return result


def test_alignment_is_the_best_of_all_shifts_tried_one_by_one(rng):
    made, truth = rng.uniform(-1, 1, (2, 1, 2, 5, 4, 2))
    shifts = np.arange(-1.0, 1.01, 0.5)
    found, shift = aligned_psnr(made, truth, reach=1.0, step=0.5)
    for place in np.ndindex(1, 2):
        errors = {
            (down, right): np.square(moved(made[place], down, right) - truth[place]).mean()
            for down, right in itertools.product(shifts, shifts)
        }
        best = min(errors, key=errors.get)
        np.testing.assert_allclose(found[place], 10 * np.log10(4 / errors[best]))
        np.testing.assert_array_equal(shift[place], best)


@pytest.mark.parametrize("by", [(0.0, 0.0), (2.5, -1.0), (-0.75, 2.25)])
def test_a_shift_is_found_and_no_more_is_left_of_the_error(by):
    place = np.stack(np.meshgrid(np.arange(20.0), np.arange(16.0), indexing="ij"), axis=-1)

    def blob(centre):
        return 2 * np.exp(-np.square(place - centre).sum(axis=-1) / 12)[None, None, :, :, None] - 1

    made, truth = blob(np.array([9.0, 8.0])), blob(np.array([9.0, 8.0]) + by)
    found, shift = aligned_psnr(made, truth)
    np.testing.assert_array_equal(shift[0, 0], by)
    assert found.item() > 45 and (by == (0.0, 0.0) or psnr(made, truth).item() < 30)


def test_frames_stay_where_nothing_is_won_by_moving_them():
    flat = np.full((1, 2, 8, 8, 1), 0.25)
    for pair in ((flat, flat), (flat, -flat)):
        assert not aligned_psnr(*pair)[1].any()
    pixels = noise_clips().truth[:2]
    found, shift = aligned_psnr(pixels, pixels)
    assert (found == MAX_PSNR).all() and not shift.any()
    with pytest.raises(ValueError, match="expected one shape"):
        aligned_psnr(pixels, pixels[:1])


def test_sharpness_by_hand_and_of_a_blur():
    clip = np.array([[0.0, 0.5], [0.0, -0.5]]).reshape(1, 1, 2, 2, 1)
    # Down: 0 and -1, mean square 1/2. Across: 0.5 and -0.5, mean square 1/4.
    np.testing.assert_allclose(gradient_energy(clip), [[0.75]])
    np.testing.assert_allclose(sharpness_ratio(2 * clip, clip), [4.0])
    truth = noise_clips().truth / 127.5 - 1.0
    blurred = (truth + np.roll(truth, 1, axis=2) + np.roll(truth, 1, axis=3) + np.roll(truth, (1, 1), (2, 3))) / 4
    assert (sharpness_ratio(blurred, truth) < 0.5).all()  # Of noise an average of four keeps a quarter.


def brightest(frames: np.ndarray) -> np.ndarray:
    """A classifier: the column that is brightest."""
    return frames[..., 0].sum(axis=1).argmax(axis=1)


def test_identity_is_frame_by_frame_and_beside_the_truths():
    truth = np.zeros((3, 4, 2, 5, 1), np.uint8)
    for clip, label in enumerate(labels := np.array([0, 3, 4])):
        truth[clip, :, :, label] = 200
    generated = truth.copy()
    generated[0, 3], generated[1, 2:] = truth[1, 0], truth[2, 0]
    expected = [[True, True, True, False], [True, True, False, False], [True] * 4]
    np.testing.assert_array_equal(identity(generated, labels, brightest), expected)
    truth[2, 3] = truth[0, 0]  # The classifier errs on the truth as well.
    clips = TaskClips(truth, generated, np.array([True, True, False, False]))
    numbers, curves = score_identity(clips, labels, brightest)
    assert curves == {"identity": {"model": [2 / 3, 1 / 3], "truth": [1.0, 2 / 3]}}
    assert numbers["identity"] == pytest.approx(1 / 2) and numbers["identity_last"] == pytest.approx(1 / 3)
    assert numbers["data_identity"] == pytest.approx(5 / 6) and numbers["data_identity_last"] == pytest.approx(2 / 3)


def test_an_evaluation_measures_appearance_of_first_samples_by_horizon():
    clips = noise_clips()
    sampler = Guesser(lambda clip, samples: noisy(0.1, clip, samples))
    tasks = evaluate(sampler, protocol(PREDICTION, GENERATION), clips).tasks
    numbers, curves = tasks["prediction"]["numbers"], tasks["prediction"]["curves"]
    first = noisy(0.1, clips.truth / np.float32(127.5) - 1, 3 * np.arange(10))[:, 2:]
    first = np.round((first + 1) * 127.5) / 127.5 - 1
    found, shift = aligned_psnr(first, clips.truth[:, 2:])
    np.testing.assert_allclose(curves["psnr_aligned"]["model"], found.mean(axis=0), atol=1e-3)
    assert numbers["psnr_aligned"] == pytest.approx(found.mean(), abs=1e-3)
    np.testing.assert_allclose(curves["shift"]["model"], np.hypot(*np.moveaxis(shift, -1, 0)).mean(axis=0))
    assert numbers["shift"] == pytest.approx(np.hypot(*np.moveaxis(shift, -1, 0)).mean()) == 0.0
    expected = [gradient_energy(part).mean(axis=0) for part in (first, clips.truth[:, 2:])]
    np.testing.assert_allclose(curves["sharpness"]["model"], expected[0] / expected[1], atol=1e-3)
    assert numbers["sharpness_ratio"] == pytest.approx(np.mean(expected[0] / expected[1]), abs=1e-3)
    assert numbers["psnr_aligned_baseline"] == pytest.approx(
        aligned_psnr(np.repeat(clips.truth[:, 1:2], FRAMES - 2, axis=1), clips.truth[:, 2:])[0].mean()
    )
    assert tasks["generation"]["numbers"]["sharpness_ratio"] > 1 and "identity" not in numbers
    assert REACH == 2.5 and STEP == 0.25


def test_identity_is_measured_where_there_are_labels_and_a_classifier():
    truth, labels = noise_clips().truth, np.arange(10)
    sampler = Guesser(lambda clip, samples: clip)
    found = [
        evaluate(sampler, protocol(PREDICTION, GENERATION), RealClips(truth, labels=given), classifier=how).tasks
        for given, how in ((labels, brightest), (None, brightest), (labels, None))
    ]
    assert found[0]["prediction"]["numbers"]["identity"] == found[0]["prediction"]["numbers"]["data_identity"]
    assert all("identity" not in tasks["prediction"]["numbers"] for tasks in found[1:])
    assert "identity" not in found[0]["generation"]["numbers"]


def test_the_digit_classifier_knows_digits_wherever_they_stand_and_blanks_do_not_break_it():
    pytest.importorskip("sklearn")
    from kvdiff.data import moving_digits
    from kvdiff.evaluation import DigitClassifier

    classifier = DigitClassifier()
    assert classifier.accuracy > 0.93 and classifier.config["accuracy"] == round(classifier.accuracy, 4)
    clips, labels = moving_digits(100, split="test", seed=4, return_labels=True)
    assert identity(clips, labels, classifier).mean() > 0.85
    assert identity(clips, (labels + 1) % 10, classifier).mean() < 0.05
    assert classifier(np.zeros((2, 16, 16, 1), np.uint8)).shape == (2,)


def test_labels_are_of_the_very_clips():
    from sklearn.datasets import load_digits

    from kvdiff.data import moving_digits
    from kvdiff.data.moving_digits import NUM_TRAIN_DIGITS

    still = dict(num_frames=1, size=8, seed=3)  # A frame of a digit's own size is the image itself.
    for split, part in (("train", slice(NUM_TRAIN_DIGITS)), ("test", slice(NUM_TRAIN_DIGITS, None))):
        clips, labels = moving_digits(20, split=split, return_labels=True, **still)
        np.testing.assert_array_equal(clips, moving_digits(20, split=split, **still))
        images, targets = load_digits().images[part], load_digits().target[part]
        for clip, label in zip(clips, labels, strict=True):
            nearest = np.abs(images - clip[0, :, :, 0] / 255 * 16).sum(axis=(1, 2)).argmin()
            assert targets[nearest] == label
