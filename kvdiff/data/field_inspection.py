"""Look at data with units before anyone trains on it."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.transforms.fitting import Summary
from kvdiff.fields import Field, coloured, survey
from kvdiff.fields.survey import Progress
from kvdiff.media import encode_png, grid, labelled, write_bytes

_BINS = 24
_SHOWN = 24  # Frames on the contact sheet.
_THUMBNAIL = 128
_BARS = " ▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class FieldInspection:
    """What `inspect_fields` found.

    Attributes:
        report: as JSON has it: files with shapes, clocks and gaps, and channels with ranges, units and histograms.
        sheet: frames of the first channel, evenly from all, in colours: uint8 [height, width, 3].
    """

    report: dict[str, Any]
    sheet: np.ndarray

    def lines(self) -> list[str]:
        """The findings as text."""
        lines = []
        for file in self.report["files"]:
            clock = f"every {file['time_step']:g} s from {file['first']}" if file["time_step"] else "no clock"
            lines.append(f"{file['path']}: {file['frames']} frames of {file['height']}×{file['width']}, {clock}")
            lines += [f"  gap of {gap['steps']:.1f} steps after {gap['after']}" for gap in file["gaps"][:8]]
            lines += [f"  and {len(file['gaps']) - 8} more gaps"] if len(file["gaps"]) > 8 else []
        for channel in self.report["channels"]:
            unit = channel["units"] or "no unit"
            lines.append(
                f"{channel['name']} [{unit}], {channel['dtype']}: {channel['low']:g} to {channel['high']:g}, "
                f"mean {channel['mean']:.4g}, standard deviation {channel['std']:.4g}"
            )
            lines.append(f"  missing: {channel['missing']:.2%}; zero: {channel['zero']:.2%}")
            quantiles = ", ".join(f"{share}: {number:.4g}" for share, number in channel["quantiles"].items())
            lines.append(f"  quantiles {quantiles}")
            counts = np.array(channel["histogram"]["counts"], float)
            heights = np.ceil(8 * np.sqrt(counts / max(counts.max(), 1.0))).astype(int)
            lines.append(f"  histogram |{''.join(_BARS[height] for height in heights)}| (roots of the counts)")
        return lines

    def write(self, directory: str | os.PathLike[str]) -> list[pathlib.Path]:
        """Write `report.json` and `contact_sheet.png`; returns their paths."""
        directory = pathlib.Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        report = json.dumps(self.report, indent=1) + "\n"
        return [
            write_bytes(directory / "report.json", report.encode()),
            write_bytes(directory / "contact_sheet.png", encode_png(self.sheet)),
        ]


def inspect_fields(fields: Sequence[Field], progress: Progress | None = None) -> FieldInspection:
    """Read every number of some fields, and say what there is.

    Args:
        fields: as `kvdiff.fields.open_fields` gives them.
        progress: called with (frames read, frames).
    """
    found = survey(fields, progress=progress)
    first = fields[0]
    shares = np.split(found.missing, np.cumsum([field.shape[0] for field in fields])[:-1])
    files = [_file(field, missing) for field, missing in zip(fields, shares, strict=True)]
    channels = [
        {"name": name, "units": unit, "dtype": str(first.dtype), **_channel(summary)}
        for name, unit, summary in zip(first.names, first.units, found.summaries, strict=True)
    ]
    return FieldInspection({"files": files, "channels": channels}, _sheet(fields, channels[0]))


def _file(field: Field, missing: np.ndarray) -> dict[str, Any]:
    frames, height, width, _ = field.shape
    return {
        "path": field.path,
        "frames": frames,
        "height": height,
        "width": width,
        "time_step": field.time_step,
        "first": None if field.times is None else str(field.times[0]),
        "gaps": [{"after": after, "steps": steps} for after, steps in field.gaps()],
        "frames_missing": int((missing == 1.0).sum()),
        "most_missing": float(missing.max()),
    }


def _channel(summary: Summary) -> dict[str, Any]:
    total, sample = max(summary.count + summary.missing, 1), summary.sample
    if not len(sample):
        raise ValueError("expected numbers. Received: missing ones alone")
    counts, edges = np.histogram(sample, _BINS)
    shares = (0.01, 0.25, 0.5, 0.75, 0.99, 0.999)
    return {
        "low": summary.low,
        "high": summary.high,
        "mean": summary.mean,
        "std": summary.std,
        "missing": summary.missing / total,
        "zero": float((sample == 0).mean()),
        "quantiles": {f"{share:g}": float(np.quantile(sample, share)) for share in shares},
        "histogram": {"counts": counts.tolist(), "edges": edges.tolist()},
    }


def _sheet(fields: Sequence[Field], channel: dict[str, Any]) -> np.ndarray:
    """Frames with their times, from the first to the 99.9th percentile in colours, grey where missing."""
    low, high = channel["quantiles"]["0.01"], channel["quantiles"]["0.999"]
    places = [(field, index) for field in fields for index in range(field.shape[0])]
    chosen = np.unique(np.linspace(0, len(places) - 1, min(_SHOWN, len(places))).astype(int))
    pictures = []
    for field, index in (places[number] for number in chosen):
        step = max(1, math.ceil(max(field.shape[1:3]) / _THUMBNAIL))
        frame = field.read([index], slice(None, None, step), slice(None, None, step))[..., 0]
        picture = coloured((frame - low) / ((high - low) or 1.0))
        text = str(index) if field.times is None else str(field.times[index])[:16]
        side = max(1, _THUMBNAIL // max(picture.shape[1:3]))
        pictures.append(labelled(picture.repeat(side, axis=1).repeat(side, axis=2), text, size=10))
    height, width = (max(picture.shape[axis] for picture in pictures) for axis in (1, 2))
    room = [np.pad(p, ((0, 0), (0, height - p.shape[1]), (0, width - p.shape[2]), (0, 0))) for p in pictures]
    return grid(room, 6)[0]
