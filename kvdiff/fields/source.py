"""What a reader says of a variable of a file: dimensions by name, coordinates, units, and numbers when asked for."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


class FieldError(ValueError):
    """A file that does not hold what was asked for; the message names file, variable, expected and received."""

    def __init__(self, path: str | os.PathLike[str], variable: str, reason: str) -> None:
        where = f"{os.fspath(path)}: " + (f"variable {variable!r}: " if variable else "")
        super().__init__(where + reason)
        self.path, self.variable, self.reason = pathlib.Path(path), variable, reason

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.path, self.variable, self.reason)


@dataclasses.dataclass(frozen=True, eq=False)
class Source:
    """One variable of a file, unread.

    Attributes:
        name: of the variable; "" where files of its kind have but one, without a name.
        dims: the names of its dimensions, in order.
        shape: their sizes.
        dtype: of the stored numbers.
        get: the numbers of an index (a slice or an integer for each dimension); those that are missing are NaN.
        coords: the coordinates of dimensions that have some: numbers, or datetime64.
        roles: what the file says of a dimension: "time", "height", "width" or "channel", by its name.
        units: of the numbers; "" where the file does not say.
        labels: what each index of the channel dimension is called.
        chunks: how many numbers along each dimension are stored together; None where the file does not say.
    """

    name: str
    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    get: Callable[[tuple[Any, ...]], np.ndarray]
    coords: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    roles: Mapping[str, str] = dataclasses.field(default_factory=dict)
    units: str = ""
    labels: tuple[str, ...] = ()
    chunks: tuple[int, ...] | None = None


def import_for(suffix: str, *packages: str) -> Any:
    """The first of `packages`, once all are imported.

    Raises:
        ImportError: one is not installed; the message says how to.
    """
    import importlib

    try:
        found = [importlib.import_module(name) for name in packages]
    except ImportError as error:
        extra = "grib" if "cfgrib" in packages else "fields"
        wanted = f'pip install "keras-video-diffusion[{extra}]"'
        raise ImportError(f"{suffix} files need {' and '.join(packages)}: {wanted}") from error
    return found[0]
