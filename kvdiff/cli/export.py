"""export: from model.keras to files for other runtimes."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from kvdiff.cli.runs import load_keras
from kvdiff.cli.verify import print_verdicts
from kvdiff.runtime import FORMATS

__all__ = ["export"]


def export(
    run: Annotated[
        pathlib.Path, typer.Argument(metavar="RUN", help="Folder with model.keras, as `kvdiff train` wrote it.")
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the export. [default: RUN itself]"),
    ] = None,
    to: Annotated[
        str,
        typer.Option(
            metavar="FORMAT,…",
            help="; ".join(f"{name}: {', '.join(each.precisions)}" for name, each in FORMATS.items())
            + ". onnx-sampler is the whole loop in one graph; a precision goes with a colon, e.g. onnx:float16.",
        ),
    ] = "onnx",
    check: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Afterwards, sample with every file and compare with Keras.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier exports of these formats.")] = False,
) -> None:
    """Export a trained model for ONNX Runtime, LiteRT or TensorFlow Serving.

    Each file gets a manifest beside it and runs where there is no Keras; network calls, then whole samples are compared
    with Keras. Exits with 1 where a bar of `kvdiff verify` is missed.

    Example: kvdiff export saved_models/my_clips --to onnx,onnx-sampler,litert:int8
    """
    wanted = _parsed(to)
    model, folder = load_keras(run), output or run
    from kvdiff.export import export_model

    paths = [export_model(model, folder, name, precision=precision, overwrite=overwrite) for name, precision in wanted]
    for path in paths:
        typer.echo(f"Wrote {path} and its manifest. Both are needed where it is to run.")
    if check:
        from kvdiff.export.verification import verify

        verdicts = verify(model, folder, paths=paths)
        print_verdicts(verdicts)
        raise typer.Exit(0 if all(verdict.passes for verdict in verdicts) else 1)


def _parsed(to: str) -> list[tuple[str, str]]:
    """(format, precision) of each that is asked for, once.

    Raises:
        ValueError: a format or precision that there is not.
    """
    wanted = []
    for text in dict.fromkeys(part.strip() for part in to.split(",")):
        name, _, precision = text.partition(":")
        if name not in FORMATS or (precision or "float32") not in FORMATS[name].precisions:
            known = [f"{name}:{precision}" for name, each in FORMATS.items() for precision in each.precisions]
            raise ValueError(
                f"`--to`: expected formats among {', '.join(FORMATS)}, {', '.join(known)}. Received: {text!r}"
            )
        wanted.append((name, precision or "float32"))
    return wanted
