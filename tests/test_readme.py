"""The README's first program runs as it stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def test_the_first_python_block_runs(run_python: Callable[..., str]) -> None:
    assert README.is_file()
    block = re.search(r"^```python\n(.*?)^```", README.read_text(), re.DOTALL | re.MULTILINE)
    assert block, "expected a ```python block in README.md"
    run_python(block.group(1))
