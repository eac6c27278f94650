"""A training of so many steps: the learning rate's end, and the last step."""

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.training import Annealed, StepBudget
from tests.training.trainings import tiny_denoiser


def test_the_rate_rises_in_a_line_and_falls_in_a_cosine():
    rate = Annealed(0.4, 4, 20)
    rates = np.array([float(rate(step)) for step in range(21)])
    np.testing.assert_allclose(rates[:4], [0.1, 0.2, 0.3, 0.4], rtol=1e-6)
    np.testing.assert_allclose(rates[4:], 0.2 * (1 + np.cos(np.pi * np.arange(17) / 16)), atol=1e-6)


def test_its_length_may_change_and_a_short_one_has_a_short_warm_up():
    rate = Annealed(1.0, 100, 50)
    rate.steps = 8
    assert [round(float(rate(step)), 3) for step in (0, 1, 2, 8, 9)] == [0.5, 1.0, 1.0, 0.0, 0.0]
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(rate))
    assert again.get_config() == rate.get_config() == {"peak": 1.0, "warmup_steps": 100, "steps": 8}


@pytest.mark.parametrize(("argument", "value"), [("peak", 0.0), ("warmup_steps", -1), ("steps", 0)])
def test_refuses_by_name(argument, value):
    with pytest.raises(ValueError, match=f"`{argument}`: expected"):
        Annealed(**{"peak": 1.0, argument: value})


def tiny_model():
    return kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser())


def clips(count, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (count, 4, 8, 8, 1)).astype("float32")


def test_a_budget_ends_in_mid_epoch_and_says_what_is_left():
    model, said = tiny_model(), []
    model.compile("sgd")
    model.fit(clips(6), batch_size=2, epochs=5, verbose=0, callbacks=[StepBudget(4, said.append, every=0.0)])
    assert int(model.optimizer.iterations) == 4
    assert [line.split(" steps")[0] for line in said] == ["1 of 4", "2 of 4", "3 of 4"] and "left." in said[0]


def test_a_budget_says_after_ten_steps_what_the_training_takes(monkeypatch):
    model, said, clock = tiny_model(), [], iter([100.0, *np.arange(120.0, 200.0, 2.0)])
    monkeypatch.setattr("kvdiff.training.budget.time.monotonic", lambda: next(clock))
    model.compile("sgd")
    budget = StepBudget(31, said.append, every=1e9)
    model.fit(clips(12), batch_size=1, epochs=1, verbose=0, callbacks=[budget])
    (line,) = said
    assert line.startswith("A step takes 2 s after a first one of 20 s, and ")
    assert line.endswith(" GiB of memory. 31 steps take about 80 seconds.")
