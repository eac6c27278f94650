"""Plans and tables as drawings: what is in them is what the plan or table says."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from kvdiff.diffusion import NoiseSchedule, Prediction, plans
from kvdiff.diffusion.drawing import _COLOURS
from kvdiff.diffusion.solvers.by_name import step_table

SVG = "{http://www.w3.org/2000/svg}"


def squares(plan: plans.Plan) -> tuple[list[tuple[int, int, str]], str]:
    """(row, column, colour) of every square of a plan's drawing, without the legend; and its texts."""
    drawing = ET.fromstring(plan._repr_html_())
    rects = [rect for rect in drawing.iter(f"{SVG}rect") if int(rect.get("width", 0)) != 10]
    xs, ys = (sorted({int(rect.get(axis, -1)) for rect in rects}) for axis in "xy")
    found = [(ys.index(int(r.get("y", -1))), xs.index(int(r.get("x", -1))), str(r.get("fill"))) for r in rects]
    return found, " ".join(text.text or "" for text in drawing.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    "plan", [plans.autoregressive(9, 4, known=2), plans.hierarchical(9, 5, known=1), plans.rolling(8, 4, known=2)]
)
def test_a_plan_is_drawn_as_it_is_printed(plan):
    found, texts = squares(plan)
    printed = [line.strip() for line in str(plan).splitlines()[1:]]
    expected = [(row, column, _COLOURS[sign]) for row, line in enumerate(printed) for column, sign in enumerate(line)]
    assert sorted(found) == sorted(expected)
    assert plan.title in texts and "generated" in texts
    assert ("noisy, only seen" in texts) == any("~" in line for line in printed)


def test_a_plan_of_very_many_windows_is_drawn_in_part():
    plan = plans.autoregressive(1002, 4, known=2)
    found, texts = squares(plan)
    assert max(row for row, _, _ in found) == 99 and f"(100 of {len(plan.windows)} windows are drawn)" in texts


def test_a_table_is_drawn_by_its_noise_levels():
    table = step_table(NoiseSchedule.from_config({"name": "cosine"}), Prediction("v"), solver="ddim", num_steps=5)
    for shown, lines in ((table, 1), (table.with_known(np.array([True, False, False])), 3)):
        drawing = ET.fromstring(shown._repr_html_())
        found = [line.get("points", "").split() for line in drawing.iter(f"{SVG}polyline")]
        assert len(found) == lines and all(len(points) == 6 for points in found)
    y = np.array([float(point.split(",")[1]) for point in found[-1]])
    share = table.sigma[:, 0] ** 2 / (table.alpha[:, 0] ** 2 + table.sigma[:, 0] ** 2)
    np.testing.assert_allclose(1.0 - (y - 24) / 160, share, atol=1e-3)
    assert all(point.endswith(",184.0") for point in found[0])  # A known frame is clean in every row.
    assert "5 network calls" in shown._repr_html_()
