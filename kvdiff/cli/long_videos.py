"""A long video, written while it is generated: what there is lies in a folder beside the output until all is there.

    long.mp4.unfinished/call.json      what was asked for
    long.mp4.unfinished/frames.npy     the numbers of every frame so far
    long.mp4.unfinished/state.npz      where the stream stands, written anew every second

An .mp4 cannot be appended to after a kill, so the frames are encoded when all are there.
"""

from __future__ import annotations

import hashlib
import json
import math
import pathlib
import shutil
import time
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
import typer

from kvdiff.cli.options import Writing
from kvdiff.cli.videos import rate_of, say_written
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.sampling.stream import Stream
from kvdiff.fields import pictures_of

_CALL, _FRAMES, _STATE = "call.json", "frames.npy", "state.npz"
_BETWEEN_STATES = 1.0  # Seconds.


def unfinished(output: pathlib.Path) -> pathlib.Path:
    """The folder of a video that is not yet all there."""
    return output.with_name(f"{output.name}.unfinished")


def check_begun(asked: Writing, *, resume: bool) -> None:
    """Refuse to begin anew beside a video that is begun, unless that is asked for.

    Raises:
        FileExistsError: there is one.
    """
    folder = unfinished(asked.output)
    if folder.exists() and not (resume or asked.overwrite):
        raise FileExistsError(
            f"{folder}: holds a video that is not finished; pass --resume to go on or --overwrite to begin anew"
        )


def call_of(sampler: Sampler, past: np.ndarray | None, **options: Any) -> dict[str, Any]:
    """What tells one command from another, as JSON has it; of arrays a digest."""
    kinds = {"model": sampler.spec.config, "runtime": type(sampler.engine).__name__, "past": past, **options}
    return json.loads(json.dumps(kinds, default=_digest, sort_keys=True))


def write_stream(
    asked: Writing,
    sampler: Sampler,
    stream: Stream,
    past: np.ndarray | None,
    call: Mapping[str, Any],
    *,
    resume: bool,
    source: float | None = None,
) -> None:
    """Generate what a stream has, write it as it comes, and make the output of it.

    Args:
        asked: the output, and how.
        sampler: whose stream it is.
        stream: at its beginning, of known length.
        past: its known frames, [clips, frames, height, width, channels]; None where there are none.
        call: of `call_of`.
        resume: go on where a command like this one stopped.
        source: frames a second of the past, as `write` takes it.
    """
    folder = unfinished(asked.output)
    first, is_there = stream.frame, all((folder / name).is_file() for name in (_CALL, _FRAMES, _STATE))
    store = _resumed(folder, stream, call) if resume and is_there else _begun(folder, sampler, stream, past, call)
    try:
        with store:
            store.take(stream)
        _finish(asked, sampler, folder, source)
    except BaseException:
        if store.kept == first:
            shutil.rmtree(folder)
        else:
            kept = f"{store.kept} of {stream.num_frames} frames are kept in {folder}"
            typer.echo(f"{kept}. The same command with --resume goes on.", err=True)
        raise
    shutil.rmtree(folder)
    say_written(asked, store.shape, known=first)


class _Store:
    """The frames of a video in a .npy file, [.., clips, frames, height, width, channels], one after the other.

    Args:
        folder: where it lies; `frames.npy` and `state.npz`.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        with (folder / _FRAMES).open("rb") as file:
            np.lib.format.read_magic(file)
            self.shape, _, self._dtype = np.lib.format.read_array_header_1_0(file)
            self._begin = file.tell()
        self.kept = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> _Store:
        self._file = (self.folder / _FRAMES).open("r+b")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._file is not None
        self._file.close()

    def put(self, number: int, frame: np.ndarray) -> None:
        """Write frame `number`, [.., clips, height, width, channels]."""
        assert self._file is not None
        for index, each in enumerate(frame.astype(self._dtype).reshape(-1, *self.shape[-3:])):
            self._file.seek(self._begin + (index * self.shape[-4] + number) * each.nbytes)
            self._file.write(each.tobytes())

    def take(self, stream: Stream) -> None:
        """Write the stream's frames, and where it stands every second and when it is interrupted."""
        self.kept, saved = stream.frame, time.monotonic()
        try:
            for frame in stream:
                self.put(stream.frame - 1, frame)
                self.kept = stream.frame
                if time.monotonic() - saved >= _BETWEEN_STATES:
                    self.save(stream)
                    saved = time.monotonic()
        finally:
            if self.kept == stream.frame:  # Else a frame was handed out that is not written.
                self.save(stream)

    def save(self, stream: Stream) -> None:
        """Keep the frames so far, and then where the stream stands."""
        from kvdiff.media import flush, whole_file

        assert self._file is not None
        self._file.flush()
        flush(self._file.fileno())
        with whole_file(self.folder / _STATE) as file:
            np.savez(file, **stream.state())  # type: ignore[arg-type]


def _begun(
    folder: pathlib.Path, sampler: Sampler, stream: Stream, past: np.ndarray | None, call: Mapping[str, Any]
) -> _Store:
    """A store of the past alone, in place of what was there."""
    from kvdiff.media import write_bytes

    shape = (*stream.shape[:-3], stream.num_frames or 0, *stream.shape[-3:])
    size, free = 4 * math.prod(shape), shutil.disk_usage(folder.parent).free
    if size > free:
        raise OSError(f"{folder}: expected room for {size} bytes of frames on the disk. Received: {free}")
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    write_bytes(folder / _CALL, json.dumps(call, indent=1).encode())
    with (folder / _FRAMES).open("wb") as file:
        head = {"descr": np.lib.format.dtype_to_descr(np.dtype(np.float32)), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, head)
        file.truncate(file.tell() + size)
    store = _Store(folder)
    if past is not None:
        with store:
            numbers = sampler.spec.checked("past", past)
            for number in range(past.shape[1]):
                store.put(number, np.broadcast_to(numbers[:, number], stream.shape))
    return store


def _resumed(folder: pathlib.Path, stream: Stream, call: Mapping[str, Any]) -> _Store:
    """The store of a folder, with the stream where it stood.

    Raises:
        ValueError: another command, or another network: it does not generate the first frame that is there.
    """
    said = json.loads((folder / _CALL).read_text("utf-8"))
    if others := sorted(name for name in {*said, *call} if said.get(name) != call.get(name)):
        raise ValueError(f"--resume: expected the command that began {folder}. Received: one with other {others}")
    store = _Store(folder)
    with np.load(folder / _STATE) as kept:
        state = dict(kept)
    first = stream.frame
    if int(state["frame"]) > first:
        there = np.load(folder / _FRAMES, mmap_mode="r")[..., first, :, :, :]
        again = next(stream)
        if not np.allclose(again, there, rtol=1e-3, atol=1e-3, equal_nan=True):
            raise ValueError(f"--resume: expected the model that began {folder}. Received: one whose frames are others")
    stream.resumed(state)
    typer.echo(f"{stream.frame} of {stream.num_frames} frames are there.", err=True)
    return store


def _finish(asked: Writing, sampler: Sampler, folder: pathlib.Path, source: float | None) -> None:
    """Make the output of the frames, in the memory of a few."""
    from kvdiff.media import enlarge, whole_file, write_frames

    frames, suffix = np.load(folder / _FRAMES, mmap_mode="r"), asked.output.suffix.lower()
    made = folder / _FRAMES
    if suffix != ".npy":
        pictures = (pictures_of(sampler.spec.values, frame) for frame in _each(frames))
        made = write_frames(folder / f"video{suffix}", pictures, fps=rate_of(asked, sampler, source), scale=asked.scale)
    elif asked.scale > 1:
        made = folder / "enlarged.npy"
        height, width = (asked.scale * size for size in frames.shape[-3:-1])
        with whole_file(made) as file:
            head = np.lib.format.header_data_from_array_1_0(frames)
            head |= {"shape": (*frames.shape[:-3], height, width, frames.shape[-1])}
            np.lib.format.write_array_header_1_0(file, head)
            for frame in frames.reshape(-1, *frames.shape[-3:]):
                file.write(enlarge(frame, asked.scale).tobytes())
    del frames  # Windows does not move a file that is mapped.
    made.replace(asked.output)


def _each(frames: np.ndarray) -> Iterator[np.ndarray]:
    """Frame after frame of [.., frames, height, width, channels]."""
    return (frames[..., number, :, :, :] for number in range(frames.shape[-4]))


def _digest(value: Any) -> Any:
    """What JSON has no word for: of an array a digest of its numbers."""
    if isinstance(value, np.generic):
        return value.item()
    array = np.ascontiguousarray(value)
    return [str(array.dtype), list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
