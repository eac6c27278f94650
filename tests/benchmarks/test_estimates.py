"""The benchmark of estimates: what is near enough."""

from __future__ import annotations

import pytest

from tests.benchmarks.estimates import row


@pytest.mark.parametrize(
    ("said", "said_mib", "near"),
    [(1.24, 760.0, True), (1.26, 1000.0, False), (0.74, 1000.0, False), (1.0, 1260.0, False), (1.0, 740.0, False)],
)
def test_a_quarter_of_time_and_of_memory_is_allowed(said, said_mib, near):
    line, is_near = row("16x8/tiny/16", dict(said=said, found=1.0, said_mib=said_mib, found_mib=1000.0))
    assert is_near is near and line.startswith(f"| 16x8/tiny/16 | {said:.3g} | 1 | {said:.2f} |")
