"""The recipe of the data: which numbers of a file are clips."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from kvdiff.diffusion.checks import (
    built_from,
    check_count,
    check_kind,
    check_mapping,
    check_real,
    check_words,
    received,
)

_SECONDS = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "ms": 1e-3}


@dataclasses.dataclass(frozen=True)
class FieldRecipe:
    """Which numbers of a file are clips, and how.

    ```python
    recipe = FieldRecipe(variable="rate", region={"lat": (40.0, 50.0), "level": 500.0}, time_step=600.0)
    ```

    Attributes:
        variable: the variables, each a channel; by default the only one in the file.
        dims: which of the file's dimensions are time, height, width and, perhaps, channel, in that order; those of
            arrays without names are "0", "1", … By default found by their names and what the file says of them.
        region: what to take of a dimension: (first, last), both included, as its coordinate counts, or where it has
            none (first, past the last) as indices; or one coordinate or index, which removes the dimension.
        time_step: seconds from one frame of a clip to the next; by default the data's own. The data must have frames
            at such times.
        tolerance: how far from its time a frame may lie, as a share of the step.
        max_gap: how many frames in a row may be absent in a clip, as frames that are missing whole; by default every
            gap ends a clip.
        units: of each variable; others than the file says are refused. By default what the file says.
        missing: numbers that stand for missing ones, besides NaN and what the file says.
    """

    variable: str | Sequence[str] = ()
    dims: Sequence[str] = ()
    region: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    time_step: float | None = None
    tolerance: float = 0.25
    max_gap: int = 0
    units: str | Sequence[str] = ()
    missing: Sequence[float] = ()

    def __post_init__(self) -> None:
        for name in ("variable", "units"):
            value = getattr(self, name)
            words = check_words(name, (value,) if isinstance(value, str) else value)
            object.__setattr__(self, name, tuple(words))
        dims = tuple(check_words("dims", self.dims))
        if len(dims) not in (0, 3, 4) or len(set(dims)) != len(dims):
            wanted = "three or four different names, of time, height, width and perhaps channel"
            raise ValueError(f"`dims`: expected {wanted}. Received: {list(dims)}")
        object.__setattr__(self, "dims", dims)
        region = check_mapping("region", self.region, wanted="ranges")
        object.__setattr__(self, "region", {name: _ends(name, ends) for name, ends in region.items()})
        if self.time_step is not None:
            check_real("time_step", self.time_step, above=0.0)
        check_real("tolerance", self.tolerance, above=0.0, below=0.5)
        check_count("max_gap", self.max_gap, at_least=0)
        check_kind("missing", self.missing, (list, tuple), "a list of numbers")
        object.__setattr__(self, "missing", tuple(check_real("missing", number) for number in self.missing))

    @property
    def config(self) -> dict[str, Any]:
        """What JSON holds of the recipe; what is by default is left out."""
        config = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = FieldRecipe()
        kept = {name: value for name, value in config.items() if value != getattr(plain, name)}
        kept |= {name: list(value) for name, value in kept.items() if isinstance(value, tuple)}
        if "region" in kept:
            ends = self.region.items()
            kept["region"] = {name: list(end) if isinstance(end, tuple) else end for name, end in ends}
        return kept

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> FieldRecipe:
        """Rebuild from `config`."""
        return built_from("recipe", config, cls)


def _ends(name: str, ends: Any) -> Any:
    """(first, last), or one number or time."""
    if isinstance(ends, (list, tuple)):
        if len(ends) != 2 or not all(isinstance(end, (int, float, str)) for end in ends):
            raise ValueError(f"`region`: expected (first, last), numbers or times, for {name!r}. Received: {ends}")
        return tuple(ends)
    return check_kind("region", ends, (int, float, str), f"(first, last) or one coordinate for {name!r}")


def parse_region(texts: Sequence[str]) -> dict[str, Any]:
    """A region from texts such as "lat=40..50", "time=2019-05-01..2019-05-31" or "level=500"."""
    region: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        first, dots, last = value.partition("..")
        if not (name and equals and first and bool(dots) == bool(last)):
            raise ValueError(f"`region`: expected DIM=FIRST..LAST or DIM=ONE, e.g. lat=40..50. Received: {text!r}")
        region[name] = (number_or_text(first), number_or_text(last)) if dots else number_or_text(first)
    return region


def number_or_text(text: str) -> Any:
    """An int or a float where the text is one, else the text."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def parse_seconds(text: str) -> float:
    """Seconds of a text such as "300", "5min", "0.5h" or "1d"."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([a-z]*)\s*", text.lower())
    try:
        assert found is not None
        return float(found[1]) * _SECONDS[found[2] or "s"]
    except (AssertionError, KeyError, ValueError):
        wanted = f"a number with a unit among {sorted(_SECONDS)}, e.g. 5min"
        raise ValueError(f"`time_step`: expected {wanted}. Received: {received(text)}") from None
