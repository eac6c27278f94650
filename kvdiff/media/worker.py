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
from kvdiff.media.reading import ClipRequest, decode_clip

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


def _answer(answers: BinaryIO, request: dict[str, Any], limits: ReadLimits) -> None:
    for name in ("size", "wanted"):
        request[name] = None if request[name] is None else tuple(request[name])
    try:
        clip = decode_clip(ClipRequest(**request), limits)
    except VideoError as error:
        _send(answers, {"error": error.reason})
    except MemoryError:
        _send(answers, {"error": f"expected to need at most {limits.memory_bytes} bytes of memory. Received: more"})
    except ImportError as error:
        _send(answers, {"missing": str(error)})
    else:
        head = {"shape": clip.frames.shape, "times": len(clip.times), "facts": clip.facts._asdict()}
        _send(answers, head, clip.times.astype("<f8").tobytes(), np.ascontiguousarray(clip.frames).data)


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
