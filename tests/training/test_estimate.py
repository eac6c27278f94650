"""What a training takes, by its first steps."""

import keras
import numpy as np
import pytest

from kvdiff.training import Annealed, TrainingEstimate, estimate_training
from kvdiff.training.estimate import in_words
from tests.training.test_budget import clips, tiny_model


def test_steps_and_seconds_of_a_training():
    estimate = TrainingEstimate(first_step=20.0, step=0.5, memory_mib=2048.0)
    assert estimate.seconds(1) == 20.0 and estimate.seconds(81) == 60.0
    assert estimate.steps(60.0) == 81 and estimate.steps(1.0) == 1
    assert str(estimate) == "A step takes 0.5 s after a first one of 20 s, and 2.0 GiB of memory."
    assert str(TrainingEstimate(20.0, 0.5, float("nan"))) == "A step takes 0.5 s after a first one of 20 s."


def test_seconds_are_the_median_after_the_first_and_memory_is_the_process_peak(monkeypatch):
    monkeypatch.setattr("kvdiff.training.estimate.peak_memory_mib", lambda: 7.0)
    assert TrainingEstimate.of([9.0, 1.0, 2.0, 8.0]) == TrainingEstimate(9.0, 2.0, 7.0)


@pytest.mark.parametrize(
    ("argument", "call"),
    [
        ("steps", lambda: estimate_training(None, None, steps=0)),
        ("steps", lambda: TrainingEstimate(1.0, 1.0, 1.0).seconds(0)),
    ],
)
def test_refuses_by_name(argument, call):
    with pytest.raises(ValueError, match=f"`{argument}`: expected"):
        call()


def test_a_model_that_is_not_compiled_is_refused():
    with pytest.raises(ValueError, match="`model`: expected a compiled Keras model"):
        estimate_training(tiny_model(), clips(2))


def test_a_new_optimizer_has_no_memory_of_the_steps():
    model = tiny_model()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True))
    weights = model.get_weights()
    estimate_training(model, clips(2), steps=1)
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))
    moments = [v for v in model.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
    assert moments and not any(np.abs(v.numpy()).max() for v in moments)


def test_timing_a_step_leaves_the_model_as_it_was_and_the_step_traced():
    model = tiny_model()
    rate = Annealed(1e-2, 1, 100)
    model.compile(keras.optimizers.Adam(rate, use_ema=True))
    model.train_on_batch(clips(2))
    before = [np.array(v) for v in (*model.variables, *model.optimizer.variables)]
    assert estimate_training(model, clips(2), steps=2).step > 0
    after = [np.array(v) for v in (*model.variables, *model.optimizer.variables)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    function = model.train_function
    rate.steps = 2  # The last step of two changes nothing but the counters: the traced step sees the new length.
    model.train_on_batch(clips(2))
    weights = model.get_weights()
    model.train_on_batch(clips(2))
    assert model.train_function is function
    assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights(), strict=True))


@pytest.mark.parametrize(("seconds", "words"), [(40, "40 seconds"), (600, "10 minutes"), (9000, "2.5 hours")])
def test_durationsin_words(seconds, words):
    assert in_words(seconds) == words
