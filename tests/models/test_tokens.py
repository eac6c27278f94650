"""Networks that attend to text: what reaches the answer, what does not, and models that learn to obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import ClassLabel, TokenIds, TokenSequence
from kvdiff.diffusion.tasks.known_frames import Nothing

SHAPE = (2, 4, 4, 1)
CONDITIONS = {"kind": ClassLabel(2), "text": TokenIds(4, 9, blocks=1), "features": TokenSequence(3, 5)}
UNET: dict[str, Any] = dict(widths=(12,), blocks=1, groups=4, heads=2)
TRANSFORMER: dict[str, Any] = dict(width=12, blocks=2, heads=2)
NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "UNet3D": lambda conditions: kvdiff.UNet3D(1, conditions=conditions, **UNET),
    "VideoTransformer": lambda conditions: kvdiff.VideoTransformer(1, conditions=conditions, **TRANSFORMER),
}


@pytest.fixture(scope="module", params=list(NETWORKS))
def network(request: pytest.FixtureRequest) -> keras.Model:
    made = NETWORKS[request.param](CONDITIONS)
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(0.0, 0.3, weight.shape) for weight in made.get_weights()])
    return made


def answer(network: keras.Model, **changes: Any) -> np.ndarray:
    rng = np.random.default_rng(1)
    inputs: dict[str, Any] = {"noisy_clip": rng.normal(size=(2, *SHAPE)), "noise_label": np.full((2, 2), 0.5)}
    inputs |= {"kind": [0, 1], "text": [[3, 1, 4, 0], [5, 0, 0, 0]], "told": np.ones((2, 3))}
    inputs["features"] = rng.normal(size=(2, 3, 5)) * np.array([[1, 1, 0], [1, 0, 0]])[..., None]
    cast = {name: np.asarray(value, network.input[name].dtype) for name, value in (inputs | changes).items()}
    return np.asarray(network(cast))


def test_words_and_their_order_reach_the_answer(network: keras.Model) -> None:
    plain = answer(network)
    for text in ([[3, 1, 5, 0], [5, 0, 0, 0]], [[1, 3, 4, 0], [5, 0, 0, 0]], [[3, 1, 0, 0], [5, 0, 0, 0]]):
        found = answer(network, text=text)
        assert np.abs(found[0] - plain[0]).max() > 1e-3
        np.testing.assert_allclose(found[1], plain[1], atol=1e-5)
    assert np.abs(answer(network, features=np.zeros((2, 3, 5))) - plain).max() > 1e-3


def test_padding_and_absent_text_change_no_bit(network: keras.Model) -> None:
    # The same words with more room behind them, and whatever stands where the mask says that nothing does.
    for column, changes in ((1, {"text": [[8, 8, 8, 8], [0, 0, 0, 0]]}), (2, {"features": np.ones((2, 3, 5))})):
        told = np.ones((2, 3))
        told[:, column] = 0
        np.testing.assert_array_equal(answer(network, told=told, **changes), answer(network, told=told))
        assert np.abs(answer(network, told=told) - answer(network)).max() > 1e-3


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_more_padding_is_the_same_text(kind: str) -> None:
    """With the weights of a network for longer texts, but for the places that are padding."""
    short, long = (NETWORKS[kind]({"text": TokenIds(count, 9, blocks=1)}) for count in (2, 5))
    rng = np.random.default_rng(0)
    long.set_weights([rng.normal(0.0, 0.3, weight.shape) for weight in long.get_weights()])
    short.set_weights(
        [
            w[:3] if w.shape[0] == 6 and s.shape[0] == 3 else w
            for w, s in zip(long.get_weights(), short.get_weights(), strict=True)
        ]
    )
    inputs = {"noisy_clip": rng.normal(size=(2, *SHAPE)).astype("float32"), "told": np.ones((2, 1), "float32")}
    inputs["noise_label"] = np.full((2, 2), 0.5, "float32")
    texts = np.int32([[3, 1, 0, 0, 0], [5, 0, 0, 0, 0]])
    found, expected = (net({**inputs, "text": text}) for net, text in ((long, texts), (short, texts[:, :2])))
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=1e-5)


def test_a_network_without_attention_reads_no_tokens() -> None:
    with pytest.raises(ValueError, match=r"`attention`: expected a level that attends to the tokens of 'text'"):
        kvdiff.UNet3D(1, attention=(None,), conditions={"text": TokenIds(4, 9)}, widths=(12,), groups=4)


# Training: the last word says whether a clip is bright.

WORDS = ("", "a", "not", "bright", "dark", "clip")
TEXT = TokenIds(4, WORDS, blocks=1)
CAPTIONS = np.array(["a bright clip", "a dark clip", "not bright", "not dark"])
BRIGHTNESS = np.array([0.6, -0.6, -0.6, 0.6])


def trained(denoiser: keras.Model, given: Any) -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, prediction="x0", known_frames=Nothing(), condition_dropout=0.2)
    model.compile(keras.optimizers.Adam(1e-2))
    clips = np.broadcast_to(np.tile(BRIGHTNESS, 64)[:, None, None, None, None], (256, *SHAPE)).astype("float32")
    model.fit(clips, {"text": np.tile(given, (64, *[1] * (np.ndim(given) - 1)))}, batch_size=32, epochs=25, verbose=0)
    return model


def brightness(model: kvdiff.VideoDiffusion, text: Any, **how: Any) -> np.ndarray:
    return model.generate(4, conditions={"text": text}, num_steps=4, seed=1, **how).mean(axis=(1, 2, 3, 4))


def test_a_caption_decides_by_the_order_of_its_words_and_guidance_exaggerates() -> None:
    keras.utils.set_random_seed(0)
    model = trained(kvdiff.UNet3D(1, conditions={"text": TEXT}, **UNET), TEXT.ids(list(CAPTIONS)))
    found = brightness(model, list(CAPTIONS))
    assert (np.sign(found) == np.sign(BRIGHTNESS)).all() and np.abs(found - BRIGHTNESS).max() < 0.4
    assert brightness(model, "a bright clip", guidance=3.0).mean() > brightness(model, "a bright clip").mean()


def small_encoder() -> keras.Model:
    """In place of CLIP or T5: a Keras model from ids to a vector a token."""
    keras.utils.set_random_seed(4)
    ids = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(len(WORDS), 8)(ids)
    return keras.Model(ids, keras.layers.LayerNormalization()(keras.layers.Conv1D(8, 3, padding="same")(x)))


def test_features_of_a_frozen_encoder() -> None:
    ids, encoder = TEXT.ids(list(CAPTIONS)), small_encoder()
    features = encoder.predict(ids, verbose=0) * (ids > 0)[..., None]
    keras.utils.set_random_seed(0)
    model = trained(kvdiff.UNet3D(1, conditions={"text": TokenSequence(4, 8)}, **UNET), features)
    assert (np.sign(brightness(model, features)) == np.sign(BRIGHTNESS)).all()


def test_an_encoder_of_ones_own_trains_along_and_is_saved(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    unet, encoder = kvdiff.UNet3D(1, conditions={"text": TokenSequence(4, 8)}, **UNET), small_encoder()
    ids = keras.Input((4,), dtype="int32", name="text")
    features = encoder(ids) * keras.ops.cast(ids > 0, "float32")[..., None]
    denoiser = keras.Model({**unet.input, "text": ids}, unet({**unet.input, "text": features}))
    denoiser.conditions = {"text": TEXT}
    before = encoder.get_weights()
    model = trained(denoiser, TEXT.ids(list(CAPTIONS)))
    assert model.spec.conditions == {"text": TEXT}
    assert (np.sign(brightness(model, list(CAPTIONS))) == np.sign(BRIGHTNESS)).all()
    assert all(np.abs(new - old).max() > 0 for new, old in zip(encoder.get_weights(), before, strict=True))
    model.save(tmp_path / "model.keras")
    twin = kvdiff.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(brightness(twin, "not dark"), brightness(model, "not dark"))
