"""The autoencoder learns, standardises its latents, keeps its weights in files, and is a model's codec."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import kvdiff
from kvdiff.diffusion import Linear
from kvdiff.training import ReconstructionLoss

SHAPE = (3, 10, 8, 1)  # Ten rows are no multiple of the factor.


def tiny(**arguments) -> kvdiff.VideoAutoencoder:
    keras.utils.set_random_seed(0)
    small = dict(factor=4, latent_channels=3, widths=(8,), blocks=1)
    return kvdiff.VideoAutoencoder(1, **{**small, **arguments})


def network(channels: int = 3) -> keras.Model:
    """A denoiser that is traced in a second."""
    clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label")
    x = keras.layers.Dense(6, activation="tanh")(clip)
    return keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(channels)(x))


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    rng = np.random.default_rng(1)
    rows, columns = np.mgrid[:10, :8]
    phase = rng.uniform(0, 6, (16, 3, 1, 1))
    waves = np.sin(0.6 * rows * rng.uniform(0.2, 1, (16, 1, 1, 1)) + phase) * np.cos(0.5 * columns)
    return waves[..., None].astype(np.float32)


@pytest.fixture(scope="module")
def trained(clips) -> kvdiff.VideoAutoencoder:
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(clips, batch_size=4, epochs=30, verbose=0)
    return model


def test_it_learns_clips_of_any_size(trained, clips):
    made = trained.reconstruct(clips)
    assert made.shape == clips.shape and made.dtype == np.float32
    assert np.square(made - clips).mean() < 0.1 * clips.var()
    assert trained.reconstruct(np.zeros((1, 2, 5, 9, 1), np.float32)).shape == (1, 2, 5, 9, 1)


def test_latents_are_standardised_and_not_clamped(trained, clips):
    standing = trained.frozen()  # Running means reach what stands still.
    standing.trainable = True
    standing.compile(keras.optimizers.SGD(0.0))
    standing.fit(clips, batch_size=4, epochs=35, verbose=0)
    latent = standing.codec(SHAPE[1:]).encode(clips)
    np.testing.assert_allclose(latent.mean(axis=(0, 1, 2, 3)), 0.0, atol=0.2)
    np.testing.assert_allclose(latent.std(axis=(0, 1, 2, 3)), 1.0, atol=0.1)
    codec = trained.codec(SHAPE[1:])
    latent = codec.encode(clips)
    assert latent.shape == (16, 3, 3, 2, 3) and codec.bounds is None
    assert np.abs(latent).max() > 1.5
    np.testing.assert_array_equal(codec.encode(clips[:, 1:2]), latent[:, 1:2])  # Frame by frame.
    model = kvdiff.VideoDiffusion(SHAPE, network(), codec=trained)
    assert model.spec.bounds is None and model.spec.latent.shape == (3, 3, 2, 3)


def test_the_divergence_and_the_noise_are_there_in_training_alone(clips):
    model = tiny(kl=1.0)
    inputs, target, _ = model.noised(tf.constant(clips), 4)
    assert tuple(inputs["noise"].shape) == (16, 3, 3, 2, 3)
    np.testing.assert_array_equal(target, clips)
    model(inputs, training=False)
    assert not model.losses
    model(inputs, training=True)
    (divergence,) = model.losses
    raw = ops.convert_to_numpy(model.encoder(np.pad(clips, [(0, 0)] * 2 + [(0, 2)] + [(0, 0)] * 2, "edge")))
    mean, log_variance = raw[..., :3], raw[..., 3:]
    expected = 0.5 * (mean**2 + np.exp(log_variance) - 1 - log_variance)
    np.testing.assert_allclose(float(divergence), expected.mean(), rtol=1e-4)
    again = model.noised(tf.constant(clips[:2]), 4)[0]["noise"]  # A function of seed, step and sample.
    np.testing.assert_allclose(again, inputs["noise"][:2], atol=1e-6)  # But for rounding in vectors of another length.
    plain = tiny(kl=0)
    assert plain.encoder.output.shape[-1] == 3
    plain(plain.noised(tf.constant(clips), 0)[0], training=True)
    assert not plain.losses


def test_a_saved_autoencoder_is_the_same(trained, clips, tmp_path):
    trained.save(tmp_path / "autoencoder.keras")
    loaded = kvdiff.load_autoencoder(tmp_path / "autoencoder.keras")
    assert loaded.digest == trained.digest != tiny().digest
    np.testing.assert_array_equal(loaded.reconstruct(clips), trained.reconstruct(clips))
    with pytest.raises(ValueError, match="expected a VideoDiffusion model. Received: .*, a VideoAutoencoder"):
        kvdiff.load_model(tmp_path / "autoencoder.keras")


def test_a_model_has_it_inside(trained, clips, tmp_path):
    model = kvdiff.VideoDiffusion(SHAPE, network(), codec=trained)
    model.compile(keras.optimizers.SGD(0.1))
    before = model.autoencoder.get_weights()
    on_the_fly = model.noised(tf.constant(clips), 3)
    latents = model.spec.codec.encode(clips)
    cached = model.noised(tf.constant(latents), 3)
    for found, expected in zip(keras.tree.flatten(cached), keras.tree.flatten(on_the_fly), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)
    model.fit(clips, batch_size=8, verbose=0)
    for weight, old in zip(model.autoencoder.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)  # Training the denoiser changes no latent.
    calls: list[tuple[int, int]] = []
    made = model.predict_frames(clips[:2, :1], num_steps=3, progress=lambda *call: calls.append(call))
    assert made.shape == (2, 2, *SHAPE[1:])
    assert calls[-1] == (7, 7) and [done for done, _ in calls] == list(range(1, 8))  # 2 encoded, 3 steps, 2 decoded.
    whole = model.infill(clips[:2], np.array([True, False, True]), num_steps=3)
    np.testing.assert_array_equal(whole[:, [0, 2]], clips[:2, [0, 2]])
    model.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    assert loaded.spec.codec == model.spec.codec and loaded.autoencoder.digest == trained.digest
    assert not loaded.autoencoder.compiled
    assert len(loaded.trainable_variables) == len(model.trainable_variables) == len(model.denoiser.trainable_variables)
    np.testing.assert_array_equal(loaded.predict_frames(clips[:2, :1], num_steps=3), made)
    assert kvdiff.load_autoencoder(tmp_path / "model.keras").digest == trained.digest


def test_a_long_rollout_decodes_a_few_frames_at_a_time(trained, clips):
    model = kvdiff.VideoDiffusion(SHAPE, network(), codec=trained)
    longest = 0
    codec = model.spec.codec.network
    decode = codec._decode

    def watched(latent):
        nonlocal longest
        longest = max(longest, latent.shape[1])
        return decode(latent)

    codec._decode = watched
    video = model.rollout(100, clips[:1, :1], num_steps=1)
    assert video.shape == (1, 100, *SHAPE[1:]) and longest == 16


def test_other_values_channels_and_missing_weights_are_refused(trained):
    with pytest.raises(ValueError, match=r"`codec`: expected an autoencoder of the model's values, .*'linear'"):
        kvdiff.VideoDiffusion(SHAPE, network(), values=Linear(0, 9), codec=trained)
    with pytest.raises(ValueError, match=r"`clip_shape`: expected frames of the autoencoder's channels, 1"):
        kvdiff.VideoDiffusion((3, 10, 8, 3), network(), codec=trained)
    with pytest.raises(ValueError, match=r"`codec`: expected a VideoAutoencoder, which has weights"):
        kvdiff.VideoDiffusion(SHAPE, network(), codec=trained.codec(SHAPE[1:]).config)
    with pytest.raises(ValueError, match="expected a latent height divisible by 4, e.g. 4. Received: 3"):
        kvdiff.VideoDiffusion(SHAPE, kvdiff.UNet3D(3, widths=(12, 12), blocks=1, groups=4), codec=trained)
    with pytest.raises(ValueError, match="expected the denoiser's 4 latent channels. Received: 3"):
        kvdiff.VideoDiffusion(SHAPE, network(4), codec=trained)
    for arguments, message in (
        (dict(factor=3), r"`factor`: expected one of \[2, 4, 8\]"),
        (dict(widths=()), r"`widths`: expected 1 to 2 levels, for a factor of 4"),
        (dict(widths=(8, 8, 8)), r"`widths`: expected 1 to 2 levels"),
        (dict(widths=8), r"`widths`: expected channels at each level"),
        (dict(blocks=0), "`blocks`: expected an integer >= 1"),
        (dict(time=1), "`time`: expected True or False"),
        (dict(kl=-1), r"`kl`: expected a number"),
        (dict(values=3), "`values`: expected"),
    ):
        with pytest.raises((TypeError, ValueError), match=message):
            tiny(**arguments)
    with pytest.raises(ValueError, match=r"`x`: expected clips \[batch, frames, height, width, 1\]"):
        trained.noised(np.zeros((1, 3, 8, 8, 2), np.float32), 0)
    with pytest.raises(ValueError, match=r"clips: expected values in \[-1, 1\]"):
        trained.noised(np.full((1, 3, 8, 8, 1), 2.0, np.float32), 0)


def test_levels_and_time_have_their_shapes(clips):
    model = tiny(factor=8, widths=(6, 8), time=True, kl=0)
    assert model.shape.patch_size == 4 and model.shape.reach == 4
    codec = model.codec(SHAPE[1:])
    assert codec.encode(clips).shape == (16, 3, 2, 1, 3) and codec.reach == 4
    video = np.random.default_rng(0).uniform(-1, 1, (1, 40, 10, 8, 1)).astype(np.float32)
    rng = np.random.default_rng(2)
    model.set_weights(
        [rng.normal(0, 0.2, w.shape).astype(np.float32) if w.ndim > 1 else w for w in model.get_weights()]
    )
    codec = model.codec(SHAPE[1:])
    latent = codec.encode(video)
    whole = ops.convert_to_numpy(codec.network.autoencoder.decode(latent, 10, 8))
    np.testing.assert_allclose(codec.decode(latent), whole, atol=1e-5)  # In parts as in one piece.


def test_edges_count_as_much_as_they_are_asked_to(rng):
    target, made = rng.standard_normal((2, 1, 2, 3, 4, 2)).astype(np.float32)
    error = made - target
    plain = ops.convert_to_numpy(ReconstructionLoss("mae").call(target, made))
    np.testing.assert_allclose(plain, np.abs(error).mean(axis=-1), rtol=1e-5)
    weighed = ops.convert_to_numpy(ReconstructionLoss("mse", edges=2.0).call(target, made))
    rows, columns = np.zeros((1, 2, 3, 4)), np.zeros((1, 2, 3, 4))
    rows[:, :, :-1] = np.square(np.diff(error, axis=2)).mean(axis=-1)
    columns[:, :, :, :-1] = np.square(np.diff(error, axis=3)).mean(axis=-1)
    np.testing.assert_allclose(weighed, np.square(error).mean(axis=-1) + rows + columns, rtol=1e-5)
    loss = ReconstructionLoss("mae", 0.5)
    assert ReconstructionLoss.from_config(loss.get_config()).get_config() == loss.get_config()
    with pytest.raises(ValueError, match="`pixels`: expected one of"):
        ReconstructionLoss("l3")


def test_pixels_are_no_x_0():
    """uint8 pixels, 127 times too large, would be encoded without a word."""
    autoencoder = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=2, widths=(8,), blocks=1)
    clips = np.zeros((1, 2, 4, 4, 1), np.uint8)
    for encode in (autoencoder.encode, autoencoder.codec((4, 4, 1)).encode):
        with pytest.raises(TypeError, match="`clip`: expected x_0, floats, as `values.encode.*uint8"):
            encode(clips)
