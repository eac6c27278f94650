"""Conditioning accuracy of exact denoisers that heed their conditions, and of ones that ignore them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, DenoiserEngine, Prediction, Sampler
from kvdiff.diffusion.conditions import ClassLabel, FrameVectors
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.evaluation import ConditioningScore, conditioning_accuracy

FRAMES, PAST, CLIPS, STD = 5, 2, 60, 0.05


def means(conditions):
    """Brightness: a tenth more with every step of the actions so far, and with every class."""
    walked = np.cumsum(conditions["action"][:, :, 0], axis=1) / 10.0 + conditions["scene"][:, None] / 10.0
    return walked[:, :, None, None, None] * np.ones((1, 1, 2, 2, 1))


class Told(Sampler):
    """Around the exact denoiser of clips around `means`, or one that is deaf to some of its conditions."""

    def __init__(self, deaf=()):
        frames = 0.5 ** np.abs(np.subtract.outer(np.arange(FRAMES), np.arange(FRAMES)))
        data = GaussianClips(np.zeros((FRAMES, 2, 2, 1)), np.kron(STD**2 * frames, np.eye(4)))
        rest = OracleSampler(data, ClipSpec(FRAMES, 2, 2, 1), cosine(50), Prediction("v"))
        asked = []

        def denoise(noisy_clip, noise_label, inputs):
            heard = {name: 0 * value if name in deaf else value for name, value in inputs.items()}
            asked.append(inputs)
            alpha, sigma = (level[..., None, None, None] for level in rest.spec.schedule.level_of_label(noise_label))
            x_0 = means(heard)
            of_the_rest = {"frame_times": np.arange(FRAMES)[None]}
            # v = alpha eps - sigma x_0, and eps does not depend on what the clips lie around.
            return rest.engine.denoise(noisy_clip - alpha * x_0, noise_label, of_the_rest) - sigma * x_0

        conditions = {"action": FrameVectors(1), "scene": ClassLabel(3)}
        spec = dataclasses.replace(rest.spec, conditions=conditions)
        super().__init__(spec, DenoiserEngine(denoise), np.float64)
        vars(self)["asked"] = asked


@pytest.fixture(scope="module")
def held_out():
    draw = np.random.default_rng(0)
    conditions = {
        "action": draw.integers(-1, 2, (CLIPS, FRAMES, 1)).astype(np.float32),
        "scene": draw.integers(0, 3, CLIPS),
    }
    clips = means(conditions) + STD * draw.normal(size=(CLIPS, FRAMES, 2, 2, 1))
    return clips.astype(np.float32), conditions


def accuracy(sampler, held_out, **options):
    return conditioning_accuracy(sampler, *held_out, num_steps=5, **{"past": PAST, **options})


def test_a_model_that_heeds_its_conditions_is_told_from_one_that_ignores_them(held_out):
    heeding, ignoring = accuracy(Told(), held_out), accuracy(Told(deaf=("action", "scene")), held_out)
    assert heeding.accuracy > heeding.chance + 10 * heeding.standard_error
    assert ignoring.accuracy == ignoring.chance == 0.25


def test_each_condition_is_held_to_account_alone(held_out):
    sampler = Told(deaf=("scene",))
    assert accuracy(sampler, held_out, swapped=["scene"], others=2).accuracy == pytest.approx(1 / 3)
    assert accuracy(sampler, held_out, swapped=["action"], others=2).accuracy > 0.6


def test_conditions_of_generation(held_out):
    assert accuracy(Told(), held_out, past=0, swapped=["scene"], others=2).accuracy > 0.8


def test_the_future_alone_is_swapped_and_never_for_the_same(held_out):
    sampler, (_, own) = Told(), held_out
    accuracy(sampler, held_out, swapped=["action"], batch_size=CLIPS)
    told = np.stack([inputs["action"] for inputs in sampler.asked[::5]])  # The first call of each of four sets.
    np.testing.assert_array_equal(told[0], own["action"])
    np.testing.assert_array_equal(told[:, :, :PAST], np.broadcast_to(own["action"][:, :PAST], told[:, :, :PAST].shape))
    for first in range(4):
        for second in range(first):
            assert (told[first] != told[second]).any(axis=(1, 2)).all()


def test_the_error_is_that_of_the_made_frames(held_out):
    clips, conditions = held_out
    errors = accuracy(Told(), held_out).errors
    made = Told().predict_frames(clips[:, :PAST], conditions=conditions, num_steps=5)
    np.testing.assert_allclose(errors[:, 0], np.square(made - clips[:, PAST:]).mean(axis=(1, 2, 3, 4)))


def test_equals_share_the_credit():
    score = ConditioningScore(np.array([[1.0, 1.0, 2.0], [1.0, 3.0, 2.0], [2.0, 1.0, 1.0]]))
    assert score.accuracy == pytest.approx((0.5 + 1.0 + 0.0) / 3)
    assert score.config == {
        "accuracy": score.accuracy,
        "chance": pytest.approx(1 / 3),
        "standard_error": pytest.approx(np.sqrt(2 / 27)),
        "num_clips": 3,
    }


def test_refuses_what_cannot_be_compared(held_out):
    clips, conditions = held_out
    with pytest.raises(ValueError, match="expected at least 4 different ones among the clips.*Received: 3"):
        accuracy(Told(), held_out, swapped=["scene"])
    with pytest.raises(ValueError, match="`conditions`: expected one of .*'action', 'scene'.*Received: 'camera'"):
        accuracy(Told(), (clips, {"camera": conditions["scene"]}))
    with pytest.raises(ValueError, match="`conditions`: expected at least one of .*Received: none"):
        accuracy(Told(), (clips, {}))
    with pytest.raises(ValueError, match="`swapped`: expected one of .*Received: 'camera'"):
        accuracy(Told(), held_out, swapped=["camera"])
    with pytest.raises(ValueError, match="`past`: expected an integer from 0 to 4. Received: 5"):
        accuracy(Told(), held_out, past=5)
