"""Recipes: settings of network and training for clips of any size."""

import dataclasses

import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import ClipSpec
from kvdiff.diffusion.tasks.known_frames import First, Mixture, Nothing, mask_from_config
from kvdiff.models.recipes import RECIPES, Recipe, mostly_known, recipe_named, seeded_model


@pytest.mark.parametrize(
    ("positions", "size", "patch"),
    [
        (8, (16, 16), 2),
        (8, (32, 32), 4),
        (8, (64, 64), 8),
        (16, (64, 64), 4),
        (16, (48, 64), 2),
        (8, (20, 20), 2),
        (8, (9, 9), 1),
    ],
)
def test_patches_leave_the_positions_and_divide_the_frame(positions, size, patch):
    recipe = Recipe((48, 96), positions=positions)
    assert recipe.patch_size(*size) == patch
    assert patch == 1 or all(side % (2 * patch) == 0 for side in size)


@pytest.mark.parametrize("frames", [4, 8, 16])
def test_masks_leave_something_to_generate_and_mostly_know_half_of_the_frames(frames):
    mask = mostly_known(frames)
    uniform = np.random.default_rng(0).uniform(size=(4000, mask.num_uniforms(frames))).astype("float32")
    known = mask.draw(np, uniform, frames)
    count = known.sum(axis=1)
    assert (count < frames).all()
    assert (count == 0).mean() == pytest.approx(0.15, abs=0.03)
    assert (count >= frames // 2).mean() > 0.6
    assert mask_from_config(mask.config).config == mask.config


def test_the_model_samples_one_frame_at_a_time_by_default():
    model = seeded_model(dataclasses.replace(RECIPES["tiny"], widths=(24,), blocks=1), ClipSpec(4, 8, 8, 1), 3)
    assert model.spec.sampling["predict"] == {"at_a_time": 1, "num_steps": 2}
    assert model.spec.prediction.name == "x0" and model.seed == 3
    assert model.spec.known_frames.config == mostly_known(4).config
    again = seeded_model(dataclasses.replace(RECIPES["tiny"], widths=(24,), blocks=1), ClipSpec(4, 8, 8, 1), 3)
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), again.get_weights(), strict=True))


def test_forecasts_are_of_v_and_all_frames_at_once():
    recipe = dataclasses.replace(RECIPES["tiny"], widths=(24,), blocks=1)
    model = recipe.forecaster(ClipSpec(4, 8, 8, 1), 2, seed=3)
    assert model.spec.sampling["predict"] == {"num_steps": 20} and model.spec.prediction.name == "v"
    assert model.spec.known_frames.config == Mixture({First(2, 2): 3.0, Nothing(): 1.0}).config and model.seed == 3
    assert recipe.forecaster(ClipSpec(4, 8, 8, 1)).spec.known_frames.config == mostly_known(4).config


def test_settings_change_where_they_are_said():
    recipe = RECIPES["base"].changed(width=24, batch_size=None, learning_rate=1e-3)
    assert recipe.widths == (24, 48, 96) and recipe.batch_size == RECIPES["base"].batch_size
    assert recipe.learning_rate == 1e-3


def test_an_unknown_name():
    with pytest.raises(ValueError, match="`recipe`: expected one of"):
        recipe_named("huge")


def test_with_an_autoencoder_the_network_is_for_its_latent():
    autoencoder = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=3, widths=(8,), blocks=1)
    recipe = Recipe((12, 24), blocks=1)
    model = recipe.model(ClipSpec(4, 16, 16, 1), network={"groups": 4, "attention": (None, None)}, codec=autoencoder)
    assert model.denoiser.output_shape[-1] == 3 and model.spec.latent.frame_shape == (8, 8, 3)
