"""What the numbers of a clip mean, and how the network sees them: pixels, or physical values with units.

Values are part of the model: they are serialised with it and run on every runtime, so what goes into a sampler and what
comes out of it are numbers as the user has them. `fitted` finds them from data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from kvdiff.diffusion.checks import built_from, check_choice, check_kind, received
from kvdiff.diffusion.transforms.clamps import Bounds
from kvdiff.diffusion.transforms.curves import DBZ, Asinh, Linear, Log1p, SquareRoot, Standardised
from kvdiff.diffusion.transforms.quantile import Quantile
from kvdiff.diffusion.transforms.value_kinds import (
    PIXELS as PIXELS,
    Pixels as Pixels,
    Unbounded as Unbounded,
    Values as Values,
)


@dataclasses.dataclass(frozen=True)
class PerChannel(Values):
    """Values of their own for each channel, e.g. `PerChannel((Log1p(0, 200), Standardised(280.0, 12.0)))`.

    Attributes:
        channels: the values of each channel, in order; no pixels.
    """

    channels: Sequence[Values]

    name: ClassVar[str] = "per_channel"

    def __post_init__(self) -> None:
        channels = check_kind("channels", self.channels, (list, tuple), "a list of values, one a channel")
        channels = tuple(values_from_config(one) for one in channels)
        if not channels or any(isinstance(one, (PerChannel, Pixels)) for one in channels):
            raise ValueError(f"`channels`: expected values with units, one a channel. Received: {received(channels)}")
        object.__setattr__(self, "channels", channels)

    @property
    def bounds(self) -> Bounds:  # type: ignore[override]
        """[-1, 1] where every channel has bounds; else none, and those that have some are clamped at the end."""
        return (-1.0, 1.0) if all(one.bounds is not None for one in self.channels) else None

    @property
    def limits(self) -> tuple[float, float]:
        """The lowest and the highest of all channels."""
        lows, highs = zip(*(one.limits for one in self.channels), strict=True)
        return min(lows), max(highs)

    def by_channel(self, channels: int) -> list[Values]:
        """The values of each channel.

        Raises:
            ValueError: another number of channels.
        """
        if channels != len(self.channels):
            raise ValueError(f"`values`: expected one for each of {channels} channels. Received: {len(self.channels)}")
        return list(self.channels)

    def _in_limits(self, argument: str, clip: np.ndarray, missing: bool) -> np.ndarray:
        parts = [
            one._in_limits(f"{argument}, channel {index}", clip[..., index : index + 1], missing)
            for index, one in enumerate(self.by_channel(clip.shape[-1]))
        ]
        return np.concatenate(parts, axis=-1)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Each channel by its own values."""
        return self._each(lambda one, part: one.encode(part, xp), clip, xp)

    def decode(self, x_0: Any, xp: Any = np) -> Any:
        """Each channel by its own values."""

        def decoded(one: Values, part: Any) -> Any:
            return one.decode(part if one.bounds is None else xp.clip(part, *one.bounds), xp)

        return self._each(decoded, x_0, xp)

    def _each(self, function: Callable[[Values, Any], Any], array: Any, xp: Any) -> Any:
        parts = [function(one, array[..., index : index + 1]) for index, one in enumerate(self.channels)]
        return xp.concatenate(parts, axis=-1)

    @property
    def config(self) -> dict[str, Any]:
        """The configs of the channels."""
        return {"values": self.name, "channels": [one.config for one in self.channels]}


VALUES: dict[str, type[Values]] = {
    kind.name: kind
    for kind in (
        *(Pixels, Linear, Unbounded, Log1p, DBZ, Asinh, SquareRoot, Standardised, Quantile),
        PerChannel,
    )
}
"""Kinds of values by name."""


def values_from_config(config: Mapping[str, Any] | Values) -> Values:
    """Values from their `config`."""
    if isinstance(config, Values):
        return config
    arguments = dict(check_kind("values", config, Mapping, "values, e.g. Pixels(), or their `config`"))
    kind = check_choice("values", arguments.pop("values", None), VALUES)
    return built_from("values", arguments, VALUES[kind])
