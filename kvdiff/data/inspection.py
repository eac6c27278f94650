"""Look at a folder of videos before anyone trains on it."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from kvdiff.data.listing import Listing, Video
from kvdiff.media import (
    ClipReader,
    ClipRequest,
    VideoError,
    encode_png,
    grid,
    labelled,
    list_stills,
    printable,
    write_bytes,
)

_AT_A_TIME = 1024  # Videos in the pool's queue: an array may hold millions.


class VideoFacts(NamedTuple):
    """What one good video is."""

    path: str
    """Relative to the folder."""
    label: str | None
    container: str
    codec: str
    height: int
    """Upright."""
    width: int
    rotation: int
    is_mirrored: bool
    frames: int
    """Decoded, all of them."""
    fps: float
    """Frames a second, on average; NaN where the file has no clock."""
    is_even: bool
    """Whether every frame is shown for the same time, but for the rounding of clocks."""
    file_bytes: int
    notes: tuple[str, ...]
    """What should be known of how it was read."""


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What `inspect_videos` found.

    Attributes:
        good: a row for each video that decodes, in the order of the listing.
        bad: the errors of the others.
        sheet: one frame a video of up to 48, with its name: uint8 [height, width, 3]; None where none is good.
    """

    good: tuple[VideoFacts, ...]
    bad: tuple[VideoError, ...]
    sheet: np.ndarray | None

    def lines(self) -> list[str]:
        """The findings as text."""
        notes = [f"note: {printable(video.path)}: {note}" for video in self.good for note in video.notes]
        return [*self._summary(), *notes, *(f"bad: {error}" for error in self.bad)]

    def _summary(self) -> list[str]:
        total = len(self.good) + len(self.bad)
        lines = [f"{total} videos: {len(self.good)} good, {len(self.bad)} bad"]
        if not self.good:
            return lines
        frames = [video.frames for video in self.good]
        rates = [video.fps for video in self.good if not math.isnan(video.fps)]
        classes = collections.Counter(video.label for video in self.good if video.label is not None)
        lines.append(f"frames: {sum(frames)} in all; a video has {_spread(frames)}")
        lines.append(f"sizes: {_counted(f'{video.height}×{video.width}' for video in self.good)}")
        lines.append(f"frames a second: {_spread(rates)}" if rates else "frames a second: no file has a clock")
        lines.append(f"variable rate: {sum(not video.is_even for video in self.good)}")
        lines.append(f"turned: {sum(video.rotation != 0 for video in self.good)}")
        lines.append(f"mirrored: {sum(video.is_mirrored for video in self.good)}")
        lines.append(f"kinds: {_counted(f'{video.container}/{video.codec}' for video in self.good)}")
        lines.append(f"bytes: {sum(video.file_bytes for video in self.good)}")
        if classes:
            lines.append(f"classes: {len(classes)}; a class has {_spread(list(classes.values()))} videos")
        return lines

    def write(self, directory: str | os.PathLike[str]) -> list[pathlib.Path]:
        """Write `report.json` and, where a video is good, `contact_sheet.png`; returns their paths."""
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        rows = [
            {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in row.items()}
            for row in (video._asdict() for video in self.good)
        ]
        bad = [{"path": str(error.path), "reason": error.reason} for error in self.bad]
        report = json.dumps({"good": rows, "bad": bad}, indent=1) + "\n"
        paths = [write_bytes(directory / "report.json", report.encode())]
        if self.sheet is not None:
            paths.append(write_bytes(directory / "contact_sheet.png", encode_png(self.sheet)))
        return paths


def inspect_videos(
    listing: Listing,
    reader: ClipReader,
    *,
    thumbnail: int = 96,
    progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Decode every frame of every video, and say what there is.

    Args:
        listing: the videos, as `list_directory` gives them.
        reader: decodes them; its limits are those of the inspection.
        thumbnail: height and width of a picture on the contact sheet.
        progress: called with (videos done, videos) after each.
    """
    shown = set(np.linspace(0, len(listing.videos) - 1, min(len(listing.videos), 48)).astype(int).tolist())
    done: list[_Finding] = []

    def look(index: int) -> _Finding:
        return _look(listing, index, reader, thumbnail if index in shown else None)

    with ThreadPoolExecutor(reader.num_workers) as pool:
        total = len(listing.videos)
        for first in range(0, total, _AT_A_TIME):
            for finding in pool.map(look, range(first, min(first + _AT_A_TIME, total))):
                done.append(finding)
                if progress is not None:
                    progress(len(done), total)
    good = tuple(finding.facts for finding in done if finding.facts is not None)
    bad = tuple(finding.error for finding in done if finding.error is not None)
    pictures = [finding.picture for finding in done if finding.picture is not None]
    return Inspection(good, bad, grid(pictures, 8)[0] if pictures else None)


class _Finding(NamedTuple):
    facts: VideoFacts | None = None
    error: VideoError | None = None
    picture: np.ndarray | None = None


def _look(listing: Listing, index: int, reader: ClipReader, thumbnail: int | None) -> _Finding:
    video = listing.videos[index]
    request = ClipRequest(path=str(video.path), root=str(video.root), links=video.links, member=video.member, wanted=())
    try:
        clip = reader.read(request)
        facts = _facts(video, _label(listing, index), clip)
        if thumbnail is None:
            return _Finding(facts)
        middle = dataclasses.replace(request, wanted=(len(clip.times) // 2,), size=(thumbnail, thumbnail))
        return _Finding(facts, None, labelled(reader.read(middle).frames, printable(video.path.stem), size=9))
    except VideoError as error:
        return _Finding(error=error)


def _facts(video: Video, label: str | None, clip: Any) -> VideoFacts:
    gaps = np.diff(clip.times)
    length = clip.times[-1] - clip.times[0]
    has_clock = len(gaps) > 0 and length > 0
    rate = len(gaps) / length if has_clock else math.nan
    # Half a frame of unrest is a rounded clock; more is a frame that is shown for longer.
    is_even = not has_clock or bool(np.ptp(gaps) < 0.5 / rate)
    entries = list_stills(video.path) if video.path.is_dir() else [video.path]
    return VideoFacts(
        path=video.name + (f"[{video.member}]" if video.member else ""),
        label=label,
        container=clip.facts.container.split(",")[0],
        codec=clip.facts.codec,
        height=clip.facts.height,
        width=clip.facts.width,
        rotation=clip.facts.rotation,
        is_mirrored=clip.facts.is_mirrored,
        frames=len(clip.times),
        fps=round(float(rate), 3),
        is_even=is_even,
        file_bytes=sum(entry.stat().st_size for entry in entries),
        notes=clip.facts.notes,
    )


def _label(listing: Listing, index: int) -> str | None:
    if listing.labels is None:
        return None
    label = int(listing.labels[index])
    return listing.class_names[label] if listing.class_names else str(label)


def _spread(values: list[Any]) -> str:
    low, middle, high = min(values), float(np.median(values)), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}, median {middle:g}"


def _counted(values: Any) -> str:
    counts = collections.Counter(values).most_common()
    shown = ", ".join(f"{value} ({count})" for value, count in counts[:8])
    return shown + (f", and {len(counts) - 8} more" if len(counts) > 8 else "")
