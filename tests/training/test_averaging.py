"""Averaged weights to sample with, raw weights to train on from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kvdiff.training import ClipBatches, averaged
from kvdiff.training.averaging import averages
from tests.training.trainings import BATCH, STEPS, clips, digest, make_model


def optimizer():
    return keras.optimizers.Adam(3e-2, use_ema=True, ema_momentum=0.9)


def fit(model, start, epochs):
    data = ClipBatches(clips(), BATCH).dataset(start * STEPS)
    model.fit(data, steps_per_epoch=STEPS, initial_epoch=start, epochs=epochs, verbose=0, shuffle=False)


def everything(model):
    return digest([*model.variables, *model.optimizer.variables])


@pytest.fixture(scope="module")
def twice():
    """Trained for one epoch and for one more."""
    model = make_model(optimizer())
    fit(model, 0, 1)
    fit(model, 1, 2)
    return model


def test_a_further_fit_goes_on_from_the_raw_weights(twice):
    once = make_model(optimizer())
    fit(once, 0, 2)
    assert everything(twice) == everything(once)


def test_after_fit_the_model_has_the_averages(twice):
    assert digest(twice.trainable_variables) == digest(averages(twice.optimizer))


def test_weights_that_were_changed_in_between_are_what_a_further_fit_goes_on_from(twice):
    model = twice
    model.set_weights([np.zeros_like(weight) for weight in model.get_weights()])
    model.optimizer.learning_rate = 0.0
    fit(model, 2, 3)
    assert all(not np.any(weight) for weight in model._raw_weights._raw)


def test_inside_the_block_the_model_is_averaged_and_afterwards_as_before():
    model = make_model(optimizer())
    model.optimizer.build(model.trainable_variables)
    raw, means = digest(model.variables), averages(model.optimizer)
    for mean in means:
        mean.assign(np.full(mean.shape, 0.25, np.float32))
    with averaged(model) as same:
        assert same is model and all(np.all(weight == 0.25) for weight in model.trainable_weights)
    assert digest(model.variables) == raw


def test_an_optimizer_without_averages_changes_nothing():
    model = make_model(keras.optimizers.SGD(0.1))
    before = digest(model.variables)
    with averaged(model):
        assert digest(model.variables) == before
