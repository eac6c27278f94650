"""The loss by TensorFlow Probability against the bound by NumPy: two ways to the same numbers."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.diffusion import Prediction
from kvdiff.diffusion.sampling.bound import discretized_bits, divergence
from kvdiff.diffusion.solvers.bound_table import BoundTable
from kvdiff.layers.forward_diffusion import ForwardDiffusion
from kvdiff.training.hybrid_loss import HybridLoss

T = 20


@pytest.fixture(params=[[0, 0], [1, 7], [19, 12]], ids=str)
def case(request, rng):
    """A target at the given timesteps, and a prediction near it."""
    layer = ForwardDiffusion({"name": "cosine", "num_timesteps": T}, "v", learned_variance=True)
    x_0 = (rng.integers(0, 256, (2, 3, 2, 2, 1)) / 127.5 - 1.0).astype("float32")
    x_0[0, 0, 0, 0], x_0[0, 0, 1, 1] = -1.0, 1.0
    timestep = np.repeat(np.array(request.param, np.int32)[:, None], 3, axis=1)
    known = np.zeros((2, 3), bool)
    _, target = layer(x_0, rng.normal(size=x_0.shape).astype("float32"), timestep, known)
    raw = np.asarray(target)[..., :1] + 0.1 * rng.normal(size=x_0.shape)
    share = rng.uniform(-1, 1, x_0.shape)
    return layer, x_0, timestep, np.asarray(target), np.concatenate([raw, share], axis=-1).astype("float32")


def test_equals_the_bound_of_the_numpy_side(case):
    layer, x_0, timestep, target, output = case
    table, at = BoundTable.of(layer.schedule), (..., None, None, None)
    row = {k: getattr(table, k)[timestep][at] for k in ("b", "log_var_min", "log_var_max")}
    share = 0.5 * (output[..., 1:] + 1.0)
    log_var = share * row["log_var_max"] + (1 - share) * row["log_var_min"]
    c_out = Prediction("v").preconditioning(layer.schedule.alpha, layer.schedule.sigma).c_out[timestep][at]
    error = c_out * (output[..., :1] - target[..., :1])
    later = divergence(-error, log_var, b=row["b"], log_var_min=row["log_var_min"]) / np.log(2)
    first = discretized_bits(x_0, x_0 + error, np.exp(0.5 * log_var))
    bits = np.where(timestep[at] == 0, first, later)
    expected = (output[..., 0] - target[..., 0]) ** 2 + 0.001 * T * bits[..., 0]
    np.testing.assert_allclose(HybridLoss(T).call(target, output), expected, rtol=2e-4, atol=2e-5)


def test_the_bound_trains_the_variance_alone(case):
    *_, target, output = case
    output = tf.constant(output)

    def gradient(loss):
        with tf.GradientTape() as tape:
            tape.watch(output)
            total = tf.reduce_sum(loss.call(tf.constant(target), output))
        return tape.gradient(total, output).numpy()

    with_bound, without = gradient(HybridLoss(T)), gradient(HybridLoss(T, vlb_weight=0.0))
    np.testing.assert_allclose(with_bound[..., 0], without[..., 0], rtol=1e-6)
    assert (without[..., 1] == 0).all() and (np.abs(with_bound[..., 1]).max(axis=(2, 3)) > 0).all()


def test_serialises():
    twin = keras.losses.deserialize(keras.losses.serialize(HybridLoss(T, vlb_weight=0.5)))
    assert isinstance(twin, HybridLoss) and (twin.num_timesteps, twin.vlb_weight) == (T, 0.5)
