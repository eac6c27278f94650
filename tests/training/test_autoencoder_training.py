"""An autoencoder trains as the denoiser does: resumed exactly, over replicas, in parts, in bfloat16."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.training.devices import outcome

CLIPS = np.random.default_rng(0).uniform(-1, 1, (12, 2, 6, 8, 1)).astype(np.float32)


def make(**arguments: Any) -> kvdiff.VideoAutoencoder:
    keras.utils.set_random_seed(0)
    model = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=2, widths=(4,), blocks=1, kl=1e-2, **arguments)
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    return model


class Stop(keras.callbacks.Callback):
    """Ends the training in mid-epoch as a crash does."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations == 5:
            raise KeyboardInterrupt


def fit(folder: Any, callbacks: Any = ()) -> kvdiff.VideoAutoencoder:
    model, batches = make(), ClipBatches(CLIPS, 4)
    checkpoint = TrainingCheckpoint(folder, batches, every=1)
    options: dict[str, Any] = dict(steps_per_epoch=3, epochs=3, verbose=0)
    model.fit(checkpoint.dataset(), callbacks=[*callbacks, checkpoint], **options)
    return model


def test_a_training_that_was_cut_off_goes_on_exactly(tmp_path: Any) -> None:
    whole = fit(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", [Stop()])
    again = fit(tmp_path / "cut")
    assert again.digest == whole.digest  # Weights, averages and the latent's statistics.
    opened = kvdiff.load_autoencoder(tmp_path / "cut")
    assert opened.digest == whole.digest


def test_bfloat16_computes_in_it_and_keeps_float32_weights() -> None:
    model = make(dtype="mixed_bfloat16")
    block = model.encoder.get_layer("level0_block0")
    assert block.compute_dtype == "bfloat16" and {v.dtype for v in model.trainable_variables} == {"float32"}
    history = model.fit(CLIPS, batch_size=4, epochs=4, verbose=0).history["loss"]
    assert np.isfinite(history).all() and history[-1] < history[0]
    codec = model.codec((6, 8, 1))
    assert codec.encode(CLIPS).dtype == np.float32
    exact = model.frozen("float32").codec((6, 8, 1))
    np.testing.assert_allclose(codec.encode(CLIPS), exact.encode(CLIPS), atol=0.1)


def test_parts_of_a_batch_make_one_step() -> None:
    models = []
    for parts in (1, 2):
        model = make()
        model.compile(keras.optimizers.SGD(0.1), micro_batches=parts)
        model.fit(CLIPS, batch_size=12, epochs=2, shuffle=False, verbose=0)
        models.append(model)
    for one, other in zip(*(m.trainable_variables for m in models), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(*(m.moments.constants() for m in models), strict=True):
        np.testing.assert_allclose(one, other, atol=5e-3)


MIRRORED = """
import json, numpy as np, tensorflow as tf
from tests.training.devices import two_cpus
from tests.training.test_autoencoder_training import CLIPS, make

two, one = two_cpus(), tf.distribute.get_strategy()
found = []
for strategy in (one, two):
    with strategy.scope():
        model = make()
        data = tf.data.Dataset.from_tensor_slices(CLIPS).batch(4)
    model.fit(data, epochs=3, verbose=0, shuffle=False)
    found.append([v.numpy() for v in model.trainable_variables] + list(model.moments.constants()))
print("RESULT", json.dumps([float(np.abs(a - b).max()) for a, b in zip(*found)]))
"""


def test_two_replicas_train_as_one_does() -> None:
    """Noise of the latent, weights and its statistics; the last batch is short."""
    assert max(outcome(MIRRORED)) < 1e-4


def test_a_denoisers_checkpoint_has_its_autoencoder_too(tmp_path: Any) -> None:
    clip, label = keras.Input((None, None, None, 2), name="noisy_clip"), keras.Input((None,), name="noise_label")
    denoiser = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(2)(clip))
    model = kvdiff.VideoDiffusion((2, 6, 8, 1), denoiser, codec=make())
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.9))
    batches = ClipBatches(CLIPS, 4)
    checkpoint = TrainingCheckpoint(tmp_path, batches)
    model.fit(checkpoint.dataset(), steps_per_epoch=3, epochs=1, callbacks=[checkpoint], verbose=0)
    opened = kvdiff.load_model(tmp_path)
    assert opened.autoencoder.digest == model.autoencoder.digest and opened.spec.codec == model.spec.codec
    past = CLIPS[:2, :1]
    np.testing.assert_array_equal(opened.predict_frames(past, num_steps=2), model.predict_frames(past, num_steps=2))
