import keras
import numpy as np
import pytest

from kvdiff.diffusion.process.predictions import noise_label
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.layers.noise_embedding import NoiseEmbedding
from tests.layers.harness import check_layer


def test_layer_contract(rng):
    check_layer(NoiseEmbedding(8), rng.uniform(size=(2, 5)).astype("float32"))


def test_keeps_every_level_apart_under_mixed_precision():
    """bfloat16 sinusoids would keep about half of 1000 levels apart."""
    schedule = cosine(1000)
    labels = noise_label(schedule.alpha, schedule.sigma).astype("float32")[None]
    keras.utils.set_random_seed(0)
    embedded = np.asarray(NoiseEmbedding(32, dtype="mixed_bfloat16")(labels))[0]
    assert embedded.dtype == np.float32
    assert len(np.unique(embedded, axis=0)) == 1000


def test_units_are_even():
    with pytest.raises(ValueError, match="`units`: expected an even number. Received: 7"):
        NoiseEmbedding(7)
