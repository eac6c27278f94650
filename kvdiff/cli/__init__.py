"""The `kvdiff` command. What a command needs is imported when it runs, so that `kvdiff --help` is quick."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process."""
    try:
        from kvdiff.cli.app import app
    except ModuleNotFoundError as error:
        if error.name != "typer":
            raise
        raise SystemExit('The kvdiff command needs typer: pip install "keras-video-diffusion[cli]"') from error
    app(prog_name="kvdiff")
