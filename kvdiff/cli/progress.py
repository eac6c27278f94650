"""Progress bars on stderr, so that stdout stays for results."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import typer


@contextlib.contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Yield `report(label, done, total)`, which draws one bar for each label, one after the other."""
    bars: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:

        def report(label: str, done: int, total: int) -> None:
            if label not in bars:
                stack.close()  # Ends the line of the bar before.
                bars[label] = stack.enter_context(typer.progressbar(length=total, label=label, file=sys.stderr))
            bars[label].update(done - bars[label].pos)

        yield report
