import math

import keras
import numpy as np
import pytest

from kvdiff.diffusion import schedules
from kvdiff.diffusion.process.predictions import noise_label
from kvdiff.layers.timestep_embedding import TimestepEmbedding
from tests.layers.harness import check_layer

COSINE = {"name": "cosine"}


def labels(schedule):
    return noise_label(schedule.alpha, schedule.sigma)[None].astype(np.float32)


def test_layer_contract(rng):
    check_layer(TimestepEmbedding(8, 12, COSINE), rng.uniform(size=(2, 5)).astype(np.float32))


SCHEDULES = {
    "cosine": schedules.cosine(),
    "linear": schedules.linear(),
    "long": schedules.linear(4000),
    "zero SNR": schedules.scaled_linear().with_zero_terminal_snr(),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedules_labels_are_its_timesteps(name):
    schedule = SCHEDULES[name]
    found = TimestepEmbedding(8, 12, schedule).timestep(labels(schedule))
    np.testing.assert_array_equal(found, np.arange(schedule.num_timesteps)[None])


def test_beyond_the_ends_it_is_the_ends():
    layer = TimestepEmbedding(8, 12, COSINE)
    np.testing.assert_array_equal(layer.timestep(np.float32([[0.0, 1e-3, 1.0]])), [[0.0, 0.0, 999.0]])


def test_between_timesteps_it_grows_with_the_label():
    found = np.asarray(TimestepEmbedding(8, 12, COSINE).timestep(np.linspace(0, 1, 20_001, dtype=np.float32)[None]))[0]
    assert (np.diff(found) >= 0).all() and np.diff(found).max() < 0.06
    first, second = labels(schedules.cosine())[0, 300:302]
    middle = TimestepEmbedding(8, 12, COSINE).timestep(np.float32([[(first + second) / 2]]))
    np.testing.assert_allclose(middle, 300.5, atol=1e-3)


def test_the_embedding_is_that_of_the_paper(rng):
    layer, schedule = TimestepEmbedding(8, 6, COSINE), schedules.cosine()
    layer(np.zeros((1, 1), np.float32))
    layer.set_weights([rng.normal(0.0, 0.5, w.shape) for w in layer.get_weights()])
    kernel, bias, kernel_out, bias_out = (w.astype(np.float64) for w in layer.get_weights())
    angle = 812 * 10_000.0 ** (-np.arange(4) / 3)
    hidden = np.concatenate([np.sin(angle), np.cos(angle)]) @ kernel + bias
    gelu = hidden * [0.5 * (1 + math.erf(h / math.sqrt(2))) for h in hidden]
    found = layer(labels(schedule)[:, 812:813])[0, 0]
    np.testing.assert_allclose(found, gelu @ kernel_out + bias_out, atol=2e-4)  # The angle is one of float32.


def test_every_timestep_stays_apart_under_mixed_precision():
    layer = TimestepEmbedding(32, 32, COSINE, dtype="mixed_bfloat16")
    embedded = np.asarray(layer(labels(schedules.cosine())))[0]
    assert keras.backend.standardize_dtype(embedded.dtype) == "float32"
    assert len(np.unique(embedded, axis=0)) == 1000


@pytest.mark.parametrize("width", [2, 7])
def test_the_width_is_even_and_has_two_frequencies(width):
    with pytest.raises(ValueError, match=f"`width`: expected an even number >= 4. Received: {width}"):
        TimestepEmbedding(width, 12, COSINE)
