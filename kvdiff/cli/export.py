"""export: from model.keras to files for other runtimes."""

from __future__ import annotations

import pathlib
import tempfile
from typing import TYPE_CHECKING, Annotated

import typer

from kvdiff.cli.runs import load_keras
from kvdiff.cli.verify import print_verdicts

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = ["FORMATS", "export"]

FORMATS = {
    "onnx": ("float32", "float16", "bfloat16", "int8"),
    "onnx-sampler": ("float32", "float16", "bfloat16", "int8"),
    "litert": ("float32", "float16", "int8", "int8-weights"),
    "saved-model": ("float32",),
}
"""What `--to` takes: a format, or FORMAT:PRECISION."""


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
            help="onnx, onnx-sampler (the whole loop in one graph), litert, saved-model; with a precision, e.g. "
            "onnx:float16. onnx and onnx-sampler: float16, bfloat16, int8; litert: float16, int8, int8-weights.",
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
    paths = [_exported(model, folder, name, precision, overwrite) for name, precision in wanted]
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
        ValueError: something else than `FORMATS`.
    """
    wanted = []
    for text in dict.fromkeys(part.strip() for part in to.split(",")):
        name, _, precision = text.partition(":")
        if (precision or "float32") not in FORMATS.get(name, ()):
            known = [f"{name}:{precision}" for name, precisions in FORMATS.items() for precision in precisions]
            raise ValueError(
                f"`--to`: expected formats among {', '.join(FORMATS)}, {', '.join(known)}. Received: {text!r}"
            )
        wanted.append((name, precision or "float32"))
    return wanted


def _exported(model: VideoDiffusion, folder: pathlib.Path, name: str, precision: str, overwrite: bool) -> pathlib.Path:
    from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model

    if name == "onnx":
        return export_onnx(model, folder, precision=precision, overwrite=overwrite)
    if name == "litert":
        return export_litert(model, folder, precision=precision, overwrite=overwrite)
    if name == "saved-model":
        return export_saved_model(model, folder / "serving", overwrite=overwrite)
    with tempfile.TemporaryDirectory() as spare:
        return export_onnx_sampler(export_onnx(model, spare, precision=precision), folder, overwrite=overwrite)
