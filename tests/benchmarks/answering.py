"""The inside of a worker: it answers requests, one JSON object a line, until its input ends.

Imports nothing but the standard library, so that a worker can time its own imports.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Call", "answer", "grown_mib", "timed"]


@dataclasses.dataclass(frozen=True)
class Call:
    """What is timed: `run(fresh())`, of which only `run` counts; it returns when the result is there."""

    fresh: Callable[[], Any]
    run: Callable[[Any], Any]


def answer(tasks: Mapping[str, Callable[..., Any]]) -> None:
    """Answer `{"do": name, **arguments}` with `{"answer": …}` of that task, or with `{"error": traceback}`."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # What libraries print must not come between the replies.
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = {"answer": tasks[request.pop("do")](**request)}
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=replies, flush=True)


def timed(call: Call) -> dict[str, float]:
    """Seconds of one call by the clock, and of processor time of all threads of this process."""
    prepared = call.fresh()
    wall, cpu = time.perf_counter(), time.process_time()
    call.run(prepared)
    return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def grown_mib(run: Callable[[], Any]) -> float:
    """MiB of main memory that the process takes at its peak during `run` above what it has before."""
    Path("/proc/self/clear_refs").write_text("5")  # The peak starts anew from the present size.
    before = _status_mib("VmRSS")
    run()
    return _status_mib("VmHWM") - before


def _status_mib(field: str) -> float:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, field
    return int(found[1]) / 1024
