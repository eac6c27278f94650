"""The programs in the mathematics' documentation run, block after block, and their assertions hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = Path(__file__).parents[2] / "docs" / "mathematics"


@pytest.mark.parametrize("page", ["article-formulas.md", "adding-a-solver.md"])
def test_the_pages_programs_run(page: str) -> None:
    text = (PAGES / page).read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 3 and "assert" in "".join(blocks)
    namespace: dict[str, object] = {}
    for number, block in enumerate(blocks):
        lines_before = text[: text.index(block)].count("\n")  # So that a traceback names the page's line.
        exec(compile("\n" * lines_before + block, f"{page}, block {number}", "exec"), namespace)
