"""The command line as a user meets it: one training, then every command on its result; errors are one line."""

from __future__ import annotations

import csv
import json
import os
import pathlib
import time

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("av")

from typer.testing import CliRunner

import kvdiff
from kvdiff import media
from kvdiff.cli.app import app
from tests.training.trainings import tiny_denoiser

COMMANDS = (
    "demo",
    "train",
    "generate",
    "predict",
    "interpolate",
    "infill",
    "rollout",
    "export",
    "verify",
    "evaluate",
    "tune",
    "compare",
)


def call(*arguments: object, code: int = 0):
    """Run `kvdiff` with arguments; on another exit code than expected, fail with what it printed."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


def refused(*arguments: object) -> str:
    """The one line that a command prints when it refuses."""
    result = call(*arguments, code=2)
    lines = [line for line in result.output.strip().splitlines() if not line.startswith("Runtime: ")]
    assert len(lines) == 1 and lines[0].startswith("Error: "), result.output
    return lines[0]


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A folder with a GIF of 6 frames and one of 3, too few for a window."""
    folder = tmp_path_factory.mktemp("clips")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    media.write_clip(folder / "long.gif", pixels)
    media.write_clip(folder / "short.gif", pixels[:3])
    return folder


def tiny_model(recipe, clip, seed):
    """In place of the command's network, which takes a minute to trace."""
    import kvdiff

    denoiser = kvdiff.UNet3D(clip.channels, widths=(8,), blocks=1, attention=(None,))
    return kvdiff.VideoDiffusion(clip, denoiser, seed=seed)


@pytest.fixture(scope="module")
def run(clips, tmp_path_factory):
    """A run that `kvdiff train` made and `kvdiff export` exported."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf2onnx")
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    size = ("--frames", 4, "--size", 8, "--channels", 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvdiff.models.recipes.seeded_model", tiny_model)
        trained = call("train", clips, "--output", folder, *size, "--epochs", 1, "--batch-size", 2)
    assert "3 windows of 4 frames: 1 steps of" in trained.output
    assert "short.gif has 3 frames, fewer than 4; left out" in trained.output
    assert sorted(path.name for path in folder.iterdir()) == ["model.keras", "training"]
    exported = call("export", folder, "--to", "onnx,onnx-sampler,litert")
    assert "denoiser.onnx and its manifest" in exported.output
    assert "sampler.onnx and its manifest" in exported.output and (folder / "sampler.onnx").is_file()
    assert "denoiser.tflite and its manifest" in exported.output and (folder / "denoiser.tflite").is_file()
    return folder


def test_a_training_is_resumed_and_leaves_a_record(clips, tmp_path, monkeypatch):
    pytest.importorskip("tensorflow")
    make = lambda recipe, clip, seed: kvdiff.VideoDiffusion(clip, tiny_denoiser(), seed=seed)  # noqa: E731
    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", make)
    size = ("--frames", 4, "--size", 8, "--channels", 1, "--batch-size", 1)
    call("train", clips, "-o", tmp_path, *size, "--epochs", 1, "--resume")  # Nothing to resume: from the beginning.
    (tmp_path / "training" / "checkpoints").rename(tmp_path / "elsewhere")
    assert "holds model.keras" in refused("train", clips, "-o", tmp_path, *size, "--resume")
    (tmp_path / "elsewhere").rename(tmp_path / "training" / "checkpoints")
    (tmp_path / "model.keras").unlink()
    assert "holds a training; pass --resume" in refused("train", clips, "-o", tmp_path, *size)
    resumed = call("train", clips, "-o", tmp_path, *size, "--epochs", 2, "--resume", "--preview-every", 2)
    assert [path.name for path in (tmp_path / "training" / "previews").iterdir()] == ["epoch-0002.gif"]
    assert "Going on after step 3 of 6" in resumed.output and (tmp_path / "model.keras").is_file()
    rows = list(csv.DictReader((tmp_path / "training" / "metrics.csv").open()))
    assert [(row["epoch"], row["step"]) for row in rows] == [("1", "3"), ("2", "6")]
    assert all(float(row[name]) > 0 for row in rows for name in ("loss", "clips_per_second", "peak_memory_mib"))
    assert json.loads((tmp_path / "training" / "config.json").read_text())["data"]["batch_size"] == 1
    assert "keras" in (tmp_path / "training" / "environment.json").read_text()
    call("train", clips, "-o", tmp_path, *size, "--epochs", 1, "--overwrite")
    assert len(list(csv.DictReader((tmp_path / "training" / "metrics.csv").open()))) == 1


# Sampling.


def test_generate_writes_a_grid_and_says_what_it_made(run, tmp_path):
    result = call("generate", run, "-o", tmp_path / "new.gif", "--num-clips", 3, "--num-steps", 2, "--scale", 2)
    assert "3 clips of 4 frames (all generated), 8×8 pixels" in result.output
    sheet = media.read_clip(tmp_path / "new.gif")
    assert sheet.shape[:3] == (4, 2 * 18 + 2, 2 * 18 + 2)


def test_both_runtimes_make_the_same_clips_from_the_same_seed(run, tmp_path):
    made = {}
    for runtime in ("keras", "onnx"):
        path = tmp_path / f"{runtime}.npy"
        call("generate", run, "-o", path, "--num-clips", 2, "--num-steps", 3, "--seed", 7, "--runtime", runtime)
        made[runtime] = np.load(path)
    assert made["onnx"].shape == (2, 4, 8, 8, 1)
    np.testing.assert_allclose(made["keras"], made["onnx"], atol=2e-4)
    call("generate", run, "-o", tmp_path / "other.npy", "--num-clips", 2, "--num-steps", 3, "--seed", 8)
    assert np.abs(np.load(tmp_path / "other.npy") - made["onnx"]).max() > 0.1


def test_predict_goes_by_the_last_frames_and_keeps_them(run, clips, tmp_path):
    call("predict", run, clips / "long.gif", "-o", tmp_path / "future.gif", "--num-steps", 2)
    future = media.read_clip(tmp_path / "future.gif")
    past = media.read_clip(clips / "long.gif")
    assert future.shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(future[:2], past[-2:])


def test_predict_can_go_by_fewer_frames_and_write_only_new_ones(run, clips, tmp_path):
    options = ("--past", 1, "--num-frames", 5, "--only-new", "--num-steps", 2)
    call("predict", run, clips / "long.gif", "-o", tmp_path / "future.npy", *options)
    assert np.load(tmp_path / "future.npy").shape == (1, 5, 8, 8, 1)


def test_members_are_tiles_or_an_axis_of_their_own(run, clips, tmp_path):
    past, how = clips / "long.gif", ("--num-steps", 2, "--seed", 3)
    alone, several = tmp_path / "alone.npy", tmp_path / "several.npy"
    call("predict", run, past, "-o", alone, *how)
    result = call("predict", run, past, "-o", several, "--members", 3, *how)
    assert "3 members of 1 clip of 4 frames (2 known, 2 generated), 8×8 pixels" in result.output
    ensemble = np.load(several)
    assert ensemble.shape == (3, 1, 4, 8, 8, 1) and (ensemble[:, :, :2] == ensemble[:1, :, :2]).all()
    np.testing.assert_allclose(ensemble[0], np.load(alone), atol=1e-6)
    assert all(np.abs(ensemble[m, :, 2:] - ensemble[0, :, 2:]).max() > 0.1 for m in (1, 2))
    for command in (
        ("interpolate", run, past, past, "--num-frames", 2),
        ("infill", run, past, "--known", "0-1"),
        ("rollout", run, past, "--num-frames", 6),
    ):
        call(*command, "-o", tmp_path / "tiles.gif", "--overwrite", "--members", 3, *how)
        assert media.read_clip(tmp_path / "tiles.gif").shape[1:3] == (22, 22)
    out = tmp_path / "x.npy"
    message = call("rollout", run, "-o", out, "--num-frames", 6, "--members", 2, code=2).output
    assert "`--members`: expected known frames or conditions" in message and not out.exists()


def test_a_larger_video_is_cut_to_the_models_size(run, tmp_path):
    media.write_clip(tmp_path / "large.mp4", np.full((3, 20, 32, 3), 128, np.uint8))
    call("predict", run, tmp_path / "large.mp4", "-o", tmp_path / "future.gif", "--num-steps", 1)
    assert media.read_clip(tmp_path / "future.gif", channels=1).shape == (4, 8, 8, 1)


def test_interpolate_fills_between_the_inner_ends(run, clips, tmp_path):
    options = ("--num-frames", 3, "--num-steps", 2)
    call("interpolate", run, clips / "long.gif", clips / "short.gif", "-o", tmp_path / "filled.gif", *options)
    filled = media.read_clip(tmp_path / "filled.gif")
    assert filled.shape == (5, 8, 8, 1)
    np.testing.assert_array_equal(filled[0], media.read_clip(clips / "long.gif")[-1])
    np.testing.assert_array_equal(filled[-1], media.read_clip(clips / "short.gif")[0])


def test_sampling_with_onnx_loads_no_tensorflow(run, tmp_path, run_python):
    run_python(
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"  # Importing either now raises.
        "from typer.testing import CliRunner\n"
        "from kvdiff.cli.app import app\n"
        f"result = CliRunner().invoke(app, ['generate', {str(run)!r}, '-o', {str(tmp_path / 'x.npy')!r}])\n"
        "assert result.exit_code == 0, result.output"
    )
    assert (tmp_path / "x.npy").exists()


def test_auto_falls_back_to_keras_and_notes_a_stale_export(run, tmp_path):
    copy = tmp_path / "run"
    copy.mkdir()
    for path in filter(pathlib.Path.is_file, run.iterdir()):
        (copy / path.name).write_bytes(path.read_bytes())
    future = time.time() + 60
    os.utime(copy / "model.keras", (future, future))
    result = call("generate", copy, "-o", tmp_path / "a.npy", "--num-steps", 1)
    assert "Note: denoiser.onnx is older than model.keras" in result.output
    (copy / "denoiser.onnx").unlink()
    call("generate", copy, "-o", tmp_path / "b.npy", "--num-steps", 1)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), atol=2e-4)


# Evaluation.


@pytest.fixture
def tiny_protocol(monkeypatch):
    """A protocol of the run's clips, in the place of the frozen ones."""
    pytest.importorskip("sklearn")
    from kvdiff.evaluation import PROTOCOLS, ClipRule, Protocol, Task

    tasks = Task("prediction", past=2, samples=2), Task("generation")
    tiny = Protocol("tiny", 1, ClipRule("moving_digits", "digits"), (4, 8, 8, 1), 9, tasks, "nobody", neighbours=3)
    monkeypatch.setitem(PROTOCOLS, "tiny@1", tiny)
    monkeypatch.setattr("kvdiff.evaluation.real._SHIPPED_TRAINING", 20)
    return tiny


def test_evaluate_and_compare(run, tmp_path, tiny_protocol, monkeypatch):
    pytest.importorskip("matplotlib")
    options = ("--protocol", "tiny@1", "--num-steps", 2)
    out = ("-o", tmp_path / "onnx")
    monkeypatch.setattr("sys.argv", ["kvdiff", "evaluate", "my run"])
    result = call("evaluate", run, *options, *out, "--no-frechet")
    assert "prediction: The Fréchet video distance was not measured." in result.output
    assert "PSNR above the baseline" in result.output and "report.html" in result.output
    assert "result.json exists; pass --overwrite" in refused("evaluate", run, *options, *out, "--no-frechet")
    written = json.loads((tmp_path / "onnx" / "result.json").read_text())
    assert written["protocol"]["sha256"] == tiny_protocol.sha256 and written["features"] is None
    assert written["model"]["file"] == "denoiser.onnx" and written["sampling"]["num_steps"] == 2
    assert written["command"] == "kvdiff evaluate 'my run'"

    # The same by Keras, with a network's features.
    monkeypatch.setattr("kvdiff.evaluation.i3d_weights.find_i3d_weights", lambda: None)
    monkeypatch.setattr("kvdiff.evaluation.i3d.I3DFeatures", lambda: lambda clips: clips[:, :, 3, 3, 0].astype(float))
    result = call("evaluate", run, *options, "-o", tmp_path / "keras", "--runtime", "keras")
    assert (
        "prediction: The Fréchet distance is of 9 and 9 clips, real and generated, with the interval" in result.output
    )
    again = json.loads((tmp_path / "keras" / "result.json").read_text())
    assert again["model"]["file"] == "model.keras" and again["tasks"]["generation"]["frechet"]["made"]["distance"] > 0
    assert again["clips"] == written["clips"]
    both = [tmp_path / name / "result.json" for name in ("onnx", "keras")]
    numbers = [each["tasks"]["prediction"]["numbers"]["psnr"] for each in (written, again)]
    assert numbers[0] == pytest.approx(numbers[1], abs=1e-3)
    assert f"{numbers[0]:.2f} dB" in call("compare", *both).output

    call("evaluate", run, *options, "-o", tmp_path / "fewer", "--num-clips", 8, "--no-frechet")
    message = refused("compare", both[0], tmp_path / "fewer" / "result.json")
    assert "expected results of one protocol" in message and "(changed: 8 clips)" in message


def test_bad_evaluations(run, tmp_path, tiny_protocol, monkeypatch):
    assert "expected one of" in refused("evaluate", run, "--protocol", "tiny@2")
    assert "expects a model of frames of [16, 16, 1]" in refused(
        "evaluate", run, "--protocol", "moving-digits-8@1", "--no-frechet"
    )
    monkeypatch.setenv("KVDIFF_I3D_WEIGHTS", str(tmp_path / "none"))
    assert "--no-frechet leaves it out" in refused("evaluate", run, "--protocol", "tiny@1")
    assert "expected at least two files" in refused("compare", tmp_path / "x.json")
    assert "no such file" in refused("compare", tmp_path / "x.json", tmp_path / "y.json")


@pytest.mark.parametrize("solver", ["heun", "edm", "dpm_2"])
def test_two_call_solvers_run_on_what_train_makes(run, tmp_path, solver):
    out, how = ("-o", tmp_path / "x.npy"), ("--solver", solver, "--num-steps")
    call("generate", run, *out, *how, 8)
    expected = kvdiff.runtime.open_sampler(run).generate(1, solver=solver, num_steps=8, spacing="karras")
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    message = refused("generate", run, "-o", tmp_path / "y.npy", *how, 5)
    assert f"`--num-steps`: expected more, so that '{solver}' takes small enough steps" in message
    assert "Use at least 8 with spacing 'karras', or at least 6 with spacing 'uniform_logsnr'" in message
    call("generate", run, "-o", tmp_path / "z.npy", *how, 6, "--spacing", "uniform_logsnr")


def test_every_option_of_a_solver_can_be_said(run, tmp_path):
    options = ("--solver", "edm", "--option", "churn=5", "--option", "noise_scale=1.01", "--num-steps", 8)
    call("generate", run, "-o", tmp_path / "x.npy", *options)
    expected = kvdiff.runtime.open_sampler(run).generate(1, solver="edm", num_steps=8, churn=5, noise_scale=1.01)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), expected)
    out = ("-o", tmp_path / "y.npy")
    assert "`--option`: expected NAME=VALUE. Received: 'churn'" in refused("generate", run, *out, "--option", "churn")
    assert "expected options among" in refused("generate", run, *out, "--option", "chum=1", "--solver", "edm")


def test_a_few_frames_at_a_time(run, clips, tmp_path):
    past, how = clips / "long.gif", ("--num-steps", 2, "--only-new")
    call("predict", run, past, "-o", tmp_path / "x.npy", "--at-a-time", 1, *how)
    call("rollout", run, past, "--num-frames", 4, "-o", tmp_path / "y.npy", "--at-a-time", 1, "--num-steps", 2)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), np.load(tmp_path / "y.npy")[:, 2:])


def test_runtime_and_precision_choose_and_what_runs_is_printed(run, tmp_path):
    out = ("--num-steps", 2, "--seed", 4)
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("model.keras", "denoiser.onnx", "denoiser.onnx.manifest.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    call("export", folder, "--to", "onnx:float16,litert,onnx-sampler", "--no-verify")
    expected = np.asarray(kvdiff.load_model(folder / "model.keras").generate(1, num_steps=2, seed=4))
    for options, chosen, error in (
        ((), "onnx, denoiser.onnx", 1e-4),
        (("--runtime", "keras"), "keras, model.keras", 1e-4),
        (("--runtime", "litert"), "litert, denoiser.tflite", 1e-4),
        (("--runtime", "onnx-sampler"), "onnx-sampler, sampler.onnx", 1e-4),
        (("--precision", "float16"), "onnx, denoiser.float16.onnx", 0.05),
    ):
        name = chosen.split()[0].strip(",") + "".join(map(str, options))
        result = call("generate", folder, "-o", tmp_path / f"{name}.npy", *options, *out)
        assert f"Runtime: {chosen}." in result.output
        assert np.abs(np.load(tmp_path / f"{name}.npy") - expected).max() < error
    one_file = call("generate", folder / "denoiser.tflite", "-o", tmp_path / "file.npy", *out)
    assert "Runtime: litert, denoiser.tflite." in one_file.output
    keras_file = call("generate", folder / "model.keras", "-o", tmp_path / "keras.npy", *out)
    assert "Runtime: keras, model.keras." in keras_file.output
    refusal = refused("generate", folder, "-o", tmp_path / "n.npy", "--precision", "int8")
    assert "asked for: precision 'int8'" in refusal and "denoiser.float16.onnx (onnx, float16)" in refusal
    assert "`--runtime`: expected one of" in refused("generate", folder, "-o", tmp_path / "n.npy", "--runtime", "tpu")


def test_known_noise_is_at_most_the_models(run, clips, tmp_path):
    message = refused("predict", run, clips / "long.gif", "-o", tmp_path / "x.npy", "--known-noise", 0.1)
    assert "`--known-noise`: expected a number in [0.0, 0.0]. Received: 0.1" in message


def test_history_guidance_is_the_samplers(run, clips, tmp_path):
    for name, options in (("plain", ()), ("guided", ("--history-guidance", 2.5))):
        options = (*options, "--num-steps", 3, "--only-new")
        call("predict", run, clips / "long.gif", "-o", tmp_path / f"{name}.npy", *options)
    plain, guided = (np.load(tmp_path / f"{name}.npy") for name in ("plain", "guided"))
    assert np.abs(guided - plain).max() > 1e-3
    message = refused("generate", run, "-o", tmp_path / "x.npy", "--history-guidance", 2)
    assert "`--history-guidance`: expected 1 where no frame is known. Received: 2.0" in message


@pytest.fixture(scope="module")
def clocks(run, tmp_path_factory):
    """A film of 24 frames a second, and the run's model with a clock of 8 and without."""
    folder = tmp_path_factory.mktemp("clocks")
    levels = np.linspace(20, 240, 24).astype(np.uint8)
    media.write_clip(folder / "film.mp4", np.broadcast_to(levels[:, None, None, None], (24, 16, 16, 1)), fps=24.0)
    without = kvdiff.load_model(run / "model.keras")
    timed = kvdiff.VideoDiffusion(kvdiff.diffusion.ClipSpec(4, 8, 8, 1, fps=8.0), tiny_denoiser())
    for name, model in (("without", without), ("timed", timed)):
        (folder / name).mkdir()
        model.save(folder / name / "model.keras")
    return folder


def rate_of(path) -> float:
    return media.read_timed_clips(path).source_fps


def test_a_model_with_a_clock_reads_and_writes_at_it(clocks, tmp_path):
    out = tmp_path / "x.mp4"
    result = call("predict", clocks / "timed", clocks / "film.mp4", "-o", out, "--num-steps", 1)
    assert "source 24 fps → model 8 fps" in result.output
    assert rate_of(out) == pytest.approx(8.0)
    call("predict", clocks / "timed", clocks / "film.mp4", "-o", tmp_path / "x.npy", "--num-steps", 1)
    film = media.read_clip(clocks / "film.mp4", size=(8, 8), channels=1)
    expected = film[[18, 21]] / 127.5 - 1.0  # The last two of the frames at 0, 1/8, 2/8, … seconds.
    np.testing.assert_allclose(np.load(tmp_path / "x.npy")[0, :2], expected, atol=1e-6)
    np.save(tmp_path / "past.npy", film[:4])
    still = call("predict", clocks / "timed", tmp_path / "past.npy", "-o", tmp_path / "y.mp4", "--num-steps", 1)
    assert "has no clock: its frames are taken as 8 a second" in still.output
    call("generate", clocks / "timed", "-o", tmp_path / "z.mp4", "--num-steps", 1)
    assert rate_of(tmp_path / "z.mp4") == pytest.approx(8.0)


def test_a_model_without_a_clock_takes_frames_as_they_are(clocks, tmp_path):
    out = tmp_path / "x.mp4"
    result = call("predict", clocks / "without", clocks / "film.mp4", "-o", out, "--num-steps", 1)
    assert "fps" not in result.output and rate_of(out) == pytest.approx(24.0)
    assert f"{clocks / 'film.mp4'}: frames of 16×16 → model 8×8, resized and cut." in result.output
    call("predict", clocks / "without", clocks / "film.mp4", "-o", tmp_path / "y.mp4", "--num-steps", 1, "--fps", 5)
    assert rate_of(tmp_path / "y.mp4") == pytest.approx(5.0)
    call("generate", clocks / "without", "-o", tmp_path / "z.mp4", "--num-steps", 1)
    assert rate_of(tmp_path / "z.mp4") == pytest.approx(8.0)


# What must be refused.


def test_more_known_frames_than_there_are(run, clips, tmp_path):
    out = ("-o", tmp_path / "x.npy")
    long = clips / "long.gif"
    line = refused("predict", run, long, *out, "--past", 99)
    assert "--past: expected 1 to 3, as in the training, of 4 frames, or --num-frames too. Received: 99" in line
    line = refused("predict", run, long, *out, "--past", 99, "--num-frames", 2)
    assert "`--past`: expected at most the 6 frames of" in line
    between = refused("interpolate", run, long, clips / "short.gif", *out, "--context", 4)
    assert "`--context`: expected at most the 3 frames of" in between and "short.gif" in between


def test_more_clips_than_memory_holds(run, tmp_path):
    assert "llocate" in refused("generate", run, "-o", tmp_path / "x.npy", "--num-clips", 10**12)


def test_a_console_without_the_sign_loses_nothing(run, tmp_path, run_python):
    arguments = ["generate", str(run), "-o", str(tmp_path / "x.gif"), "--num-steps", "1"]
    code = f"import sys; sys.argv[1:] = {arguments!r}; from kvdiff.cli import main; main()"
    printed = run_python(code, env={"PYTHONIOENCODING": "cp1251"})
    assert "8?8 pixels" in printed and (tmp_path / "x.gif").exists()


def test_existing_files_are_not_replaced_unasked(run, clips, tmp_path):
    path = tmp_path / "new.gif"
    path.write_bytes(b"precious")
    assert "exists; pass --overwrite" in refused("generate", run, "-o", path)
    assert path.read_bytes() == b"precious"
    call("generate", run, "-o", path, "--num-steps", 1, "--overwrite")
    assert len(media.read_clip(path)) == 4
    assert "holds model.keras and denoiser.onnx" in refused("train", clips, "-o", run)
    assert "overwrite" in refused("export", run)


def test_rollout_shows_its_plan_and_keeps_the_past(run, clips, tmp_path):
    sampling = ("--num-steps", 2, "--seed", 3)
    result = call("rollout", run, clips / "long.gif", "--num-frames", 9, "-o", tmp_path / "long.npy", *sampling)
    assert "  oo##·····\n  ··oo##···\n" in result.output and "8 network calls" in result.output
    made, past = np.load(tmp_path / "long.npy"), media.read_clip(clips / "long.gif", channels=1)[-2:]
    assert made.shape == (1, 9, 8, 8, 1)
    np.testing.assert_allclose(made[0, :2], past / 127.5 - 1.0, atol=1e-6)
    predicted = tmp_path / "future.npy"
    call(
        "predict",
        run,
        clips / "long.gif",
        "--num-frames",
        7,
        "--plan",
        "autoregressive",
        "--only-new",
        "-o",
        predicted,
        *sampling,
    )
    np.testing.assert_array_equal(np.load(predicted), made[:, 2:])
    rolled = call(
        "rollout", run, "--num-frames", 6, "--plan", "rolling", "--overlap", 2, "-o", tmp_path / "r.npy", *sampling
    )
    assert "2 parts" in rolled.output and np.load(tmp_path / "r.npy").shape == (1, 6, 8, 8, 1)


def test_infill_keeps_the_frames_it_is_told_to(run, clips, tmp_path):
    call("infill", run, clips / "long.gif", "--known", "0-1, 4", "-o", tmp_path / "filled.npy", "--num-steps", 2)
    made, clip = np.load(tmp_path / "filled.npy"), media.read_clip(clips / "long.gif", channels=1) / 127.5 - 1.0
    kept = np.abs(made[0] - clip).max(axis=(1, 2, 3)) < 1e-6
    np.testing.assert_array_equal(kept, [True, True, False, False, True, False])


def test_conditions_and_guidance(tmp_path):
    import kvdiff
    from kvdiff.cli.runs import save_keras
    from kvdiff.diffusion.conditions import ClassLabel, FrameVectors, TokenIds

    text = TokenIds(3, ["", "a", "seven"], blocks=0)
    conditions = {"digit": ClassLabel(3), "push": FrameVectors(2), "caption": text}
    net = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, heads=2, conditions=conditions)
    rng = np.random.default_rng(0)
    for weight in net.trainable_variables:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), net)
    save_keras(model, tmp_path)
    actions = rng.normal(size=(4, 2)).astype(np.float32)
    np.save(tmp_path / "actions.npy", actions)
    told = ("--label", 2, "--actions", tmp_path / "actions.npy", "--condition", "caption=A seven", "--guidance", 1.5)
    call("generate", tmp_path, *told, "-o", tmp_path / "new.npy", "--num-steps", 2, "--seed", 1)
    given = {"digit": 2, "push": actions, "caption": [1, 2]}
    expected = model.generate(1, conditions=given, guidance=1.5, num_steps=2, seed=1)
    np.testing.assert_allclose(np.load(tmp_path / "new.npy"), expected, atol=1e-5)
    out = ("-o", tmp_path / "x.npy")
    assert "expected class labels from 0 to 2. Received: '3'" in refused("generate", tmp_path, "--label", 3, *out)
    np.save(tmp_path / "short.npy", actions[:3])
    short = refused("generate", tmp_path, "--actions", tmp_path / "short.npy", *out)
    assert "`conditions['push']`: expected shape [1, 4, 2], or [4, 2] for all clips. Received: [3, 2]" in short


def test_export_compares_what_it_wrote_and_verify_does_it_again(run):
    result = call("verify", run, "--num-steps", 2)
    for name in ("denoiser.onnx", "sampler.onnx", "denoiser.tflite"):
        (line,) = [line for line in result.output.splitlines() if line.startswith(f"{name} ")]
        assert "generate" in line and line.endswith("reached")
    assert "sampler.onnx: " in result.output and "1 Loop" in result.output
    assert " CONV_2D" in result.output


def test_verify_exits_with_1_on_a_miss(run, tmp_path, monkeypatch):
    monkeypatch.setattr("kvdiff.export.verification.TOLERANCE", 1e-12)
    assert "MISSED" in call("verify", run, "--num-steps", 1, code=1).output


def test_unknown_export_formats(run):
    for to in ("coreml", "onnx:float8", "saved-model:int8", ""):
        assert "`--to`: expected formats among" in refused("export", run, "--to", to)


def test_a_static_export(run, tmp_path):
    refusal = refused("export", run, "-o", tmp_path, "--to", "onnx,web", "--static")
    assert "`--static`: expected onnx, onnx-sampler or litert. Received: --to web" in refusal
    call("export", run, "-o", tmp_path, "--to", "onnx-sampler", "--static")
    manifest = json.loads((tmp_path / "sampler.onnx.manifest.json").read_text())
    assert manifest["inputs"]["start"]["shape"] == [1, 4, 8, 8, 1]


def test_bad_sampling_arguments(run, clips, tmp_path):
    out = ("-o", tmp_path / "x.gif")
    assert "`--solver`: expected one of" in refused("generate", run, *out, "--solver", "magic")
    assert "`--num-steps`: expected an integer from 1 to 1000. Received: 1001" in refused(
        "generate", run, *out, "--num-steps", 1001
    )
    assert "expected options among" in refused("generate", run, *out, "--solver", "ddpm", "--option", "eta=0.5")
    assert "no such file" in refused("predict", run, tmp_path / "none.gif", *out)
    (tmp_path / "text.gif").write_text("not a clip")
    assert "expected a readable .gif" in refused("predict", run, tmp_path / "text.gif", *out)
    assert "--label: expected a model with one condition of kind class_label" in refused(
        "generate", run, *out, "--label", 1
    )
    infill = ("infill", run, clips / "long.gif", *out, "--known")
    assert "`--known`: expected frames from 0 to 5 such as" in refused(*infill, "2-9")
    assert "all frames known" in refused(*infill, "0-5")
    assert "`--plan`: expected one of" in refused("rollout", run, *out, "--num-frames", 8, "--plan", "spiral")
    assert (
        "`--overlap`: expected only with a `--plan` among ['autoregressive', 'rolling']. Received: plan 'hierarchical'"
        in refused("rollout", run, *out, "--num-frames", 8, "--plan", "hierarchical", "--overlap", 1)
    )
    np.save(tmp_path / "wide.npy", np.zeros((4, 8, 12, 1), np.uint8))
    assert "expected shape [batch, frames, 8, 8, 1]" in refused("predict", run, tmp_path / "wide.npy", *out)
    assert not (tmp_path / "x.gif").exists()


def test_bad_runs(tmp_path):
    out = ("-o", tmp_path / "x.gif")
    assert "no such folder" in refused("generate", tmp_path / "none", *out)
    assert "`kvdiff train` writes it" in refused("generate", tmp_path, *out)
    assert "holds no export" in refused("generate", tmp_path, *out, "--runtime", "onnx")
    assert "expected a file ending in" in refused("generate", tmp_path, "-o", tmp_path / "x.jpg")
    assert "no such folder" in refused("generate", tmp_path, "-o", tmp_path / "none" / "x.gif")


def test_a_foreign_model_file(tmp_path):
    pytest.importorskip("keras")
    (tmp_path / "model.keras").write_bytes(b"not a model")
    assert "expected a model that kvdiff saved" in refused("generate", tmp_path, "-o", tmp_path / "x.gif")


def test_bad_training_arguments(clips, tmp_path):
    pytest.importorskip("tensorflow")
    out = ("-o", tmp_path / "run")
    assert "--size: expected a multiple of 4, e.g. 8 or 12" in refused("train", clips, *out, "--size", 9)
    assert "at least one clip of 50 frames" in call("train", clips, *out, "--size", 8, "--frames", 50, code=2).output
    assert "no such file" in refused("train", tmp_path / "none.gif", *out, "--size", 8)
    assert not (tmp_path / "run").exists()


# Help.


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command):
    assert f"Example: kvdiff {command}" in call(command, "--help").output


def test_help_is_quick_and_version_prints(run_python):
    import kvdiff

    assert call("--version").output.strip() == kvdiff.__version__
    loaded = run_python(
        "import sys\n"
        "sys.argv = ['kvdiff', '--help']\n"
        "import kvdiff.cli\n"
        "try:\n    kvdiff.cli.main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "print(*sorted(sys.modules))"
    )
    assert {"tensorflow", "keras", "av", "PIL", "matplotlib", "onnxruntime"}.isdisjoint(loaded.split())


def test_without_typer_it_says_what_to_install(run_python):
    printed = run_python(
        "import sys\n"
        "sys.modules['typer'] = None\n"
        "import kvdiff.cli\n"
        "try:\n    kvdiff.cli.main()\n"
        "except SystemExit as end:\n    print(end.code)"
    )
    assert 'pip install "keras-video-diffusion[cli]"' in printed


def test_the_demo_command_returns_the_demos_verdict(monkeypatch, tmp_path):
    pytest.importorskip("keras")
    asked = {}

    def run_demo(directory, *, progress, **settings):
        asked.update(settings, directory=directory)
        progress("prediction", 1, 2)
        return 1

    monkeypatch.setattr("kvdiff.demo.run_demo", run_demo)
    call("demo", "--from-scratch", "--directory", tmp_path, "--num-clips", 5, code=1)
    assert asked["from_scratch"] is True and asked["directory"] == tmp_path and asked["num_clips"] == 5


@pytest.mark.parametrize(
    ("output", "fps", "message"),
    [
        ("new.gif", "60", "`--fps`: expected a number"),
        ("none/new.gif", "8", "no such folder"),
        ("new.jpg", "8", "ending in"),
    ],
)
def test_what_cannot_be_written_is_known_before_the_model_is_opened(tmp_path, output, fps, message):
    result = CliRunner().invoke(app, ["generate", str(tmp_path / "run"), "-o", str(tmp_path / output), "--fps", fps])
    assert result.exit_code == 2 and message in result.output


# Tuning.


def test_tune_makes_the_chosen_way_the_models_own_default(run, clips, tmp_path, monkeypatch):
    """Few ways: each is traced anew."""
    import shutil

    few = {"predict": ({"at_a_time": 1, "num_steps": 1}, {"num_steps": 2}), "interpolate": ({"num_steps": 1},)}
    from kvdiff.evaluation import tuning

    monkeypatch.setattr(tuning.tune, "__kwdefaults__", {**tuning.tune.__kwdefaults__, "candidates": few})
    folder = tmp_path / "run"
    folder.mkdir()
    shutil.copy(run / "model.keras", folder)
    before = kvdiff.load_model(folder / "model.keras")
    printed = call("tune", folder, clips / "long.gif", "--num-clips", 16).output
    assert "chosen" in printed and "aligned PSNR" in printed
    found = json.loads((folder / "tuning.json").read_text())
    assert found["clips"] == 3 and len(found["ways"]) == 3
    after = kvdiff.load_model(folder / "model.keras")
    assert after.spec.sampling == found["chosen"] and set(found["chosen"]) >= {"predict", "interpolate"}
    assert all(np.array_equal(a, b) for a, b in zip(before.get_weights(), after.get_weights(), strict=True))
    assert {path.name for path in folder.glob("*.png")} == {"tuning-predict.png", "tuning-interpolate.png"}


def test_tune_wants_a_training_that_has_ended(tmp_path, clips):
    assert "model.keras" in refused("tune", tmp_path, clips)
