from __future__ import annotations

import sys

import numpy as np
import pytest

from kvdiff.diffusion.process.plot import plot_schedules
from tests.diffusion.helpers import schedule


def test_draws_every_schedule_in_every_panel(tmp_path) -> None:
    pytest.importorskip("matplotlib")
    cosine, flow = schedule("cosine", 50), schedule("flow", 20)
    figure = plot_schedules({"cosine": cosine, "flow": flow})
    assert [axes.get_title() for axes in figure.axes] == ["logsnr", "alpha", "sigma"]
    for axes, quantity in zip(figure.axes, ("logsnr", "alpha", "sigma"), strict=True):
        assert [len(line.get_xdata()) for line in axes.lines] == [50, 20]
        assert np.allclose(axes.lines[0].get_ydata(), getattr(cosine, quantity))
    figure.savefig(tmp_path / "schedules.png")
    assert (tmp_path / "schedules.png").stat().st_size > 5000


def test_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match="pip install matplotlib"):
        plot_schedules({"cosine": schedule("cosine", 5)})


def test_needs_a_schedule() -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="`schedules`: expected at least one .*Received"):
        plot_schedules({})
