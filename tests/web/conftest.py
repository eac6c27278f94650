"""An onnxruntime-web for tests without a browser; a browser, the page of the shipped model and that of a game."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kvdiff.web import ort_web
from tests.web.browser import chromium
from tests.web.models import digests_of, npm_folder


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is taken for the published package."""
    folder = npm_folder(tmp_path / "node_modules" / "onnxruntime-web")
    monkeypatch.setattr(ort_web, "_FILES", digests_of(folder))
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="session")
def model() -> Any:
    """The model that ships."""
    import kvdiff

    return kvdiff.VideoDiffusion.from_preset("moving_digits")


def digits(model: Any, count: int) -> Any:
    """Clips such as the model's, that it never saw."""
    import kvdiff

    clip = model.spec.clip
    return kvdiff.data.moving_digits(count, num_frames=clip.num_frames, size=clip.height, split="test", seed=5)


@pytest.fixture(scope="session")
def folder(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its page."""
    from kvdiff.export import export_web

    clips = digits(model, 3)
    return export_web(model, tmp_path_factory.mktemp("page") / "moving_digits" / "web", examples=clips)


@pytest.fixture(scope="session")
def game() -> Any:
    """A small model of actions, trained here."""
    from tests.web.games import trained

    return trained()


@pytest.fixture(scope="session")
def game_folder(game: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of its page."""
    from kvdiff.export import export_web
    from tests.web.games import ACTIONS, clips

    begins, actions = clips(3, seed=7)
    how = dict(examples=begins, example_conditions={"action": actions}, actions=ACTIONS)
    return export_web(game, tmp_path_factory.mktemp("game") / "dot" / "web", **how)
