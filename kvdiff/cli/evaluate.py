"""evaluate: a run under a frozen protocol. compare: results side by side."""

from __future__ import annotations

import pathlib
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.field_options import DataOptions, Evaluating
from kvdiff.cli.fields import opened_fields
from kvdiff.cli.options import Links, Overwrite, Precision, Run, RuntimeName, with_sampling
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import keras_path, open_run
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER
from kvdiff.fields import is_field

if TYPE_CHECKING:
    from kvdiff.evaluation.forecast_cases import ForecastCases
    from kvdiff.evaluation.forecast_protocols import ForecastProtocol

_RESULT = "result.json"

_Measured = tuple[dict[str, Any], Callable[[pathlib.Path], None]]
"""A result, and what writes its page into a folder."""


@with_sampling
def evaluate(
    run: Run,
    protocol: Annotated[
        str,
        typer.Option(metavar="NAME", help="Frozen protocol: moving-digits-8@2, nowcast-6-6@1 of forecasts, …"),
    ],
    data: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="PATH",
            help="The protocol's real clips: a .npy file or a folder of videos; of forecasts a .npy or .npz file, or "
            "data with units (.nc, .zarr, …).",
        ),
    ] = None,
    training_data: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE", help="A .npy file of training clips, to look for copies among generated ones."),
    ] = None,
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the result. [default: RUN/evaluation/NAME]"),
    ] = None,
    num_clips: Annotated[
        int | None,
        typer.Option(metavar="N", min=8, help="Other than the protocol's, for a quick look; compares with its like."),
    ] = None,
    threshold: Annotated[
        list[float] | None,
        typer.Option(metavar="X", help="Of forecasts: an event's least number, for data of another unit; repeat it."),
    ] = None,
    frechet: Annotated[
        bool, typer.Option(help="Measure the Fréchet video distance, which needs the I3D weights.")
    ] = True,
    runtime: RuntimeName = None,
    precision: Precision = None,
    links: Links = None,
    overwrite: Overwrite = False,
    *,
    asked: Evaluating,
) -> None:
    """Measure a model under a frozen protocol.

    Writes result.json, with every choice, version, seed and hash that the figures depend on, report.html, curves and
    GIFs or maps.

    Example: kvdiff evaluate saved_models/moving_digits --protocol moving-digits-8@2
    """
    from kvdiff.diffusion.checks import check_choice
    from kvdiff.evaluation.forecast_protocols import FORECASTS
    from kvdiff.evaluation.protocols import PROTOCOLS
    from kvdiff.evaluation.result import model_record, write_result
    from kvdiff.media import check_folder_writable

    check_choice("protocol", protocol, [*PROTOCOLS, *FORECASTS])
    if protocol in PROTOCOLS and asked.is_said:
        raise ValueError(f"`data`: {protocol} is of videos, without a variable, region, units, …. Received: some")
    folder = run / "evaluation" / protocol if output is None else output
    if (folder / _RESULT).exists() and not overwrite:
        raise FileExistsError(f"{folder / _RESULT} exists; pass --overwrite to replace it")
    check_folder_writable(folder)
    sampler = open_run(run, runtime, precision)
    path = None if hasattr(sampler.engine, "artefact") else keras_path(run)
    chosen = asked.keywords(sampler)
    batch_size = chosen.pop("batch_size")
    defaults = {"num_steps": DEFAULT_NUM_STEPS, "solver": DEFAULT_SOLVER, "by_model": sampler.spec.sampling}
    facts = {
        "model": model_record(sampler, path),
        "sampling": {**defaults, **chosen},
        "command": shlex.join(["kvdiff", *sys.argv[1:]]),
    }
    how = {"batch_size": batch_size, **chosen}
    if protocol in FORECASTS:
        rule = FORECASTS[protocol].changed(num_clips, threshold or None)
        cases = _cases(run, sampler, rule, data, training_data, asked)
        result, write_page = _forecasts(sampler, rule, cases, how, facts)
    else:
        result, write_page = _videos(
            sampler, protocol, data, training_data, num_clips, threshold, frechet, links, how, facts
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_result(folder / _RESULT, result)
    write_page(folder)
    _print_numbers(result)
    typer.echo(f"Wrote {folder / _RESULT} and {folder / 'report.html'}.")


def _videos(
    sampler: Sampler,
    protocol: str,
    data: pathlib.Path | None,
    training_data: pathlib.Path | None,
    num_clips: int | None,
    threshold: list[float] | None,
    frechet: bool,
    links: str | None,
    how: dict[str, Any],
    facts: dict[str, Any],
) -> _Measured:
    """The result of a protocol of videos, and what writes its page."""
    from kvdiff.evaluation.digit_classifier import DigitClassifier
    from kvdiff.evaluation.evaluation import evaluate as measure
    from kvdiff.evaluation.protocols import protocol_named
    from kvdiff.evaluation.real import real_clips
    from kvdiff.evaluation.report import write_report
    from kvdiff.evaluation.result import I3D_RECORD, result_of

    if threshold:
        raise ValueError(f"`threshold`: expected none, for {protocol} forecasts no fields. Received: {threshold}")
    rule = protocol_named(protocol)
    rule = rule if num_clips is None else rule.reduced(num_clips)
    features = _i3d() if frechet else None
    clips = real_clips(rule, data, training_data, links=links)
    classifier = None if clips.labels is None else DigitClassifier(rule.clip_shape[1])
    with progress_bars() as progress:
        made = measure(sampler, rule, clips, features=features, classifier=classifier, progress=progress, **how)
    judge = None if classifier is None else classifier.config
    result = result_of(made, rule, clips, features=I3D_RECORD if frechet else None, classifier=judge, **facts)
    return result, lambda folder: write_report(folder, made, clips, result)


def _cases(
    run: pathlib.Path,
    sampler: Sampler,
    rule: ForecastProtocol,
    data: pathlib.Path | None,
    training_data: pathlib.Path | None,
    asked: DataOptions,
) -> ForecastCases:
    """The cases of a protocol of forecasts, of an array or of data with units."""
    from kvdiff.evaluation.forecast_cases import cases_of_fields, read_cases

    if training_data is not None:
        raise ValueError(f"`training_data`: expected none, {rule.title} looks for no copies. Received: {training_data}")
    if data is None:
        raise ValueError(f"`data`: {rule.title} needs a file in the model's numbers. Received: nothing")
    if not (is_field(data) or asked.is_said):
        return read_cases(data, rule, sampler.spec.clip.frame_shape)
    return cases_of_fields(opened_fields(run, data, sampler, asked)[0], rule, sampler.spec)


def _forecasts(
    sampler: Sampler, rule: ForecastProtocol, cases: ForecastCases, how: dict[str, Any], facts: dict[str, Any]
) -> _Measured:
    """The result of a protocol of forecasts, and what writes its page."""
    from kvdiff.evaluation.forecast_report import NO_PYSTEPS, write_forecast_report
    from kvdiff.evaluation.forecasting import evaluate_forecasts
    from kvdiff.evaluation.result import result_of

    with progress_bars() as progress:
        made = evaluate_forecasts(sampler, rule, cases, progress=progress, **how)
    if made.missing_packages:
        typer.echo(f"Note: {NO_PYSTEPS}.", err=True)
    result = result_of(made, rule, cases, **facts)
    return result, lambda folder: write_forecast_report(folder, made, cases, result)


def compare(
    results: Annotated[list[pathlib.Path], typer.Argument(metavar="RESULT...", help="Files that evaluate wrote.")],
) -> None:
    """Show results side by side; those of unlike protocols are refused.

    Example: kvdiff compare a/result.json b/result.json
    """
    from kvdiff.evaluation.result import aligned, compare as side_by_side, read_result

    if len(results) < 2:
        raise ValueError(f"RESULT: expected at least two files. Received: {len(results)}")
    typer.echo(aligned(side_by_side([read_result(path) for path in results], [str(path) for path in results])))


def _i3d() -> Any:
    """The network's features; where its weights are missing, an error that says how to go on without."""
    from kvdiff.cli.runs import quiet_tensorflow
    from kvdiff.evaluation.i3d_weights import find_i3d_weights

    try:
        find_i3d_weights()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error}; --no-frechet leaves it out") from error
    with quiet_tensorflow():
        from kvdiff.evaluation.i3d import I3DFeatures
    return I3DFeatures()


def _print_numbers(result: dict[str, Any]) -> None:
    from kvdiff.evaluation.result import NUMBERS, aligned, flat_numbers, frechet_words

    rows: list[tuple[str, ...]] = [("task", "number", result["protocol"]["title"])]
    for name, task in result["tasks"].items():
        rows += [
            (name, NUMBERS[number][0], NUMBERS[number][1].format(value)) for number, value in flat_numbers(task).items()
        ]
    typer.echo(aligned(rows))
    for name, task in result["tasks"].items():
        if "tasks" in result["protocol"]:  # Of videos.
            typer.echo(f"{name}: {frechet_words(task)}")
