"""The cases of a forecast protocol: which windows of a data set, past and truth, in the user's numbers."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_path
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.evaluation.forecast_protocols import ForecastProtocol
from kvdiff.fields import Field, check_fits


@dataclasses.dataclass(frozen=True, eq=False)
class ForecastCases:
    """Windows of past and future frames.

    Attributes:
        clips: float32 [cases, past + future, height, width, channels]; NaN where a pixel of the future is missing, or
            one of the past that is missing throughout.
        past: how many of the frames are known.
        left_out: windows that were not taken because a pixel of their past is missing that is there in another frame.
        source: where they come from, in words.
    """

    clips: np.ndarray
    past: int
    left_out: int
    source: str

    @property
    def config(self) -> dict[str, Any]:
        """What a result says of them; `sha256` is of the numbers."""
        return {
            "source": self.source,
            "shape": list(self.clips.shape),
            "sha256": hashlib.sha256(np.ascontiguousarray(self.clips).tobytes()).hexdigest(),
            "left_out": self.left_out,
        }


def read_cases(path: pathlib.Path, protocol: ForecastProtocol, frame_shape: tuple[int, int, int]) -> ForecastCases:
    """The cases in a .npy or .npz file of the user's numbers, see `cases_of`.

    Raises:
        FileNotFoundError, ValueError: no such file, several arrays in it, or too few cases.
    """
    path = check_path("data", path)
    if path.suffix not in (".npy", ".npz") or not path.is_file():
        wanted = "a .npy or .npz file" if path.exists() else "no such file"
        raise FileNotFoundError(f"{path}: expected a .npy or .npz file of fields. Received: {wanted}")
    loaded = np.load(path, mmap_mode="r", allow_pickle=False)
    if isinstance(loaded, np.lib.npyio.NpzFile):
        if len(loaded.files) != 1:
            raise ValueError(f"{path}: expected one array. Received: {', '.join(loaded.files) or 'none'}")
        loaded = loaded[loaded.files[0]]
    return cases_of(loaded, protocol, frame_shape, source=path.name)


def cases_of(
    data: np.ndarray, protocol: ForecastProtocol, frame_shape: tuple[int, int, int], *, source: str = "your own fields"
) -> ForecastCases:
    """Windows one after the other from every clip's first frame, of which as many as the protocol says, evenly spread.

    Args:
        data: [time, height, width], with channels at the end [time, height, width, channels], or several clips [clips,
            time, …]; NaN where a pixel is missing.
        protocol: how many frames and cases.
        frame_shape: (height, width, channels) of the model.
        source: where they come from, in words.
    """
    data, length = _clips(check_array("data", data), frame_shape), protocol.past + protocol.future
    starts = [(clip, start) for clip in range(len(data)) for start in range(0, data.shape[1] - length + 1, length)]
    windows = [functools.partial(_window, data[clip], slice(start, start + length)) for clip, start in starts]
    return _cases(windows, protocol, source)


def cases_of_fields(fields: Sequence[Field], protocol: ForecastProtocol, spec: ModelSpec) -> ForecastCases:
    """The same of fields: their windows have no gap but those that their recipe allows.

    Args:
        fields: as `kvdiff.fields.open_fields` returns them; read a window at a time.
        protocol: how many frames and cases.
        spec: of the model.

    Raises:
        FieldError: frames of another size, channels, units or clock than the model's.
        ValueError: too few cases.
    """
    windows: list[Callable[[], np.ndarray]] = []
    for field in fields:
        check_fits(field, spec)
        end = -1
        for frames in field.clips(protocol.past + protocol.future):
            if frames[0] > end:
                windows.append(functools.partial(field.read, frames))
                end = frames[-1]
    return _cases(windows, protocol, ", ".join(pathlib.Path(field.path).name for field in fields))


def _window(clip: np.ndarray, frames: slice) -> np.ndarray:
    return np.asarray(clip[frames], np.float32)


def _cases(windows: Sequence[Callable[[], np.ndarray]], protocol: ForecastProtocol, source: str) -> ForecastCases:
    """As many windows as the protocol says, evenly spread over those whose past is there; two passes save memory."""
    complete = [window for window in windows if _is_complete(window(), protocol.past)]
    left_out = len(windows) - len(complete)
    if len(complete) < protocol.num_cases:
        raise ValueError(
            f"`data`: {protocol.title} expected {protocol.num_cases} windows of {protocol.past + protocol.future} "
            f"frames whose past has no missing pixel. Received: {len(complete)}, and {left_out} with one. --num-clips "
            "takes fewer, which compares with its like"
        )
    chosen = np.linspace(0, len(complete) - 1, protocol.num_cases).round().astype(int)
    return ForecastCases(np.stack([complete[index]() for index in chosen]), protocol.past, left_out, source)


def _is_complete(window: np.ndarray, past: int) -> bool:
    """Whether no pixel of the past is missing, but for those that are missing throughout, as out of a radar's reach."""
    missing = np.isnan(window)
    return not (missing[:past] & ~missing.all(axis=0)).any() and not missing.all()


def _clips(data: np.ndarray, frame_shape: tuple[int, int, int]) -> np.ndarray:
    """[clips, time, height, width, channels]."""
    height, width, channels = frame_shape
    if data.ndim >= 3 and channels == 1 and data.shape[-2:] == (height, width):
        data = data[..., None]
    if data.ndim in (4, 5) and data.shape[-3:] == (height, width, channels):
        return data[None] if data.ndim == 4 else data
    raise ValueError(
        f"`data`: expected fields [time, {height}, {width}], with {channels} channels at the end where there are "
        f"several, or clips of them. Received: {list(data.shape)}"
    )
