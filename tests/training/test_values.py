"""Training on numbers with units: refused, clamped or warned of, before a step on what the network cannot use."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Linear, Log1p, PerChannel, Standardised, Unbounded, Values, fitted

COUNTS = np.random.default_rng(0).integers(0, 65536, (16, 3, 4, 4, 1)).astype(np.uint16)


def model_of(values: Values, channels: int = 1) -> kvdiff.VideoDiffusion:
    clip = keras.Input((None, None, None, channels), name="noisy_clip")
    label = keras.Input((None,), name="noise_label")
    network = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(channels)(clip))
    model = kvdiff.VideoDiffusion((3, 4, 4, channels), network, values=values)
    model.compile(keras.optimizers.SGD(1e-3))
    return model


def test_counts_of_sixteen_bits_are_trained_on_and_come_back_as_they_were() -> None:
    """Nothing is rounded to 8 bits: known frames are the same integers, generated ones have more than 256 levels."""
    model = model_of(fitted("linear", COUNTS))
    assert model.spec.values == Linear(0.0, 65535.0)
    assert np.isfinite(model.fit(COUNTS, batch_size=8, verbose=0).history["loss"][0])
    known = np.array([True, True, False])
    past = np.concatenate([COUNTS] * 4)
    video = model.infill(past, known, num_steps=3)
    assert (video[:, :2] == past[:, :2]).all()
    made = video[:, 2]
    assert 0 <= made.min() and made.max() <= 65535 and len(np.unique(made)) > 256


@pytest.mark.parametrize("values", [Linear(250.0, 320.0), Log1p(1.0, 400.0), Standardised(280.0, 10.0)])
def test_numbers_of_which_none_is_zero_are_trained_on(values: Values) -> None:
    """Kelvins, say: what Keras is built with is in their range too, and so are frames that are not known."""
    clips = np.random.default_rng(4).uniform(255.0, 315.0, (8, 3, 4, 4, 1)).astype(np.float32)
    model = model_of(values)
    assert np.isfinite(model.fit(clips, batch_size=8, verbose=0).history["loss"][0])
    video = model.predict_frames(clips[:, :2], num_steps=2)
    assert np.isfinite(video).all() and video.shape == (8, 1, 4, 4, 1)
    autoencoder = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=1, widths=(4,), blocks=1, values=values)
    autoencoder.compile(keras.optimizers.SGD(1e-3))
    assert np.isfinite(autoencoder.fit(clips, batch_size=8, verbose=0).history["loss"][0])


@pytest.mark.parametrize(("values", "spread"), [(Unbounded(), "27.5"), (Standardised(0.0, 900.0), "0.0306")])
def test_numbers_that_are_not_scaled_are_warned_of_before_training(values: Values, spread: str) -> None:
    clips = np.random.default_rng(1).normal(0.0, 30.0, (8, 3, 4, 4, 1)).astype(np.float32)
    with pytest.warns(UserWarning, match=rf"about unit variance with values '{values.name}'.*deviation of {spread}"):
        model_of(values).fit(clips, verbose=0, epochs=1)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*unit variance")
        model_of(fitted("standardised", clips)).fit(clips, verbose=0)


def test_channels_are_held_to_limits_of_their_own() -> None:
    values = PerChannel((Log1p(0.0, 100.0), Standardised(280.0, 10.0)))
    rng = np.random.default_rng(2)
    clips = np.stack([rng.uniform(0, 100, (8, 3, 4, 4)), rng.normal(280, 10, (8, 3, 4, 4))], axis=-1)
    model = model_of(values, channels=2)
    model.fit(clips.astype(np.float32), verbose=0)
    with pytest.raises(
        ValueError, match=r"clips, channel 0: expected values in \[0, 100\].*values=kvdiff.diffusion.fit"
    ):
        model.fit(clips[..., ::-1].astype(np.float32), verbose=0)


def test_numbers_outside_are_clamped_in_training_where_the_values_say_so() -> None:
    clips = np.linspace(0, 20, 8 * 48, dtype=np.float32).reshape(8, 3, 4, 4, 1)
    with pytest.raises(ValueError, match=r"clips: expected values in \[0, 10\]"):
        model_of(Linear(0.0, 10.0)).fit(clips, verbose=0)
    for values in (Linear(0.0, 10.0, outside="clamp"), Log1p(0.0, 10.0, outside="clamp")):
        model = model_of(values)
        inside, outside = (model.noised(data, 0)[1] for data in (np.minimum(clips, 10), clips))
        np.testing.assert_array_equal(inside, outside)
        model.fit(clips, verbose=0)
