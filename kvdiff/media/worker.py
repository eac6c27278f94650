"""A process that decodes clips for `ClipReader`, and that may crash, hang or be killed without harm to anyone.

It reads requests, one line of JSON each, from standard input. It replies on standard output with one line of JSON and
the raw bytes of the times and pixels that the line announces: nothing that a subverted decoder could make its reader
execute.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import Any, BinaryIO

import numpy as np

from kvdiff.media.errors import VideoError
from kvdiff.media.libraries import import_av
from kvdiff.media.limits import ReadLimits
from kvdiff.media.reading import ClipRequest, decode_clip, index_clip
from kvdiff.media.seeking import NotIndexedError, Seek

READY = b"ready\n"
"""The first reply, once a request can be taken."""


def main() -> None:
    """Reply to requests until standard input ends."""
    answers = os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "wb") as null:  # Whatever a decoder prints must not get between the replies.
        os.dup2(null.fileno(), 1)
        os.dup2(null.fileno(), 2)
    limits = ReadLimits(**json.loads(sys.stdin.buffer.readline()))
    with contextlib.suppress(ImportError):  # Whoever needs it is told so.
        import_av()
    _confine(limits)
    answers.write(READY)
    answers.flush()
    for line in sys.stdin.buffer:
        _alarm(limits.seconds + 5.0)  # For the case that nobody is left to kill this process.
        _answer(answers, json.loads(line), limits)
        _alarm(0.0)


def _answer(answers: BinaryIO, message: dict[str, Any], limits: ReadLimits) -> None:
    request = message["request"]
    for name in ("size", "wanted"):
        request[name] = None if request[name] is None else tuple(request[name])
    request["seek"] = None if request["seek"] is None else Seek(**request["seek"])
    try:
        if message["wants"] == "index":
            head, *parts = _index(ClipRequest(**request), limits)
        else:
            head, *parts = _clip(ClipRequest(**request), limits)
    except NotIndexedError as error:
        _send(answers, {"not_indexed": str(error), "is_needed": error.is_needed})
    except VideoError as error:
        _send(answers, {"error": error.reason})
    except MemoryError:
        _send(answers, {"error": f"expected to need at most {limits.memory_bytes} bytes of memory. Received: more"})
    except ImportError as error:
        _send(answers, {"missing": str(error)})
    else:
        _send(answers, head, *parts)


def _clip(request: ClipRequest, limits: ReadLimits) -> tuple[Any, ...]:
    clip = decode_clip(request, limits)
    head = {"shape": clip.frames.shape, "times": len(clip.times), "facts": clip.facts._asdict()}
    return head, clip.times.astype("<f8").tobytes(), np.ascontiguousarray(clip.frames).data


def _index(request: ClipRequest, limits: ReadLimits) -> tuple[Any, ...]:
    index = index_clip(request, limits)
    about = {"time_base": index.time_base, "rate": index.rate, "file_bytes": index.file_bytes}
    return {"packets": len(index.packets), **about}, index.packets.astype("<i8").tobytes()


def _send(answers: BinaryIO, head: dict[str, Any], *parts: bytes | memoryview) -> None:
    answers.write(json.dumps(head).encode() + b"\n")
    for part in parts:
        answers.write(part)
    answers.flush()


def _confine(limits: ReadLimits) -> None:
    """No file may grow, no core may be dumped, and memory is capped, where the system knows such limits."""
    try:
        import resource
    except ImportError:  # Windows.
        return
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    most = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    if sys.platform == "linux":  # macOS refuses a limit that the libraries it shares between all processes exceed.
        most[resource.RLIMIT_AS] = limits.memory_bytes
    for kind, number in most.items():
        hard = resource.getrlimit(kind)[1]  # Whoever started this process may have set less.
        number = number if hard == resource.RLIM_INFINITY else min(number, hard)
        resource.setrlimit(kind, (number, number))


def _alarm(seconds: float) -> None:
    """End this process after `seconds`; 0 takes that back."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


if __name__ == "__main__":
    main()
