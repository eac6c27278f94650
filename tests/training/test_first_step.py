"""The first training step: its graph is made once, and makes no variables."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvdiff


class Counting(kvdiff.VideoDiffusion):
    """Counts how often Python runs its training step and its network: once a tracing."""

    traced = called = 0
    is_nested = None

    def train_step(self, data):
        self.traced += 1
        graph = tf.compat.v1.get_default_graph()
        self.is_nested = isinstance(graph.outer_graph, type(graph))
        return super().train_step(data)

    def call(self, inputs, training=None):
        self.called += 1
        return super().call(inputs, training)


def made(**compiling):
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    model = Counting((2, 4, 4, 1), keras.Model(inputs, keras.layers.Dense(1)(inputs["noisy_clip"])))
    model.compile(**compiling)
    return model


CLIPS = np.zeros((4, 2, 4, 4, 1), np.float32)


@pytest.mark.parametrize("compiling", [{}, {"micro_batches": 2}, {"steps_per_execution": 2}])
def test_fit_traces_step_and_network_once(compiling):
    model = made(**compiling)
    model.fit(CLIPS, batch_size=2, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 4 and model.traced == 1 and model.called == 1


def test_a_step_alone_is_no_function_within_another():
    single, several = made(), made(steps_per_execution=2)
    for model in (single, several):
        model.fit(CLIPS, batch_size=2, verbose=0)
    assert several.is_nested and not single.is_nested


def test_data_that_ends_within_an_epoch_ends_it(recwarn):
    model = made()
    data = tf.data.Dataset.from_tensor_slices(CLIPS).batch(2).repeat(2)
    history = model.fit(data, epochs=2, steps_per_epoch=3, verbose=0)
    assert int(model.optimizer.iterations) == 4 and len(history.history["loss"]) == 2
    assert any("ran out of data" in str(warning.message) for warning in recwarn)


def test_metrics_are_made_before_the_graph():
    model = made(metrics=["mae"])
    history = model.fit(CLIPS, batch_size=2, verbose=0).history
    assert np.isfinite(history["mae"]).all() and model.traced == 1


def test_a_batch_of_clips_alone_can_be_trained_on():
    model = made()
    before = [np.asarray(v) for v in model.trainable_variables]
    losses = [model.train_on_batch(CLIPS[:2]) for _ in range(2)]
    assert np.isfinite(losses).all() and model.traced == 1 and int(model.optimizer.iterations) == 2
    assert all((np.asarray(v) != b).any() for v, b in zip(model.trainable_variables, before, strict=True))
