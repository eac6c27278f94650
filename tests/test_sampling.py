"""The Keras samplers with an exact denoiser for two correlated pixels in two frames."""

import keras
import numpy as np
import pytest
from keras import ops

from kvdiff.diffusion import ClipSpec, ModelSpec, NoiseSchedule, Prediction, Sampler
from kvdiff.diffusion.sampling.constraints import ClipTotal, Constraint, PixelValues
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.transforms.clamps import clamp_to, dynamic
from kvdiff.sampling import KerasEngine, ReconstructionSampler

SCHEDULE = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 200})
SPEC = ModelSpec(ClipSpec(2, 1, 1, 1), SCHEDULE, Prediction("x0"))
CORRELATION, STD = 0.9, 0.3
DATA = GaussianClips(np.zeros((2, 1, 1, 1)), STD**2 * np.array([[1.0, CORRELATION], [CORRELATION, 1.0]]))


class ExactPair(keras.layers.Layer):
    """E[x_0 | x_t] of `DATA` when both frames carry the same noise: what a network without known frames learns."""

    def call(self, inputs):
        angle = 0.5 * np.pi * inputs["noise_label"][:, :1, None, None, None]
        alpha, sigma = ops.cos(angle), ops.sin(angle)
        x = inputs["noisy_clip"]
        common, apart = 0.5 * (x + ops.flip(x, 1)), 0.5 * (x - ops.flip(x, 1))  # The covariance's eigenvectors.
        parts = [(common, STD**2 * (1 + CORRELATION)), (apart, STD**2 * (1 - CORRELATION))]
        return sum(part * alpha * var / (alpha**2 * var + sigma**2) for part, var in parts)


def denoiser():
    inputs = {
        "noisy_clip": keras.Input((2, 1, 1, 1), name="noisy_clip"),
        "noise_label": keras.Input((2,), name="noise_label"),
    }
    return keras.Model(inputs, ExactPair()(inputs))


@pytest.mark.parametrize(
    ("solver", "spacing"), [("ddim", "trailing"), ("ddpm", "leading"), ("dpmpp_2m", "trailing"), ("heun", "karras")]
)
def test_the_keras_sampler_is_the_numpy_sampler(solver, spacing):
    ours = Sampler(SPEC, KerasEngine(denoiser(), SPEC, clamp=clamp_to(None)))
    exact = OracleSampler(DATA, SPEC.clip, SPEC.schedule, SPEC.prediction)
    sampling = dict(num_steps=10, solver=solver, spacing=spacing, seed=4)
    np.testing.assert_allclose(ours.generate(5, **sampling), exact.generate(5, **sampling), atol=1e-5)


@pytest.mark.parametrize("solver", ["ddim", "dpmpp_2m_sde"])
def test_constraints_by_the_tape_are_those_of_the_exact_gradient(solver):
    ours = Sampler(SPEC, KerasEngine(denoiser(), SPEC, clamp=clamp_to(None)))
    exact = OracleSampler(DATA, SPEC.clip, SPEC.schedule, SPEC.prediction)
    observed = np.full((1, 2, 1, 1, 1), np.nan)
    observed[0, 1] = 0.2
    for constraint in (
        Constraint(ClipTotal(), np.array([0.1, 0.5, -0.2, np.nan, 0.0])),
        Constraint(PixelValues(), observed, noise=0.1),
    ):
        sampling = dict(num_steps=10, solver=solver, seed=4, batch_size=3, constraints=[constraint])
        made = ours.generate(5, **sampling)
        np.testing.assert_allclose(made, exact.generate(5, **sampling), atol=1e-4)
        assert np.abs(made - ours.generate(5, num_steps=10, solver=solver, seed=4)).max() > 0.05
        if constraint.noise == 0:
            np.testing.assert_allclose(made.sum(axis=(1, 2, 3, 4))[:3], [0.1, 0.5, -0.2], atol=1e-5)
    traces = [step.experimental_get_tracing_count() for step in ours.engine._compiled_imposed.values()]
    assert len(traces) == 2 and max(traces) <= 2  # One a size of batch, whatever the target.


def test_dynamic_thresholding_is_the_same_on_tensors(rng):
    x = 2.0 * rng.normal(size=(3, 2, 4, 4, 1)).astype("float32")
    on_tensors = np.asarray(dynamic(0.8, ops)(x))
    np.testing.assert_allclose(on_tensors, dynamic(0.8)(x), atol=1e-6)
    assert np.abs(on_tensors - x.clip(-1, 1)).max() > 0.1  # It is not the static clamp.


def test_one_trace_serves_every_row_task_and_solver_of_one_memory():
    sampler = Sampler(SPEC, KerasEngine(denoiser(), SPEC))
    for solver in ("ddim", "ddpm"):
        sampler.generate(3, num_steps=4, solver=solver)
        sampler.predict_frames(np.zeros((3, 1, 1, 1, 1), np.float32), num_steps=3, solver=solver)
    assert sampler.engine._compiled_step.experimental_get_tracing_count() == 1


def test_solvers_of_every_memory_share_one_trace_of_the_network():
    traced, network = [], denoiser()
    sampler = Sampler(SPEC, KerasEngine(lambda inputs, training: (traced.append(1), network(inputs))[1], SPEC))
    for solver in ("ddim", "dpmpp_2m", "deis"):
        sampler.generate(3, num_steps=4, solver=solver)
    assert len(traced) == 1 < sampler.engine._compiled_step.experimental_get_tracing_count()


def slope(weight):
    """How the second frame follows the given first one; exactly, by its correlation."""
    sampler = ReconstructionSampler(denoiser(), SPEC, weight=weight)
    given = np.random.default_rng(0).normal(0.0, STD, 400).clip(-1, 1).astype("float32")
    clip = np.stack([given, np.zeros_like(given)], axis=1)[..., None, None, None]
    made = sampler.infill(clip, np.array([True, False]), num_steps=50, solver="ddpm", batch_size=400)
    assert sampler.engine._compiled_guided_step.experimental_get_tracing_count() == 1
    np.testing.assert_array_equal(made[:, 0, 0, 0, 0], given)
    return np.polyfit(given, made[:, 1, 0, 0, 0], 1)[0]


def test_reconstruction_guidance_makes_unknown_frames_agree_with_known_ones():
    """Replacing the known frame alone gives too weak a dependence; the gradient brings it near the exact 0.9."""
    replaced, guided = slope(0.0), slope(2.0)
    assert abs(guided - CORRELATION) < 0.5 * abs(replaced - CORRELATION)


def test_clear_errors():
    with pytest.raises(ValueError, match="`weight`: expected a number in .* Received: -1.0"):
        ReconstructionSampler(denoiser(), SPEC, weight=-1.0)
