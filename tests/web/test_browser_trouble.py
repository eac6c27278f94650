"""What goes wrong is told to a person in words, and the page goes on where it can."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.web.browser import Visit, served

pytestmark = pytest.mark.web

# Stand-ins for the runtime's module: the real one, but for what they let fail.
ALLOCATION_FAILS = """
import * as real from '$URL/onnxruntime-web/real.mjs';
export const { env, Tensor } = real;
let runs = 0;
export const InferenceSession = { create: async (...given) => {
  const session = await real.InferenceSession.create(...given);
  return { inputNames: session.inputNames, run: (feeds) => {
    runs += 1;
    if (runs === 3) throw new RangeError('Array buffer allocation failed');
    return session.run(feeds);
  } };
} };
"""
DEVICE_IS_LOST = """
import * as real from '$URL/onnxruntime-web/real.mjs';
export const { env, Tensor } = real;
let runs = 0;
export const InferenceSession = { create: async (bytes, options) => {
  if (options.executionProviders[0] !== 'webgpu') throw new Error('expected webgpu');
  const session = await real.InferenceSession.create(bytes, { ...options, executionProviders: ['wasm'] });
  return { inputNames: session.inputNames, run: (feeds) => {
    runs += 1;
    if (runs === 3) throw new Error('A valid external Instance reference no longer exists: the device was lost.');
    return session.run(feeds);
  } };
} };
"""
A_GRAPHICS_PROCESSOR = "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => ({}) } });\n"


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    """A folder to break."""
    return shutil.copytree(folder, tmp_path / "web")


def seal(folder: Path, name: str) -> None:
    """Say in manifest and spec that a file is as it is now: what is wrong with it then, only its use shows."""
    digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    spec = json.loads((folder / "spec.json").read_text())
    for files in (spec["ort"]["wasm"], spec["ort"]["webgpu"]):
        for file in files:
            if file["url"] == name:
                file["sha256"] = digest
    (folder / "spec.json").write_text(json.dumps(spec))
    manifest = json.loads((folder / "manifest.json").read_text())
    for changed in (name, "spec.json"):
        content = (folder / changed).read_bytes()
        manifest["files"][changed] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def flipped(folder: Path) -> None:
    content = bytearray((folder / "sampler.onnx").read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "sampler.onnx").write_bytes(content)


def cut_off(folder: Path) -> None:
    (folder / "sampler.onnx").write_bytes((folder / "sampler.onnx").read_bytes()[:5000])
    seal(folder, "sampler.onnx")


def of_something_else(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"kind": "onnx-sampler", "files": {}}')


def no_json(folder: Path) -> None:
    (folder / "manifest.json").write_text("<html>not here</html>")


def of_other_files(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["tables.bin"]["sha256"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (flipped, "sampler.onnx is not the file that this page was made with.* Copy the folder again"),
        (cut_off, "The model could not be opened by this browser"),
        (of_something_else, "This folder is not a whole page of kvdiff: manifest.json .* Copy the folder again"),
        (no_json, "This folder is not a whole page of kvdiff: manifest.json"),
        (of_other_files, "tables.bin is not the file that this page was made with"),
    ],
)
def test_a_folder_that_is_damaged_is_told_so(
    copy: Path, browser: Any, break_it: Callable[[Path], None], says: str
) -> None:
    break_it(copy)
    with served(copy) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        assert re.search(says, visit.error), visit.error
        assert visit.errors == []
        page.close()


def stub_runtime(folder: Path, name: str, text: str, url: str) -> None:
    shutil.copy(folder / "onnxruntime-web" / "ort.wasm.bundle.min.mjs", folder / "onnxruntime-web" / "real.mjs")
    (folder / "onnxruntime-web" / name).write_text(text.replace("$URL/", url))
    seal(folder, f"onnxruntime-web/{name}")


def test_an_allocation_that_fails_is_told_and_the_next_try_works(copy: Path, browser: Any) -> None:
    with served(copy) as url:
        stub_runtime(copy, "ort.wasm.bundle.min.mjs", ALLOCATION_FAILS, url)
        page = browser.new_page()
        visit = Visit(page, url).ready()
        page.click("#tab-generate")
        visit.settings(Calls=2)
        visit.run()
        assert visit.error == ""
        visit.run()  # The third call is in here.
        assert visit.error.startswith("There is not enough memory for this.")
        visit.run()  # By a worker of its own, whose first calls do not fail.
        assert visit.error == "" and len(visit.video()) == 8
        assert visit.errors == []
        page.close()


def test_a_graphics_device_that_is_lost_gives_way_to_the_processor(copy: Path, browser: Any, model: Any) -> None:
    with served(copy) as url:
        # The stand-in runs on WebAssembly: its module and binary are those.
        spec = json.loads((copy / "spec.json").read_text())
        spec["ort"]["webgpu"][1] = spec["ort"]["wasm"][1]
        (copy / "spec.json").write_text(json.dumps(spec))
        stub_runtime(copy, "ort.webgpu.bundle.min.mjs", DEVICE_IS_LOST, url)
        (copy / "worker.js").write_text(A_GRAPHICS_PROCESSOR + (copy / "worker.js").read_text())
        page = browser.new_page()
        visit = Visit(page, url).ready()
        assert "graphics processor (WebGPU)" in page.inner_text("#runtime")
        visit.page.click("#tab-generate")
        visit.settings(Calls=5)
        visit.run()
        assert visit.error == "" and "processor (WebAssembly" in page.inner_text("#runtime")
        wanted = model.sampler.generate(num_steps=5, seed=0).reshape(8, -1)
        np.testing.assert_allclose(visit.video(), wanted, atol=1e-4)  # The call that was lost was made again.
        assert visit.errors == []
        page.close()


DROP = """(file) => {
  const stub = new File([file.content ?? 'x'], file.name, { type: file.type });
  if (file.size) Object.defineProperty(stub, 'size', { value: file.size });
  const event = new Event('drop', { cancelable: true });
  event.dataTransfer = { files: [stub] };
  dispatchEvent(event);
}"""


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ({"name": "film.mp4", "type": "video/mp4", "size": 2_000_000_000}, "This file is too large: film.mp4, 2.0 GB"),
        ({"name": "notes.gif", "type": "image/gif", "content": "no picture"}, "notes.gif could not be read as a video"),
        ({"name": "clip.webm", "type": "video/webm", "content": "no video"}, "clip.webm could not be read as a video"),
        ({"name": "array.npy", "type": "", "content": "no array"}, "array.npy could not be read as a video"),
    ],
)
def test_files_that_cannot_be_taken_are_told_so(folder: Path, browser: Any, file: dict[str, Any], says: str) -> None:
    with served(folder) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        page.evaluate(DROP, file)
        page.wait_for_selector("#error:visible")
        assert visit.error.startswith(says)
        visit.settings(Calls=1)
        visit.run()  # The clip that was there still is.
        assert visit.error == "" and visit.errors == []
        page.close()


def test_stop_stops(folder: Path, browser: Any) -> None:
    with served(folder) as url:
        page = browser.new_page()
        visit = Visit(page, url).ready()
        visit.settings(Calls=50)
        page.click("#go")
        page.locator("#status", has_text="network calls").wait_for()
        page.click("#stop")
        page.locator("#status", has_text="Stopped.").wait_for()
        visit.settings(Calls=1)
        visit.run()
        assert visit.error == "" and visit.errors == []
        page.close()
