"""Every mask and every plan on Keras and ONNX Runtime, around an exact denoiser: the same videos as in NumPy.

In NumPy these plans are proven to have the exact conditional mean and covariance (tests/diffusion/test_plans.py); the
other runtimes make the same videos from the same noise, so theirs are exact too.
"""

import keras
import numpy as np
import pytest
from keras import ops

from kvdiff.diffusion import ClipSpec, Prediction, masks, plans
from kvdiff.diffusion.conditions import FrameTimes
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.export import export_onnx, export_onnx_sampler
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.runtime import FusedOrtSampler, OrtSampler

WINDOW, LONG = 5, 18  # Such that all windows of all plans are of one length, as `eliminated` needs.
STD, CORRELATION = 0.15, 0.8
PAST = np.float32([0.2, 0.1]).reshape(1, 2, 1, 1, 1).repeat(3, axis=0)
SPEC, SCHEDULE, PREDICTION = ClipSpec(WINDOW, 1, 1, 1), cosine(1000), Prediction("v")
TOLERANCE = 1e-4  # float32 elimination; five times what was measured.


class MarkovDenoiser(ConditionEmbedding):
    """The best F for frames x_i, N(0, STD²), of correlation CORRELATION^|t_i - t_j|: equation (10) in float32."""

    def build(self, *shapes):
        """No weights."""

    def call(self, noisy_clip, inputs):
        label, times = inputs["noise_label"], inputs["frame_times"]
        angle = np.float32(np.pi / 2) * label
        alpha, sigma = ops.cos(angle), ops.where(label > 0, ops.sin(angle), 0.0)
        distance = ops.abs(times[:, :, None] - times[:, None, :])
        covariance = STD**2 * ops.exp(np.float32(np.log(CORRELATION)) * distance)
        noisy = alpha[:, :, None] * covariance * alpha[:, None, :] + ops.square(sigma)[:, :, None] * IDENTITY
        x = noisy_clip[..., 0, 0, 0]
        weights = eliminated(noisy, x)  # (A C A + S²)^-1 x
        clean = ops.sum(covariance * alpha[:, None, :] * weights[:, None, :], axis=2)
        v = (alpha * x - clean) / ops.where(sigma > 0, sigma, 1.0)
        return ops.where(sigma > 0, v, 0.0)[:, :, None, None, None]

    def compute_output_shape(self, noisy_clip_shape, inputs_shape):
        return noisy_clip_shape


IDENTITY = np.eye(WINDOW, dtype="float32")


def eliminated(matrix, right):
    """The solution of `matrix` y = `right` by Gauss and Jordan, in operations that every exporter knows."""
    table = ops.concatenate([matrix, right[:, :, None]], axis=2)
    for pivot in range(WINDOW):
        row = table[:, pivot : pivot + 1, :] / table[:, pivot : pivot + 1, pivot : pivot + 1]
        here = IDENTITY[pivot][None, :, None]
        table = (1.0 - here) * (table - table[:, :, pivot : pivot + 1] * row) + here * row
    return table[:, :, -1]


@pytest.fixture(scope="module")
def on_numpy():
    index = np.arange(LONG)
    covariance = STD**2 * CORRELATION ** np.abs(index[:, None] - index)
    return OracleSampler(GaussianClips(np.zeros((LONG, 1, 1, 1)), covariance), SPEC, SCHEDULE, PREDICTION)


@pytest.fixture(scope="module")
def model():
    inputs = {
        "noisy_clip": keras.Input((WINDOW, 1, 1, 1), name="noisy_clip"),
        "noise_label": keras.Input((WINDOW,), name="noise_label"),
        "frame_times": keras.Input((WINDOW,), name="frame_times"),
    }
    exact = keras.Model(inputs, MarkovDenoiser({"frame_times": FrameTimes()})(inputs["noisy_clip"], inputs))
    return VideoDiffusion((WINDOW, 1, 1, 1), exact, schedule=SCHEDULE, prediction=PREDICTION, known_noise=0.1)


@pytest.fixture(scope="module")
def on_keras(model):
    return model.sampler


@pytest.fixture(scope="module")
def run(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    export_onnx(model, folder)
    export_onnx_sampler(folder, folder)
    return folder


@pytest.fixture(scope="module")
def on_onnxruntime(run):
    return OrtSampler(run, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def in_one_graph(run):
    return FusedOrtSampler(run, providers=["CPUExecutionProvider"])


RUNTIMES = ["on_keras", "on_onnxruntime", "in_one_graph"]
MASKS = {
    "none": masks.none(WINDOW),
    "first": masks.first(WINDOW, 2),
    "last": masks.last(WINDOW, 1),
    "ends": masks.ends(WINDOW, 1, 1),
    "every": masks.every(WINDOW, 2),
    "any": np.array([False, True, False, True, True]),
}
SAMPLING = [dict(solver="ddim", num_steps=8), dict(solver="ddpm", num_steps=8), dict(solver="dpmpp_2m", num_steps=12)]


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("sampling", SAMPLING, ids=lambda sampling: sampling["solver"])
def test_every_mask(runtime, sampling, on_numpy, request):
    sampler = request.getfixturevalue(runtime)
    clip = np.random.default_rng(0).uniform(-0.3, 0.3, size=(3, WINDOW, 1, 1, 1)).astype(np.float32)
    for known in MASKS.values():
        made = sampler.infill(clip, known, seed=4, **sampling)
        np.testing.assert_allclose(made, on_numpy.infill(clip, known, seed=4, **sampling), atol=TOLERANCE)
        assert (made[:, known] == clip[:, known]).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("name", ["autoregressive", "hierarchical", "hierarchy_2", "rolling"])
def test_every_plan(runtime, name, on_numpy, request):
    sampler, plan = request.getfixturevalue(runtime), plans.PLANS[name](LONG, WINDOW, known=2)
    assert {len(window.frames) for window in plan.windows} == {WINDOW}
    for sampling in SAMPLING:
        made = sampler.rollout(LONG, PAST, plan=plan, seed=5, **sampling)
        expected = on_numpy.rollout(LONG, PAST, plan=plan, seed=5, **sampling)
        np.testing.assert_allclose(made, expected, atol=TOLERANCE)
        assert (made[:, :2] == PAST).all()


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_known_noise_is_the_same_everywhere(runtime, on_numpy, request):
    sampler = request.getfixturevalue(runtime)
    sampling = dict(num_steps=6, seed=6, known_noise=0.1)
    made = sampler.rollout(LONG, PAST, **sampling)
    np.testing.assert_allclose(made, on_numpy.rollout(LONG, PAST, **sampling), atol=TOLERANCE)
