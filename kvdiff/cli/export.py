"""export: from model.keras to denoiser.onnx, and the whole loop to sampler.onnx; denoiser.tflite."""

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
    fused: Annotated[
        bool, typer.Option("--fused", help="Also write the whole sampling loop as one graph, sampler.onnx.")
    ] = False,
    litert: Annotated[
        bool, typer.Option("--litert", help="Also write the network for LiteRT (TFLite), denoiser.tflite.")
    ] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
) -> None:
    """Export a trained model to ONNX.

    Writes denoiser.onnx and its manifest, which sample where there is no TensorFlow, and compares ONNX Runtime's
    answers with Keras'.

    Example: kvdiff export saved_models/my_clips
    """
    model = load_keras(run)
    from kvdiff.export import export_litert, export_onnx, export_onnx_sampler

    paths = [export_onnx(model, output or run, overwrite=overwrite)]
    if fused:
        paths.append(export_onnx_sampler(paths[0], paths[0].parent, overwrite=overwrite))
    if litert:
        paths.append(export_litert(model, paths[0].parent, overwrite=overwrite))
    for path in paths:
        typer.echo(f"Wrote {path} and its manifest. Both are needed where it is to run.")
