"""Small files in place of those that the documentation names, so that its blocks can run."""

from __future__ import annotations

import csv
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.documentation.pages import ROOT

DIGITS = (8, 32, 32, 1)
SHIPPED = "moving_digits"
RUNS = {SHIPPED: DIGITS, "mine": DIGITS, "other": DIGITS, "demo": DIGITS, "my_clips": (8, 8, 8, 3)}
"""The runs of `saved_models/` and their clips."""


def pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def a_run(name: str) -> None:
    """A folder with a model of random weights, as `kvdiff train` leaves it; a preset in place of the one that ships."""
    import kvdiff

    folder = Path("saved_models", name)
    if folder.exists():
        return
    model = kvdiff.VideoDiffusion(RUNS[name])
    if name == SHIPPED:
        model.save_to_preset(folder)
    else:
        folder.mkdir(parents=True)
        model.save(folder / "model.keras")


def a_clip(path: str) -> None:
    from kvdiff.media import write_clip

    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_clip(path, pixels(20, 24, 28, 3, seed=len(path)))


def files(*paths: str) -> Callable[[], None]:
    return lambda: [a_clip(path) for path in paths]


def runs(*names: str) -> Callable[[], None]:
    return lambda: [a_run(name) for name in names]


def data_sets() -> None:
    """UCF-101, Kinetics and a table, with two clips each; handwritten digits; TensorFlow Datasets."""
    a_clip("UCF-101/Run/v_Run_g01_c01.gif")
    a_clip("UCF-101/Walk/v_Walk_g01_c01.gif")
    Path("ucfTrainTestlist").mkdir()
    Path("ucfTrainTestlist/classInd.txt").write_text("1 Run\n2 Walk\n")
    Path("ucfTrainTestlist/trainlist01.txt").write_text("Run/v_Run_g01_c01.gif 1\nWalk/v_Walk_g01_c01.gif 2\n")
    a_clip("kinetics/train/run/abcdefghijk_000001_000011.gif")
    table("kinetics/train.csv", ("label", "youtube_id", "time_start", "time_end"), ("run", "abcdefghijk", "1", "11"))
    table("clips.csv", ("path", "label"), ("UCF-101/Run/v_Run_g01_c01.gif", "run"))
    np.savez("mnist.npz", x=pixels(20, 28, 28))
    import tensorflow as tf

    examples = {"video": pixels(2, 20, 24, 28, 3), "label": np.arange(2)}
    loaded = tf.data.Dataset.from_tensor_slices(examples)
    sys.modules["tensorflow_datasets"] = types.ModuleType("tensorflow_datasets")
    sys.modules["tensorflow_datasets"].load = lambda name, split: loaded  # type: ignore[attr-defined]


def past_array() -> None:
    np.save("past.npy", pixels(1, 4, *DIGITS[1:]))


def radar() -> None:
    """Half an hour of rain every five minutes, and some more."""
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("zarr")
    rate = np.random.default_rng(0).gamma(0.4, 4.0, (40, 48, 64)).astype(np.float32)
    times = np.datetime64("2020-07-01", "ns") + np.timedelta64(300, "s") * np.arange(40)
    data = {"rate": (("time", "y", "x"), rate, {"units": "mm h-1"})}
    xarray.Dataset(data, {"time": times}).to_zarr("radar.zarr", consolidated=False)


def table(path: str, *rows: tuple[str, ...]) -> None:
    with Path(path).open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def a_result() -> None:
    """The result of an evaluation, where `kvdiff evaluate` writes it."""
    folder = Path("saved_models/mine/evaluation/moving-digits-8@2")
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "saved_models" / SHIPPED / "evaluation.json", folder / "result.json")


def torch_weights() -> None:
    """What the page's block for PyTorch writes: weights of video-diffusion-pytorch's network, by its names."""
    from safetensors.numpy import save_file

    from tests.models.peer_network import CASES, shapes, weights

    save_file(weights(shapes(CASES["plain"])), "unet3d.safetensors")


def prepare(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Write what a page's blocks find in their folder."""
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    monkeypatch.setattr("kvdiff.models.preset_folder._places", lambda: [Path("saved_models")])
    np.save("training.npy", pixels(20, *DIGITS))  # In place of the shipped model's 60,000 training clips.
    for stand_in in STAND_INS.get(page, ()):
        stand_in()


MY_CLIPS = files(*(f"my_clips/{number}.gif" for number in range(4)))
MY_VIDEOS = files(*(f"my_videos/{name}/{number}.gif" for name in ("run", "walk") for number in range(3)))
STAND_INS: dict[str, tuple[Callable[[], None], ...]] = {
    "README.md": (MY_CLIPS, files("past.gif", "before.gif", "after.gif"), runs("moving_digits")),
    "docs/getting-started.md": (MY_CLIPS,),
    "docs/presets.md": (runs(SHIPPED), a_result),
    "docs/forecasts.md": (files("past.gif"), runs("moving_digits")),
    "docs/tasks.md": (files("past.gif"), runs("moving_digits")),
    "docs/data.md": (
        files(*(f"my_videos/{name}.gif" for name in ("walk/1", "walk/2", "walk/3", "run/4", "run/5", "run/6"))),
        data_sets,
    ),
    "docs/latent.md": (MY_VIDEOS,),
    "docs/fields.md": (radar,),
    "docs/training.md": (MY_CLIPS, torch_weights, runs("moving_digits")),
    "docs/concepts.md": (runs("moving_digits"),),
    "docs/fewer-calls.md": (runs("moving_digits"),),
    "docs/deployment.md": (runs("my_clips"), files("past.gif"), runs("moving_digits")),
    "docs/evaluation.md": (runs("moving_digits", "mine", "other"),),
    "saved_models/moving_digits/README.md": (runs(SHIPPED),),
    "export/litert/README.md": (runs("demo"), past_array),
    "export/onnxruntime_gpu/README.md": (runs("demo"), past_array),
    "export/ray_serve/README.md": (runs("demo"),),
}
