"""What options of `kvdiff train` do: classes, validation, precision, known frames; what does not go together."""

from __future__ import annotations

import contextlib
import csv
import types
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

pytest.importorskip("typer")

import kvdiff
from kvdiff.cli.train_data import as_of, learnt, listed, new_model, windows_of
from kvdiff.cli.train_options import Training
from kvdiff.data.vectors import FrameVectorFiles
from kvdiff.diffusion.conditions import ClassLabel, FrameVectors
from kvdiff.diffusion.tasks.known_frames import Mixture, most_known
from kvdiff.diffusion.tasks.mask_kinds import Ends, First, Nothing
from kvdiff.media import VideoError
from kvdiff.training.checkpoint_file import read_checkpoint
from kvdiff.training.estimate import estimate_training
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser

SIZE = ("--frames", 4, "--size", "8x12", "--channels", 1, "--preview-every", 0)


class OneDevice:
    def scope(self) -> Any:
        return contextlib.nullcontext()


def small(recipe: Any, clip: Any, seed: int, network: Any = None, **options: Any) -> Any:
    """In place of the command's network."""
    if network is None:
        return kvdiff.VideoDiffusion(clip, tiny_denoiser(), seed=seed, **options)
    unet = kvdiff.UNet3D(clip.channels, widths=(8,), blocks=1, attention=(None,), **network)
    return kvdiff.VideoDiffusion(clip, unet, seed=seed, **options)


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", small)


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder a class, three files each: clips that are dark, and clips that are light."""
    folder = tmp_path_factory.mktemp("classes")
    for name, level in (("light", 220), ("dark", 30)):
        (folder / name).mkdir()
        for number in range(3):
            noise = np.random.default_rng(number).integers(-20, 20, (4, 8, 12, 1))
            np.save(folder / name / f"{number}.npy", (level + noise).astype(np.uint8))
    return folder


# Classes.


def test_folders_are_classes_and_a_name_is_a_label(classes, tmp_path):
    call("train", classes, "--labels", "-o", tmp_path, *SIZE, "--epochs", 2, "--batch-size", 2, "--learning-rate", 0.05)
    model = kvdiff.load_model(tmp_path / "model.keras")
    assert model.spec.conditions == {"label": ClassLabel(2, ("dark", "light"))}
    call("generate", tmp_path, "--label", "light", "-o", tmp_path / "light.npy", "--num-steps", 2, "--seed", 1)
    made = np.load(tmp_path / "light.npy")
    for label in ("light", 1, ["light"]):
        expected = model.generate(1, conditions={"label": label}, num_steps=2, seed=1)
        np.testing.assert_allclose(made, expected, atol=1e-5)
    assert np.abs(made - model.generate(1, conditions={"label": "dark"}, num_steps=2, seed=1)).max() > 1e-5
    line = refused("generate", tmp_path, "--label", "grey", "-o", tmp_path / "x.npy")
    assert "expected one of dark, light, or class labels from 0 to 1. Received: 'grey'" in line


def test_every_clip_has_the_label_of_its_folder(classes):
    batches = windows_of(listed([classes], Training(labels=True)), (4, 8, 12, 1), 2, label_mode="int")
    found = [batches.sample(0, place) for place in range(6)]
    assert sorted((bool(clip.mean() > 128), int(label)) for clip, label in found) == [(False, 0)] * 3 + [(True, 1)] * 3


# Actions.


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips whose frames are as bright as their actions say, in two folders."""
    folder = tmp_path_factory.mktemp("played")
    for name, frames in (("clips/a", 6), ("clips/b/c", 5)):
        vectors = np.random.default_rng(frames).integers(-9, 10, (frames, 2)).astype(np.float32)
        clip = np.zeros((frames, 8, 12, 1), np.uint8) + (100 + 10 * vectors[:, 0]).astype(np.uint8)[:, None, None, None]
        for path, array in (
            (folder / f"{name}.npy", clip),
            (folder / f"{name}.npy".replace("clips", "moves"), vectors),
        ):
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, array)
    return folder


def test_every_frame_has_its_action(played):
    listing = listed([played / "clips"], Training())
    vectors = FrameVectorFiles(played / "moves", listing)
    for options in ({}, {"clip_sampling": "random", "clips_per_video": 3}):
        batches = windows_of(listing, (4, 8, 12, 1), 2, vectors=vectors, **options)
        for epoch in (0, 1):
            for place in range(batches.num_samples):
                clip, actions = batches.sample(epoch, place)
                assert actions.shape == (4, 2) and actions.dtype == np.float32
                np.testing.assert_array_equal(clip[:, 0, 0, 0], 100 + 10 * actions[:, 0])
    clips, actions = next(iter(batches.dataset()))
    np.testing.assert_array_equal(clips[..., 0, 0, 0], 100 + 10 * actions[..., 0])
    assert learnt(listing, vectors) == {"action": FrameVectors(2)}


def test_a_model_learns_actions_and_goes_by_them(played, tmp_path):
    command = ("train", played / "clips", "--actions", played / "moves", "-o", tmp_path, *SIZE)
    call(*command, "--epochs", 1, "--batch-size", 2)
    model = kvdiff.load_model(tmp_path / "model.keras")
    assert model.spec.conditions == {"action": FrameVectors(2)}
    state = read_checkpoint(max((tmp_path / "training" / "checkpoints").glob("step-*.npz")))
    assert len(state.facts["data"]["vectors"]) == 64
    moves = np.ones((4, 2), np.float32)
    np.save(tmp_path / "moves.npy", moves)
    how = ("-o", tmp_path / "new.npy", "--num-steps", 2, "--seed", 1)
    call("generate", tmp_path, "--actions", tmp_path / "moves.npy", *how)
    expected = model.generate(1, conditions={"action": moves}, num_steps=2, seed=1)
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected, atol=1e-5)


def test_actions_that_do_not_fit_are_refused(played, tmp_path):
    ask = lambda folder: refused("train", played / "clips", "-o", tmp_path / "run", *SIZE, "--actions", folder)  # noqa: E731
    (tmp_path / "moves" / "b").mkdir(parents=True)
    np.save(tmp_path / "moves" / "a.npy", np.zeros((6, 2)))
    expected = "expected a .npy file for each of 2 files of clips. Received: "
    assert expected in ask(tmp_path / "moves") and "which lacks 1, such as" in ask(tmp_path / "moves")
    listing = listed([played / "clips"], Training())
    for array, text in (
        (np.zeros((4, 2)), r"expected vectors \[5, 2\]. Received: .*c.npy, \[4, 2\]"),
        (np.zeros((5, 3)), r"expected vectors \[5, 2\]. Received: .*c.npy, \[5, 3\]"),
        (np.full((5, 2), np.nan), "expected finite vectors"),
        (np.array(["a"]), r"expected vectors, numbers \[frames, size\]"),
    ):
        np.save(tmp_path / "moves" / "b" / "c.npy", array)
        vectors = FrameVectorFiles(tmp_path / "moves", listing)
        with pytest.raises(VideoError, match=text):
            vectors.of(listing.videos[1], np.arange(4), 5)
    with pytest.raises(ValueError, match="`vectors`: expected none with labels"):
        windows_of(
            listed([played / "clips"], Training(labels=True)), (4, 8, 12, 1), 2, label_mode="int", vectors=vectors
        )
    with pytest.raises(ValueError, match="`vectors`: expected a folder outside"):
        windows_of(listing, (4, 8, 12, 1), 2, vectors=played / "clips" / "b")


def test_labels_are_counted_as_the_trained_model_does(classes):
    unet = kvdiff.UNet3D(
        1, widths=(8,), blocks=1, attention=(None,), conditions={"kind": ClassLabel(3, ("light", "grey", "dark"))}
    )
    labelled, plain = kvdiff.VideoDiffusion((4, 8, 12, 1), unet), kvdiff.VideoDiffusion((4, 8, 12, 1), tiny_denoiser())
    named, unnamed = listed([classes], Training(labels=True)), listed([classes], Training())
    found = as_of(named, None, labelled, "run")
    assert found.class_names == ("light", "grey", "dark") and found.labels is not None
    assert [(name.split("/")[0], label) for name, label in zip(found.names(), found.labels, strict=True)] == [
        *[("dark", 2)] * 3,
        *[("light", 0)] * 3,
    ]
    assert as_of(unnamed, None, plain, "run") is unnamed
    with pytest.raises(ValueError, match="expected --labels, as run was trained. Received: neither"):
        as_of(unnamed, None, labelled, "run")
    with pytest.raises(ValueError, match="expected neither, as run was trained. Received: --labels"):
        as_of(named, None, plain, "run")
    unet.conditions = {"kind": ClassLabel(3, ("light", "grey", "night"))}
    other = kvdiff.VideoDiffusion((4, 8, 12, 1), unet)
    with pytest.raises(ValueError, match="folders among light, grey, night, the classes of run. Received: dark"):
        as_of(named, None, other, "run")


def test_labels_need_one_folder(classes, tmp_path):
    line = refused("train", classes / "dark", classes / "light", "--labels", "-o", tmp_path / "run", *SIZE)
    assert "--labels: expected CLIPS to be one folder, with a folder a class. Received: " in line


# Validation.


def test_files_are_held_out_and_a_training_that_gets_no_better_ends(classes, tmp_path):
    still = ("--validation", 0.4, "--patience", 2, "--learning-rate", 1e-8, "--epochs", 9, "--batch-size", 1)
    command = ("train", classes, "-o", tmp_path, *SIZE, *still)
    said = call(*command)
    rows = list(csv.DictReader((tmp_path / "training" / "metrics.csv").open()))
    losses = [float(row["val_loss"]) for row in rows]
    assert len(rows) == 3 and losses[0] > 0
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)
    held_out = 6 - int(said.output.split(" windows of 4 frames")[0].split()[-1])
    assert 1 <= held_out < 6
    model = kvdiff.load_model(tmp_path / "model.keras")
    parts = [listed([classes], Training()).split(0.4, name, 0) for name in ("training", "validation")]
    assert [len(part.videos) for part in parts] == [6 - held_out, held_out]
    unseen = np.stack([np.load(path) for path in parts[1].file_paths])
    assert model.evaluate(unseen, batch_size=1, verbose=0) == pytest.approx(losses[0], rel=1e-3)
    assert "Nothing is left to train after step" in call(*command, "--resume").output


def test_all_files_cannot_be_held_out(classes, tmp_path):
    line = call("train", classes, "-o", tmp_path / "run", *SIZE, "--validation", 1.5, code=2).output.splitlines()[-1]
    assert "`--validation`: expected a number" in line and "Received: 1.5" in line


# Precision, and known frames.


def test_a_network_computes_in_the_precision(classes, tmp_path):
    before = keras.config.dtype_policy()
    for precision, expected in ((None, "float32"), ("float32", "float32"), ("bfloat16", "bfloat16")):
        asked = Training(precision=precision, size="8x12", channels=1)
        model = new_model([classes], {}, None, tmp_path, asked, OneDevice())
        assert {layer.compute_dtype for layer in model.denoiser.layers if layer.weights} == {expected}
        assert {str(weight.dtype) for weight in model.denoiser.weights} >= {"float32"}
    assert keras.config.dtype_policy() is before


def test_most_clips_know_the_past_that_is_asked_for(classes, tmp_path):
    asked = Training(frames=6, size="8x12", channels=1)
    drawn = new_model([classes], {}, 2, tmp_path, asked, OneDevice()).spec.known_frames
    known = drawn.draw(np, np.random.default_rng(0).uniform(size=(400, drawn.num_uniforms(6))), 6)
    counts = np.bincount(np.asarray(known).sum(axis=1), minlength=7)
    assert counts[2] + counts[0] == 400 and 250 < counts[2] < 350
    assert most_known(drawn, 6) == 2
    assert most_known(Mixture({First(3, 4): 1.0, Ends(2, 5): 1.0, Nothing(): 1.0}), 6) == 5


def test_more_known_frames_than_training_showed_are_refused(tmp_path):
    from kvdiff.models.recipes import continuing

    model = kvdiff.VideoDiffusion((6, 8, 8, 1), tiny_denoiser(), known_frames=continuing(2))
    model.save(tmp_path / "model.keras")
    np.save(tmp_path / "past.npy", np.zeros((5, 8, 8, 1), np.uint8))
    command = ("predict", tmp_path, tmp_path / "past.npy", "-o", tmp_path / "x.npy", "--num-steps", 1, "--past")
    line = refused(*command, 3)
    assert "--past: expected 1 to 2, as in the training, of 6 frames, or --num-frames too. Received: 3" in line
    call(*command, 2)
    call(*command, 3, "--num-frames", 1, "--overwrite")


# What does not go together.


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--labels", "--actions", "moves"), "--labels, --actions: expected one of them. Received: both, moves"),
        (("--patience", 3), "--patience: expected it with --validation. Received: 3 alone"),
        (("--precision", "float8"), "`--precision`: expected one of"),
        (("--past", 4), "--past: expected 1 to 3, of clips of 4 frames. Received: 4"),
        (("--from", "run", "--past", 2), "--past: expected it without --from"),
        (("--from", "run", "--precision", "float32"), "--precision: expected it without --from"),
        (("--outside", "clamp"), "--outside: expected it with data with units alone. Received: videos"),
        (("--importance",), "--importance: expected it with data with units alone. Received: videos"),
        (("--values", "linear", "--fps", 8), "--fps: expected it with videos alone. Received: data with units"),
        (("--values", "linear", "--labels"), "--labels: expected it with videos alone"),
        (("--values", "linear", "--validation", 0.1), "--validation: expected it with videos alone"),
        (("--values", "linear", "--skip-bad"), "--skip-bad: expected it with videos alone"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(classes, tmp_path, options, text):
    own = SIZE if "--values" not in options else ("--frames", 4, "--preview-every", 0)
    assert text in refused("train", classes, "-o", tmp_path / "run", *own, *options)
    assert not (tmp_path / "run").exists()


def test_a_step_of_labelled_clips_is_timed() -> None:
    class Model:
        compiled = True
        trainable_variables = non_trainable_variables = ()
        optimizer = types.SimpleNamespace(variables=(), build=lambda variables: None)

        def train_on_batch(self, x: Any, y: Any = None) -> None:
            seen.append((x, y))

    seen: list[tuple[Any, Any]] = []
    estimate_training(Model(), ("clips", "labels"))  # type: ignore[arg-type]
    estimate_training(Model(), "clips")  # type: ignore[arg-type]
    assert set(seen) == {("clips", "labels"), ("clips", None)}
