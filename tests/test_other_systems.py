"""What Windows and macOS do otherwise, imitated: names that are missing, spawn and fork, pipes, links, consoles."""

from __future__ import annotations

import ast
import errno
import os
import pathlib
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from kvdiff import media
from kvdiff.data import list_directory

ROOT = pathlib.Path(__file__).parents[1]

CLIP = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)


@pytest.fixture
def clip(tmp_path):
    return media.write_clip(tmp_path / "clip.npy", CLIP)


def text_without_encoding(source: str) -> list[int]:
    """Lines that open a text file in the system's own encoding, which is not UTF-8 everywhere."""
    lines = []
    for call in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        words = [each.value for each in call.args if isinstance(each, ast.Constant)]
        named = any(keyword.arg == "encoding" for keyword in call.keywords)
        first = {"open": "open" == getattr(call.func, "id", ""), "read_text": 0, "write_text": 1}
        if name in ("read_text", "write_text"):
            named = named or len(call.args) > first[name]
        elif name == "open":
            modes = [word for word in words if isinstance(word, str) and set(word) <= set("rwaxbt+")]
            is_text = first["open"] or (isinstance(call.func, ast.Attribute) and modes)
            named = named or not is_text or any("b" in mode for mode in modes)
        else:
            named = True
        lines += [] if named else [call.lineno]
    return lines


def test_every_text_file_has_a_named_encoding():
    assert text_without_encoding('open("a")\npath.read_text()\npath.write_text("x")\npath.open("w")') == [1, 2, 3, 4]
    assert not text_without_encoding('open("a", "rb")\npath.read_text("utf-8")\nav.open(x)\npath.open("wb")')
    found = {
        str(path.relative_to(ROOT)): lines
        for folder in ("kvdiff", "examples", "export")
        for path in (ROOT / folder).rglob("*.py")
        if (lines := text_without_encoding(path.read_text("utf-8")))
    }
    # FFmpeg's and Pillow's `open` take a "w" too, and write bytes.
    found.pop("kvdiff/media/writing.py", None)
    assert found == {}


# Workers.


def test_a_worker_runs_without_what_windows_lacks(clip, run_python):
    code = f"""
    import io, json, os, signal, subprocess, sys
    program = '''
    import signal, sys
    sys.modules["resource"] = sys.modules["fcntl"] = None
    for name in ("setitimer", "SIGXFSZ", "SIGALRM", "SIGKILL"):
        delattr(signal, name)
    from kvdiff.media.worker import main
    main()
    '''
    import dataclasses, textwrap
    from kvdiff import media
    limits, request = map(dataclasses.asdict, (media.ReadLimits(), media.ClipRequest(path={str(clip)!r})))
    lines = [json.dumps(limits), json.dumps(dict(wants="clip", request=request))]
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], input="\\n".join(lines).encode() + b"\\n", capture_output=True
    )
    ready, head = done.stdout.split(b"\\n")[:2]
    print(ready.decode(), json.loads(head)["shape"])
    """
    assert run_python(textwrap.dedent(code)).split("\n")[0] == "ready [4, 2, 2, 3]"


def test_a_worker_takes_the_lower_limits_of_whoever_started_it(clip, run_python):
    pytest.importorskip("resource")
    code = f"""if True:
        import resource
        from kvdiff import media
        resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
        with media.ClipReader(1) as reader:
            print(reader.read(media.ClipRequest(path={str(clip)!r})).frames.shape)"""
    assert run_python(code).strip() == "(4, 2, 2, 3)"


def test_a_pipe_that_ends_as_windows_says_it_is_the_end_of_the_worker(clip, monkeypatch):
    with media.ClipReader(1) as reader:
        reader.read(media.ClipRequest(path=str(clip)))
        (worker,) = reader._running

        class Broken:
            def write(self, content):
                worker._process.kill()
                raise OSError(errno.EINVAL, "Invalid argument")

            def close(self):
                raise OSError(errno.EINVAL, "Invalid argument")

        real, worker._requests = worker._requests, Broken()
        with pytest.raises(media.VideoError, match="the decoder died of it"):
            reader.read(media.ClipRequest(path=str(clip)))
        real.close()
        np.testing.assert_array_equal(reader.read(media.ClipRequest(path=str(clip))).frames, CLIP)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_has_workers_of_its_own(clip, run_python):
    code = f"""if True:
        import os
        from kvdiff import media
        reader = media.ClipReader(1)
        request = media.ClipRequest(path={str(clip)!r})
        reader.read(request)
        (before,) = reader._running
        child = os.fork()
        if child == 0:
            same = reader.read(request).frames.sum() == {int(CLIP.sum())} and before not in reader._running
            reader.close()
            os._exit(0 if same else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), before.is_alive(), before in reader._running)
        print(reader.read(request).frames.sum())"""
    assert run_python(code).split() == ["0", "True", "True", str(int(CLIP.sum()))]


def test_a_spawned_process_takes_a_reader(clip, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing
        from kvdiff import media

        def work(reader, queue):
            queue.put(reader.read(media.ClipRequest(path={str(clip)!r})).frames.shape)
            reader.close()

        if __name__ == "__main__":
            context = multiprocessing.get_context("spawn")
            queue, reader = context.Queue(), media.ClipReader(1, media.ReadLimits(seconds=30))
            reader.read(media.ClipRequest(path={str(clip)!r}))
            process = context.Process(target=work, args=(reader, queue))
            process.start()
            print(queue.get(timeout=60))
            process.join()
        """),
        "utf-8",
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "(4, 2, 2, 3)", done.stderr


def test_cores_are_counted_without_affinities(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert media.ClipReader().num_workers == os.cpu_count()


# Files.


@pytest.mark.parametrize("name", ["con.npy", "NUL.npy", "com1.gif", "a:b.npy", "what?.npy", 'a"b.npy'])
def test_names_that_windows_has_not_are_refused_there(tmp_path, monkeypatch, name):
    monkeypatch.setattr("kvdiff.media.files._ON_WINDOWS", True)
    for write in (lambda path: media.write_clip(path, CLIP), media.check_writable):
        with pytest.raises(ValueError, match=r"expected a name that Windows has for files. Received: "):
            write(tmp_path / name)
    assert os.listdir(tmp_path) == []
    media.write_clip(tmp_path / "console.npy", CLIP)
    monkeypatch.undo()
    media.write_clip(tmp_path / name.replace(".gif", ".npy"), CLIP)


class Junction:
    """A folder's entry that leads elsewhere and is no symbolic link, as Windows has them."""

    def __init__(self, entry):
        self.path, self.name, self.is_dir, self.is_symlink = entry.path, entry.name, entry.is_dir, lambda: False


@pytest.fixture
def _junctions(monkeypatch):
    real = os.scandir

    class Entries:
        def __init__(self, folder):
            self._entries = real(folder)

        def __enter__(self):
            return map(Junction, self._entries)

        def __exit__(self, *error):
            self._entries.close()

    monkeypatch.setattr("kvdiff.media.finding.os.scandir", Entries)


@pytest.mark.usefixtures("_junctions")
def test_a_junction_is_a_link(tmp_path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    for folder in (data / "inner", outside):
        folder.mkdir(parents=True)
        media.write_clip(folder / "clip.npy", CLIP)
    (data / "inner" / "circle").symlink_to(data, target_is_directory=True)
    assert media.find_clips(data) == [data / "inner" / "clip.npy"]
    (data / "out").symlink_to(outside, target_is_directory=True)
    listed = list_directory(data, None)
    assert [video.path.name for video in listed.videos] == ["clip.npy", "out"]  # The latter's reading says why.
    assert media.find_clips(data, links="anywhere") == [data / "inner" / "clip.npy", data / "out" / "clip.npy"]


def test_names_are_in_the_same_order_everywhere(tmp_path):
    for name in ("b", "B", "a", "C"):
        media.write_clip(tmp_path / f"{name}.npy", CLIP)
    assert [path.stem for path in media.find_clips(tmp_path)] == ["B", "C", "a", "b"]


# Consoles.


@pytest.mark.parametrize("encoding", ["cp1252", "cp437"])
def test_no_console_is_too_narrow_for_what_is_said(tmp_path, encoding):
    pytest.importorskip("typer")
    media.write_clip(tmp_path / "videos.npy", CLIP)
    code = "import sys; from kvdiff.cli import main; sys.argv = 'kvdiff data inspect . -o seen'.split(); main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "0", "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"1 videos: 1 good, 0 bad" in done.stdout
    assert f"sizes: 2{'×' if encoding == 'cp1252' else '?'}2" in done.stdout.decode(encoding)


def test_a_process_without_stderr_loads_what_it_needs(run_python):
    pytest.importorskip("typer")
    code = """if True:
        import os
        os.close(2)
        from unittest import mock
        from kvdiff.cli.runs import quiet_tensorflow
        with mock.patch("importlib.util.find_spec", return_value=None), quiet_tensorflow():
            print("here")"""
    assert run_python(code).strip() == "here"
