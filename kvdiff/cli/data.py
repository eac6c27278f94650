"""data: what lies in a folder of videos, before anyone trains on it, and its latents."""

from __future__ import annotations

import pathlib
from typing import Annotated

import typer

from kvdiff.cli.autoencoder import Channels, Size, frame_spec, latents_of, opened_autoencoder
from kvdiff.cli.field_options import DataOptions, parse_size
from kvdiff.cli.options import Links, with_sampling
from kvdiff.cli.progress import progress_bars
from kvdiff.fields import is_field, open_fields


@with_sampling
def inspect(
    directory: Annotated[
        pathlib.Path,
        typer.Argument(
            metavar="DIR", help="Folder of videos, arrays, frame folders; or a .nc, .zarr, .h5, .tif, … file."
        ),
    ],
    output: Annotated[
        pathlib.Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="Where to write. [default: DIR-inspection, beside DIR]"),
    ] = None,
    classes: Annotated[bool, typer.Option("--classes", help="The folders inside DIR are classes.")] = False,
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes. [default: one a CPU]")] = None,
    seconds: Annotated[float, typer.Option(metavar="X", min=0.1, help="Time that one video may take.")] = 60.0,
    links: Links = None,
    *,
    asked: DataOptions,
) -> None:
    """Decode every video in a folder and report counts, sizes, rates and bad files.

    Of data with units (.nc, .zarr, .h5, .tif, .dcm, …) report ranges, units, histograms, gaps and what is missing.
    Writes FOLDER/report.json and FOLDER/contact_sheet.png. Exits with 1 where a file is bad.

    Example: kvdiff data inspect my_videos
    """
    if is_field(directory) or asked.is_said:
        _inspect_fields(directory, output, asked)
        return
    from kvdiff.data import inspect_videos, list_directory
    from kvdiff.media import ClipReader, ReadLimits, check_folder_writable

    listing = list_directory(directory, "inferred" if classes else None, links=links)
    resolved = directory.resolve()
    output = output or resolved.parent / f"{resolved.name}-inspection"
    check_folder_writable(output)
    with ClipReader(workers, ReadLimits(seconds=seconds)) as reader, progress_bars() as progress:
        found = inspect_videos(listing, reader, progress=lambda done, total: progress("Decoding", done, total))
    written = found.write(output)
    for line in (*found.lines(), *(f"Wrote {path}" for path in written)):
        typer.echo(line)
    if found.bad:
        raise typer.Exit(1)


def prepare(
    clips: Annotated[
        list[pathlib.Path], typer.Argument(metavar="CLIPS", help="Files of clips, or folders of them, as kvdiff train.")
    ],
    output: Annotated[pathlib.Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the latents go.")],
    latent: Annotated[pathlib.Path, typer.Option(metavar="FILE", help="The autoencoder, or a model that has one.")],
    size: Size = "64",
    channels: Channels = 3,
    links: Links = None,
) -> None:
    """Encode clips once, so that a denoiser trains on their latents without the autoencoder.

    Run again, it goes on with what is missing. Several such commands may work on one folder at a time.

    Example: kvdiff data prepare my_videos --latent saved_models/my_clips/autoencoder.keras -o my_latents
    """
    from kvdiff.cli.runs import require
    from kvdiff.data import list_paths, video_batches

    require("keras", "tensorflow", "filelock")
    height, width = parse_size(size)
    spec = frame_spec(opened_autoencoder(latent), (height, width, channels))
    batches = video_batches(
        list_paths(clips, links=links),
        label_mode=None,
        num_frames=1,
        image_size=(height, width),
        clip_sampling="uniform",
        color_mode="grayscale" if channels == 1 else "rgb",
    )
    latents_of(batches, output, spec, anew=False)


def _inspect_fields(path: pathlib.Path, output: pathlib.Path | None, asked: DataOptions) -> None:
    """The same of data with units."""
    from kvdiff.data import inspect_fields
    from kvdiff.media import check_folder_writable

    fields = open_fields(path, asked.recipe())
    resolved = path.resolve()
    output = output or resolved.parent / f"{resolved.name}-inspection"
    check_folder_writable(output)
    with progress_bars() as progress:
        found = inspect_fields(fields, lambda done, total: progress("Reading", done, total))
    for line in (*found.lines(), *(f"Wrote {path}" for path in found.write(output))):
        typer.echo(line)
