"""Every mask and every plan on Keras and ONNX Runtime, around an exact denoiser: the same videos as in NumPy.

In NumPy these plans are proven to have the exact conditional mean and covariance (tests/diffusion/test_plans.py); the
other runtimes make the same videos from the same noise, so theirs are exact too.
"""

import dataclasses

import keras
import numpy as np
import pytest
from keras import ops

from kvdiff.diffusion import ClipSpec, Prediction, Unbounded, masks, plans
from kvdiff.diffusion.conditions import FrameTimes
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.models.video_autoencoder import VideoAutoencoder
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler

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


# In the latent of a linear autoencoder: exact in pixels on every runtime.

PATTERN = np.float32([1.0, 0.5, -0.5, 0.25])  # Of a cell's four pixels; a latent is how much of it there is.
MEAN, DEVIATION = 0.2, 1.3
IN_LATENT = ["latent_on_keras", "latent_on_onnxruntime", "latent_in_one_graph", "latent_on_litert", "latent_served"]


def shown(latent):
    """The pixels of latents, as `linear_autoencoder` decodes them."""
    parts = (latent * np.float32(DEVIATION) + np.float32(MEAN))[..., 0, 0, :] * PATTERN
    return parts.reshape(*latent.shape[:2], 2, 2, 1)


def linear_autoencoder():
    """Its blocks are the identity, as new ones are, and its other layers one pattern each way."""
    model = VideoAutoencoder(1, factor=2, latent_channels=1, widths=(4,), blocks=1, kl=0.0, values=Unbounded())
    model.encoder.get_layer("patches").set_weights([np.eye(4), np.zeros(4)])
    model.encoder.get_layer("latent").set_weights([(PATTERN / (PATTERN @ PATTERN))[:, None], np.zeros(1)])
    middle = np.arange(9) == 4  # Of a kernel of 3 × 3 places.
    model.decoder.get_layer("features").set_weights([middle[:, None] * np.float32([[1, 0, 0, 0]]), np.zeros(4)])
    pattern = np.outer(np.eye(4)[0], PATTERN)
    model.decoder.get_layer("pixels").set_weights([np.kron(middle[:, None], pattern), np.zeros(4)])
    model.moments.mean.assign([MEAN])
    model.moments.power.assign([MEAN**2 + DEVIATION**2])
    return model


@pytest.fixture(scope="module")
def latent_model(model):
    spec = dict(schedule=SCHEDULE, prediction=PREDICTION, known_noise=0.1, values=Unbounded())
    return VideoDiffusion((WINDOW, 2, 2, 1), model.denoiser, codec=linear_autoencoder(), **spec)


@pytest.fixture(scope="module")
def latent_run(latent_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("latent")
    export_onnx_sampler(export_onnx(latent_model, folder), folder)
    export_litert(latent_model, folder)
    export_saved_model(latent_model, folder / "serving", pixels="float32", max_calls=12)
    return folder


@pytest.fixture(scope="module")
def latent_on_keras(latent_model):
    return latent_model.sampler


@pytest.fixture(scope="module")
def latent_on_onnxruntime(latent_run):
    return OrtSampler(latent_run, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def latent_in_one_graph(latent_run):
    return FusedOrtSampler(latent_run, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def latent_on_litert(latent_run):
    return LiteRtSampler(latent_run)


@pytest.fixture(scope="module")
def latent_served(latent_run):
    return SavedModelSampler(latent_run / "serving")


@pytest.mark.parametrize("runtime", IN_LATENT)
def test_every_mask_in_the_latent_of_a_linear_autoencoder(runtime, on_numpy, request):
    sampler = request.getfixturevalue(runtime)
    latent = np.random.default_rng(0).uniform(-0.3, 0.3, size=(3, WINDOW, 1, 1, 1)).astype(np.float32)
    for sampling in SAMPLING:
        for known in MASKS.values():
            made = sampler.infill(shown(latent), known, seed=4, **sampling)
            expected = shown(on_numpy.infill(latent, known, seed=4, **sampling))
            np.testing.assert_allclose(made, expected, atol=2 * TOLERANCE)
            assert (made[:, known] == shown(latent)[:, known]).all()


@pytest.mark.parametrize("independent", [0.0, 1.0])
@pytest.mark.parametrize("runtime", [name for name in IN_LATENT if name != "latent_in_one_graph"])
def test_history_guidance_is_the_same_everywhere(runtime, independent, on_numpy, request):
    def trained(sampler):
        spec = dataclasses.replace(sampler.spec, independent_noise=independent)
        return dataclasses.replace(sampler, spec=spec)

    sampler, exact = trained(request.getfixturevalue(runtime)), trained(on_numpy)
    words = dict(seed=5, history_guidance=1.5, **SAMPLING[1])
    for more in ({}, {"known_noise": 0.1}):
        made = sampler.rollout(LONG, shown(PAST), **words, **more)
        expected = exact.rollout(LONG, PAST, **words, **more)
        np.testing.assert_allclose(made, shown(expected), atol=2 * TOLERANCE)
    assert np.abs(expected - exact.rollout(LONG, PAST, seed=5, **SAMPLING[1])).max() > 0.01


@pytest.mark.parametrize("runtime", IN_LATENT)
@pytest.mark.parametrize("name", ["autoregressive", "hierarchical", "hierarchy_2", "rolling"])
def test_every_plan_in_the_latent_of_a_linear_autoencoder(runtime, name, on_numpy, request):
    sampler, plan = request.getfixturevalue(runtime), plans.PLANS[name](LONG, WINDOW, known=2)
    made = sampler.rollout(LONG, shown(PAST), plan=plan, seed=5, **SAMPLING[1])
    expected = shown(on_numpy.rollout(LONG, PAST, plan=plan, seed=5, **SAMPLING[1]))
    np.testing.assert_allclose(made, expected, atol=2 * TOLERANCE)
