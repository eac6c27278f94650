import numpy as np
import pytest
import tensorflow as tf

from kvdiff.diffusion import NoiseSchedule
from kvdiff.diffusion.process.timestep_sampling import TimestepDistribution, lognormal
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.training.timesteps import ImportanceSampling, TimestepDraw

SCHEDULE = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 8})
UNIFORMS = ((np.arange(80_000) + 0.5) / 80_000).astype("float32")


@pytest.mark.parametrize("choice", [{"name": "uniform"}, {"name": "lognormal", "mean": 0.0, "std": 1.0}])
def test_frequencies_are_the_probabilities(choice):
    drawn = np.bincount(np.asarray(TimestepDraw(SCHEDULE, choice)(UNIFORMS)), minlength=8) / 80_000
    expected = np.full(8, 1 / 8) if choice["name"] == "uniform" else lognormal(SCHEDULE, 0.0, 1.0).probabilities
    np.testing.assert_allclose(drawn, expected, atol=2e-5)


def test_importance_keeps_the_mean_of_the_loss():
    draw = TimestepDraw(SCHEDULE, {"name": "uniform"})
    losses = np.arange(8.0) ** 2
    draw.assign(TimestepDistribution(np.array([0.3, 0.2, 0.1, 0.1, 0.1, 0.1, 0.05, 0.05])))
    timestep = draw(UNIFORMS)
    weighted = np.asarray(draw.importance(timestep)) * losses[np.asarray(timestep)]
    assert weighted.mean() == pytest.approx(losses.mean(), rel=1e-3)


def test_importance_sampling_draws_more_where_the_loss_is_larger():
    """An untrained v-network answers 0, so a timestep's loss is its weight times the target's power."""
    denoiser = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,))
    model = VideoDiffusion((2, 4, 4, 1), denoiser, schedule=SCHEDULE, loss_weight="variational")
    model.compile()
    clips = np.random.default_rng(0).uniform(-1, 1, (8, 2, 4, 4, 1)).astype("float32")
    callback = ImportanceSampling(clips, num_levels=8)
    callback.set_model(model)

    callback.on_epoch_begin(0)
    first = np.bincount(np.asarray(model.timestep_draw(UNIFORMS)), minlength=8)
    np.testing.assert_allclose(first, 10_000, atol=1)
    callback.on_epoch_begin(1)
    later = np.bincount(np.asarray(model.timestep_draw(UNIFORMS)), minlength=8)
    weights = model.noising.loss_weights
    assert later[np.argmax(weights)] == later.max() > 2 * 10_000
    assert later.min() > 0


def test_changes_reach_a_compiled_step():
    draw = TimestepDraw(SCHEDULE, {"name": "uniform"})
    compiled = tf.function(draw)
    assert int(compiled(tf.constant([0.5]))[0]) == 4
    draw.assign(TimestepDistribution(np.array([0.9, *[0.1 / 7] * 7])))
    assert int(compiled(tf.constant([0.5]))[0]) == 0


def test_bad_choice():
    with pytest.raises(ValueError, match=r"`name`: expected one of \['lognormal', 'uniform'\]. Received: 'normal'"):
        TimestepDraw(SCHEDULE, {"name": "normal"})
