"""The first training step: its graph is made once, and makes no variables."""

import keras
import numpy as np
import pytest

import kvdiff


class Counting(kvdiff.VideoDiffusion):
    """Counts how often Python runs its training step: once a tracing."""

    traced = 0

    def train_step(self, data):
        self.traced += 1
        return super().train_step(data)


def made(**compiling):
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    model = Counting((2, 4, 4, 1), keras.Model(inputs, keras.layers.Dense(1)(inputs["noisy_clip"])))
    model.compile(**compiling)
    return model


CLIPS = np.zeros((4, 2, 4, 4, 1), np.float32)


@pytest.mark.parametrize("compiling", [{}, {"micro_batches": 2}, {"steps_per_execution": 2}])
def test_fit_traces_the_step_once(compiling):
    model = made(**compiling)
    model.fit(CLIPS, batch_size=2, epochs=2, verbose=0)
    assert int(model.optimizer.iterations) == 4 and model.traced == 1


def test_a_batch_of_clips_alone_can_be_trained_on():
    model = made()
    before = [np.asarray(v) for v in model.trainable_variables]
    losses = [model.train_on_batch(CLIPS[:2]) for _ in range(2)]
    assert np.isfinite(losses).all() and model.traced == 1 and int(model.optimizer.iterations) == 2
    assert all((np.asarray(v) != b).any() for v, b in zip(model.trainable_variables, before, strict=True))
