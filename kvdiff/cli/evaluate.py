"""evaluate: a run under a frozen protocol. compare: results side by side."""

from __future__ import annotations

import pathlib
import shlex
import sys
from typing import Annotated, Any

import typer

from kvdiff.cli.options import Links, Overwrite, Precision, Run, RuntimeName, Sampling, with_sampling
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import keras_path, open_run
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER

__all__ = ["compare", "evaluate"]

_RESULT = "result.json"


@with_sampling
def evaluate(
    run: Run,
    protocol: Annotated[str, typer.Option(metavar="NAME", help="Frozen protocol, e.g. moving-digits-8@2.")],
    sampling: Sampling,
    data: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="PATH", help="The protocol's real clips: a .npy file or a folder of videos."),
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
    frechet: Annotated[
        bool, typer.Option(help="Measure the Fréchet video distance, which needs the I3D weights.")
    ] = True,
    runtime: RuntimeName = None,
    precision: Precision = None,
    links: Links = None,
    overwrite: Overwrite = False,
) -> None:
    """Measure a model under a frozen protocol.

    Writes result.json, with every choice, version, seed and hash that the figures depend on, report.html, curves and
    GIFs.

    Example: kvdiff evaluate saved_models/moving_digits --protocol moving-digits-8@2
    """
    from kvdiff.evaluation.digit_classifier import DigitClassifier
    from kvdiff.evaluation.evaluation import evaluate as measure
    from kvdiff.evaluation.protocols import protocol_named
    from kvdiff.evaluation.real import real_clips
    from kvdiff.evaluation.report import write_report
    from kvdiff.evaluation.result import I3D_RECORD, model_record, result_of, write_result
    from kvdiff.media import check_folder_writable

    rule = protocol_named(protocol)
    folder = run / "evaluation" / protocol if output is None else output
    if (folder / _RESULT).exists() and not overwrite:
        raise FileExistsError(f"{folder / _RESULT} exists; pass --overwrite to replace it")
    check_folder_writable(folder)
    rule = rule if num_clips is None else rule.reduced(num_clips)
    sampler = open_run(run, runtime, precision)
    path = None if hasattr(sampler.engine, "artefact") else keras_path(run)
    features = _i3d() if frechet else None
    clips = real_clips(rule, data, training_data, links=links)
    classifier = None if clips.labels is None else DigitClassifier(rule.clip_shape[1])
    chosen = sampling.keywords(sampler)
    batch_size = chosen.pop("batch_size")
    with progress_bars() as progress:
        how: dict[str, Any] = {"batch_size": batch_size, "progress": progress, **chosen}
        made = measure(sampler, rule, clips, features=features, classifier=classifier, **how)
    defaults = {"num_steps": DEFAULT_NUM_STEPS, "solver": DEFAULT_SOLVER, "by_model": sampler.spec.sampling}
    result = result_of(
        made,
        rule,
        clips,
        model=model_record(sampler, path),
        sampling={**defaults, **chosen},
        features=I3D_RECORD if frechet else None,
        classifier=None if classifier is None else classifier.config,
        command=shlex.join(["kvdiff", *sys.argv[1:]]),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_result(folder / _RESULT, result)
    write_report(folder, made, clips, result)
    _print_numbers(result)
    typer.echo(f"Wrote {folder / _RESULT} and {folder / 'report.html'}.")


def compare(
    results: Annotated[list[pathlib.Path], typer.Argument(metavar="RESULT...", help="Files that evaluate wrote.")],
) -> None:
    """Show results side by side; those of unlike protocols are refused.

    Example: kvdiff compare a/result.json b/result.json
    """
    from kvdiff.evaluation.result import aligned, read_result
    from kvdiff.evaluation.result import compare as side_by_side

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
        typer.echo(f"{name}: {frechet_words(task)}")
