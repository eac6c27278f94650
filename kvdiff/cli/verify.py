"""verify: every exported file of a run against Keras."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from kvdiff.cli.runs import load_keras

if TYPE_CHECKING:
    from kvdiff.export.verification import Verdict


def verify(
    run: Annotated[pathlib.Path, typer.Argument(metavar="RUN", help="Folder with model.keras.")],
    exports: Annotated[
        pathlib.Path | None,
        typer.Option("--exports", metavar="FOLDER", help="Folder with the exported files. [default: RUN itself]"),
    ] = None,
    num_steps: Annotated[int, typer.Option(metavar="N", min=1, help="Steps of every sampling, windows together.")] = 10,
) -> None:
    """Compare every exported file with Keras.

    Generates, predicts and interpolates with each file and with Keras, from the same seeds, with three solvers and
    three batch sizes, predictions in two windows; prints the largest differences, speed, size and operators. Exits
    with 1 where float32 samples differ by more than 2e-4, or float16 samples are below 35 dB. Other precisions are
    reported.

    Example: kvdiff verify saved_models/my_clips
    """
    model = load_keras(run)
    from kvdiff.export.verification import verify as compare

    verdicts = compare(
        model,
        exports or run,
        num_steps=num_steps,
        progress=lambda name: typer.echo(f"Comparing {name} with Keras …", err=True),
    )
    print_verdicts(verdicts)
    raise typer.Exit(0 if all(verdict.passes for verdict in verdicts) else 1)


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    """The table, and the operators of each file."""
    from kvdiff.evaluation.result import aligned

    batches = sorted({each.batch for verdict in verdicts for each in verdict.comparisons})
    rows = [("file", "task", *(f"batch {batch}" for batch in batches), "PSNR dB", "ms/clip/call", "MB", "bar", "")]
    for verdict in verdicts:
        rows += _rows(verdict, batches)
    typer.echo(f"\nLargest difference from Keras in [-1, 1], over all solvers:\n{aligned(rows)}\n")
    for verdict in verdicts:
        counts = sorted(verdict.operators.items(), key=lambda item: (-item[1], item[0]))
        typer.echo(f"{_name(verdict)}: {', '.join(f'{count} {name}' for name, count in counts)}")


def _rows(verdict: Verdict, batches: Sequence[int]) -> list[tuple[str, ...]]:
    """A line a task; the file's own figures stand on the first."""
    tasks = list(dict.fromkeys(each.task for each in verdict.comparisons))
    rows = []
    for task in tasks:
        largest = [
            max(each.max_abs_difference for each in verdict.comparisons if (each.task, each.batch) == (task, batch))
            for batch in batches
        ]
        own = ("", "", "", "", "")
        if task == tasks[0]:
            verdict_text = "MISSED" if not verdict.passes else "reported" if verdict.bar == "none" else "reached"
            figures = (f"{verdict.psnr:.1f}", f"{verdict.milliseconds:.1f}", f"{verdict.size / 1e6:.1f}")
            own = (*figures, verdict.bar, verdict_text)
        name = _name(verdict) if task == tasks[0] else ""
        rows.append((name, task, *(f"{value:.1e}" for value in largest), *own))
    return rows


def _name(verdict: Verdict) -> str:
    """The file's name; a SavedModel's version with its folder's."""
    return verdict.path.name if verdict.path.is_file() else f"{verdict.path.parent.name}/{verdict.path.name}"
