"""A game that the test trains is played by keys in Chromium, and is the rollout of Python frame by frame."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.web.browser import Visit, served
from tests.web.games import SIZE

pytestmark = pytest.mark.web

KEYS = {"ArrowLeft": -1, "ArrowRight": 1}
FRAMES = 200


def columns(video: np.ndarray) -> np.ndarray:
    """Where the dot is, as an angle: it goes round."""
    light = np.clip(video.reshape(-1, SIZE, SIZE) + 1, 0, None).sum(axis=1)
    return np.angle((light * np.exp(2j * np.pi * np.arange(SIZE) / SIZE)).sum(axis=1))


def played(visit: Visit) -> int:
    return visit.page.evaluate("kvdiff.arcade.kept.length")


def test_keys_play_two_hundred_frames_that_are_those_of_a_rollout(game: Any, game_folder: Path, browser: Any) -> None:
    with served(game_folder) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        page.click("#go")
        pressed: list[tuple[int, int]] = []  # From which frame on, in which direction.
        while (now := played(visit)) < FRAMES:
            key = list(KEYS)[len(pressed) % 2]
            page.keyboard.down(key)
            pressed.append((now, KEYS[key]))
            page.wait_for_timeout(1500)
            page.keyboard.up(key)
        page.click("#stop")
        page.wait_for_selector("body[data-state=done]")
        video = visit.video()
        actions = np.array(page.evaluate("Array.from(kvdiff.arcade.game.actionArray())"), np.float32).reshape(-1, 2)
        past = np.load(game_folder / "examples" / "1.npy")[:, :2]
        assert len(video) >= FRAMES and len(actions) == len(video) + 2
        wanted = game.sampler.rollout(len(actions), past, at_a_time=1, seed=0, conditions={"action": actions[None]})
        np.testing.assert_allclose(video, wanted[0, 2:].reshape(len(video), -1), atol=1e-3)
        assert "frames a second" in page.inner_text("#rate") and visit.errors == [] and visit.elsewhere == []

        moved = np.diff(np.unwrap(columns(wanted[0]))) * SIZE / (2 * np.pi)
        left, right = (moved[actions[1:, i] == 1] for i in (0, 1))
        assert len(left) > 40 and len(right) > 40
        assert np.median(left) < -0.5 and np.median(right) > 0.5  # It goes where the key says.
        page.close()


def test_buttons_play_too_and_the_same_seed_begins_again(game_folder: Path, browser: Any) -> None:
    with served(game_folder) as url:
        page = browser.new_page(viewport={"width": 360, "height": 740}, has_touch=True)
        visit = Visit(page, url).ready()
        videos = []
        for _ in range(2):
            page.click("#go")
            button = page.locator("#keys button", has_text="right")
            button.dispatch_event("pointerdown", {"pointerId": 1})
            page.wait_for_timeout(1500)
            assert "held" in (button.get_attribute("class") or "")
            button.dispatch_event("pointerup", {"pointerId": 1})
            page.click("#stop")
            page.wait_for_selector("body[data-state=done]")
            actions = page.evaluate("kvdiff.arcade.game.actions.map(String)")
            videos.append((actions, visit.video()))
        same = next(i for i, (a, b) in enumerate(zip(videos[0][0], videos[1][0], strict=False)) if a != b or i >= 5)
        np.testing.assert_array_equal(videos[0][1][: same - 2], videos[1][1][: same - 2])
        assert visit.errors == []
        page.close()
