"""The page in real Chromium: it loads from a static server alone, and its videos are those of Python."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvdiff
from tests.web.browser import Visit, served

pytestmark = pytest.mark.web

TASKS = {"predict": "What comes next", "interpolate": "What lies between", "generate": "Something new"}


@pytest.fixture(scope="module")
def visit(folder: Path, browser: Any) -> Iterator[Visit]:
    with served(folder) as url:
        yield Visit(browser.new_page(), url).ready()


def in_python(model: kvdiff.VideoDiffusion, folder: Path, task: str, **how: Any) -> np.ndarray:
    clip = np.load(folder / "examples" / "1.npy")
    sampler = model.sampler
    if task == "predict":
        return np.concatenate([model.spec.checked("clip", clip[:, :4]), sampler.predict_frames(clip[:, :4], **how)], 1)
    if task == "generate":
        return sampler.generate(**how)
    ends = model.spec.checked("clip", clip)
    return np.concatenate([ends[:, :2], sampler.interpolate(clip[:, :2], clip[:, -2:], **how), ends[:, -2:]], 1)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("solver", ["dpmpp_2m_sde", "unipc"])
def test_the_same_seed_gives_the_video_of_python(
    visit: Visit, model: kvdiff.VideoDiffusion, folder: Path, task: str, solver: str
) -> None:
    visit.page.click(f"#tab-{task}")
    known = {"predict": {"Known_frames": 4}, "interpolate": {"Known_frames": 4}}.get(task, {})
    for seed in (0, 1, 2**32 - 1):
        visit.settings(**known, Solver=solver, Calls=5, Seed=seed)
        visit.run()
        assert visit.error == ""
        theirs = in_python(model, folder, task, solver=solver, num_steps=5, seed=seed)
        np.testing.assert_allclose(visit.video(), theirs.reshape(8, -1), atol=1e-4)
    assert visit.errors == [] and visit.elsewhere == []
