"""A model with LoRA is exported merged: the same samples, and a file like that of a model without."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf

import kvdiff
from kvdiff.export import export_onnx, export_saved_model
from kvdiff.export.denoiser import float32_twin
from kvdiff.layers import FoldedConv3D
from kvdiff.models.lora import low_rank_layers
from kvdiff.runtime import open_sampler

PAST = np.random.default_rng(0).uniform(-1, 1, (2, 2, 8, 8, 1)).astype(np.float32)
HOW = dict(num_steps=3, solver="dpmpp_2m", seed=2)


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(3)
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    x = FoldedConv3D(6, name="conv")(keras.layers.Dense(4, activation="tanh", name="dense")(clip))
    made = kvdiff.VideoDiffusion(
        (4, 8, 8, 1), keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(1, name="last")(x))
    )
    made.enable_lora(2, alpha=5.0)
    for layer in low_rank_layers(made.denoiser):
        layer.lora_kernel_b.assign(0.3 * np.random.default_rng(1).normal(size=layer.lora_kernel_b.shape))
    return made


def plain(model: kvdiff.VideoDiffusion) -> kvdiff.VideoDiffusion:
    """The same, merged in place."""
    copy = kvdiff.VideoDiffusion.from_config(model.get_config())
    copy.set_weights(model.get_weights())
    copy.merge_lora()
    return copy


def test_onnx(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    graphs = [onnx.load(export_onnx(each, tmp_path / name)).graph for name, each in (("a", model), ("b", plain(model)))]
    for part in ("node", "initializer"):
        assert len(getattr(graphs[0], part)) == len(getattr(graphs[1], part))
    made = open_sampler(tmp_path / "a").predict_frames(PAST, **HOW)
    np.testing.assert_allclose(made, model.predict_frames(PAST, **HOW), atol=1e-5)
    assert model.lora == {"rank": 2, "alpha": 5.0} and low_rank_layers(model.denoiser)  # As it was.


def test_saved_model(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    path = export_saved_model(model, tmp_path / "serving", pixels="float32", num_steps=2, max_calls=4)
    np.testing.assert_allclose(
        open_sampler(path).predict_frames(PAST, **HOW), model.predict_frames(PAST, **HOW), atol=1e-5
    )


def test_keras_own_export(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    model.export(tmp_path / "network", verbose=False)
    call = {"noisy_clip": np.float32(np.ones((1, 4, 8, 8, 1))), "noise_label": np.full((1, 4), 0.5, np.float32)}
    loaded = tf.saved_model.load(str(tmp_path / "network"))
    np.testing.assert_allclose(loaded.serve(call), model.denoiser(call), atol=1e-5)
    assert len(loaded.variables) == len(plain(model).denoiser.weights)


def test_the_twin_has_no_factors(model: kvdiff.VideoDiffusion) -> None:
    assert not low_rank_layers(float32_twin(model.denoiser))
    merged = plain(model).denoiser
    assert float32_twin(merged) is merged
