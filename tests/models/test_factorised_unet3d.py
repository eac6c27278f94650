"""The network by itself; that it answers as the peer's does is in `test_torch_weights`."""

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel, ClipVector
from kvdiff.diffusion.transforms import Padding
from kvdiff.models.denoiser import DenoiserContract

TEXT = np.float32([[0.3, -1.0, 2.0], [1.0, 0.5, -0.5]])


def network(channels=1, **kwargs):
    return kvdiff.FactorisedUNet3D(channels, **{"width": 8, "multipliers": (1, 2), "heads": 2, **kwargs})


def randomised(model):
    """Weights far from their start: the head starts at zero, with which any two answers agree."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign_add(0.2 * rng.standard_normal(variable.shape).astype(np.float32))
    return model


def call(model, clip, label):
    return np.asarray(model({"noisy_clip": clip, "noise_label": label}))


def example(rng, *shape):
    return rng.normal(size=shape).astype(np.float32), np.full(shape[:2], 0.5, np.float32)


@pytest.fixture(scope="module", autouse=True)
def _unoptimised():
    """Optimising graphs takes longer than the few calls here."""
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def denoiser():
    return randomised(network(2, out_channels=4))


@pytest.fixture(scope="module")
def model():
    """A model that is told a vector, after one step of training."""
    keras.utils.set_random_seed(0)
    told = randomised(network(multipliers=(1,), conditions={"text": ClipVector(3)}))
    model = kvdiff.VideoDiffusion((4, 4, 6, 1), told, prediction="eps", condition_dropout=0.5)
    model.compile(loss="mae")
    before = model.get_weights()
    clips = np.random.default_rng(1).uniform(-1, 1, (2, 4, 4, 6, 1)).astype(np.float32)
    history = model.fit(clips, {"text": TEXT}, batch_size=2, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"][0])
    model.still = [w.path for w, b in zip(model.trainable_variables, before, strict=False) if np.array_equal(w, b)]
    return model


def test_takes_any_frame_count_and_size(denoiser, rng):
    for shape in [(2, 5, 8, 12, 2), (1, 2, 4, 2, 2)]:
        assert call(denoiser, *example(rng, *shape)).shape == (*shape[:-1], 4)


def test_time_and_space_mix_and_clips_do_not(denoiser, rng):
    clip, label = example(rng, 2, 4, 8, 8, 2)
    moved = clip.copy()
    moved[0, 0, 0, 0] += 1.0
    difference = np.abs(call(denoiser, moved, label) - call(denoiser, clip, label)).max(axis=(2, 3, 4))
    assert (difference[0] > 1e-5).all()
    np.testing.assert_allclose(difference[1], 0.0, atol=1e-6)
    far = np.abs(call(denoiser, moved, label) - call(denoiser, clip, label))[0, 0, -1, -1]
    assert far.max() > 1e-6  # Beyond every convolution's reach.


def test_every_frame_is_told_its_own_noise(denoiser, rng):
    clip, label = example(rng, 1, 3, 4, 4, 2)
    other = label.copy()
    other[0, 2] = 0.9
    assert np.abs(call(denoiser, clip, other) - call(denoiser, clip, label)).max() > 1e-4


def test_starts_by_predicting_nothing(rng):
    assert np.abs(call(network(multipliers=(1,)), *example(rng, 1, 2, 4, 4, 1))).max() == 0.0


def test_saves_and_loads(denoiser, rng, tmp_path):
    denoiser.save(tmp_path / "denoiser.keras")
    twin = keras.saving.load_model(tmp_path / "denoiser.keras")
    given = example(rng, 1, 3, 8, 8, 2)
    np.testing.assert_array_equal(call(twin, *given), call(denoiser, *given))


def test_mixed_precision_answers_in_float32_and_nearly_the_same(denoiser, rng):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = network(2, out_channels=4)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    half.set_weights(denoiser.get_weights())
    given = example(rng, 1, 3, 8, 8, 2)
    exact, found = call(denoiser, *given), call(half, *given)
    assert found.dtype == np.float32
    assert 0 < np.sqrt(np.mean((found - exact) ** 2) / np.mean(exact**2)) < 0.05


def test_one_step_of_training_moves_every_weight(model):
    assert model.still == []


def test_images_train_it_as_clips_of_one_frame():
    """Of one frame queries and keys over time decide nothing, and have no gradient."""
    model = kvdiff.VideoDiffusion((3, 2, 2, 1), network(width=4, multipliers=(1,)))
    model.compile()
    head = np.asarray(model.denoiser.get_layer("head").kernel)
    query = np.asarray(model.denoiser.get_layer("stem_time").query)
    assert np.isfinite(model.train_on_batch(np.ones((2, 1, 2, 2, 1), np.float32)))
    assert (np.asarray(model.denoiser.get_layer("head").kernel) != head).any()
    np.testing.assert_array_equal(model.denoiser.get_layer("stem_time").query, query)


def test_the_verbs(model, rng):
    sampling = dict(num_steps=3, seed=1)
    free = model.generate(2, **sampling)
    told = model.generate(2, conditions={"text": TEXT}, guidance=3.0, **sampling)
    assert free.shape == told.shape == (2, 4, 4, 6, 1) and np.isfinite(told).all()
    assert np.abs(told - free).max() > 1e-3
    past = rng.uniform(-1, 1, (2, 2, 4, 6, 1)).astype(np.float32)
    future = model.predict_frames(past, conditions={"text": TEXT}, **sampling)
    assert future.shape == (2, 2, 4, 6, 1) and np.isfinite(future).all()


def test_a_saved_model_generates_the_same(model, tmp_path):
    model.save(tmp_path / "model.keras")
    sampling = dict(num_steps=2, seed=1, conditions={"text": TEXT}, guidance=3.0)
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    assert loaded.spec.conditions == {"text": ClipVector(3)} == DenoiserContract.of(loaded.denoiser).conditions
    np.testing.assert_array_equal(loaded.generate(2, **sampling), model.generate(2, **sampling))


def test_clear_errors(denoiser):
    assert kvdiff.VideoDiffusion((4, 8, 9, 2), denoiser, learned_variance=True).spec.codec == Padding(8, 9, 2)
    with pytest.raises(ValueError, match="`conditions`: expected a ClipVector for 'digit'"):
        network(conditions={"digit": ClassLabel(3)})
