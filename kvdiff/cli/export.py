"""export: from model.keras to denoiser.onnx."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from kvdiff.cli.runs import load_keras

__all__ = ["export"]


def export(
    run: Annotated[
        pathlib.Path, typer.Argument(metavar="RUN", help="Folder with model.keras, as `kvdiff train` wrote it.")
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Folder for the export. [default: RUN itself]"),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Export a trained model to ONNX.

    Writes denoiser.onnx and manifest.json, which sample where there is no TensorFlow, and compares ONNX Runtime's
    answers with Keras'.

    Example: kvdiff export saved_models/my_clips
    """
    model = load_keras(run)
    from kvdiff.export import export_onnx

    path = export_onnx(model, output or run, overwrite=overwrite)
    typer.echo(f"Wrote {path} and its manifest. Both are needed where it is to run.")
