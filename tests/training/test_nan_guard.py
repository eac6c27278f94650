"""A step that is not finite changes nothing, and says which it was."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kvdiff.training import ClipBatches, TrainingCheckpoint
from kvdiff.training.nan_guard import FiniteLoss, naming_the_step
from tests.training.trainings import BATCH, STEPS, clips, digest, make_model


class Poisoned(ClipBatches):
    """Data of which one step's clips hold a NaN."""

    bad_step = 2 * STEPS + 3

    def dataset(self, start_step=0):
        import tensorflow as tf

        number = tf.data.Dataset.range(start_step, tf.int64.max)
        nan = lambda clip, step: clip + tf.where(step == self.bad_step, np.nan, 0.0)  # noqa: E731
        return tf.data.Dataset.zip(super().dataset(start_step), number).map(nan)


def fit(model, checkpoint, **options):
    callbacks = [checkpoint, *options.pop("callbacks", [])]
    length = dict(steps_per_epoch=STEPS, epochs=9)
    model.fit(checkpoint.dataset(), callbacks=callbacks, verbose=0, shuffle=False, **length, **options)


def everything(model):
    """Of a model whose `fit` has ended, with the raw weights."""
    raw = model._raw_weights.values()
    return digest([*(raw.get(id(v), v) for v in model.trainable_variables), *model.optimizer.variables])


@pytest.mark.parametrize("bad", ["data", "weights"])
def test_a_planted_nan_stops_at_once_and_the_last_good_checkpoint_stays(tmp_path, bad):
    model, states = make_model(keras.optimizers.Adam(3e-2, use_ema=True, ema_momentum=0.9)), []

    def watch(batch, logs=None):
        if bad == "weights" and len(states) + 1 == Poisoned.bad_step:  # Finite, but its square is not.
            model.trainable_variables[2].assign(model.trainable_variables[2] * 1e25)
        states.append(everything(model))

    data = (Poisoned if bad == "data" else ClipBatches)(clips(), BATCH)
    checkpoint = TrainingCheckpoint(tmp_path, data, every=4)
    error, text = (ValueError, "clips: expected .* no NaN") if bad == "data" else (FloatingPointError, ".*gradients")
    with pytest.raises(error, match=f"training step {Poisoned.bad_step + 1}: {text}"):
        fit(model, checkpoint, callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=watch)])
    assert len(states) == Poisoned.bad_step
    assert everything(model) == states[-1]  # Of weights, averages, moments and counter nothing moved.
    assert TrainingCheckpoint(tmp_path, data).step == 12


def test_a_loss_scale_skips_overflows_and_stops_when_they_do_not_end():
    inner = keras.optimizers.SGD(0.1)
    model = make_model(keras.optimizers.LossScaleOptimizer(inner, initial_scale=4.0))
    model.trainable_variables[0].assign(model.trainable_variables[0] * np.nan)
    with pytest.raises(FloatingPointError, match="training step 1:"):
        model.fit(clips(), batch_size=BATCH, epochs=2, verbose=0)
    assert float(model.optimizer.dynamic_scale) == 0.5 and int(inner.iterations) == 0  # 4, 2, 1, and then no more.


def test_where_a_graph_has_no_assertions_the_loss_is_looked_at():
    model = make_model(keras.optimizers.SGD(0.1))
    guard = FiniteLoss()
    guard.set_model(model)
    guard.on_train_batch_end(0, {"loss": 1.0})
    with pytest.raises(FloatingPointError, match="training step 0: expected finite loss"):
        guard.on_train_batch_end(0, {"loss": float("nan")})


def test_other_errors_pass_as_they_are():
    with pytest.raises(ZeroDivisionError), naming_the_step(make_model()):
        print(1 / 0)
