"""How fast the page is in headless Chromium: first picture cold and warm, calls, played frames, and what is loaded.

    python -m tests.benchmarks.page saved_models/moving_digits/web

The folder is what `kvdiff export --to web` wrote. Playwright and Chromium must be there: `make test-web` installs them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from tests.web.browser import ENDS, Visit, chromium, served

REPEATS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a page's folder")
    folder = parser.parse_args().folder
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright, served(folder) as url:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        rows = {**loading(browser, url), **sampling(browser, url), **sizes(folder)}
        browser.close()
    width = max(map(len, rows))
    print("\n".join(f"| {name:{width}} | {value} |" for name, value in rows.items()))


def loading(browser: Any, url: str) -> dict[str, str]:
    """Seconds until the page can be used and until a prediction of one call is there, with a new and a full cache."""
    found: dict[str, list[tuple[float, float]]] = {"cold": [], "warm": []}
    for _ in range(REPEATS):
        context = browser.new_context()
        for state in found:
            began = time.perf_counter()
            page = context.new_page()
            visit = Visit(page, url).ready()
            ready = time.perf_counter() - began
            visit.settings(Calls=1)
            visit.run()
            found[state].append((ready, time.perf_counter() - began))
            page.close()
        context.close()
    return {
        f"{what}, {state} cache": f"{statistics.median(each[i] for each in times):.1f} s"
        for state, times in found.items()
        for i, what in enumerate(("the model is ready", "first picture, one call"))
    }


def sampling(browser: Any, url: str) -> dict[str, str]:
    """Milliseconds a network call of a whole prediction, and of its parts."""
    page = browser.new_page()
    visit = Visit(page, url).ready()
    visit.settings(Calls=20)
    seconds = []
    for _ in range(REPEATS):
        page.evaluate("document.body.dataset.state = 'asked'")
        began = time.perf_counter()
        page.click("#go")
        page.wait_for_selector(ENDS)
        seconds.append(time.perf_counter() - began)
    calls = page.evaluate("kvdiff.result.snapshots.length")  # Of all windows.
    quiet, fetched = page.evaluate(QUIET), page.evaluate(FETCHED)
    page.close()
    shown = 1000 * statistics.median(seconds) / calls
    return {
        "of it: fetching and checking the files": f"{fetched / 1000:.1f} s",
        "a call of a prediction, shown": f"{shown:.0f} ms",
        "a call of 8 frames, without pictures": f"{quiet:.0f} ms",
        "a game of 1 call a frame, at most": f"{1000 / quiet:.0f} frames a second",
        "a game of 5 calls a frame, at most": f"{200 / quiet:.0f} frames a second",
    }


QUIET = """async () => {
  const { engine, job, spec } = kvdiff;
  const size = spec.latent.height * spec.latent.width * spec.latent.channels;
  const at = Array.from({ length: job.frames }, (_, i) => i);
  const times = [];
  for (let i = 0; i < 5; i += 1) {
    const request = {
      task: job.task, solver: job.solver, steps: '10', seed: i, guidance: 1, conditions: {}, draw: 0,
      start: new Float32Array(job.frames * size), isNew: at.map((frame) => !job.known.includes(frame)),
    };
    const began = performance.now();
    await engine.window(request);
    times.push((performance.now() - began) / 10);
  }
  return times.sort((a, b) => a - b)[2];
}"""


FETCHED = """async () => {
  const began = performance.now();
  const runtime = kvdiff.spec.ort.wasm.map(({ url }) => url);
  const names = Object.keys(kvdiff.model.manifest.files).filter((name) => name.endsWith('.onnx'));
  await Promise.all([...runtime, ...names].map(async (name) => {
    const bytes = await (await fetch(name)).arrayBuffer();
    await crypto.subtle.digest('SHA-256', bytes);
  }));
  return performance.now() - began;
}"""


def sizes(folder: Path) -> dict[str, str]:
    """Megabytes of what a browser loads."""

    def megabytes(*patterns: str) -> str:
        return f"{sum(path.stat().st_size for pattern in patterns for path in folder.glob(pattern)) / 1e6:.2f} MB"

    return {
        "page: HTML, CSS, JavaScript": megabytes("*.html", "*.css", "*.js", "*.svg"),
        "spec, tables, examples, manifest": megabytes("*.json", "tables.bin", "examples/*"),
        "graphs": megabytes("*.onnx"),
        "onnxruntime-web, WebAssembly": megabytes("*/ort.wasm*", "*/ort-wasm-simd-threaded.wasm"),
        "onnxruntime-web, WebGPU in its place": megabytes("*/ort.webgpu*", "*/*asyncify.wasm"),
    }


if __name__ == "__main__":
    main()
