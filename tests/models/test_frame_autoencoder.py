"""Two Keras models of pictures as a codec: frame by frame, standardised by given numbers, saved with the model."""

import keras
import numpy as np
import pytest
from keras import layers, ops

import kvdiff
from kvdiff.layers.per_frame import PerFrame, PictureAttention
from tests.layers.harness import check_layer
from tests.models.test_video_autoencoder import network


def pair(latent: int = 3, outputs: int = 6) -> tuple[keras.Model, keras.Model]:
    keras.utils.set_random_seed(0)
    picture, code = keras.Input((None, None, 1)), keras.Input((None, None, latent))
    encoder = keras.Model(picture, layers.Conv2D(outputs, 2, strides=2)(picture))
    decoder = keras.Model(code, layers.Conv2DTranspose(1, 2, strides=2)(code))
    return encoder, decoder


def test_it_is_the_two_models_of_every_frame(rng, tmp_path):
    encoder, decoder = pair()
    autoencoder = kvdiff.FrameAutoencoder(encoder, decoder, factor=2, scaling=0.5, shift=0.2)
    clip = rng.uniform(-1, 1, (2, 3, 7, 8, 1)).astype(np.float32)
    codec = autoencoder.codec(clip.shape[2:])
    latent = codec.encode(clip)
    whole = np.concatenate([clip, clip[:, :, -1:]], axis=2).reshape(-1, 8, 8, 1)
    expected = ops.convert_to_numpy(encoder(whole)).reshape(2, 3, 4, 4, 6)[..., :3]
    np.testing.assert_allclose(latent, (expected - 0.2) * 0.5, atol=1e-5)
    back = ops.convert_to_numpy(decoder(expected.reshape(-1, 4, 4, 3))).reshape(2, 3, 8, 8, 1)[:, :, :7]
    np.testing.assert_allclose(codec.decode(latent), back, atol=1e-5)
    model = kvdiff.VideoDiffusion((3, 7, 8, 1), network(), codec=autoencoder)
    made = model.predict_frames(clip[:, :1], num_steps=2)
    model.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_frames(clip[:, :1], num_steps=2), made)
    assert kvdiff.load_autoencoder(tmp_path / "model.keras").digest == autoencoder.digest


def test_networks_that_do_not_fit_are_refused():
    encoder, decoder = pair()
    with pytest.raises(ValueError, match="`decoder`: expected latents of at most 6 channels"):
        kvdiff.FrameAutoencoder(encoder, pair(7)[1], factor=2)
    with pytest.raises(TypeError, match="`encoder`: expected a functional Keras model of pictures"):
        kvdiff.FrameAutoencoder(lambda x: x, decoder)
    with pytest.raises(ValueError, match="`factor`: expected one of"):
        kvdiff.FrameAutoencoder(encoder, decoder, factor=3)
    clip = keras.Input((None, None, None, 1))
    with pytest.raises(ValueError, match="`encoder`: expected pictures .*one that looks at time"):
        kvdiff.FrameAutoencoder(keras.Model(clip, layers.Conv3D(3, 2)(clip)), decoder)


def test_attention_is_softmax_over_all_places(rng):
    x = rng.standard_normal((2, 3, 4, 8)).astype(np.float32)
    layer = PictureAttention(groups=2)
    layer(x)
    layer.set_weights([rng.normal(0, 0.5, weight.shape) for weight in layer.get_weights()])
    found = check_layer_output(layer, x)
    gamma, beta, wq, bq, wk, bk, wv, bv, wo, bo = layer.get_weights()
    flat = x.reshape(2, 12, 2, 4)
    normed = (flat - flat.mean(axis=(1, 3), keepdims=True)) / np.sqrt(flat.var(axis=(1, 3), keepdims=True) + 1e-6)
    y = normed.reshape(2, 12, 8) * gamma + beta
    scores = (y @ wq + bq) @ (y @ wk + bk).transpose(0, 2, 1) / np.sqrt(8)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    expected = x + ((weights @ (y @ wv + bv)) @ wo + bo).reshape(x.shape)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def check_layer_output(layer: keras.layers.Layer, x: np.ndarray) -> np.ndarray:
    weights = layer.get_weights()
    check_layer(type(layer).from_config(layer.get_config()), x)
    layer.set_weights(weights)
    return ops.convert_to_numpy(layer(x))


def test_per_frame_folds_and_unfolds(rng):
    encoder, _ = pair()
    layer, clip = PerFrame(encoder), rng.standard_normal((2, 3, 4, 6, 1)).astype(np.float32)
    made = ops.convert_to_numpy(layer(clip))
    assert made.shape == layer.compute_output_shape(clip.shape) == (2, 3, 2, 3, 6)
    np.testing.assert_allclose(made[:, 1], ops.convert_to_numpy(encoder(clip[:, 1])), atol=1e-6)
    again = PerFrame.from_config(layer.get_config())
    again.set_weights(layer.get_weights())
    np.testing.assert_array_equal(ops.convert_to_numpy(again(clip)), made)
