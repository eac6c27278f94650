"""The command line put together: commands, what they have in common, and errors as one line."""

from __future__ import annotations

import functools
import inspect as inspection
import io
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from kvdiff.cli.autoencoder import autoencoder
from kvdiff.cli.data import inspect, prepare
from kvdiff.cli.demo import demo
from kvdiff.cli.estimate import estimate
from kvdiff.cli.evaluate import compare, evaluate
from kvdiff.cli.export import export
from kvdiff.cli.options import option_name
from kvdiff.cli.play import play
from kvdiff.cli.sampling import generate, infill, interpolate, predict, rollout
from kvdiff.cli.train import train
from kvdiff.cli.tune import tune
from kvdiff.cli.verify import verify

app = typer.Typer(
    name="kvdiff",
    help="Video diffusion: train on your own clips, then generate, predict and interpolate.",
    epilog="Start with: kvdiff demo. With KVDIFF_DEBUG=1 in the environment errors show where they came from.",
    context_settings={"max_content_width": 110},
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


_EXTRAS = {
    **dict.fromkeys(("tensorflow", "keras", "tf_keras", "tensorflow_probability", "filelock"), "train"),
    **dict.fromkeys(("onnx", "tf2onnx", "ai_edge_quantizer", "tensorflow_serving"), "export"),
    **dict.fromkeys(("matplotlib", "sklearn"), "demo"),
    **dict.fromkeys(("av", "PIL"), "media"),
    **dict.fromkeys(("xarray", "h5netcdf", "zarr", "tifffile", "pydicom"), "fields"),
}
"""What to install for a package that is missing."""

_WHOLE = {"export": "export", "verify": "export", "demo": "demo"}
"""What a command needs all of, whatever it misses first."""


def _said(error: Exception, command: Callable[..., None]) -> str:
    """One line: what to install for a package that is missing; arguments of functions by their options' names."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in _EXTRAS:
        extra = _WHOLE.get(command.__name__, _EXTRAS[package])
        return f'kvdiff {command.__name__} needs {package}: pip install "keras-video-diffusion[{extra}]"'
    options = {}
    for name, parameter in inspection.signature(command, eval_str=True).parameters.items():
        declared = [each for each in getattr(parameter.annotation, "__metadata__", ()) if hasattr(each, "param_decls")]
        if declared and not isinstance(declared[0], typer.models.ArgumentInfo):
            options[name] = option_name(name, declared[0])
    return re.sub("`([a-z_]+)`", lambda found: f"`{options.get(found[1], found[1])}`", " ".join(str(error).split()))


def _origin(error: Exception) -> str:
    """Where an error came from that is not in the words of this package, and so tells a reader little; else nothing."""
    if type(error) not in (KeyError, RuntimeError, TypeError, ValueError) or "xpected" in str(error):
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({type(error).__name__} in {last.filename}, line {last.lineno}; KVDIFF_DEBUG=1 shows how it came there)"


def _reported(command: Callable[..., None]) -> Callable[..., None]:
    """The command with its errors as one line on stderr and exit code 2; KVDIFF_DEBUG=1 shows the rest."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except (ArithmeticError, ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
            if isinstance(error, typer.Exit) or os.environ.get("KVDIFF_DEBUG"):  # typer.Exit is a RuntimeError.
                raise
            typer.echo(f"Error: {_said(error, command)}{_origin(error)}", err=True)
            raise typer.Exit(2) from error

    return wrapped


for _command in (
    demo,
    train,
    estimate,
    autoencoder,
    generate,
    predict,
    interpolate,
    infill,
    rollout,
    play,
    export,
    verify,
    evaluate,
    tune,
    compare,
):
    app.command()(_reported(_command))

_data = typer.Typer(help="Look after data sets.", no_args_is_help=True, rich_markup_mode=None)
for _command in (inspect, prepare):
    _data.command()(_reported(_command))
app.add_typer(_data, name="data")


def _print_version(asked: bool) -> None:
    if asked:
        import kvdiff

        typer.echo(kvdiff.__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    # TensorFlow reads it when it is imported; 3 leaves its errors.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for stream in (sys.stdout, sys.stderr):  # A console that has no × must not lose finished work.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
