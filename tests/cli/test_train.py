"""`kvdiff train` refuses before it works, and what it is stopped in can be used."""

from __future__ import annotations

import csv
import os
import signal
import sys

import keras
import numpy as np
import pytest

pytest.importorskip("typer")

import kvdiff
from kvdiff.cli.bad_files import advice_on_bad_files
from kvdiff.data.bad_files import BadFiles
from kvdiff.diffusion import ClipSpec
from kvdiff.media import VideoError
from kvdiff.training.checkpoint_file import read_checkpoint
from kvdiff.training.estimate import TrainingEstimate
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser

SIZE = ("--frames", 4, "--size", 8, "--channels", 1, "--batch-size", 1, "--preview-every", 0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    np.save(folder / "a.npy", np.random.default_rng(0).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
    return folder


@pytest.fixture(autouse=True)
def _tiny(monkeypatch):
    make = lambda recipe, clip_shape, seed: kvdiff.VideoDiffusion(clip_shape, tiny_denoiser(), seed=seed)  # noqa: E731
    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", make)


@pytest.mark.parametrize(
    ("option", "number", "text"),
    [
        ("--channels", 2, "--channels: expected 1 for grey or 3 for colour. Received: 2"),
        ("--width", 50, "--width: expected a multiple of 24, e.g. 48 or 72. Received: 50"),
        ("--size", 10, "--size: expected a multiple of 4, e.g. 8 or 12. Received: 10"),
        ("--digest", "none", "`--digest`: expected one of"),
    ],
)
def test_an_option_is_refused_by_its_own_name(clips, tmp_path, option, number, text):
    assert text in refused("train", clips, "-o", tmp_path / "run", *SIZE, option, number)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("inside", ["run", "a/b/run", "."])
def test_a_run_among_the_clips_is_refused(clips, inside):
    before = sorted(clips.rglob("*"))
    assert "--output: expected a folder outside of the clips" in refused("train", clips, "-o", clips / inside, *SIZE)
    assert "--output: expected" in refused("train", clips, clips / "a.npy", "-o", clips / "x" / ".." / "run", *SIZE)
    assert sorted(clips.rglob("*")) == before


def test_a_link_into_the_clips_is_seen_through(clips, tmp_path):
    (tmp_path / "link").symlink_to(clips)
    assert "--output: expected a folder outside" in refused("train", clips, "-o", tmp_path / "link" / "run", *SIZE)


def test_a_hidden_run_and_one_beside_named_files_are_welcome(clips, tmp_path):
    from kvdiff.cli.train_checks import check_folder

    check_folder(clips / ".run", [clips], resume=False, overwrite=False)
    check_folder(clips / "run", [clips / "a.npy"], resume=False, overwrite=False)
    assert not (clips / "run").exists()


@pytest.mark.parametrize("package", ["tensorflow", "keras", "filelock"])
def test_a_missing_package_is_named_with_what_to_install(clips, tmp_path, monkeypatch, package):
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == package else real(name, *rest))
    line = refused("train", clips, "-o", tmp_path / "run", *SIZE)
    assert f"expected {package}, to train" in line and 'pip install "keras-video-diffusion[train]"' in line


def test_previews_without_pyav_are_refused_before_the_training(clips, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    line = refused("train", clips, "-o", tmp_path / "run", *SIZE, "--preview-every", 1)
    assert "need PyAV" in line and "--preview-every 0" in line


def test_another_batch_size_is_refused_by_what_differs(clips, tmp_path):
    call("train", clips, "-o", tmp_path, *SIZE, "--epochs", 1)
    (tmp_path / "model.keras").unlink()
    line = refused_at_the_end("train", clips, "-o", tmp_path, *SIZE, "--resume", "--batch-size", 2)
    assert "with batch_size=1. Received: batch_size=2" in line and "{" not in line


def test_other_videos_under_the_same_names_are_refused(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    for seed in (0, 1):
        np.save(folder / "a.npy", np.random.default_rng(seed).integers(0, 256, (8, 8, 8, 1), dtype=np.uint8))
        if not seed:
            call("train", folder, "-o", tmp_path / "run", *SIZE, "--epochs", 1)
    (tmp_path / "run" / "model.keras").unlink()
    line = refused_at_the_end("train", folder, "-o", tmp_path / "run", *SIZE, "--resume", "--epochs", 2)
    assert "content.sha256" in line and "other files" in line


def refused_at_the_end(*arguments):
    """The last line, where progress was told before."""
    return call(*arguments, code=2).output.strip().splitlines()[-1]


# Stopped.


@pytest.fixture
def stopped(clips, tmp_path, monkeypatch):
    """A run that Ctrl-C ended after two steps, and what was printed."""
    from kvdiff.training import RunRecord

    def interrupt(record, batch, logs=None):
        if int(record.model.optimizer.iterations) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(RunRecord, "on_train_batch_end", interrupt)
    result = call("train", clips, "-o", tmp_path / "run", *SIZE, "--epochs", 9, code=130)
    monkeypatch.undo()
    return tmp_path / "run", result.output


def test_a_training_that_was_stopped_says_how_to_go_on_and_can_be_used(stopped, tmp_path):
    run, printed = stopped
    assert "SIGINT: saved training step 2" in printed and "with --resume goes on" in printed
    assert f"kvdiff generate {run}" in printed
    assert not (run / "model.keras").exists() and not list(run.glob(".room*"))
    for command in (("generate", run), ("predict", run, _past(tmp_path))):
        made = call(*command, "-o", tmp_path / "new.npy", "--num-steps", 2, "--overwrite")
        assert "no model.keras yet; this is the checkpoint after 2 training steps" in made.output
    by_hand = kvdiff.load_model(run / "training" / "checkpoints").generate(1, num_steps=2, seed=3)
    call("generate", run, "-o", tmp_path / "one.npy", "--num-steps", 2, "--seed", 3, "--num-clips", 1)
    np.testing.assert_array_equal(np.load(tmp_path / "one.npy").reshape(by_hand.shape), by_hand)


def test_it_is_exported_too(stopped):
    pytest.importorskip("tf2onnx")
    result = call("export", stopped[0], "--to", "onnx", "--no-verify")
    assert "after 2 training steps" in result.output and (stopped[0] / "denoiser.onnx").is_file()


def test_a_model_from_before_a_training_that_has_not_ended_is_said_to_be_that(stopped, tmp_path):
    run, _ = stopped
    kvdiff.load_model(run / "training" / "checkpoints").save(run / "model.keras")
    os.utime(run / "model.keras", (1, 1))
    made = call("generate", run, "-o", tmp_path / "new.npy", "--num-steps", 2)
    assert "this is the model.keras from before a training that has not ended" in made.output


def _past(folder):
    np.save(folder / "past.npy", np.zeros((2, 8, 8, 1), np.uint8))
    return folder / "past.npy"


def test_a_disk_that_is_full_from_the_second_step_costs_no_result(clips, tmp_path, monkeypatch):
    from kvdiff.training import checkpoint_file, previews, run_record

    def full(*args):
        raise OSError(28, "No space left on device")

    real, saved = keras.Model.save, []

    def save(*args):
        saved.append(list((tmp_path / "run").glob(".room*")))
        return real(*args)

    for owner, name in ((checkpoint_file, "_write"), (run_record, "write_bytes"), (previews, "write_bytes")):
        monkeypatch.setattr(owner, name, full)
    monkeypatch.setattr(keras.Model, "save", save)
    with pytest.warns(UserWarning, match="No space left") as caught:
        call("train", clips, "-o", tmp_path / "run", *SIZE, "--epochs", 2, "--preview-every", 1)
    texts = " ".join(str(warning.message) for warning in caught)
    assert "no row of metrics for epoch 1, training goes on" in texts and "no preview of epoch 2" in texts
    assert "no checkpoint of step 10" in texts and (tmp_path / "run" / "model.keras").is_file()
    assert saved == [[]]  # The room was free when the model was written.


def test_a_disk_without_room_for_the_result_is_refused_before_the_training(clips, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    line = refused_at_the_end("train", clips, "-o", tmp_path / "run", *SIZE)
    assert "model.keras: expected 2 MB of room on the disk. Received: less" in line
    assert not list((tmp_path / "run").glob("training/*"))


def test_the_clock_belongs_to_the_model() -> None:
    from kvdiff.models.recipes import RECIPES

    assert RECIPES["tiny"].model(ClipSpec(4, 8, 8, 1, fps=8.0), tiny_denoiser(), prediction="v").spec.clip.fps == 8.0


# How long.


def test_a_training_of_so_many_minutes_ends_and_goes_on_with_the_same_number_of_steps(clips, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "kvdiff.training.estimate.estimate_training", lambda model, batch: TrainingEstimate(60.0, 30.0, 100.0)
    )
    printed = call("train", clips, "-o", tmp_path / "run", *SIZE, "--minutes", 4, "--overwrite").output
    assert "5 windows of 4 frames: 8 steps of 1." in printed
    assert "In 4 minutes there are 8 steps" in printed and "about 400 minutes here" in printed
    with (tmp_path / "run" / "training" / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file)] == ["5", "8"]
    (tmp_path / "run" / "model.keras").unlink()
    line = refused_at_the_end("train", clips, "-o", tmp_path / "run", *SIZE, "--minutes", 5, "--resume")
    assert "--minutes: expected 4, with which the training in" in line and "Received: 5" in line
    monkeypatch.setattr("kvdiff.training.estimate.estimate_training", None)
    printed = call("train", clips, "-o", tmp_path / "run", *SIZE, "--minutes", 4, "--resume").output
    assert "Going on after step 8 of 8" in printed and (tmp_path / "run" / "model.keras").is_file()


def test_minutes_and_epochs_are_one_too_many(clips, tmp_path):
    line = refused("train", clips, "-o", tmp_path / "run", *SIZE, "--minutes", 1, "--epochs", 2)
    assert "--minutes: expected it without --epochs. Received: both, 1 and 2" in line
    assert not (tmp_path / "run").exists()


def test_an_unknown_recipe_is_refused_by_name(clips, tmp_path):
    line = refused("train", clips, "-o", tmp_path / "run", *SIZE, "--recipe", "huge")
    assert "--recipe`: expected one of" in line and "Received: 'huge'" in line


def test_a_bad_file_comes_with_what_to_do_about_it(clips, tmp_path):
    (tmp_path / "bad.npy").write_text("no array")
    said = refused("train", clips / "a.npy", tmp_path / "bad.npy", "-o", tmp_path / "run", *SIZE)
    assert f"{tmp_path / 'bad.npy'}: " in said and "--skip-bad" in said and f"kvdiff data inspect {tmp_path}" in said


def test_a_bad_file_is_named_where_tensorflow_hides_it():
    bad_files = BadFiles(2)
    with pytest.raises(VideoError, match="cut off"):
        bad_files.add("a", VideoError("a.gif", "cut off"))
    advice = r"a.gif: cut off. `kvdiff data inspect .*` lists every bad file; --skip-bad leaves them out"
    with pytest.raises(VideoError, match=advice), advice_on_bad_files(bad_files):
        raise RuntimeError("graph execution error")
    with pytest.raises(RuntimeError, match="another"), advice_on_bad_files(BadFiles(2)):
        raise RuntimeError("another")


# Windows that are drawn.


def test_drawn_windows_are_resumed_bit_for_bit(tmp_path, monkeypatch):
    from kvdiff.training import RunRecord

    folder = tmp_path / "clips"
    folder.mkdir()
    for name, frames in (("long", 20), ("short", 5)):
        np.save(folder / f"{name}.npy", np.random.default_rng(0).integers(0, 256, (frames, 8, 8, 1), dtype=np.uint8))
    command = ("train", folder, *SIZE, "--stride", 4, "--epochs", 2, "--draw", "--balance", "-o")
    keras.utils.set_random_seed(0)
    printed = call(*command, tmp_path / "whole").output
    assert "6 windows of 4 frames: 12 steps of 1." in printed

    def interrupt(record, batch, logs=None):
        if int(record.model.optimizer.iterations) == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(RunRecord, "on_train_batch_end", interrupt)
        keras.utils.set_random_seed(0)
        call(*command, tmp_path / "parts", code=130)
    call(*command, tmp_path / "parts", "--resume")
    whole, parts = (kvdiff.load_model(tmp_path / name / "model.keras").get_weights() for name in ("whole", "parts"))
    for expected, found in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(expected, found)
    line = refused("train", folder, *SIZE, "--balance", "-o", tmp_path / "other")
    assert "--balance: expected it with --draw" in line


# Clips that are changed.


def test_videos_are_augmented_as_asked(clips, tmp_path):
    asked = ("--flips", "left_right", "--crop", 1.25, "--speed", 2)
    call("train", clips, "-o", tmp_path / "run", *SIZE, "--epochs", 1, *asked)
    newest = max((tmp_path / "run" / "training" / "checkpoints").glob("step-*.npz"))
    assert read_checkpoint(newest).facts["data"]["augment"] == {
        "flips": ["left_right"],
        "crop": 1.25,
        "speeds": [2.0],
        "swaps": {},
    }


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--flips", "sideways"), "`--flips`: expected one of"),
        (("--speed", 1.5), "expected whole `speeds` without"),
        (("--flips", "left_right", "--latent-factor", 2), "--flips: expected without an autoencoder"),
        (("--values", "linear", "--crop", 1.5), "--crop: expected with videos alone"),
    ],
)
def test_augmentation_that_does_not_fit_is_refused(clips, tmp_path, options, text):
    size = SIZE if "--values" not in options else ("--frames", 4)
    assert text in refused("train", clips, "-o", tmp_path / "run", *size, *options)
