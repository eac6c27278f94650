"""What a denoiser says of itself, by its own attributes or by those of its layers."""

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel, FrameVectors, LowResolution
from kvdiff.layers.known_context import KnownContext
from kvdiff.models.denoiser import DenoiserContract, input_shapes


@keras.saving.register_keras_serializable(package="tests")
class Halving(keras.layers.Layer):
    """Says what layers say, and does nothing."""

    shrink, conditions, known_noise = 4, {"kind": ClassLabel(3)}, 0.25

    def call(self, clip):
        return clip


def network(*layers, channels=1, **inputs):
    """A denoiser of one dense map, after `layers`."""
    shapes = {"noisy_clip": (None, None, None, channels), "noise_label": (None,), **inputs}
    tensors = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    clip = tensors["noisy_clip"]
    for layer in layers:
        clip = layer(clip)
    return keras.Model(tensors, keras.layers.Dense(2)(clip))


def test_layers_say_it():
    contract = DenoiserContract.of(network(Halving(), Halving(), channels=3))
    assert contract == DenoiserContract({"kind": ClassLabel(3)}, 16, 3, 2, 0.25)


def test_a_network_that_says_nothing_knows_nothing_and_takes_any_size():
    assert DenoiserContract.of(network()) == DenoiserContract({}, 1, 1, 2, None)


def test_a_denoisers_own_attributes_come_before_those_of_its_layers():
    denoiser = network(Halving())
    denoiser.conditions, denoiser.frame_multiple, denoiser.known_noise = {"push": FrameVectors(2)}, 6, None
    assert DenoiserContract.of(denoiser) == DenoiserContract({"push": FrameVectors(2)}, 6, 1, 2, None)


def test_small_clips_must_divide_the_frames_too():
    denoiser = network(Halving())
    denoiser.conditions = {"small": LowResolution(3)}
    assert DenoiserContract.of(denoiser).frame_multiple == 12


@pytest.mark.parametrize(
    ("shape", "outputs", "message"),
    [
        ((8, 9, 3), 2, "`clip_shape`: expected a width divisible by 4, e.g. 8 or 12. Received: 9"),
        ((2, 8, 3), 2, "`clip_shape`: expected a height divisible by 4, e.g. 4. Received: 2"),
        ((8, 8, 1), 2, "`clip_shape`: expected the denoiser's 3 channels. Received: 1"),
        ((8, 8, 3), 3, "`denoiser`: expected 3 output channels. Received: 2"),
    ],
)
def test_clips_that_it_does_not_take_are_refused(shape, outputs, message):
    with pytest.raises(ValueError, match=message):
        DenoiserContract.of(network(Halving(), channels=3)).check(shape, outputs, 0.0, "v")


def test_what_is_no_denoiser_is_refused():
    with pytest.raises(TypeError, match="`denoiser`: expected a Keras model. Received: function"):
        DenoiserContract.of(network)
    tensors = keras.Input((2,), name="x")
    with pytest.raises(TypeError, match="`denoiser`: expected inputs by name.* Received: KerasTensor"):
        DenoiserContract.of(keras.Model(tensors, keras.layers.Dense(1)(tensors)))
    named = {"noisy_clip": keras.Input((2,)), "timestep": keras.Input((2,))}
    with pytest.raises(TypeError, match=r"Received: \['noisy_clip', 'timestep'\]"):
        DenoiserContract.of(keras.Model(named, named["noisy_clip"]))


def test_input_shapes_are_those_of_one_clip():
    conditions = {"push": FrameVectors(2), "small": LowResolution(2)}
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions=conditions)
    shapes = input_shapes(denoiser, kvdiff.VideoDiffusion((3, 4, 6, 1), denoiser).spec)
    expected = {"noisy_clip": (3, 4, 6, 1), "noise_label": (3,), "push": (3, 2), "small": (3, 2, 3, 1)}
    assert shapes == {**expected, "small_noise": (), "told": (2,)}


# In a model.


def test_a_model_and_its_denoiser_say_the_same_known_noise():
    assert DenoiserContract.of(kvdiff.VideoDiffusion((4, 8, 8, 1), known_noise=0.3).denoiser).known_noise == 0.3
    with pytest.raises(ValueError, match=r"`known_noise`: expected the denoiser's, 0.25, .* Received: 0.0. Make both"):
        kvdiff.VideoDiffusion((4, 8, 8, 1), network(Halving()), learned_variance=True)


def test_conditions_that_are_an_attribute_are_saved_with_the_model(tmp_path):
    denoiser = network(push=(None, 2), told=(1,))
    denoiser.conditions = {"push": FrameVectors(2)}
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser, learned_variance=True)
    model.save(tmp_path / "model.keras")
    assert kvdiff.load_model(tmp_path / "model.keras").spec.conditions == {"push": FrameVectors(2)}


@pytest.mark.parametrize(("of_layer", "of_model"), [(0.0, 0.3), (0.3, 0.0), (0.2, 0.2)])
def test_files_of_version_0_1_load_whatever_they_say_of_known_noise(of_layer, of_model):
    """They hold the spec's arguments one by one and call the layer's "limit"; nothing kept the two numbers equal."""
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    raw = keras.layers.Dense(1)(KnownContext(of_layer, name="known_context")(*inputs.values()))
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), keras.Model(inputs, raw), known_noise=of_layer)
    config = model.get_config()
    spec = config.pop("spec")
    config |= {"clip_shape": [4, 8, 8, 1], "known_noise": of_model, "independent_noise": 0.0}
    config |= {name: spec[name] for name in ("schedule", "prediction", "known_frames")}
    (layer,) = (each for each in config["denoiser"]["config"]["layers"] if each["name"] == "known_context")
    layer["config"]["limit"] = layer["config"].pop("known_noise")
    old = kvdiff.VideoDiffusion.from_config(config)
    assert old.spec.config == model.spec.config
    old.set_weights(model.get_weights())
    past = np.zeros((1, 2, 8, 8, 1), np.float32)
    np.testing.assert_array_equal(old.predict_frames(past, num_steps=1), model.predict_frames(past, num_steps=1))
