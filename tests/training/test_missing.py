"""A missing number has no gradient, none at all; nor has padding. Static fields reach every frame."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvdiff
from kvdiff.diffusion import Linear
from kvdiff.diffusion.conditions import Observed, StaticFields
from kvdiff.diffusion.transforms import Padding

RNG = np.random.default_rng(3)
CLIPS = RNG.uniform(0, 10, (4, 3, 5, 6, 2)).astype(np.float32)
GONE = RNG.random(CLIPS.shape) < 0.3
HOLED = np.where(GONE, np.float32(np.nan), CLIPS)


class OfPixels(keras.layers.Layer):
    """A network whose every output is a weight of its own: its gradient is that of the loss by the output."""

    def __init__(self, conditions, **kwargs):
        super().__init__(**kwargs)
        self.conditions, self.shrink, self.seen = conditions, 4, None

    def build(self, shape):
        self.out = self.add_weight(shape=(1, 3, 8, 8, 2), initializer="random_normal", name="out")

    def call(self, clip):
        return 0.0 * clip + self.out


def model_of(loss: str = "mse") -> kvdiff.VideoDiffusion:
    conditions = {"there": Observed(), "land": StaticFields(((0.0, 100.0),))}
    shapes = {"noisy_clip": (None, None, None, 2), "noise_label": (None,), "there": (None, None, None, 2)}
    shapes |= {"land": (None, None, 1), "told": (1,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    network = keras.Model(inputs, OfPixels(conditions)(inputs["noisy_clip"]))
    values, nothing = Linear(0.0, 10.0), kvdiff.diffusion.known_frames.Nothing()
    model = kvdiff.VideoDiffusion((3, 5, 6, 2), network, values=values, known_frames=nothing)
    model.compile(keras.optimizers.SGD(0.0), loss=loss)
    return model


LAND = RNG.uniform(0, 100, (4, 5, 6, 1)).astype(np.float32)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
def test_the_gradient_of_a_missing_number_is_exactly_0(loss: str) -> None:
    model = model_of(loss)
    assert model.spec.codec == Padding(5, 6, 4)  # Of its own accord.
    inputs, target, weight = model.noised((HOLED[:1], {"land": LAND[:1]}), 5)
    with tf.GradientTape() as tape:
        output = tf.Variable(model(inputs))
        value = model.compute_loss(inputs, target, output, weight)
    gradient = tape.gradient(value, output).numpy()
    inside = Padding(5, 6, 4).decode(gradient)
    assert (inside[GONE[:1]] == 0.0).all() and (inside[~GONE[:1]] != 0.0).all()
    assert np.count_nonzero(gradient) == (~GONE[:1]).sum()  # None in the padding.


def test_what_a_missing_number_would_have_been_changes_nothing() -> None:
    model = model_of()
    inputs, target, _ = model.noised((HOLED, {"land": LAND}), 5)
    others = model.noised((np.where(GONE, np.float32(np.nan), 10 - CLIPS), {"land": LAND}), 5)
    assert np.isfinite(inputs["noisy_clip"]).all() and np.isfinite(target).all()
    mask = Padding(5, 6, 4).decode(np.asarray(inputs["there"]))
    np.testing.assert_array_equal(mask, ~GONE)
    for one, other in ((inputs["noisy_clip"], others[0]["noisy_clip"]), (target, others[1])):
        one, other = (Padding(5, 6, 4).decode(np.asarray(array)) for array in (one, other))
        np.testing.assert_array_equal(one[GONE], other[GONE])
    own = np.ones_like(CLIPS)
    own[:, 0] = 0
    both = model.noised((HOLED, {"land": LAND, "there": own}), 5)[0]["there"]
    np.testing.assert_array_equal(Padding(5, 6, 4).decode(np.asarray(both)), ~GONE & (own > 0))
    assert inputs["land"].shape == (4, 8, 8, 1)


def test_training_on_holes_stays_finite_and_out_of_range_is_still_refused() -> None:
    model = model_of()
    history = model.fit(HOLED, {"land": LAND}, batch_size=2, verbose=0).history
    assert np.isfinite(history["loss"][0])
    with pytest.raises(ValueError, match=r"clips: expected values in \[0, 10\]"):
        model.fit(3 * HOLED, {"land": LAND}, verbose=0)
    network = kvdiff.UNet3D(2, out_channels=4, widths=(24,), blocks=1, conditions={"there": Observed()})
    with pytest.raises(ValueError, match="`learned_variance`: expected False with the condition Observed"):
        kvdiff.VideoDiffusion((3, 8, 8, 2), network, learned_variance=True)


@pytest.fixture(scope="module")
def unet() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    conditions = {"there": Observed(), "land": StaticFields(((0.0, 100.0),))}
    options = dict(widths=(24,), blocks=1, heads=2, attention=(None,), conditions=conditions)
    model = kvdiff.VideoDiffusion((3, 5, 6, 2), kvdiff.UNet3D(2, **options), values=Linear(0.0, 10.0))
    head = model.denoiser.get_layer("head")
    for weight in head.weights:
        weight.assign(0.2 * RNG.standard_normal(weight.shape))
    return model


def test_a_network_sees_masks_and_static_fields_of_every_frame(unet: kvdiff.VideoDiffusion) -> None:
    inputs, _, _ = unet.noised((HOLED, {"land": LAND}), 1)
    inputs = {name: np.array(value) for name, value in inputs.items()} | {"told": np.ones((4, 1), np.float32)}
    out = np.asarray(unet.denoiser(inputs))
    for name, at in (("land", (0, 3, 3, 0)), ("there", (0, 1, 3, 3, 0))):
        changed = {**inputs, name: inputs[name].copy()}
        changed[name][at] = 1.0 - changed[name][at]
        moved = np.abs(np.asarray(unet.denoiser(changed)) - out)[0].max(axis=(1, 2, 3))
        assert (moved > 1e-6).all() if name == "land" else moved[1] > 1e-6
    absent = np.asarray(unet.denoiser({**inputs, "told": np.zeros((4, 1), np.float32), "land": 7 + inputs["land"]}))
    np.testing.assert_allclose(absent, unet.denoiser({**inputs, "told": np.zeros((4, 1), np.float32)}), atol=1e-6)


def test_every_runtime_takes_clips_with_holes_of_any_size(unet: kvdiff.VideoDiffusion, tmp_path) -> None:
    from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
    from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler

    known = np.array([True, True, False])
    how = dict(solver="ddpm", num_steps=2, conditions={"land": LAND[:1]})
    expected = unet.infill(HOLED[:1], known, **how)
    filled = unet.infill(HOLED[:1], known, fill_missing=2, **how)
    assert expected[:, :2].tobytes() == HOLED[:1, :2].tobytes() and np.isfinite(filled).all()
    assert (filled[:, :2][~GONE[:1, :2]] == CLIPS[:1, :2][~GONE[:1, :2]]).all()
    export_onnx_sampler(export_onnx(unet, tmp_path), tmp_path)
    export_litert(unet, tmp_path)
    export_saved_model(unet, tmp_path / "serving", pixels="float32", solver="ddpm", num_steps=2)
    on_cpu = dict(providers=["CPUExecutionProvider"], threads=1)
    runtimes = [OrtSampler(tmp_path, **on_cpu), FusedOrtSampler(tmp_path, **on_cpu)]
    for sampler in (*runtimes, LiteRtSampler(tmp_path, threads=1), SavedModelSampler(tmp_path / "serving")):
        np.testing.assert_allclose(sampler.infill(HOLED[:1], known, **how), expected, atol=2e-3)
        np.testing.assert_allclose(sampler.infill(HOLED[:1], known, fill_missing=2, **how), filled, atol=2e-3)
    unet.save(tmp_path / "model.keras")
    again = kvdiff.load_model(tmp_path / "model.keras")
    assert again.spec.config == unet.spec.config
    np.testing.assert_array_equal(again.infill(HOLED[:1], known, **how), expected)
