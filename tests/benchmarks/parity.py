"""What is timed must answer as the peer does: measured in the same run, with the peer's weights in our network."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["LOWERED", "TOLERANCE", "ParityError", "check_parity", "is_float32"]

TOLERANCE = 1e-4
"""The largest difference of an answer in float32; of loss and gradient norm, relative."""
LOWERED = 0.1
"""The largest relative root mean square of a lower precision that still counts as the same network."""


class ParityError(RuntimeError):
    """Ours does not compute what the peer computes, so that its time means nothing."""


def is_float32(mode: str) -> bool:
    """Whether all of a mode, e.g. "tensorflow float32 remat", is float32."""
    return "float32" in mode.split()


def check_parity(mode: str, found: Mapping[str, float]) -> None:
    """Raise `ParityError` unless `found`, differences by name, is within the mode's tolerance."""
    exact = is_float32(mode)
    names = [name for name in found if name != "relative_rms"] if exact else ["relative_rms"]
    limit = TOLERANCE if exact else LOWERED
    for name in names:
        if not found[name] <= limit:  # NaN is beyond it too.
            raise ParityError(
                f"{mode}: expected a {name} difference of at most {limit:g} from the peer. Received: {found}"
            )
