"""The demo: a model trained (on), exported, sampled with ONNX Runtime on unseen digits, and reported on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kvdiff.data.moving_digits import NUM_TRAIN_DIGITS
from kvdiff.demo import recipe as recipes
from kvdiff.demo.pictures import LossCurve
from kvdiff.demo.recipe import Recipe
from kvdiff.demo.report import report_html, report_pictures
from kvdiff.evaluation import Bars, TaskReport, TaskSamples, sample_tasks
from kvdiff.evaluation.tasks import Progress
from kvdiff.media import write_bytes
from kvdiff.training.environment import machine, versions, write_json

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["run_demo"]

_HELD_OUT_SEED = 1000


def run_demo(
    directory: str | pathlib.Path,
    *,
    from_scratch: bool = False,
    num_clips: int = 64,
    num_steps: int = 20,
    seed: int = 0,
    bars: Bars | None = None,
    command: str = "kvdiff demo",
    progress: Progress | None = None,
) -> int:
    """Do the main job on moving digits and write everything into `directory`.

    Written are model.keras, denoiser.onnx, its manifest, GIFs, film strips, curves, numbers.json, record.json and
    report.html, which shows it all. A training that was cut off goes on where it stopped.

    Args:
        directory: where to; made if need be. Files of an earlier demo are replaced.
        from_scratch: train the whole recipe in place of training the shipped model on for a little.
        num_clips: held-out clips to predict, interpolate and generate.
        num_steps, seed: of sampling.
        bars: what the numbers are held to; by default `Bars()`.
        command: what the record says was run.
        progress: of sampling, called as `progress(task, done, total)`.

    Returns:
        0 when every bar is reached, else 1: an exit code.

    Raises:
        FileNotFoundError: there is no shipped model to start from.
    """
    directory, bars = pathlib.Path(directory), bars or Bars()
    recipe = recipes.RECIPE if from_scratch else recipes.CONTINUE
    training = _training_folder(directory, recipe)
    clock = _Clock()
    with clock.stage("loading", "Building a fresh model" if from_scratch else "Loading the shipped model"):
        model = recipes.build_model(recipe) if from_scratch else _shipped_model()
    with clock.stage("training", f"Training for {recipe.epochs} epochs of {recipe.steps_per_epoch} steps"):
        history = recipes.train(model, recipe, training)
    with clock.stage("export", "Saving model.keras and exporting it to ONNX"):
        _save(model, directory)
    with clock.stage("sampling", f"Sampling {num_clips} unseen clips three times with ONNX Runtime"):
        samples = _sample(directory, recipe, num_clips, num_steps=num_steps, seed=seed, progress=progress)
    report = samples.report()
    with clock.stage("report", "Drawing the report"):
        record = _record(recipe, history, samples, command=command, from_scratch=from_scratch)
        record |= {"seconds": dict(clock.seconds), "results": report.config}
        record |= {"bars": dataclasses.asdict(bars), "misses": report.misses(bars)}
        _write(directory, samples, report, bars, record, _curves(recipe, history, from_scratch))
    recipes.forget_backup(training)  # Not before: what follows training can be cut off too.
    _announce(directory, report, bars)
    return 0 if report.passes(bars) else 1


class _Clock:
    """Announces stages and keeps their times."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def stage(self, name: str, title: str) -> Iterator[None]:
        print(f"\n[{len(self.seconds) + 1}/5] {title} …", flush=True)
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)
        print(f"      done in {self.seconds[name]:.0f} s", flush=True)


def _shipped_model() -> VideoDiffusion:
    if not recipes.SHIPPED.is_file():
        raise FileNotFoundError(
            f"{recipes.SHIPPED}: no shipped model. It comes with a checkout of the repository, not with the installed "
            "package; `kvdiff demo --from-scratch` trains one"
        )
    from kvdiff.models.loading import load_model

    return load_model(recipes.SHIPPED)


def _training_folder(directory: pathlib.Path, recipe: Recipe) -> pathlib.Path:
    """Where this recipe's backup lies: a run that was cut off must not go on from another recipe's weights."""
    return directory / "training" / f"{zlib.crc32(json.dumps(recipe.config).encode()):08x}"


def _save(model: VideoDiffusion, directory: pathlib.Path) -> None:
    from kvdiff.export import export_onnx

    unfinished = directory / ".unfinished.keras"
    # Without the optimizer's state, two thirds of the file: the averaged weights of `fit` are not what it belongs to.
    weights_only = type(model).from_config(model.get_config())
    weights_only.set_weights(model.get_weights())
    weights_only.save(unfinished)
    unfinished.replace(directory / "model.keras")
    export_onnx(model, directory, overwrite=True)


def _sample(directory: pathlib.Path, recipe: Recipe, num_clips: int, **sampling: Any) -> TaskSamples:
    from kvdiff.runtime import OrtSampler

    truth = recipes.held_out_clips(num_clips, recipe=recipe, seed=_HELD_OUT_SEED)
    return sample_tasks(OrtSampler(directory), truth, **recipes.SAMPLING, **sampling)


def _record(recipe: Recipe, history: dict[str, Any], samples: TaskSamples, **how: Any) -> dict[str, Any]:
    """What was run, on what, with which result of training; JSON-able."""
    return {
        **how,
        "recipe": recipe.config,
        "loss": history["loss"],
        "steps": history["steps"],
        # Of every run that made these weights; the stages' seconds are of this one.
        "training_seconds": round(history["seconds"], 1),
        "data": {
            "description": f"scikit-learn's handwritten digits: the first {NUM_TRAIN_DIGITS} images for training, the "
            "others held out; random paths, other ones in training and evaluation",
            "held_out_clips": len(samples.generated),
            "seed": _HELD_OUT_SEED,
        },
        "sampling": {
            "runtime": "ONNX Runtime",
            **recipes.SAMPLING,
            "num_steps": samples.num_steps,
            "seed": samples.seed,
        },
        "machine": machine(),
        "versions": versions(),
    }


def _curves(recipe: Recipe, history: dict[str, Any], from_scratch: bool) -> list[LossCurve]:
    """This run's loss, after that of the run which made the shipped model where its record is at hand."""
    this = LossCurve("this run", recipe.steps_per_epoch, tuple(history["loss"]))
    record = recipes.SHIPPED.with_name("record.json")
    if from_scratch or not record.is_file():
        return [this]
    shipped = json.loads(record.read_text())
    return [LossCurve("the shipped model's run", shipped["recipe"]["steps_per_epoch"], tuple(shipped["loss"])), this]


def _write(
    directory: pathlib.Path,
    samples: TaskSamples,
    report: TaskReport,
    bars: Bars,
    record: dict[str, Any],
    curves: list[LossCurve],
) -> None:
    content = report_pictures(samples, report, curves)
    for name, picture in content.items():
        write_bytes(directory / name, picture)
    write_json(directory / "numbers.json", {name: record[name] for name in ("results", "bars", "misses")})
    write_json(directory / "record.json", record)
    write_bytes(directory / "report.html", report_html(samples, report, bars, record, content).encode())


def _announce(directory: pathlib.Path, report: TaskReport, bars: Bars) -> None:
    rows = [("", "model", "compared with", "difference", "bar", "")]
    for check in report.checks(bars):
        verdict = "reached" if check.reached else "MISSED"
        rows.append((check.what, check.model, check.compared_with, check.difference, check.bar, verdict))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    print()
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print("\nEvery bar was reached." if report.passes(bars) else "\nThis run falls short of its bars.")
    print(f"Look at {directory / 'report.html'} (model.keras, denoiser.onnx and the GIFs lie beside it).")
