"""export: from model.keras to files for other runtimes."""

from __future__ import annotations

import json
import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.runs import load_keras
from kvdiff.cli.sampling import read
from kvdiff.cli.verify import print_verdicts
from kvdiff.runtime import FORMATS
from kvdiff.runtime.litert import LITERT
from kvdiff.runtime.ort import ONNX
from kvdiff.runtime.ort_sampler import ONNX_SAMPLER
from kvdiff.runtime.web import WEB
from kvdiff.web.ort_web import find_ort_web

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion


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
            + ". onnx-sampler is the whole loop in one graph; a precision goes with a colon, e.g. onnx:float16, which "
            "is for GPUs. onnx:int8 is for processors with VNNI. On other CPUs neither is faster than float32.",
        ),
    ] = "onnx",
    check: Annotated[
        bool, typer.Option("--verify/--no-verify", help="Afterwards, sample with every file and compare with Keras.")
    ] = True,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace earlier exports of these formats.")] = False,
    onnxruntime_web: Annotated[
        str | None,
        typer.Option(
            metavar="PLACE",
            help="For web: the folder of npm's onnxruntime-web, or cdn, from which browsers then take it. "
            "[default: node_modules here or above]",
        ),
    ] = None,
    examples: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="CLIPS", help="For web: a .npy file or a video to go on from. [default: generated clips]"),
    ] = None,
    actions: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE", help="For web: a JSON file that names the actions of a player, see the manual."),
    ] = None,
    static: Annotated[
        bool,
        typer.Option(
            "--static/--dynamic",
            help="For onnx and onnx-sampler: files of one clip of the training shape, smaller and quicker to open. "
            "litert is always so.",
        ),
    ] = False,
    webgpu: Annotated[
        bool, typer.Option("--webgpu/--no-webgpu", help="For web: also run on graphics processors; 27 MB.")
    ] = True,
) -> None:
    """Export a trained model for ONNX Runtime, LiteRT, TensorFlow Serving or the browser.

    Each file gets a manifest beside it and runs where there is no Keras; network calls, then whole samples are compared
    with Keras. Exits with 1 where a bar of `kvdiff verify` is missed.

    Example: kvdiff export saved_models/my_clips --to onnx,onnx-sampler,litert:int8
    """
    wanted = _parsed(to)
    asked = {"--onnxruntime-web": onnxruntime_web, "--examples": examples, "--actions": actions}
    if WEB.name not in dict(wanted) and (extra := [option for option, value in asked.items() if value is not None]):
        raise ValueError(f"`--to`: expected {WEB.name} with {', '.join(extra)}. Received: {to}")
    if static and (others := sorted({name for name, _ in wanted} - {ONNX.name, ONNX_SAMPLER.name, LITERT.name})):
        raise ValueError(f"`--static`: expected onnx, onnx-sampler or litert. Received: --to {', '.join(others)}")
    if WEB.name in dict(wanted):
        find_ort_web(onnxruntime_web, webgpu=webgpu)  # Said before a model is loaded.
    said = None if actions is None else read_json("--actions", actions)
    model, folder = load_keras(run), output or run
    from kvdiff.export import export_model

    of_web = dict(onnxruntime_web=onnxruntime_web, webgpu=webgpu, actions=said, run=run)
    of_web["examples"] = None if examples is None else _clips(model, examples)
    paths = []
    of_onnx = dict(static=static)
    options_of: dict[str, dict[str, Any]] = {WEB.name: of_web, ONNX.name: of_onnx, ONNX_SAMPLER.name: of_onnx}
    for name, precision in wanted:
        options = options_of.get(name, {})
        paths.append(export_model(model, folder, name, precision=precision, overwrite=overwrite, **options))
        typer.echo(_WRITTEN.get(name, _WRITTEN[""]).format(path=paths[-1]))
    if check:
        from kvdiff.export.verification import verify

        verdicts = verify(model, folder, paths=paths)
        print_verdicts(verdicts)
        raise typer.Exit(0 if all(verdict.passes for verdict in verdicts) else 1)


_WRITTEN = {
    "": "Wrote {path} and its manifest. Both are needed where it is to run.",
    WEB.name: "Wrote {path}. Look at it: python -m http.server -d {path}, then open http://localhost:8000. "
    "Any static server serves the folder.",
}


def read_json(option: str, path: pathlib.Path) -> Any:
    """The content of a JSON file that an option names."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "other content"
        raise ValueError(f"`{option}`: expected a JSON file. Received: {path}, {reason}") from error


def _clips(model: VideoDiffusion, path: pathlib.Path) -> Any:
    """The clips of a file, of a video its first frames."""
    return read(path, model.sampler, first=model.spec.clip.num_frames)[0]


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
