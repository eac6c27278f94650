"""Evaluation of samplers whose figures are known: the truth, a calibrated guess, a collapsed one, a copier."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.evaluation import RealClips, Task, estimate_frechet, evaluate, protocol_for, psnr, ssim
from kvdiff.evaluation.quality import MAX_PSNR
from tests.evaluation.guesser import (
    FRAMES,
    GENERATION,
    PREDICTION,
    SIZE,
    Guesser,
    features,
    noise_clips,
    noisy,
    protocol,
)


@pytest.fixture(scope="module")
def clips() -> RealClips:
    return noise_clips()


def numbers(sampler, clips, *tasks, **changes):
    return evaluate(sampler, protocol(*tasks, **changes), clips, batch_size=7).tasks[tasks[0].name]["numbers"]


def test_the_truth_is_as_good_as_can_be(clips):
    found = numbers(Guesser(lambda clip, samples: clip), clips, PREDICTION)
    assert found["psnr"] == found["psnr_best"] == MAX_PSNR and found["ssim"] == pytest.approx(1.0)
    assert found["psnr_gain"] == MAX_PSNR - found["psnr_baseline"] and found["flicker_ratio"] == 1.0


@pytest.mark.parametrize("psnr_of", ["frames", "clips"])
def test_quality_is_of_made_frames_alone_averaged_as_the_protocol_says(clips, psnr_of):
    sampler = Guesser(lambda clip, samples: noisy(0.1, clip, samples))
    found = numbers(sampler, clips, PREDICTION, psnr_of=psnr_of)
    truth = clips.truth.astype(float) / 127.5 - 1.0
    made = np.stack([noisy(0.1, truth, 3 * np.arange(10) + k) for k in range(3)], axis=1)
    made = np.round((made + 1.0) * 127.5) / 127.5 - 1.0  # To 8 bits.
    per_frame = psnr_of == "frames"
    decibels = np.stack([psnr(made[:, k, 2:], truth[:, 2:], per_frame=per_frame) for k in range(3)], axis=1)
    similar = np.stack([ssim(made[:, k, 2:], truth[:, 2:]) for k in range(3)], axis=1)
    assert found["psnr"] == pytest.approx(decibels.mean(), abs=1e-3)
    by_clip = decibels.mean(axis=2) if per_frame else decibels
    assert found["psnr_best"] == pytest.approx(by_clip.max(axis=1).mean(), abs=1e-3)
    assert found["psnr_best"] > found["psnr"]
    assert found["ssim"] == pytest.approx(similar.mean(), abs=1e-4)
    assert found["ssim_best"] == pytest.approx(similar.mean(axis=2).max(axis=1).mean(), abs=1e-4)
    last = np.repeat(truth[:, 1:2], 3, axis=1)
    assert found["psnr_baseline"] == pytest.approx(psnr(last, truth[:, 2:], per_frame=per_frame).mean())


def test_curves_have_a_value_for_every_made_frame(clips):
    def worse_and_worse(clip, samples):
        return np.clip(clip + 4 / 127.5 * np.arange(FRAMES)[None, :, None, None, None], -1, 1)

    task = evaluate(Guesser(worse_and_worse), protocol(PREDICTION), clips).tasks["prediction"]
    assert task["known"] == [0, 1]
    assert set(task["curves"]) == {"psnr", "ssim", "psnr_aligned", "shift", "sharpness"}
    for curve in task["curves"].values():
        assert {len(values) for values in curve.values()} == {3}
    np.testing.assert_allclose(np.diff(task["curves"]["psnr"]["model"]), 20 * np.log10([2 / 3, 3 / 4]), atol=1e-6)


def test_figures_do_not_depend_on_the_batch_and_are_the_same_twice(clips):
    sampler = Guesser(lambda clip, samples: noisy(0.2, clip, samples))
    rule = protocol(PREDICTION, GENERATION)
    first, again, other = (
        evaluate(sampler, rule, clips, features=features, batch_size=size).tasks for size in (4, 4, 64)
    )
    assert first == again == other


def test_a_collapsed_model_is_told_from_a_calibrated_one(clips):
    """Samples around a blank guess as the data is spread, and samples that are all the same."""
    spread = float(np.std(clips.truth / 127.5))
    calibrated = numbers(Guesser(lambda clip, samples: noisy(spread, 0 * clip, samples)), clips, PREDICTION)
    collapsed = numbers(Guesser(lambda clip, samples: noisy(spread, 0 * clip, 0 * samples)), clips, PREDICTION)
    assert calibrated["calibration"] == pytest.approx(1.0, abs=0.05)
    assert collapsed["calibration"] < 1e-12
    generated = numbers(Guesser(lambda clip, samples: noisy(spread, 0 * clip, samples)), clips, GENERATION)
    same = numbers(Guesser(lambda clip, samples: noisy(spread, 0 * clip, 0 * samples)), clips, GENERATION)
    assert generated["spread_ratio"] == pytest.approx(1.0, abs=0.05) and same["spread_ratio"] < 1e-12


def test_copies_of_training_clips_are_found(clips):
    training = clips.training / np.float32(127.5) - 1
    copier = numbers(Guesser(lambda clip, samples: training[samples % 5]), clips, GENERATION)
    honest = numbers(Guesser(lambda clip, samples: noisy(0.3, 0 * clip, samples)), clips, GENERATION)
    assert copier["copied_share"] == 1.0 and copier["nearest_training_ratio"] < 0.01
    assert honest["nearest_training_ratio"] > 0.9
    blind = numbers(Guesser(lambda clip, samples: clip), dataclasses.replace(clips, training=None), GENERATION)
    assert "copied_share" not in blind


def test_the_frechet_distance_is_of_first_samples_and_the_floor_of_real_clips(clips):
    rule = protocol(PREDICTION, frechet_hold=2)
    seen = []

    def watching(batch):
        seen.append(batch)
        return features(batch)

    sampler = Guesser(lambda clip, samples: noisy(0.3, clip, samples))
    task = evaluate(sampler, rule, clips, features=watching).tasks["prediction"]
    truth, made, second = seen
    np.testing.assert_array_equal(truth, np.repeat(clips.truth, 2, axis=1))
    np.testing.assert_array_equal(second, np.repeat(clips.second, 2, axis=1))
    np.testing.assert_array_equal(made[:, :4], truth[:, :4])  # Known frames count and are whole.
    first = noisy(0.3, clips.truth / np.float32(127.5) - 1, 3 * np.arange(10))[:, 2:]
    assert np.abs(made[:, 4::2] / 127.5 - 1 - first).max() <= 1 / 127.5
    expected = {
        "made": estimate_frechet(features(truth), features(made), bootstrap=5).config,
        "floor": estimate_frechet(features(truth), features(second), bootstrap=5).config,
    }
    assert task["frechet"] == expected and {"precision", "recall", "density", "coverage"} <= set(task["numbers"])


def test_known_frames_can_be_left_out_of_the_frechet_distance(clips):
    seen = []
    rule = protocol(PREDICTION, frechet_counts_known=False)
    evaluate(
        Guesser(lambda clip, samples: clip), rule, clips, features=lambda batch: seen.append(batch) or features(batch)
    )
    assert [batch.shape[1] for batch in seen] == [3, 3, 3]


def test_where_there_is_no_second_set_halves_make_the_floor(clips):
    alone = dataclasses.replace(clips, second=None, truth=np.concatenate([clips.truth, clips.second]))
    rule = dataclasses.replace(protocol(GENERATION), num_clips=20)
    sampler = Guesser(lambda clip, samples: noisy(0.3, 0 * clip, samples))
    floor = evaluate(sampler, rule, alone, features=features).tasks["generation"]["frechet"]["floor"]
    expected = estimate_frechet(features(clips.truth), features(clips.second), bootstrap=5)
    assert floor == expected.config and floor["num_clips"] == (10, 10)


def test_a_task_may_do_without_the_frechet_distance(clips):
    task = dataclasses.replace(PREDICTION, frechet=False)
    found = evaluate(Guesser(lambda clip, samples: clip), protocol(task), clips, features=features).tasks
    assert "frechet" not in found["prediction"]


def test_one_sample_has_no_best(clips):
    found = numbers(Guesser(lambda clip, samples: clip), clips, dataclasses.replace(PREDICTION, samples=1))
    assert {"psnr_best", "ssim_best", "calibration"}.isdisjoint(found)


def test_the_bound_is_of_made_frames_given_the_known_ones(clips):
    from kvdiff.diffusion.sampling.bound import bits_per_dim

    sampler = Guesser(lambda clip, samples: clip)
    found = numbers(sampler, clips, PREDICTION, bits_per_dim_clips=2)
    expected = bits_per_dim(sampler, clips.truth[:2], PREDICTION.known(FRAMES)).total
    assert found["bits_per_dim"] == expected > 0


def test_progress_ends_at_the_whole(clips):
    seen = []
    sampler = Guesser(lambda clip, samples: clip)
    evaluate(sampler, protocol(PREDICTION), clips, batch_size=9, progress=lambda *report: seen.append(report))
    assert seen[-1] == ("prediction", 10, 10) and len(seen) == 4
    assert [size for size, _ in sampler.asked] == [9, 9, 9, 3]


def test_a_model_of_shorter_clips_rolls_out(clips):
    def brighter(clip, samples):
        return np.full_like(clip, 0.5)

    short, whole = Guesser(brighter, frames=FRAMES - 2), Guesser(brighter)
    rule = protocol(PREDICTION, GENERATION, bits_per_dim_clips=2)
    found, expected = (evaluate(sampler, rule, clips).tasks for sampler in (short, whole))
    assert all(sampling["plan"] == "autoregressive" for _, sampling in short.asked)
    assert not any("plan" in sampling for _, sampling in whole.asked)
    for name, task in expected.items():
        # The bound is of whole clips.
        assert task["numbers"].pop("bits_per_dim") > 0 and task == found[name]
    rolling = Guesser(brighter, frames=FRAMES - 2)
    evaluate(rolling, protocol(PREDICTION, GENERATION), clips, plan="rolling")
    assert all(sampling["plan"] == "rolling" for _, sampling in rolling.asked)


def test_a_task_may_be_sampled_in_its_own_way(clips):
    sampler = Guesser(lambda clip, samples: clip)
    how = {"generation": {"spacing": "karras", "num_steps": 9}}
    evaluate(sampler, protocol(PREDICTION, GENERATION), clips, batch_size=64, num_steps=7, by_task=how)
    assert [(sampling.get("spacing"), sampling["num_steps"]) for _, sampling in sampler.asked] == [
        (None, 7),
        ("karras", 9),
    ]
    with pytest.raises(ValueError, match="`by_task`: expected one of .'prediction'.. Received: 'generation'"):
        evaluate(sampler, protocol(PREDICTION), clips, by_task=how)


def test_a_single_clip_can_be_evaluated():
    clip = noise_clips().truth[:1]
    found = evaluate(Guesser(lambda clip, samples: clip), protocol_for(clip), RealClips(clip)).tasks
    assert found["prediction"]["numbers"]["psnr"] == MAX_PSNR
    assert found["generation"]["numbers"]["variance"] > 0 and "spread" not in found["generation"]["numbers"]


def test_clips_that_are_not_the_protocols_are_refused(clips):
    with pytest.raises(ValueError, match=r"`clips`: expected \[9, 5, 12, 12, 1\]. Received: \[10, 5, 12, 12, 1\]"):
        evaluate(Guesser(np.copy), protocol(PREDICTION).reduced(9), clips)
    with pytest.raises(ValueError, match="`truth`: expected uint8 .clips, frames.*Received: float32"):
        RealClips(clips.truth.astype(np.float32))


def test_models_of_other_clips_are_refused(clips):
    with pytest.raises(ValueError, match=r"expects a model of frames of \[12, 12, 1\]. Received: one of \[13, 13, 1\]"):
        evaluate(Guesser(np.copy, size=SIZE + 1), protocol(PREDICTION), clips)
    with pytest.raises(ValueError, match="model of clips of 5 frames or more, for its between. Received: one of 4"):
        evaluate(Guesser(np.copy, frames=FRAMES - 1), protocol(Task("between", past=1, future=1)), clips)
