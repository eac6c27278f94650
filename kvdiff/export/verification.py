"""Every artefact of a run against Keras: tasks, batches, solvers, speed, size and operators."""

from __future__ import annotations

import collections
import dataclasses
import itertools
import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.transforms.values import Values
from kvdiff.export.parity import sample_differences
from kvdiff.runtime.format import resolved
from kvdiff.runtime.opening import FORMATS, find_artefacts, open_sampler

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

TOLERANCE = 2e-4
"""Of float32 samples as x_0, in [-1, 1], largest difference from Keras: rounding, carried through the steps."""
MIN_PSNR = 35.0
"""Of float16 samples against Keras' float32 ones, in dB."""
BATCHES = (1, 2, 5)
SOLVERS = ("ddim", "ddpm", "dpmpp_2m")

Task = Callable[[Sampler, np.ndarray, Mapping[str, Any]], np.ndarray]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The same samples from an artefact and from Keras.

    Attributes:
        task, batch, solver: which.
        max_abs_difference: the largest, of x_0 in [-1, 1].
        squared_error: the mean of its squares.
    """

    task: str
    batch: int
    solver: str
    max_abs_difference: float
    squared_error: float


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What was found of one artefact.

    Attributes:
        path, kind, precision: which.
        size: bytes of all its files.
        operators: how often each occurs.
        milliseconds: for one clip and one network call, batches of all sizes together.
        comparisons: one for each task, batch and solver.
    """

    path: pathlib.Path
    kind: str
    precision: str
    size: int
    operators: Mapping[str, int]
    milliseconds: float
    comparisons: Sequence[Comparison]

    @property
    def max_abs_difference(self) -> float:
        """The largest of all."""
        return float(np.max([each.max_abs_difference for each in self.comparisons]))  # NaN stays NaN.

    @property
    def psnr(self) -> float:
        """Of all comparisons together, in dB; infinite where nothing differs."""
        error = float(np.mean([each.squared_error for each in self.comparisons]))
        return float(np.inf) if error == 0 else 10.0 * float(np.log10(4.0 / error))

    @property
    def bar(self) -> str:
        """What the artefact must reach."""
        bars = {"float32": f"<= {TOLERANCE:g}", "bfloat16": "none", "float16": f">= {MIN_PSNR:g} dB"}
        return bars.get(self.precision, "none")

    @property
    def passes(self) -> bool:
        """Whether the bar is reached; without one, whether the samples are numbers at all."""
        if self.precision == "float32":
            return self.max_abs_difference <= TOLERANCE
        if self.precision == "float16":
            return self.psnr >= MIN_PSNR
        return bool(np.isfinite(self.max_abs_difference))


def verify(
    model: VideoDiffusion,
    run: str | os.PathLike[str],
    *,
    num_steps: int = 10,
    batches: Sequence[int] = BATCHES,
    solvers: Sequence[str] = SOLVERS,
    paths: Sequence[pathlib.Path] | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Verdict]:
    """Sample every task with every artefact and with Keras, from the same seeds, and compare.

    Prediction and interpolation go by frames that the model itself generated, so no data is needed.

    Args:
        model: the Keras model of the artefacts.
        run: the folder that holds them.
        num_steps: of every sampling; a prediction goes on for two windows, which share them.
        batches, solvers: what to try; a clip has the same number, hence noise, in every batch.
        paths: the artefacts, by default all in `run`.
        progress: called with the name of each artefact before its turn.

    Raises:
        FileNotFoundError: there is nothing to verify.
        ArtefactError: a missing, foreign or changed file.
    """
    check_count("num_steps", num_steps)
    paths = find_artefacts(run) if paths is None else list(paths)
    if not paths:
        raise FileNotFoundError(f"`run`: expected a folder with exported models. Received: {run}, which has none")
    clips = model.generate(max(batches), num_steps=num_steps)
    reference, pairs = _Sampling(model.sampler, clips, num_steps), itertools.product(_tasks(clips.shape[1]), solvers)
    whole = {pair: reference.run(pair[0], max(batches), pair[1]) for pair in pairs}  # A smaller batch is its beginning.
    expected = {(task, batch, solver): whole[task, solver][:batch] for task, solver in whole for batch in batches}
    verdicts = []
    for path in paths:
        if progress is not None:
            progress(path.name)
        verdicts.append(_verdict(path, clips, num_steps, expected))
    return verdicts


def _verdict(
    path: pathlib.Path, clips: np.ndarray, num_steps: int, expected: Mapping[tuple[str, int, str], np.ndarray]
) -> Verdict:
    sampler: Any = open_sampler(path)
    manifest = sampler.engine.artefact.manifest
    operators = {each.kind: each.operators for each in FORMATS.values()}[manifest["kind"]]
    sampling = _Sampling(sampler, clips, num_steps)
    sampling.run(*next(iter(expected)))  # The first run pays for what is prepared once.
    sampling.calls, started = 0, time.perf_counter()
    found = {cell: sampling.run(*cell) for cell in expected}
    seconds = time.perf_counter() - started
    comparisons = [
        Comparison(*cell, *_differences(sampler.spec.values, found[cell], expected[cell])) for cell in expected
    ]
    return Verdict(
        path=path,
        kind=manifest["kind"],
        precision=manifest.get("precision", "float32"),
        size=sum(record["bytes"] for record in manifest["files"].values()),
        operators=collections.Counter(resolved(operators)(path)),
        milliseconds=1e3 * seconds / sampling.calls,
        comparisons=comparisons,
    )


@dataclasses.dataclass
class _Sampling:
    """Runs tasks with one sampler and counts clips times network calls."""

    sampler: Sampler
    clips: np.ndarray
    num_steps: int
    calls: int = 0

    def run(self, task: str, batch: int, solver: str) -> np.ndarray:
        """The frames that a task generates."""

        def count(done: int, total: int) -> None:
            self.calls += batch * (done == total) * total

        how = dict(num_steps=self.num_steps, solver=solver, seed=11, progress=count)
        return _tasks(self.clips.shape[1])[task](self.sampler, self.clips[:batch], how)


def _tasks(frames: int) -> dict[str, Task]:
    """The tasks that clips of so many frames allow."""
    past, side = frames // 2, max(frames // 4, 1)
    tasks: dict[str, Task] = {"generate": lambda sampler, clips, how: sampler.generate(len(clips), **how)}
    if past:
        new = frames - past  # So both windows have the training length, the only one that some formats take.

        def predict(sampler: Sampler, clips: np.ndarray, how: Mapping[str, Any]) -> np.ndarray:
            how = {**how, "at_a_time": new, "num_steps": -(-how["num_steps"] // 2)}
            return sampler.predict_frames(clips[:, :past], 2 * new, **how)

        tasks["predict"] = predict
    if frames > 2 * side:
        tasks["interpolate"] = lambda sampler, clips, how: sampler.interpolate(clips[:, :side], clips[:, -side:], **how)
    return tasks


def _differences(values: Values, found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """(largest absolute difference, mean square)."""
    difference = sample_differences(values, found, expected)
    return float(np.abs(difference).max()), float(np.square(difference).mean())
