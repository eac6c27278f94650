"""What a person does with the page: opens clips, saves results, copies the call, uses keys and small screens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kvdiff
from kvdiff.media import read_clip, write_clip
from kvdiff.web.live import LiveSampler
from kvdiff.web.server import PageServer
from tests.web.browser import Visit, served
from tests.web.conftest import digits

pytestmark = pytest.mark.web


@pytest.fixture
def visit(folder: Path, browser: Any) -> Iterator[Visit]:
    context = browser.new_context(accept_downloads=True)
    with served(folder) as url:
        yield Visit(context.new_page(), url).ready()
    context.close()


def saved(visit: Visit, button: str, folder: Path) -> Path:
    with visit.page.expect_download() as downloading:
        visit.page.click(button)
    path = folder / downloading.value.suggested_filename
    downloading.value.save_as(path)
    return path


def test_results_are_saved_as_they_are(visit: Visit, model: Any, tmp_path: Path) -> None:
    visit.settings(Calls=3)
    visit.run()
    video = visit.video().reshape(model.spec.clip.shape)
    np.testing.assert_array_equal(np.load(saved(visit, "#save-npy", tmp_path))[0], video)
    gif = read_clip(saved(visit, "#save-gif", tmp_path), channels=1)
    pixels = np.round((video.clip(-1, 1) + 1) * 127.5)
    scale = 256 // model.spec.clip.width  # How often each pixel is repeated, to be seen.
    np.testing.assert_array_equal(gif[:, scale // 2 :: scale, scale // 2 :: scale], pixels)
    webm = read_clip(saved(visit, "#save-webm", tmp_path), channels=1)
    assert webm.shape[1:] == (256, 256, 1) and len(webm) > 1
    assert visit.errors == []


@pytest.mark.parametrize("task", ["predict", "interpolate", "generate", "rollout"])
def test_the_python_that_the_page_shows_makes_its_video(
    visit: Visit, task: str, model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit.page.click(f"#tab-{task}")
    visit.settings(Solver="ddim", Calls=3, Seed=4)
    visit.run()
    visit.page.click("#same summary")
    program, command = visit.page.locator("#same-body pre").all_inner_texts()
    for button in visit.page.locator("#same-body button", has_text="Save").all():
        with visit.page.expect_download() as downloading:
            button.click()
        downloading.value.save_as(tmp_path / downloading.value.suggested_filename)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(kvdiff.runtime, "open_sampler", lambda path: model.sampler)
    found: dict[str, Any] = {}
    exec(program, found)
    shown = visit.video()
    known = shown[: len(shown) if task == "rollout" else 0]
    mine = found["video"][0].reshape(found["video"].shape[1], -1)
    wanted = {"predict": shown[-len(mine) :], "interpolate": shown[2:-2], "generate": shown, "rollout": known}[task]
    if task == "interpolate":
        side = (len(shown) - len(mine)) // 2
        wanted = shown[side : len(shown) - side]
    np.testing.assert_allclose(mine, wanted, atol=1e-4)

    run = tmp_path / "run"
    run.mkdir()
    model.save(run / "model.keras")
    from typer.testing import CliRunner

    from kvdiff.cli.app import app

    words = command.replace("result.gif", "result.npy").replace("generated.gif", "result.npy").split()[1:]
    words = [str(run) if word == str(visit.page.evaluate("kvdiff.spec.run")) else word for word in words]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load("result.npy")[0].reshape(len(shown), -1), shown, atol=1e-4)


def test_a_clip_of_ones_own_is_what_python_reads(visit: Visit, model: Any, tmp_path: Path) -> None:
    size = model.spec.clip.frame_shape[:2]
    rng = np.random.default_rng(3)
    clip = np.repeat(np.repeat(rng.integers(0, 256, (6, *size, 1), dtype=np.uint8), 2, axis=1), 2, axis=2)
    path = write_clip(tmp_path / "own.gif", clip)
    with visit.page.expect_file_chooser() as choosing:
        visit.page.click("#open")
    choosing.value.set_files(path)
    visit.until("kvdiff.source.frames === 6")
    known = np.array(visit.page.evaluate("Array.from(kvdiff.job.clip)"), np.float32).reshape(model.spec.clip.shape)
    count = visit.page.evaluate("kvdiff.job.known.length")
    wanted = read_clip(path, size=size, channels=1)[-count:]
    difference = np.abs((known[:count] + 1) * 127.5 - wanted.astype(np.float32))
    assert difference.max() <= 2
    visit.settings(Calls=1)
    visit.run()
    assert visit.error == "" and visit.errors == []


def test_a_drawing_can_be_gone_on_from(visit: Visit) -> None:
    page = visit.page
    page.click("#draw")
    box = page.locator("#stage").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 2 * box["width"] / 3, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert page.evaluate("Math.max(...kvdiff.source.data)") > 0.9
    visit.settings(Calls=1)
    visit.run()
    assert visit.error == "" and visit.video()[0].max() > 0.9 and visit.errors == []


def test_noise_to_video_can_be_looked_at_call_by_call(visit: Visit) -> None:
    visit.page.click("#tab-generate")
    visit.settings(Calls=5)
    visit.run()
    snapshots = visit.page.evaluate("kvdiff.result.snapshots.map((each) => Array.from(each))")
    found = np.array(snapshots, np.float32).reshape(5, 8, -1)
    np.testing.assert_array_equal(found[-1], visit.video())
    roughness = np.abs(np.diff(found, axis=2)).mean(axis=(1, 2))
    assert roughness[0] > 10 * roughness[-1]  # Noise in the beginning, a video in the end;
    assert (np.abs(np.diff(found, axis=0)).max(axis=(1, 2)) > 0.01).all()  # every call does something.


NAMELESS = """() => [...document.querySelectorAll('button, input, select, canvas[role], summary, progress')]
  .filter((each) => each.checkVisibility() && !(each.textContent.trim() || each.labels?.length || each.ariaLabel
    || each.getAttribute('aria-label') || each.id === 'progress'))
  .map((each) => each.outerHTML)"""


def test_everything_has_a_name_and_can_be_reached_by_keys(visit: Visit) -> None:
    page = visit.page
    page.click("#settings summary")
    page.click("#same summary")
    assert page.evaluate(NAMELESS) == []
    page.keyboard.press("Escape")
    page.locator("#tab-predict").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.id") == "tab-interpolate"
    page.keyboard.press("ArrowLeft")
    visit.settings(Calls=1)
    reached = set()
    page.locator("#tab-predict").focus()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"toggle", "scrub", "open", "draw", "go", "SUMMARY"} <= reached
    page.locator("#go").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("body[data-state=done]")
    assert visit.errors == []


@pytest.mark.parametrize("width", [360, 768, 1280, 3840])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_cut_off_at_any_width_and_text_can_be_read(
    folder: Path, browser: Any, width: int, scheme: str
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    with served(folder) as url:
        visit = Visit(context.new_page(), url).ready()
        page = visit.page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not page.evaluate("kvdiff.screen.playing")  # Nothing moves by itself where that is unwelcome.
        for selector in ("#about", "#go", "#status", ".field span", "#runtime"):
            assert contrast(page, selector) >= 4.5, selector
    context.close()


CONTRAST = """(each) => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  let ground = each;
  while (numbers(getComputedStyle(ground).backgroundColor)[3] === 0) ground = ground.parentElement;
  return [getComputedStyle(each).color, getComputedStyle(ground).backgroundColor].map(numbers);
}"""


def contrast(page: Any, selector: str) -> float:
    """The ratio of WCAG 2.1 of a text to its ground."""

    def luminance(colour: list[float]) -> float:
        parts = np.array(colour[:3]) / 255
        linear = np.where(parts <= 0.03928, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted(map(luminance, page.locator(selector).first.evaluate(CONTRAST)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_threads_are_used_where_headers_allow(folder: Path, browser: Any) -> None:
    headers = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
    with served(folder, headers) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        assert page.evaluate("crossOriginIsolated")
        visit.settings(Calls=2)
        visit.run()
        cores = page.evaluate("navigator.hardwareConcurrency")
        assert ("threads" in page.inner_text("#runtime")) == (cores > 1)
        assert visit.error == "" and visit.errors == []
        page.close()


def test_a_server_samples_for_the_same_page(model: Any, browser: Any) -> None:
    words = {"name": "digits", "run": "saved_models/moving_digits"}
    clips = digits(model, 1)
    live = LiveSampler(model.sampler)
    server = PageServer(live, ("127.0.0.1", 0), words=words, runtime="on the server", token="secret", examples=clips)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = browser.new_page()
    try:
        visit = Visit(page, server.url.partition("?")[0], "?token=secret").ready()
        visit.settings(Calls=5, Seed=2)
        visit.run()
        count = visit.page.evaluate("kvdiff.job.known.length")
        wanted = model.sampler.predict_frames(clips[:, :count], num_steps=5, seed=2)[0]
        np.testing.assert_allclose(visit.video()[count:], wanted.reshape(len(wanted), -1), atol=1e-5)
        assert "on the server" in page.inner_text("#runtime")
        assert visit.error == "" and visit.errors == [] and visit.elsewhere == []
    finally:
        page.close()
        server.shutdown()
        server.server_close()
