"""The README's first program runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def first_program() -> str:
    assert README.is_file()
    block = re.search(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert block, "expected a ```python block in README.md"
    return block.group(1)


def test_the_first_program_is_python() -> None:
    compile(first_program(), str(README), "exec")


@pytest.mark.slow
def test_the_first_program_runs(run_python: Callable[..., str]) -> None:
    run_python(first_program(), timeout=900)
