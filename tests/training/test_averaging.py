"""Averaged weights to sample with, raw weights to train on from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.training import ClipBatches, averaged
from kvdiff.training.averaging import averages
from tests.training.trainings import BATCH, STEPS, clips, digest, make_model


def optimizer():
    return keras.optimizers.Adam(3e-2, use_ema=True, ema_momentum=0.9)


def fit(model, start, epochs, *callbacks, **options):
    data = ClipBatches(clips(), BATCH).dataset(start * STEPS)
    times = dict(steps_per_epoch=STEPS, initial_epoch=start, epochs=epochs)
    return model.fit(data, **times, callbacks=list(callbacks), verbose=0, shuffle=False, **options).history


def weights_of(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_variables]


def is_same(weights, others):
    return all(np.array_equal(weight, other) for weight, other in zip(weights, others, strict=True))


class Watch(keras.callbacks.Callback):
    """Keeps what the model has where callbacks and validation look at it, and the averages then."""

    def __init__(self):
        super().__init__()
        self.seen, self.means, self.in_steps = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.in_steps.append(weights_of(self.model))

    def on_test_batch_begin(self, batch, logs=None):
        self.on_epoch_end(None)

    def on_epoch_end(self, epoch, logs=None):
        self.seen.append(weights_of(self.model))
        self.means.append([keras.ops.convert_to_numpy(mean) for mean in averages(self.model.optimizer)])


def everything(model):
    return digest([*model.variables, *model.optimizer.variables])


@pytest.fixture(scope="module")
def twice():
    """Trained for one epoch and for one more."""
    model = make_model(optimizer())
    fit(model, 0, 1)
    fit(model, 1, 2)
    return model


@pytest.fixture(scope="module")
def once():
    """The digest of what one training of two epochs ends with, and of its optimizer alone."""
    model = make_model(optimizer())
    fit(model, 0, 2)
    return everything(model), digest(model.optimizer.variables)


def test_a_further_fit_goes_on_from_the_raw_weights(twice, once):
    assert everything(twice) == once[0]


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
    model.optimizer.iterations.assign(1)
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


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """Two epochs with validation, kept by Keras' own callbacks."""
    folder, watch = tmp_path_factory.mktemp("kept"), Watch()
    best = keras.callbacks.ModelCheckpoint(folder / "best.keras", save_best_only=True, mode="max", monitor="number")
    number = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(number=epoch))
    often = keras.callbacks.ModelCheckpoint(folder / "{batch}.weights.h5", save_freq=2, save_weights_only=True)
    stopping = keras.callbacks.EarlyStopping("number", mode="min", restore_best_weights=True, patience=9)
    model = make_model(optimizer())
    history = fit(model, 0, 2, watch, number, best, often, stopping, validation_data=clips()[:8])
    return folder, model, watch, history


def test_validation_and_callbacks_see_the_averages_and_steps_do_not(watched):
    _, _, watch, _ = watched
    assert len(watch.seen) == 4 and all(is_same(*pair) for pair in zip(watch.seen, watch.means, strict=True))
    assert not any(is_same(seen, step) for seen in watch.seen for step in watch.in_steps)


def test_being_watched_changes_no_bit_of_the_training(watched, once):
    _, model, _, _ = watched
    assert digest(model.optimizer.variables) == once[1]


def test_the_validation_loss_is_that_of_what_is_kept(watched):
    folder, _, watch, history = watched
    best = kvdiff.load_model(folder / "best.keras", compile=False)
    assert is_same(weights_of(best), watch.means[-1])
    best.compile()
    assert best.evaluate(clips()[:8], verbose=0) == pytest.approx(history["val_loss"][-1], rel=1e-6)


def test_early_stopping_restores_the_averages_of_the_best_epoch(watched):
    _, model, watch, _ = watched
    assert is_same(weights_of(model), watch.means[1])


def test_what_is_kept_in_mid_epoch_is_what_would_sample(watched):
    folder, _, watch, _ = watched
    twin = make_model(optimizer())
    twin.load_weights(folder / "2.weights.h5")
    for kept, *steps in zip(weights_of(twin), *watch.in_steps, strict=True):
        mean = steps[0]
        for step in steps[1 : STEPS + 2]:  # The second epoch's second step wrote the file last.
            mean = 0.9 * mean + 0.1 * step
        np.testing.assert_allclose(kept, mean, rtol=1e-5, atol=1e-6)


def test_after_ctrl_c_the_model_has_the_averages_and_goes_on_from_its_raw_weights(once):
    model = make_model(optimizer())

    def interrupt(batch, logs=None):
        if int(model.optimizer.iterations) == 2 * STEPS - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, 0, 2, keras.callbacks.LambdaCallback(on_train_batch_end=interrupt))
    assert digest(model.trainable_variables) == digest(averages(model.optimizer))
    last = ClipBatches(clips(), BATCH).dataset(2 * STEPS - 1)
    model.fit(last, steps_per_epoch=1, verbose=0, shuffle=False)
    assert everything(model) == once[0]


def test_before_the_first_update_the_weights_are_their_own_average():
    model = make_model(optimizer())
    before = digest(model.trainable_variables)

    def interrupt(batch, logs=None):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(model, 0, 1, keras.callbacks.LambdaCallback(on_train_batch_begin=interrupt))
    with averaged(model):
        assert digest(model.trainable_variables) == before
    assert digest(model.trainable_variables) == before
