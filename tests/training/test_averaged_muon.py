"""Muon whose average suits a training of any length."""

import keras
import numpy as np
import pytest

from kvdiff.training import AveragedMuon


def averages(optimizer, values):
    """The average after each of a variable's values, which a gradient-free optimizer is made to take."""
    variable = keras.Variable(np.zeros((2, 2), "float32"))
    optimizer.build([variable])
    found = []
    for value in values:
        variable.assign(np.full((2, 2), value, "float32"))
        optimizer._update_model_variables_moving_average([variable])
        optimizer._iterations.assign_add(1)
        found.append(float(np.array(optimizer._model_variables_moving_average[0])[0, 0]))
    return found


def test_the_average_reaches_back_over_a_tenth_of_the_steps_so_far_and_no_further_than_its_momentum():
    values = np.random.default_rng(0).normal(size=200)
    expected, average = [], 0.0
    for step, value in enumerate(values):
        momentum = min(0.9, step / (10 + step))
        average = momentum * average + (1 - momentum) * value
        expected.append(average)
    np.testing.assert_allclose(averages(AveragedMuon(1e-3, ema_momentum=0.9), values), expected, atol=1e-5)


def test_without_averages_it_is_muon():
    weights = []
    for optimizer in (AveragedMuon(1e-2, use_ema=False), keras.optimizers.Muon(1e-2)):
        variable = keras.Variable(np.arange(6, dtype="float32").reshape(2, 3))
        optimizer.apply([np.ones((2, 3), "float32")], [variable])
        weights.append(np.array(variable))
    np.testing.assert_array_equal(*weights)


def test_it_is_rebuilt_from_its_config():
    optimizer = AveragedMuon(1e-2, ema_momentum=0.95, exclude_layers=["head"])
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is AveragedMuon and again.get_config() == optimizer.get_config()
    assert again.use_ema and again.ema_momentum == pytest.approx(0.95)
