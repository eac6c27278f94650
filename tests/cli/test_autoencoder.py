"""`kvdiff autoencoder`, `kvdiff data prepare --latent` and `kvdiff train --latent-factor`, one after the other."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

pytest.importorskip("typer")

import kvdiff
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser

SIZE = ("--size", "16x8", "--channels", 1)
QUICK = ("--epochs", 1, "--width", 8, *SIZE)
TRAIN = ("--frames", 4, "--batch-size", 2, "--epochs", 1, "--preview-every", 0, "--autoencoder-epochs", 1, *SIZE)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    rng = np.random.default_rng(0)
    np.save(folder / "a.npy", rng.integers(0, 256, (6, 16, 16, 1), dtype=np.uint8))
    np.save(folder / "b.npy", rng.integers(0, 256, (7, 16, 16, 1), dtype=np.uint8))
    return folder


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    def denoiser(channels):
        clip, label = keras.Input((None, None, None, channels), name="noisy_clip"), tiny_denoiser().input["noise_label"]
        return keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(channels)(clip))

    def make(recipe, clip, seed, codec=None):
        return kvdiff.VideoDiffusion(clip, denoiser(codec.shape.latent_channels), codec=codec, seed=seed)

    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", make)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "mine"
    call("autoencoder", clips, "-o", folder, "--factor", 2, "--latent-channels", 3, *QUICK)
    return folder


def test_it_writes_an_autoencoder_and_a_page(clips, run):
    autoencoder = kvdiff.load_autoencoder(run / "autoencoder.keras")
    assert autoencoder.shape.factor == 2 and autoencoder.shape.channels == 1
    assert autoencoder.shape.latent_channels == 3
    measured = json.loads((run / "autoencoder" / "reconstruction.json").read_text())
    assert measured["psnr"] > 0 and measured["share"] == 0.75 and len(measured["kept"]) == 4
    page = (run / "autoencoder" / "reconstruction.html").read_text()
    assert "four times the difference" in page and "data:image/png" in page
    assert "holds autoencoder.keras; pass --overwrite" in refused("autoencoder", clips, "-o", run, *QUICK)


def test_latents_are_prepared_once_and_trained_on(clips, run, tmp_path):
    latents = tmp_path / "latents"
    prepare = ("data", "prepare", clips, "--latent", run, "-o", latents, *SIZE)
    assert "Encoded 2 clips" in call(*prepare).output
    assert "Encoded 0 clips" in call(*prepare).output
    made = call("train", clips, "-o", tmp_path / "run", "--autoencoder", run / "autoencoder.keras", *TRAIN).output
    assert "Encoded 2 clips" in made
    model = kvdiff.load_model(tmp_path / "run" / "model.keras")
    assert model.autoencoder.digest == kvdiff.load_autoencoder(run / "autoencoder.keras").digest
    assert model.generate(1, num_steps=1).shape == (1, 4, 16, 8, 1)


def test_one_run_trains_both_and_goes_on(clips, tmp_path):
    train = ("train", clips, "-o", tmp_path / "run", "--latent-factor", 2, "--latent-channels", 3, *TRAIN)
    made = call(*train).output
    assert "Autoencoder: 13 frames" in made and "Encoded 2 clips" in made
    first = kvdiff.load_model(tmp_path / "run" / "model.keras")
    assert first.spec.latent.frame_shape == (8, 4, 3)
    assert "pass --overwrite" in refused(*train)
    again = call(*train, "--resume").output
    assert "Encoded 0 clips" in again and "Autoencoder:" not in again
    second = kvdiff.load_model(tmp_path / "run" / "model.keras")
    for one, other in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--latent-factor", 3), "--latent-factor: expected one of [2, 4, 8]. Received: 3"),
        (("--latent-factor", 8), "--size: expected a multiple of 32, e.g. 32. Received: 16"),
        (("--latent-factor", 2, "--autoencoder", "x.keras"), "--autoencoder, --latent-factor: expected one of them"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(clips, tmp_path, options, text):
    assert text in refused("train", clips, "-o", tmp_path / "run", *TRAIN, *options)
    assert not (tmp_path / "run").exists()
    assert "--factor: expected one of" in refused("autoencoder", clips, "-o", tmp_path / "run", "--factor", 5, *QUICK)
