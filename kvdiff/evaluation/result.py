"""The result of an evaluation as a JSON file, and results side by side."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from kvdiff.diffusion.checks import check_path
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.evaluation.bars import Bars
from kvdiff.evaluation.evaluation import Evaluation
from kvdiff.evaluation.forecast_cases import ForecastCases
from kvdiff.evaluation.forecast_protocols import ForecastProtocol
from kvdiff.evaluation.forecasting import ForecastEvaluation
from kvdiff.evaluation.i3d_weights import SHA256
from kvdiff.evaluation.protocols import Protocol
from kvdiff.evaluation.real import RealClips
from kvdiff.runtime.manifest import file_record
from kvdiff.system.environment import machine, versions
from kvdiff.training.environment import write_json

FORMAT = "kvdiff-evaluation"
FORMAT_VERSION = 1

I3D_RECORD = {
    "network": "I3D, RGB, Kinetics-400",
    "weights_sha256": SHA256,
    "features": "400 class logits, averaged over time",
    "resize": "bilinear to 224 × 224 between pixel centres, no antialiasing",
}
"""What a result says of `I3DFeatures`."""

NUMBERS: dict[str, tuple[str, str]] = {
    "psnr": ("PSNR, mean over samples", "{:.2f} dB"),
    "psnr_best": ("PSNR, best sample", "{:.2f} dB"),
    "psnr_baseline": ("PSNR of the baseline", "{:.2f} dB"),
    "psnr_gain": ("PSNR above the baseline", "{:+.2f} dB"),
    "ssim": ("SSIM, mean over samples", "{:.4f}"),
    "ssim_best": ("SSIM, best sample", "{:.4f}"),
    "ssim_baseline": ("SSIM of the baseline", "{:.4f}"),
    "psnr_aligned": ("PSNR after the best shift, first sample", "{:.2f} dB"),
    "psnr_aligned_baseline": ("… of the baseline", "{:.2f} dB"),
    "shift": ("Length of that shift", "{:.2f} pixels"),
    "shift_baseline": ("… of the baseline's", "{:.2f} pixels"),
    "sharpness_ratio": ("Sharpness over the data's", "{:.3f}"),
    "identity": ("Share of generated frames that keep their label", "{:.3f}"),
    "data_identity": ("… of true frames, by the same classifier", "{:.3f}"),
    "identity_last": ("… of the last generated frame", "{:.3f}"),
    "data_identity_last": ("… of the last true frame", "{:.3f}"),
    "frechet": ("Fréchet video distance", "{:.1f}"),
    "frechet_error": ("… its bootstrap standard error", "{:.1f}"),
    "frechet_extrapolated": ("… continued to infinitely many clips", "{:.1f}"),
    "frechet_floor": ("… of real clips from real clips", "{:.1f}"),
    "frechet_floor_extrapolated": ("… the same, continued", "{:.1f}"),
    "precision": ("Precision", "{:.3f}"),
    "recall": ("Recall", "{:.3f}"),
    "density": ("Density", "{:.3f}"),
    "coverage": ("Coverage", "{:.3f}"),
    "calibration": ("Spread of a condition's samples over the data's", "{:.3f}"),
    "spread_ratio": ("Spread over the data's", "{:.3f}"),
    "spread": ("Spread, in pixel values", "{:.3f}"),
    "data_spread": ("Spread of the data", "{:.3f}"),
    "mean": ("Mean of pixels", "{:.3f}"),
    "data_mean": ("Mean of the data's pixels", "{:.3f}"),
    "variance": ("Variance of pixels", "{:.3f}"),
    "data_variance": ("Variance of the data's pixels", "{:.3f}"),
    "flicker_ratio": ("Flicker over the data's", "{:.3f}"),
    "flicker": ("Flicker, in pixel values", "{:.4f}"),
    "data_flicker": ("Flicker of the data", "{:.4f}"),
    "nearest_training_ratio": ("Distance to the nearest training clip over unseen clips'", "{:.3f}"),
    "copied_share": ("Share nearer than 99 % of unseen clips are", "{:.3f}"),
    "bits_per_dim": ("Variational bound", "{:.3f} bits/dim"),
    "crps": ("Fair CRPS", "{:.4g}"),
    "rmse": ("RMSE of the ensemble's mean", "{:.4g}"),
    "rmse_member": ("RMSE of a member", "{:.4g}"),
    "spread_skill": ("Spread over the mean's RMSE, with the factor of finite ensembles", "{:.3f}"),
    "rank_deviation": ("Rank histogram's deviation from a flat one", "{:.3f}"),
    "csi": ("CSI, mean over thresholds", "{:.3f}"),
    "csi_pooled": ("… in the largest blocks", "{:.3f}"),
    "pod": ("POD, mean over thresholds", "{:.3f}"),
    "far": ("FAR, mean over thresholds", "{:.3f}"),
    "fss": ("Fractions skill score, mean over thresholds, largest windows", "{:.3f}"),
    "spectrum_error": ("Error of the spectrum, mean over wavenumbers", "{:.2f} dB"),
    "missing_share": ("Share of missing pixels", "{:.4f}"),
}
"""How numbers are named and printed, in this order."""


def result_of(
    evaluation: Evaluation | ForecastEvaluation,
    protocol: Protocol | ForecastProtocol,
    clips: RealClips | ForecastCases,
    *,
    model: Mapping[str, Any],
    sampling: Mapping[str, Any],
    features: Mapping[str, Any] | None = None,
    classifier: Mapping[str, Any] | None = None,
    command: str = "",
    bars: Bars | None = None,
) -> dict[str, Any]:
    """Everything that a figure depends on, beside the figures; JSON-able.

    Args:
        evaluation, protocol, clips: what was measured, how, on what.
        model: which model, as `model_record` says.
        sampling: the keywords of `evaluate` that decide the samples, seed included.
        features: what the Fréchet distance was measured in, e.g. `I3D_RECORD`; None where it was left out.
        classifier: what identity was judged by, e.g. `DigitClassifier().config`.
        command: what was run.
        bars: what the numbers must reach; "checks" of the result then says which were reached.
    """
    verdict = {}
    if bars is not None:
        checks = [dataclasses.asdict(check) for check in bars.checks(evaluation.tasks)]
        verdict = {"bars": dataclasses.asdict(bars), "checks": checks}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "protocol": {"title": protocol.title, "sha256": protocol.sha256, **protocol.config},
        "clips": clips.config,
        "model": dict(model),
        "sampling": dict(sampling),
        "features": None if features is None else dict(features),
        "classifier": None if classifier is None else dict(classifier),
        "tasks": evaluation.tasks,
        **verdict,
        "command": command,
        "versions": versions(),
        "machine": machine(),
        "seconds": evaluation.seconds,
    }


def model_record(sampler: Sampler, path: pathlib.Path | None = None) -> dict[str, Any]:
    """Which file the clips were sampled from; `path` says it where the engine does not know, as Keras' does not."""
    artefact = getattr(sampler.engine, "artefact", None)
    path = path if artefact is None else artefact.path
    if path is None:
        raise ValueError("`path`: expected the model's file, which this sampler does not know. Received: None")
    return {"file": path.name, **file_record(path), "sampler": type(sampler.engine).__name__}


def write_result(path: pathlib.Path, result: Mapping[str, Any]) -> None:
    """Write a result, whole or not at all."""
    write_json(path, result)


def read_result(path: pathlib.Path) -> dict[str, Any]:
    """Read what `write_result` wrote.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a file of something else, or of another version.
    """
    path = check_path("path", path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: expected the result of an evaluation. Received: no such file")
    try:
        result = json.loads(path.read_text("utf-8"))
        kind = result["format"], result["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: expected the result of an evaluation. Received: other content") from error
    if kind != (FORMAT, FORMAT_VERSION):
        raise ValueError(f"{path}: expected {FORMAT} version {FORMAT_VERSION}. Received: {kind[0]} version {kind[1]}")
    return result


def flat_numbers(task: Mapping[str, Any]) -> dict[str, float]:
    """A task's numbers, those of the Fréchet distance among them, in the order of `NUMBERS`."""
    numbers = dict(task["numbers"])
    if frechet := task.get("frechet"):
        made, floor = frechet["made"], frechet["floor"]
        numbers |= {"frechet": made["distance"], "frechet_error": made["standard_error"]}
        numbers |= {"frechet_extrapolated": made["extrapolated"], "frechet_floor": floor["distance"]}
        numbers |= {"frechet_floor_extrapolated": floor["extrapolated"]}
    return {name: numbers[name] for name in NUMBERS if name in numbers}


def figures_of(result: Mapping[str, Any]) -> dict[str, dict[str, dict[str, float]]]:
    """A result's numbers as a `PresetCard` takes them: by name, by task, under the protocol's title.

    Args:
        result: of `read_result` or `result_of`.
    """
    return {result["protocol"]["title"]: {name: flat_numbers(task) for name, task in result["tasks"].items()}}


def frechet_words(task: Mapping[str, Any]) -> str:
    """How far a task's Fréchet distance can be trusted, as a sentence or two."""
    if "frechet" not in task:
        return "The Fréchet video distance was not measured."
    made, floor = task["frechet"]["made"], task["frechet"]["floor"]
    real, others = (" and ".join(map(str, estimate["num_clips"])) for estimate in (made, floor))
    return (
        f"The Fréchet distance is of {real} clips, real and generated, with the interval {made['low']:.1f} … "
        f"{made['high']:.1f} (95 %, bootstrap); {others} real clips are {floor['distance']:.1f} apart. Its bias "
        "shrinks with more clips: compare at one number of clips alone."
    )


def compare(results: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[tuple[str, ...]]:
    """A table of results: a heading, then for each number its task and name, every result's value, and their range.

    Args:
        results: of `read_result`, at least two.
        names: of the results, for the heading.

    Raises:
        ValueError: results of unlike protocols, clips or features: no figure of one is comparable with another's.
    """
    if len(results) < 2 or len(names) != len(results):
        raise ValueError(f"`results`: expected at least two, each with a name. Received: {len(results)}")
    for name, result in zip(names[1:], results[1:], strict=True):
        _check_alike(results[0], result, (names[0], name))
    rows: list[tuple[str, ...]] = [("task", "number", *names, "difference" if len(names) == 2 else "range")]
    for task in results[0]["tasks"]:
        columns = [flat_numbers(result["tasks"][task]) for result in results]
        for number in NUMBERS:
            values = [column.get(number) for column in columns]
            if any(value is not None for value in values):
                rows.append((task, NUMBERS[number][0], *(_shown(number, value) for value in values), _apart(values)))
    return rows


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """A table as lines of text, its columns one under the other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _check_alike(a: Mapping[str, Any], b: Mapping[str, Any], names: tuple[str, str]) -> None:
    for what, key in (("protocol", "protocol"), ("real clips", "clips")):
        if a[key]["sha256"] != b[key]["sha256"]:
            said = [result["protocol"]["title"] if key == "protocol" else result[key]["source"] for result in (a, b)]
            unlike = sorted(name for name in a[key] if a[key][name] != b[key].get(name))
            raise ValueError(
                f"expected results of one {what}. Received: {names[0]} of {said[0]}, {names[1]} of {said[1]}; they "
                f"differ in {', '.join(unlike)}"
            )
    for key, what in (("features", "in one network's features"), ("classifier", "by one classifier")):
        pair = a.get(key), b.get(key)  # Earlier results have no classifier.
        if all(pair) and pair[0] != pair[1]:
            raise ValueError(f"expected results {what}. Received: {pair[0]} and {pair[1]}")


def _shown(number: str, value: float | None) -> str:
    return "—" if value is None else NUMBERS[number][1].format(value)


def _apart(values: Sequence[float | None]) -> str:
    """The second value minus the first; of more, the largest minus the smallest."""
    there = [value for value in values if value is not None]
    if len(there) < len(values):
        return "—"
    return f"{there[1] - there[0]:+.4g}" if len(there) == 2 else f"{max(there) - min(there):.4g}"
