"""`kvdiff train --from` goes on from a trained model; `--lora` leaves its weights and writes an ordinary model."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("typer")

import kvdiff
from kvdiff.cli.base import opened_base
from kvdiff.cli.train_data import check_frame_sizes, listed
from kvdiff.cli.train_options import Training
from kvdiff.diffusion import ClipSpec, Linear
from kvdiff.models.lora import low_rank_layers
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser

HOW = ("--batch-size", 1, "--preview-every", 0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
    return folder


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One model as a run, as a preset, and its file; it predicts eps, which no recipe does."""
    keras.utils.set_random_seed(5)
    how = {"generate": {"num_steps": 3}}
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser(), prediction="eps", sampling=how)
    folder = tmp_path_factory.mktemp("bases")
    (folder / "run").mkdir()
    model.save(folder / "run" / "model.keras")
    model.save_to_preset(folder / "preset")
    return folder


def weights(path: Path) -> list[np.ndarray]:
    return kvdiff.load_model(path).get_weights()


@pytest.fixture(scope="module")
def tuned(clips, bases, tmp_path_factory):
    """A run of adapters, and its command but for the folder."""
    command = ("train", clips, "--from", bases / "run", "--lora", 2, *HOW, "--epochs", 2, "--seed", 7, "-o")
    folder = tmp_path_factory.mktemp("tuned")
    assert "5 windows of 4 frames: 10 steps of 1." in call(*command, folder).output
    return folder, command


def opened(base: Path, **options: Any) -> Any:
    return opened_base(Training(base=str(base), **options), Scope())


class Scope:
    """A strategy of this one device."""

    def scope(self) -> Any:
        return contextlib.nullcontext()


def test_a_training_begins_with_the_weights_and_everything_of_a_trained_model(clips, bases, tmp_path):
    agreed = ("--frames", 4, "--size", 8, "--channels", 1)
    asked = ("--epochs", 1, "--learning-rate", 1e-8)
    call("train", clips, "--from", bases / "run", "-o", tmp_path / "run", *HOW, *agreed, *asked)
    model = kvdiff.load_model(tmp_path / "run" / "model.keras")
    assert model.spec.prediction.name == "eps" and model.spec.sampling["generate"] == {"num_steps": 3}
    for mine, its in zip(model.get_weights(), weights(bases / "run" / "model.keras"), strict=True):
        np.testing.assert_allclose(mine, its, atol=1e-6)


@pytest.mark.parametrize("name", ["run/model.keras", "preset"])
def test_it_is_a_file_or_a_preset_too_and_the_seed_is_the_new_trainings(bases, name):
    model = opened(bases / name, seed=7)
    assert model.seed == 7 and model.get_config()["seed"] == 7
    for mine, its in zip(model.get_weights(), weights(bases / "run" / "model.keras"), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_adapters_alone_train_and_the_run_is_an_ordinary_model(bases, tuned, tmp_path):
    model, before = kvdiff.load_model(tuned[0] / "model.keras"), kvdiff.load_model(bases / "run" / "model.keras")
    assert model.lora is None and not low_rank_layers(model.denoiser) and not model.compiled
    changed = {
        variable.path.rpartition("/")[2]
        for variable, its in zip(model.denoiser.weights, before.denoiser.weights, strict=True)
        if np.abs(variable.numpy() - its.numpy()).max() > 0
    }
    assert changed == {"kernel"}
    trained = kvdiff.load_model(tuned[0] / "training" / "checkpoints")
    assert trained.lora == {"rank": 2, "alpha": 2.0}
    same = [each.generate(1, num_steps=2, seed=1) for each in (model, trained)]
    np.testing.assert_allclose(*same, atol=1e-5)
    call("generate", tuned[0], "-o", tmp_path / "new.npy", "--num-steps", 2, "--seed", 1)
    np.testing.assert_allclose(np.load(tmp_path / "new.npy").reshape(same[0].shape), same[0], atol=1e-5)


def test_a_tuned_run_is_exported(tuned, tmp_path):
    pytest.importorskip("tf2onnx")
    call("export", tuned[0], "--to", "onnx", "--no-verify", "-o", tmp_path)
    expected = kvdiff.load_model(tuned[0] / "model.keras").generate(1, num_steps=2, seed=1)
    found = kvdiff.runtime.open_sampler(tmp_path).generate(1, num_steps=2, seed=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_it_goes_on_bit_for_bit(tuned, tmp_path, monkeypatch):
    from kvdiff.training import RunRecord

    whole, command = tuned

    def interrupt(record, batch, logs=None):
        if int(record.model.optimizer.iterations) == 7:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "on_train_batch_end", interrupt)
        call(*command, tmp_path, code=130)
    assert "Going on after step 7" in call(*command, tmp_path, "--resume").output
    for mine, its in zip(weights(whole / "model.keras"), weights(tmp_path / "model.keras"), strict=True):
        np.testing.assert_array_equal(mine, its)


def test_a_model_with_adapters_is_merged_before_it_trains_on(bases, tmp_path):
    tuned = kvdiff.load_model(bases / "run" / "model.keras")
    tuned.enable_lora(2)
    for layer in low_rank_layers(tuned.denoiser):
        layer.lora_kernel_b.assign(np.ones(layer.lora_kernel_b.shape))
    tuned.save(tmp_path / "tuned.keras")
    model = opened(tmp_path / "tuned.keras")
    assert model.lora is None and len(model.denoiser.trainable_variables) == 4
    expected = tuned.generate(1, num_steps=2)
    np.testing.assert_allclose(model.generate(1, num_steps=2), expected, atol=1e-5)


def test_a_model_without_a_clock_is_given_one_and_one_with_a_clock_keeps_it(clips, bases, tmp_path):
    how = ("--default-fps", 8, *HOW, "--epochs", 1)
    said = call("train", clips, "--from", bases / "run", "-o", tmp_path / "run", "--fps", 4, *how)
    assert "1 windows of 4 frames" in said.output  # Of every second frame.
    assert kvdiff.load_model(tmp_path / "run" / "model.keras").spec.clip.fps == 4.0
    line = last_line("train", clips, "--from", tmp_path / "run", "-o", tmp_path / "next", "--fps", 8, *how)
    assert f"--fps: expected 4.0, as of {tmp_path / 'run'}, or nothing. Received: 8.0" in line
    said = call("train", clips, "--from", tmp_path / "run", "-o", tmp_path / "next", *how)
    assert "1 windows of 4 frames" in said.output


def last_line(*arguments: object) -> str:
    return call(*arguments, code=2).output.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--frames", 5), "--frames: expected 4, as of {base}, or nothing. Received: 5"),
        (("--size", "8x12"), "--size: expected 8x8, as of {base}, or nothing. Received: 8x12"),
        (("--channels", 3), "--channels: expected 1, as of {base}, or nothing. Received: 3"),
        (("--recipe", "tiny"), "--recipe: expected it without --from, whose model has its own. Received: tiny, {base}"),
        (("--width", 48), "--width: expected it without --from"),
        (("--latent-factor", 2), "--latent-factor: expected it without --from"),
        (("--autoencoder", "a.keras"), "--autoencoder: expected it without --from"),
        (("--values", "linear"), "--from: expected it with videos alone. Received: {base} with data with units"),
    ],
)
def test_options_that_contradict_the_model_are_refused_with_both(clips, bases, tmp_path, options, text):
    base = bases / "run"
    assert text.format(base=base) in last_line("train", clips, "--from", base, "-o", tmp_path / "run", *HOW, *options)
    assert not (tmp_path / "run").exists()


def test_frames_of_another_size_are_resized_by_choice(bases, tmp_path):
    path = tmp_path / "wide.npy"
    np.save(path, np.random.default_rng(0).integers(0, 256, (6, 12, 16, 1), dtype=np.uint8))
    line = refused("train", path, "--from", bases / "run", "-o", tmp_path / "run", *HOW)
    assert f"--size: expected frames of 8x8, as of {bases / 'run'}; --size 8x8 resizes and cuts others" in line
    assert f"Received: {path}, of 12x16" in line and not (tmp_path / "run").exists()
    clip, said, listing = ClipSpec(4, 8, 8, 1), list[str](), listed([path], Training())
    check_frame_sizes(listing, clip, Training(base="run", size="8x8"), said.append)
    assert not said
    check_frame_sizes(listing, clip, Training(), said.append)
    assert said == [f"{path} has frames of 12x16: all are resized and cut to 8x8, unless --size says another."]
    check_frame_sizes(listing, ClipSpec(4, 12, 16, 1), Training(base="run"), said.append)
    assert len(said) == 1


def test_adapters_need_a_model_and_a_model_stays_as_it_is(clips, bases, tmp_path):
    assert "--lora: expected it with --from" in refused("train", clips, "--lora", 2, "-o", tmp_path / "run", *HOW)
    for base in (bases / "run", bases / "run" / "model.keras"):
        line = refused("train", clips, "--from", base, "-o", bases / "run", *HOW, "--overwrite")
        assert "--output: expected another folder than --from, which stays as it is" in line
    line = refused("train", clips, "--from", tmp_path / "none", "-o", tmp_path / "run", *HOW)
    assert "none/model.keras: no such file" in line


def test_a_model_of_other_data_is_refused(clips, tmp_path):
    from kvdiff.diffusion.conditions import ClassLabel

    asked = ("-o", tmp_path / "run", *HOW)
    kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser(), values=Linear(0.0, 9.0)).save(tmp_path / "rain.keras")
    line = refused("train", clips, "--from", tmp_path / "rain.keras", *asked)
    assert "--from: expected a model of pixels. Received: " in line and "'linear'" in line
    unet = kvdiff.UNet3D(1, widths=(8,), blocks=1, attention=(None,), conditions={"kind": ClassLabel(3)})
    kvdiff.VideoDiffusion((4, 8, 8, 1), unet).save(tmp_path / "kinds.keras")
    line = refused("train", clips, "--from", tmp_path / "kinds.keras", *asked)
    assert "--labels, --actions: expected --labels, as " in line and "was trained. Received: neither" in line
