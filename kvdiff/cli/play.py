"""play: the page of a model, served from here."""

from __future__ import annotations

import pathlib
import secrets
import webbrowser
from typing import Annotated

import typer

from kvdiff.cli.export import read_json
from kvdiff.cli.options import Precision, Run, RuntimeName
from kvdiff.cli.runs import open_run
from kvdiff.cli.sampling import read


def play(
    run: Run,
    host: Annotated[
        str, typer.Option(metavar="HOST", help="Address to serve on. Others than loopback ask for a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    runtime: RuntimeName = None,
    precision: Precision = None,
    examples: Annotated[
        list[pathlib.Path] | None,
        typer.Option(metavar="CLIP", help="A clip to go on from, a .npy file or a video; may be repeated."),
    ] = None,
    actions: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE", help="A JSON file that names the actions of a player, see the manual."),
    ] = None,
    steps: Annotated[int, typer.Option(metavar="N", min=1, help="The most steps that may be asked for.")] = 100,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in a browser.")] = True,
) -> None:
    """Look at a model, or play it, in a browser; this computer samples.

    Example: kvdiff play saved_models/demo
    """
    from kvdiff.web.live import Limits, LiveSampler
    from kvdiff.web.server import LOOPBACK, PageServer

    said = None if actions is None else read_json("--actions", actions)
    sampler = open_run(run, runtime, precision)
    clips = [clip for path in examples or () for clip in read(path, sampler)[0]]
    server = PageServer(
        LiveSampler(sampler, Limits(steps=steps)),
        (host, port),
        words={"name": run.resolve().name, "run": str(run)},
        runtime=f"on the server, by {type(sampler.engine).__name__.removesuffix('Engine')}",
        token="" if host in LOOPBACK else secrets.token_urlsafe(16),
        actions=said,
        examples=clips,
    )
    typer.echo(f"Open {server.url} – Ctrl-C ends.")
    if show:
        webbrowser.open(server.url)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        typer.echo("Ended.")
    finally:
        server.server_close()
