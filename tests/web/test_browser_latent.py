"""A model with an autoencoder in the browser: clips are encoded and decoded there, and the videos are Python's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvdiff
from kvdiff.export import export_web
from kvdiff.runtime import open_sampler
from tests.export.test_latent import CLIPS, SHAPE, autoencoder, network
from tests.web.browser import Visit, served

pytestmark = pytest.mark.web


def test_the_autoencoder_runs_in_the_browser_too(browser: Any, tmp_path: Path) -> None:
    model = kvdiff.VideoDiffusion(SHAPE, network(3), codec=autoencoder())
    folder = export_web(model, tmp_path / "web", examples=CLIPS[:1])
    how: dict[str, Any] = dict(solver="ddim", num_steps=3, seed=2)
    wanted = model.predict_frames(CLIPS[:1, :2], **how)[0]
    opened = open_sampler(folder).predict_frames(CLIPS[:1, :2], **how)[0]
    np.testing.assert_allclose(opened, wanted, atol=1e-4)
    with served(folder) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        visit.settings(Known_frames=2, Solver="ddim", Calls=3, Seed=2)
        visit.run()
        assert visit.error == "" and visit.errors == []
        video = visit.video()
        np.testing.assert_allclose(video[2:], wanted.reshape(2, -1), atol=1e-4)
        np.testing.assert_array_equal(video[:2], (CLIPS[0, :2] / np.float32(127.5) - 1).reshape(2, -1))
        page.close()
