"""A worker that computes nothing, for tests of the harness: it answers as `ours` and `peer` do.

STAND_IN_DIFFERENCE is how far its answers lie from the peer's; STAND_IN_DIES is a request that ends it,
STAND_IN_REFUSES are modes that it cannot prepare.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.answering import answer

__all__ = ["TASKS"]

_TIMES = itertools.count(1)


def time_call(**_: Any) -> dict[str, float]:
    """Seconds that grow from call to call."""
    return dict.fromkeys(("wall", "cpu"), float(next(_TIMES)))


def compare(**_: Any) -> dict[str, float]:
    """The difference that the environment asks for."""
    return dict.fromkeys(("max_abs", "relative_rms"), float(os.environ.get("STAND_IN_DIFFERENCE", "0")))


def prepare(mode: str, **_: Any) -> None:
    """Refuse the modes that the environment names."""
    if mode in os.environ.get("STAND_IN_REFUSES", "").split(","):
        raise NotImplementedError(f"no {mode} here")


def die(**_: Any) -> None:
    """End as a crash does."""
    print("the last words", file=sys.stderr, flush=True)
    os._exit(7)


def shout(**_: Any) -> str:
    """Print as libraries do."""
    print('{"answer": "not this"}', flush=True)
    return "this"


def about(**_: Any) -> dict[str, Any]:
    """A machine that is not."""
    return {"machine": {}, "versions": {}, "threads": 1, "device": "none"}


TASKS: dict[str, Callable[..., Any]] = {
    "about": about,
    "compare": compare,
    "compare_gradients": compare,
    "compare_keys": compare,
    "die": die,
    "first_step": lambda **_: {**time_call(), "process_cpu": 1.0},
    "forget": lambda: None,
    "import": time_call,
    "memory": lambda **_: {"mib": 100.0, "cpu": 1.0},
    "prepare": prepare,
    "reference": lambda **_: {},
    "shout": shout,
    "time": time_call,
}

if __name__ == "__main__":
    if dying := os.environ.get("STAND_IN_DIES"):
        TASKS[dying] = die
    answer(TASKS)
