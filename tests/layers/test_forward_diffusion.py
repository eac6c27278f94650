import keras
import numpy as np
import pytest

from kvdiff.diffusion import NoiseSchedule, Prediction
from kvdiff.diffusion.process.predictions import noise_label
from kvdiff.layers.forward_diffusion import ForwardDiffusion


@pytest.fixture
def batch(rng):
    x_0, eps = rng.uniform(-1, 1, (2, 3, 2, 2, 1)), rng.normal(size=(2, 3, 2, 2, 1))
    timestep = np.array([[0, 7, 9], [3, 3, 3]], np.int32)
    known = np.array([[False, True, False], [True, False, False]])
    return x_0.astype("float32"), eps.astype("float32"), timestep, known


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_matches_the_equations(batch, prediction):
    x_0, eps, timestep, known = batch
    schedule = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 10})
    inputs, target = ForwardDiffusion(schedule, prediction)(x_0, eps, timestep, known)

    alpha, sigma = schedule.alpha[timestep], schedule.sigma[timestep]
    a, s = alpha[..., None, None, None], sigma[..., None, None, None]
    expected = np.where(known[..., None, None, None], x_0, a * x_0 + s * eps)
    np.testing.assert_allclose(inputs["noisy_clip"], expected, atol=1e-6)
    np.testing.assert_allclose(inputs["noise_label"], np.where(known, 0.0, noise_label(alpha, sigma)), atol=1e-6)
    wanted = {"eps": eps, "x0": x_0, "v": a * eps - s * x_0}[prediction]
    np.testing.assert_allclose(target, wanted, atol=1e-5)


def test_a_perfect_network_recovers_the_clip(batch):
    """Equation (5) undoes (6): c_skip x_t + c_out F* = x_0 on unknown frames."""
    x_0, eps, timestep, _ = batch
    layer = ForwardDiffusion({"name": "linear", "num_timesteps": 1000}, "v")
    inputs, target = layer(x_0, eps, timestep, np.zeros_like(timestep, bool))
    row = Prediction("v").preconditioning(layer.schedule.alpha[timestep], layer.schedule.sigma[timestep])
    expand = (..., None, None, None)
    recovered = row.c_skip[expand] * np.asarray(inputs["noisy_clip"]) + row.c_out[expand] * np.asarray(target)
    np.testing.assert_allclose(recovered, x_0, atol=1e-5)


def test_serialises_parameters_not_arrays():
    layer = ForwardDiffusion({"name": "cosine", "num_timesteps": 50, "logsnr_shift": -1.0}, "eps")
    config = layer.get_config()
    assert config["schedule"]["num_timesteps"] == 50 and config["schedule"]["logsnr_shift"] == -1.0
    twin = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    np.testing.assert_array_equal(twin.schedule.alpha, layer.schedule.alpha)
    assert twin.prediction == layer.prediction


def test_a_schedule_that_cannot_be_rebuilt_is_refused():
    with pytest.raises(ValueError, match="`schedule`: expected one from .* Received: one with config {}"):
        ForwardDiffusion(NoiseSchedule.from_betas(np.full(10, 0.1)))
