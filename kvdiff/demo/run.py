"""The demo: a model trained (on), exported, evaluated under its protocol with ONNX Runtime, and reported on."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import pathlib
import time
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.data.moving_digits import NUM_TRAIN_DIGITS
from kvdiff.demo import recipe as recipes
from kvdiff.demo.recipe import Recipe
from kvdiff.evaluation.bars import COLUMNS, Bars, Check
from kvdiff.evaluation.charts import LossCurve
from kvdiff.evaluation.digit_classifier import DigitClassifier
from kvdiff.evaluation.evaluation import Progress, evaluate
from kvdiff.evaluation.protocols import DEMO, Protocol, half_and_half, protocol_named
from kvdiff.evaluation.real import real_clips
from kvdiff.evaluation.report import Training, write_report
from kvdiff.evaluation.result import aligned, model_record, result_of, write_result
from kvdiff.models.preset_folder import presets
from kvdiff.system.environment import machine, versions
from kvdiff.training.environment import write_json
from kvdiff.web import ORT_WEB_VERSION, find_ort_web

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion


def run_demo(
    directory: str | pathlib.Path,
    *,
    from_scratch: bool = False,
    num_clips: int = 64,
    num_steps: int | None = None,
    seed: int = 0,
    bars: Bars | None = None,
    command: str = "kvdiff demo",
    progress: Progress | None = None,
) -> int:
    """Do the main job on moving digits and write everything into `directory`.

    Written are model.keras, denoiser.onnx, its manifest, record.json (how the model was trained), result.json (the
    evaluation, as `kvdiff evaluate` writes it, with the bars), GIFs, film strips, curves, and report.html, which shows
    it all. A training that was cut off goes on where it stopped. Where npm's onnxruntime-web is at hand, `web` is the
    model's page in the browser.

    Args:
        directory: where to; created if need be. Files of an earlier demo are replaced.
        from_scratch: train the whole recipe in place of training the shipped model on for a little.
        num_clips: unseen clips to predict, interpolate and generate.
        num_steps: sampling steps; by default the model's own for each task.
        seed: of sampling.
        bars: what the numbers must reach; by default `Bars()`.
        command: what the record says was run.
        progress: of sampling, called as `progress(task, done, total)`.

    Returns:
        0 when every bar is reached, else 1: an exit code.

    Raises:
        FileNotFoundError: there is no shipped model to start from.
    """
    directory = pathlib.Path(directory)
    recipe = recipes.RECIPE if from_scratch else recipes.CONTINUE
    training = _training_folder(directory, recipe)
    protocol = _protocol(recipe, num_clips)
    clock = _Clock()
    with clock.stage("loading", "Building a fresh model" if from_scratch else "Loading the shipped model"):
        model = recipes.build_model(recipe) if from_scratch else _shipped_model()
    with clock.stage("training", f"Training for {recipe.epochs} epochs of {recipe.steps_per_epoch} steps"):
        history = recipes.train(model, recipe, training)
    with clock.stage("export", "Saving model.keras and exporting it to ONNX"):
        _save(model, directory)
    with clock.stage("sampling", f"Sampling {num_clips} unseen clips three times with ONNX Runtime"):
        from kvdiff.runtime import OrtSampler

        sampling: dict[str, Any] = {"seed": seed} if num_steps is None else {"seed": seed, "num_steps": num_steps}
        sampler, clips = OrtSampler(directory), real_clips(protocol)
        classifier = DigitClassifier(recipe.size)
        evaluation = evaluate(sampler, protocol, clips, classifier=classifier, progress=progress, **sampling)
    with clock.stage("report", "Drawing the report"):
        record = _record(recipe, history, command=command, from_scratch=from_scratch, seconds=dict(clock.seconds))
        write_json(directory / "record.json", record)
        result = result_of(
            evaluation,
            protocol,
            clips,
            model=model_record(sampler),
            sampling=sampling,
            classifier=classifier.config,
            command=command,
            bars=bars or Bars(),
        )
        write_result(directory / "result.json", result)
        write_report(directory, evaluation, clips, result, _training(recipe, record))
        where = _page(model, directory, clips.truth[:3])
    recipes.forget_backup(training)  # Not before: what follows training can be cut off too.
    checks = [Check(**check) for check in result["checks"]]
    passed = all(check.reached for check in checks)
    print(f"\n{aligned([COLUMNS, *(check.row for check in checks)])}")
    print("\nEvery bar was reached." if passed else "\nThis run falls short of its bars.")
    print(f"Look at {directory / 'report.html'} (model.keras, denoiser.onnx and the GIFs lie beside it).")
    print(where)
    return 0 if passed else 1


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
    from kvdiff.models.video_diffusion import VideoDiffusion

    if recipes.SHIPPED not in presets():
        raise FileNotFoundError(
            f'expected the preset {recipes.SHIPPED}, which pip install "keras-video-diffusion[demo]" brings. Received: '
            "an environment without; `kvdiff demo --from-scratch` trains it"
        )
    return VideoDiffusion.from_preset(recipes.SHIPPED)


def _training_folder(directory: pathlib.Path, recipe: Recipe) -> pathlib.Path:
    """Where this recipe's backup lies: a run that was cut off must not go on from another recipe's weights."""
    return directory / "training" / f"{zlib.crc32(json.dumps(recipe.config).encode()):08x}"


def _protocol(recipe: Recipe, num_clips: int) -> Protocol:
    """The demo's protocol, for clips such as the recipe's."""
    shape, tasks = (recipe.num_frames, recipe.size, recipe.size, 1), half_and_half(recipe.num_frames)
    return dataclasses.replace(protocol_named(DEMO), clip_shape=shape, tasks=tasks, num_clips=num_clips)


def _save(model: VideoDiffusion, directory: pathlib.Path) -> None:
    from kvdiff.export import export_onnx
    from kvdiff.models.preset_verbs import without_optimizer

    unfinished = directory / ".unfinished.keras"
    without_optimizer(model).save(unfinished)  # The averaged weights of `fit` are not what its state belongs to.
    unfinished.replace(directory / "model.keras")
    export_onnx(model, directory, overwrite=True)


def _page(model: VideoDiffusion, directory: pathlib.Path, examples: np.ndarray) -> str:
    """Write the page in the browser where onnxruntime-web is at hand; how to open it, or how to get it."""
    folder = directory / "web"
    try:
        find_ort_web()
    except (FileNotFoundError, ValueError):
        how = f"npm install onnxruntime-web@{ORT_WEB_VERSION}, then kvdiff export {directory} --to web"
        return f"For a page in the browser: {how}."
    from kvdiff.export import export_web

    export_web(model, folder, examples=examples, overwrite=folder.exists(), run=directory)
    return f"Play it in the browser: python -m http.server -d {folder}, then open http://localhost:8000."


def _record(recipe: Recipe, history: dict[str, Any], **how: Any) -> dict[str, Any]:
    """How the weights were trained, on what, and what came of it; JSON-able."""
    return {
        **how,
        "recipe": recipe.config,
        "loss": history["loss"],
        "steps": history["steps"],
        # Of every run that led to these weights; the stages' seconds are of this one.
        "training_seconds": round(history["seconds"], 1),
        "data": f"scikit-learn's handwritten digits: the first {NUM_TRAIN_DIGITS} images for training, the next "
        "200 for choices, the others for tests; random paths, other ones in training and evaluation",
        "machine": machine(),
        "versions": versions(),
    }


def _training(recipe: Recipe, record: dict[str, Any]) -> Training:
    """For the page: this run's loss, after that of the run that trained the shipped model where its record is there."""
    losses = [LossCurve("this run", recipe.steps_per_epoch, tuple(record["loss"]))]
    shipped = None if record["from_scratch"] else presets()[recipes.SHIPPED].folder / "record.json"
    if shipped is not None and shipped.is_file():
        before = json.loads(shipped.read_text("utf-8"))
        losses.insert(0, LossCurve("the shipped model's run", before["recipe"]["steps_per_epoch"], before["loss"]))
    how = "trained from scratch" if record["from_scratch"] else "loaded as shipped and trained on"
    words = (
        f"A video diffusion model was {how} for {record['steps']:,} steps ({record['training_seconds'] / 60:.1f} "
        f"minutes on {record['machine']['cores']} cores of {record['machine']['processor']}), exported to ONNX, and "
        f"sampled by ONNX Runtime; Keras took no part in that."
    )
    return Training(words, losses, {"data": record["data"], **record["recipe"]})
