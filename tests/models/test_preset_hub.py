"""Presets from a hub: a server on loopback stands in for it."""

from __future__ import annotations

import hashlib
import http.server
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kvdiff.models.preset_hub import fetched
from tests.models.presets import a_preset

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "f" * 40
_ERRORS = {"gone": "RepoNotFound", OTHER: "RevisionNotFound"}


class Hub(http.server.BaseHTTPRequestHandler):
    """What `huggingface_hub` asks of a hub: sizes, digests and content of the files of a commit."""

    folder: Path
    asked: list[str]
    commit = COMMIT

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        if content := self._answer():
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> bytes:
        self.asked.append(f"{self.command} {self.path}")
        _, _, repository, _, commit, name = self.path.split("/")
        path = self.folder / name
        code = _ERRORS.get(repository) or _ERRORS.get(commit) or ("" if path.is_file() else "EntryNotFound")
        content = b"" if code else path.read_bytes()
        self.send_response(404 if code else 200)
        for key, value in {
            "X-Error-Code": code,
            "X-Repo-Commit": self.commit,
            "ETag": hashlib.sha256(content).hexdigest(),
            "Content-Length": str(len(content)),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        return content


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[type[Hub]]:
    pytest.importorskip("huggingface_hub")
    handler = type("OneHub", (Hub,), {"folder": a_preset(tmp_path / "repository"), "asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        handler.address = f"http://127.0.0.1:{server.server_port}"
        yield handler
        server.shutdown()


@pytest.fixture
def find(hub: type[Hub], tmp_path: Path, run_python: Callable[..., str]) -> Callable[..., list[str]]:
    """`find(addresses…)` asks the hub for each in one process: where it is, or the error."""

    def found(*addresses: str, digest: str | None = None, **more: str) -> list[str]:
        program = f"""
from kvdiff.models.preset_folder import found_preset
for address in {addresses!r}:
    try:
        print(found_preset(address, {digest!r}).folder)
    except Exception as error:
        print(type(error).__name__, " ".join(str(error).split()))
"""
        home = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_DISABLE_TELEMETRY": "1"}
        return run_python(program, env={**home, "NO_PROXY": "127.0.0.1", "HF_TOKEN": "", **more}).splitlines()

    return found


def test_three_files_are_fetched_once(hub, find):
    address = f"hf://me/digits@{COMMIT}"
    (folder,) = find(address)
    assert {path.name for path in Path(folder).iterdir()} == {"config.json", "metadata.json", "model.weights.h5"}
    assert all((Path(folder) / path.name).read_bytes() == path.read_bytes() for path in hub.folder.iterdir())
    assert all(f"/me/digits/resolve/{COMMIT}/" in asked for asked in hub.asked)
    asked = len(hub.asked)
    assert find(address) == [folder] and len(hub.asked) == asked


def test_what_the_hub_does_not_have_is_said(find, hub):
    gone, commit = f"hf://me/gone@{COMMIT}", f"hf://me/digits@{OTHER}"
    said = find(gone, commit)
    for line, address in zip(said, (gone, commit), strict=True):
        assert f"ValueError `preset`: expected a repository with metadata.json. Received: {address} (404" in line
    (hub.folder / "model.weights.h5").unlink()
    (line,) = find(f"hf://me/digits@{COMMIT}")
    assert "`preset`: expected a repository with config.json and model.weights.h5. Received: hf://me/digits@" in line


def test_another_digest_is_refused_before_the_weights_come(find, hub):
    (line,) = find(f"hf://me/digits@{COMMIT}", digest="0" * 64)
    assert "ValueError `digest`: expected that of" in line
    assert not any("weights" in asked for asked in hub.asked)


def test_weights_that_the_metadata_does_not_list_are_refused(find, hub):
    (hub.folder / "model.weights.h5").write_bytes(b"strange")
    (line,) = find(f"hf://me/digits@{COMMIT}")
    assert "ValueError `preset`: expected" in line and "model.weights.h5 as it was saved" in line


def test_files_of_another_commit_are_refused(find, hub):
    hub.commit = OTHER
    (line,) = find(f"hf://me/digits@{COMMIT}")
    assert line == f"ValueError `preset`: expected files of commit {COMMIT}. Received: those of {OTHER}"


def test_a_hub_that_cannot_be_reached_is_said(find):
    (line,) = find(f"hf://me/digits@{COMMIT}", HF_HUB_OFFLINE="1")
    assert line.startswith(
        f"ConnectionError `preset`: expected a hub that can be reached. Received: hf://me/digits@{COMMIT}"
    )


@pytest.mark.slow
def test_the_whole_way(tmp_path, hub, run_python):
    pytest.importorskip("tensorflow")
    import kvdiff
    from tests.training.trainings import tiny_denoiser

    model = kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser())
    hub.folder = tmp_path / "saved"
    preset = model.save_to_preset(hub.folder)
    program = (
        "import kvdiff\n"
        f"model = kvdiff.VideoDiffusion.from_preset('hf://me/digits@{COMMIT}', digest={preset.digest!r})\n"
        "print(*model.generate(1, num_steps=2).ravel()[:3])"
    )
    home = {"HF_ENDPOINT": hub.address, "HF_HOME": str(tmp_path / "cache"), "NO_PROXY": "127.0.0.1"}
    printed = run_python(program, env=home).split()
    assert [float(number) for number in printed] == pytest.approx(model.generate(1, num_steps=2).ravel()[:3], abs=1e-6)


@pytest.mark.parametrize(
    "address", ["hf://digits", f"hf://digits@{COMMIT}", f"hf://a/b/c@{COMMIT}", "hf://me/digits", f"hf://../x@{COMMIT}"]
)
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(ValueError, match="`preset`: expected hf://owner/repository@commit. Received: 'hf://"):
        fetched(address, "metadata.json")


@pytest.mark.parametrize("revision", ["main", "v1.0", COMMIT[:-1], COMMIT.upper(), f"{COMMIT}0"])
def test_what_is_no_whole_commit_is_refused(revision):
    with pytest.raises(
        ValueError, match="`preset`: expected the 40 hexadecimal digits of a commit after the @"
    ) as caught:
        fetched(f"hf://me/digits@{revision}", "metadata.json")
    assert f"Received: {revision!r} in 'hf://me/digits@{revision}'" in str(caught.value)


def test_without_the_package_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r'needs huggingface_hub: pip install "keras-video-diffusion\[hub\]"'):
        fetched(f"hf://me/digits@{COMMIT}", "metadata.json")
