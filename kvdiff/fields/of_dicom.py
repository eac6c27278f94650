"""DICOM of several frames through pydicom, frame by frame, in the units of its modality."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from kvdiff.fields.source import FieldError, Source, import_for


def dicom_source(path: str | os.PathLike[str]) -> Source:
    """The frames of a DICOM file, rescaled as it says; padding is missing, colours are RGB.

    Raises:
        FieldError: another kind of file, one without pixels, or with a single frame.
        ImportError: pydicom, or what decodes such pixels, is not installed.
    """
    pydicom = import_for(".dcm", "pydicom", "pydicom.pixels")
    try:
        file = pydicom.dcmread(path, defer_size=2**12)
        shape = (int(file.get("NumberOfFrames", 1) or 1), int(file.Rows), int(file.Columns))
    except Exception as error:  # Foreign bytes make the library raise almost anything.
        raise FieldError(path, "", f"expected a DICOM file with pixels. Received: {error}") from error
    if shape[0] < 2:
        raise FieldError(path, "", "expected several frames (NumberOfFrames). Received: 1")
    samples, bits = int(file.get("SamplesPerPixel", 1)), int(file.get("BitsAllocated", 16))
    rescaled = "RescaleSlope" in file or "PerFrameFunctionalGroupsSequence" in file
    dtype = np.dtype(np.float32 if rescaled else f"{'i' if file.get('PixelRepresentation') else 'u'}{bits // 8}")

    def get(index: tuple[Any, ...]) -> np.ndarray:
        frames = range(shape[0])[index[0]] if isinstance(index[0], slice) else [index[0]]
        return np.stack([_frame(pydicom, file, path, frame)[index[1:]] for frame in frames])[
            slice(None) if isinstance(index[0], slice) else 0
        ]

    seconds = _seconds(file, shape[0])
    return Source(
        name="",
        dims=("time", "height", "width", "channel")[: 3 + (samples > 1)],
        shape=(*shape, samples) if samples > 1 else shape,
        dtype=dtype,
        get=get,
        coords={} if seconds is None else {"time": seconds},
        units=str(file.get("RescaleType", "")),
        labels=("red", "green", "blue") if samples == 3 else (),
        chunks=(1, *shape[1:], samples) if samples > 1 else (1, *shape[1:]),
    )


def _frame(pydicom: Any, file: Any, path: Any, index: int) -> np.ndarray:
    raw = pydicom.pixels.pixel_array(path, index=index)
    slope, intercept = float(file.get("RescaleSlope", 1.0)), float(file.get("RescaleIntercept", 0.0))
    groups = file.get("PerFrameFunctionalGroupsSequence")
    if groups is not None and "PixelValueTransformationSequence" in groups[index]:
        own = groups[index].PixelValueTransformationSequence[0]
        slope, intercept = float(own.RescaleSlope), float(own.RescaleIntercept)
    padding = file.get("PixelPaddingValue")
    if padding is None and (slope, intercept) == (1.0, 0.0):
        return raw
    numbers = raw.astype(np.float32) * np.float32(slope) + np.float32(intercept)
    return numbers if padding is None else np.where(raw == int(padding), np.float32(np.nan), numbers)


def _seconds(file: Any, frames: int) -> np.ndarray | None:
    """When each frame was taken, from the first on."""
    if "FrameTimeVector" in file:
        steps = np.array(file.FrameTimeVector, np.float64)[1:frames] * 1e-3
        return np.concatenate([[0.0], np.cumsum(steps)])
    step = float(file.get("FrameTime", 0.0) or 0.0) * 1e-3
    if not step and (rate := float(file.get("CineRate", 0.0) or 0.0)):
        step = 1.0 / rate
    return step * np.arange(frames) if step else None
