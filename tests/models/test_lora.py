"""LoRA: what trains, what is kept, and that a merged model is the same one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff import layers
from kvdiff.models.lora import low_rank_layers, plain_copy
from kvdiff.training import ClipBatches, TrainingCheckpoint

SHAPE = (3, 8, 8, 1)
CLIPS = np.random.default_rng(0).uniform(-1, 1, (8, *SHAPE)).astype(np.float32)


def small() -> Any:
    """Every kind of kernel that is tuned, and one that is not (`FrameUpsample`), traced in a second."""
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    x = layers.PatchMerge(6, 2, name="merge")(clip)
    x = layers.FoldedConv3D(6, name="conv")(keras.layers.Dense(6, activation="tanh", name="dense")(x))
    x = layers.FrameUpsample(6, name="up")(layers.FrameDownsample(6, name="down")(x))
    return keras.Model({"noisy_clip": clip, "noise_label": label}, layers.PatchSplit(1, 2, name="split")(x))


NETWORKS = {
    "small": small,
    "unet": lambda: kvdiff.UNet3D(1, widths=(24,), blocks=1, attention=("space_time",)),
    "transformer": lambda: kvdiff.models.VideoTransformer(1, width=24, blocks=1, heads=2, patch_size=4),
    "factorised": lambda: kvdiff.models.FactorisedUNet3D(1, width=8, multipliers=(1, 2), heads=1),
}
KINDS = {
    "small": {"Dense", "FoldedConv3D", "Conv2D"},
    "unet": {"Dense", "FoldedConv3D"},
    "transformer": {"Dense"},
    "factorised": {"Dense", "FoldedConv3D", "Conv2D"},
}
EACH = ["small", *(pytest.param(name, marks=pytest.mark.slow) for name in ("unet", "transformer", "factorised"))]


def model_of(network: str = "small", *, rank: int | None = 2, rate: float = 1e-2) -> Any:
    """A model with every weight away from its start, with LoRA of a rank, compiled."""
    keras.utils.set_random_seed(1)
    denoiser = NETWORKS[network]()
    rng = np.random.default_rng(2)
    denoiser.set_weights([weight + 0.1 * rng.standard_normal(weight.shape) for weight in denoiser.get_weights()])
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, seed=4)
    if rank is not None:
        model.enable_lora(rank)
    model.compile(keras.optimizers.Adam(rate))
    return model


def predicted(model: Any) -> np.ndarray:
    return model.predict_frames(CLIPS[:2, :1], num_steps=2, solver="ddim")


@pytest.mark.parametrize("network", EACH)
def test_only_factors_train_and_merged_is_the_same_model(network: str) -> None:
    model, plain = model_of(network), model_of(network, rank=None)
    np.testing.assert_array_equal(predicted(model), predicted(plain))  # And both are traced.
    factors = {id(f) for layer in low_rank_layers(model.denoiser) for f in (layer.lora_kernel_a, layer.lora_kernel_b)}
    assert {id(weight) for weight in model.trainable_variables} == factors
    kinds = {type(layer).__name__ for layer in low_rank_layers(model.denoiser)}
    assert kinds == KINDS[network]
    factors_before = [weight.numpy() for weight in model.trainable_variables]
    frozen = [(weight, weight.numpy()) for weight in model.denoiser.weights if id(weight) not in factors]
    model.fit(CLIPS, batch_size=4, epochs=1, verbose=0)
    assert all((weight.numpy() == before).all() for weight, before in frozen)
    pairs = zip(model.trainable_variables, factors_before, strict=True)
    assert all((weight.numpy() != before).any() for weight, before in pairs)
    after = predicted(model)
    assert np.abs(after - predicted(plain)).max() > 1e-3

    sampler, copy = model.sampler, plain_copy(model.denoiser)
    assert [w.shape for w in copy.weights] == [w.shape for w in plain.denoiser.weights]
    call = {"noisy_clip": CLIPS, "noise_label": np.full((8, 3), 0.5, np.float32)}
    np.testing.assert_allclose(copy(call), model.denoiser(call), atol=1e-5)
    model.merge_lora()
    np.testing.assert_allclose(predicted(model), after, atol=1e-5)
    np.testing.assert_allclose(sampler.predict_frames(CLIPS[:2, :1], num_steps=2, solver="ddim"), after, atol=1e-5)
    assert [w.shape for w in model.denoiser.weights] == [w.shape for w in plain.denoiser.weights]
    assert len(model.trainable_variables) == len(plain.trainable_variables) and model.lora is None
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(CLIPS, batch_size=4, epochs=1, verbose=0)
    assert any((weight.numpy() != before).any() for weight, before in frozen)


def test_alpha_scales_the_change() -> None:
    changes = []
    for alpha in (None, 4.0):
        model = model_of(rank=None)
        before = model.denoiser.get_weights()
        model.enable_lora(2, alpha)
        rng = np.random.default_rng(1)
        for weight in model.trainable_variables:
            weight.assign(rng.normal(size=weight.shape))
        model.merge_lora()
        after = model.denoiser.get_weights()
        changes.append(np.concatenate([(a - b).ravel() for a, b in zip(after, before, strict=True)]))
    assert np.abs(changes[0]).max() > 0.1
    np.testing.assert_allclose(changes[1], 2.0 * changes[0], rtol=1e-4, atol=1e-6)


def test_a_frozen_layer_is_frozen_after_merging() -> None:
    model = model_of(rank=None)
    model.denoiser.layers[1].trainable = False
    count = len(model.trainable_variables)
    model.enable_lora(2)
    model.merge_lora()
    assert len(model.trainable_variables) == count


@pytest.mark.parametrize("network", EACH[:2])
def test_a_file_keeps_both_parts_and_training_goes_on(network: str, tmp_path: Any) -> None:
    model = model_of(network, rank=None)
    model.enable_lora(2, alpha=3.0)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(CLIPS, batch_size=4, epochs=1, verbose=0)
    model.save(tmp_path / "tuned.keras")
    loaded = kvdiff.load_model(tmp_path / "tuned.keras")
    assert loaded.lora == {"rank": 2, "alpha": 3.0}
    for mine, its in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    np.testing.assert_array_equal(predicted(loaded), predicted(model))
    for each in (model, loaded):
        each.fit(CLIPS, batch_size=4, epochs=1, verbose=0, shuffle=False)
    for mine, its in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    loaded.merge_lora()
    loaded.save(tmp_path / "merged.keras")
    np.testing.assert_allclose(predicted(kvdiff.load_model(tmp_path / "merged.keras")), predicted(model), atol=1e-5)
    model.save_to_preset(tmp_path / "preset")
    opened = kvdiff.VideoDiffusion.from_preset(tmp_path / "preset")
    assert opened.lora == model.lora
    np.testing.assert_array_equal(predicted(opened), predicted(model))
    model.save_weights(tmp_path / "tuned.weights.h5")
    other = model_of(network, rank=None)
    other.enable_lora(2, alpha=3.0)
    other.load_weights(tmp_path / "tuned.weights.h5")
    np.testing.assert_array_equal(predicted(other), predicted(model))


def test_a_training_that_was_cut_off_goes_on_bit_for_bit(tmp_path: Any) -> None:
    def train(folder: Any, epochs: int, model: Any) -> Any:
        batches = ClipBatches(CLIPS, 4, seed=7)
        checkpoint = TrainingCheckpoint(folder, batches)
        steps = dict(steps_per_epoch=batches.steps_per_epoch, shuffle=False, verbose=0)
        model.fit(checkpoint.dataset(), epochs=epochs, callbacks=[checkpoint], **steps)
        return model

    whole = train(tmp_path / "whole", 3, model_of())
    train(tmp_path / "parts", 1, model_of())
    parts = train(tmp_path / "parts", 3, model_of())
    for mine, its in zip(whole.variables, parts.variables, strict=True):
        np.testing.assert_array_equal(mine, its)
    opened = kvdiff.load_model(tmp_path / "parts")
    np.testing.assert_array_equal(predicted(opened), predicted(parts))
    assert opened.lora == parts.lora
    with pytest.raises(ValueError, match="expected a checkpoint of this model and optimizer"):
        train(tmp_path / "parts", 4, model_of(rank=None))
    other = model_of(rank=None)
    other.enable_lora(2, alpha=1.0)
    other.compile(keras.optimizers.Adam(1e-2))
    with pytest.raises(ValueError, match="expected a checkpoint of this model and optimizer.*lora"):
        train(tmp_path / "parts", 4, other)


def test_what_sampled_before_samples_the_tuned_network() -> None:
    model = model_of(rank=None)
    before, held = predicted(model), model.sampler
    model.enable_lora(2)
    np.testing.assert_array_equal(predicted(model), before)
    for layer in low_rank_layers(model.denoiser):
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    assert np.abs(predicted(model) - before).max() > 1e-3
    np.testing.assert_array_equal(held.predict_frames(CLIPS[:2, :1], num_steps=2, solver="ddim"), predicted(model))


def test_averages_and_bfloat16() -> None:
    policy = keras.config.dtype_policy()
    try:
        keras.config.set_dtype_policy("mixed_bfloat16")
        model = model_of()
    finally:
        keras.config.set_dtype_policy(policy)
    model.compile()  # Averages.
    model.fit(CLIPS, batch_size=4, epochs=1, verbose=0)
    after = predicted(model)
    assert np.isfinite(after).all()
    model.merge_lora()
    np.testing.assert_allclose(predicted(model), after, atol=0.1)  # Merged in float32, rounded once.


def test_errors_name_what_is_wrong() -> None:
    model = model_of(rank=None)
    with pytest.raises(ValueError, match="merge_lora: expected a model with LoRA"):
        model.merge_lora()
    with pytest.raises(ValueError, match="`rank`: expected .* Received: 0"):
        model.enable_lora(0)
    with pytest.raises(ValueError, match="`alpha`: expected a number .* Received: -1"):
        model.enable_lora(2, -1.0)
    model.enable_lora(2)
    with pytest.raises(ValueError, match=r"enable_lora: expected a model without LoRA; `merge_lora\(\)` first"):
        model.enable_lora(2)
    with pytest.raises(ValueError, match=r"compile\(\)"):
        model.fit(CLIPS, batch_size=4, epochs=1, verbose=0)
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    scaled = keras.layers.Rescaling(0.5)(clip)
    empty = kvdiff.VideoDiffusion(SHAPE, keras.Model({"noisy_clip": clip, "noise_label": label}, scaled))
    with pytest.raises(ValueError, match="enable_lora: expected a denoiser with Dense or convolution layers"):
        empty.enable_lora(2)
