"""A cache of latents on disk: every video encoded once, so that a denoiser trains without the autoencoder.

Latents are frame by frame, so whole videos are kept and clips are cut from them afterwards: windows, strides and random
beginnings stay as free as on pixels.
"""

from __future__ import annotations

import hashlib
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from kvdiff.data.content import file_digests
from kvdiff.data.listing import Listing, Video
from kvdiff.data.store import VideoStore, npy
from kvdiff.diffusion.checks import check_kind, check_path
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.media import VideoError, check_folder_writable, printable, write_bytes

_Measure = TypeVar("_Measure")
_RECORD = "latents.json"
_FORMAT = {"format": "kvdiff-latents", "format_version": 1}


class LatentCache:
    """A folder of latents of one autoencoder.

    ```python
    cache = kvdiff.data.LatentCache("latents", model.spec)
    cache.prepare(kvdiff.data.video_batches(listing, image_size=64))        # or kvdiff data prepare --latent
    clips = kvdiff.data.video_dataset_from_directory("videos", image_size=64, latents=cache)
    model.fit(clips)
    ```

    Args:
        folder: where the latents lie; several data sets may share it.
        spec: of the model that will train on them, for its autoencoder and its values.

    Raises:
        ValueError: a spec without an autoencoder, or a folder of another one's latents.
    """

    def __init__(self, folder: str | os.PathLike[str], spec: ModelSpec) -> None:
        self.folder = check_path("folder", folder)
        self.spec = check_kind("spec", spec, ModelSpec)
        if not isinstance(spec.codec, Autoencoder):
            raise ValueError("`spec`: expected that of a model with an autoencoder. Received: one without")
        self.record: dict[str, Any] = {
            **_FORMAT,
            "autoencoder": dict(spec.codec.config),
            "values": dict(spec.values.config),
        }
        self._check_record()

    def _check_record(self) -> None:
        """Raise where the folder says that it is another autoencoder's."""
        path = self.folder / _RECORD
        if not path.exists():
            return
        try:
            found = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ValueError(f"`folder`: expected a cache of latents. Received: {path}, damaged ({error})") from error
        if found != self.record:
            of_found = found.get("autoencoder") if isinstance(found, dict) else None
            mine, theirs = dict(self.record["autoencoder"]), of_found if isinstance(of_found, dict) else {}
            changed = sorted(name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)) or ["values"]
            raise ValueError(
                f"`folder`: expected latents of this autoencoder. Received: {self.folder}, those of another: its "
                f"{', '.join(changed)} differ"
            )

    def prepare(self, batches: Any, *, progress: Callable[[int, int], None] | None = None, announce: Any = None) -> int:
        """Encode all videos of a data set that are not there yet; how many this call has encoded.

        A call that was cut off, however, goes on where it ended, and several processes may work on one folder: each
        video is encoded by one of them. A file that cannot be read is left out where the data set skips bad files.

        Args:
            batches: the data set's `VideoBatches`, of pixels.
            progress: called as `progress(done, total)` after every video.
            announce: called with a line for every video that another process is encoding, in the end.
        """
        from filelock import FileLock, Timeout

        store = LatentStore(self, batches.store, batches.listing, complete=False)
        self.folder.mkdir(parents=True, exist_ok=True)
        check_folder_writable(self.folder)
        if not (self.folder / _RECORD).exists():
            write_bytes(self.folder / _RECORD, json.dumps(self.record).encode())
        self._check_record()
        encoded, waiting, total = 0, list(batches.videos), len(batches.videos)
        # First what nobody works on, then that of others, whose process may have been killed.
        for patience in (0.0, -1.0):
            busy = []
            for video in waiting:
                stem = store.stem(video)
                stem.parent.mkdir(parents=True, exist_ok=True)
                try:
                    with FileLock(f"{stem}.lock", timeout=patience):
                        encoded += not store.is_there(video) and self._encode(store, video, batches.bad_files)
                except Timeout:
                    busy.append(video)
                    continue
                if progress is not None:
                    progress(total - len(waiting) + waiting.index(video) + 1 - len(busy), total)
            waiting = busy
        return encoded

    def _encode(self, store: LatentStore, video: Video, bad_files: Any) -> bool:
        """Write a video's latents; False for a bad one that is passed over."""
        try:
            times = store.pixels.measured(video, np.asarray)
            frames = store.pixels.frames(video, lambda shown: np.arange(len(shown)))
        except VideoError as error:
            bad_files.add(video, error)
            return False
        latent = np.asarray(self.spec.encode(frames[None]), np.float32)[0]
        content = npy(latent)
        stem = store.stem(video)
        write_bytes(f"{stem}.npy", content)
        facts = {"sha256": hashlib.sha256(content).hexdigest(), "times": [_stored(time) for time in times.tolist()]}
        write_bytes(f"{stem}.json", json.dumps(facts).encode())  # Last: what has none counts as not encoded.
        return True


class LatentStore:
    """The latents of a data set's videos, in the place of a `VideoStore`.

    Args:
        cache: where they lie.
        pixels: the store that decodes the videos.
        listing: the videos.
        complete: refuse a cache that does not have all of them.
    """

    dtype = np.float32

    def __init__(self, cache: LatentCache, pixels: VideoStore, listing: Listing, *, complete: bool = True) -> None:
        self.cache, self.pixels, self.reader = cache, pixels, pixels.reader
        if pixels.image_shape != cache.spec.clip.frame_shape:
            raise ValueError(
                f"`image_size`, `color_mode`: expected frames of the model, {cache.spec.clip.frame_shape}. "
                f"Received: {pixels.image_shape}"
            )
        self.options = {**pixels.options, "latents": cache.record["autoencoder"]}
        self._digests: dict[pathlib.Path, str] = {}
        self._opened: dict[Video, tuple[np.ndarray, np.ndarray]] = {}
        if complete:
            self._check_complete(listing)

    def _check_complete(self, listing: Listing) -> None:
        missing = [video for video in listing.videos if not self.is_there(video)]
        if missing:
            raise ValueError(
                f"`latents`: expected those of all {len(listing.videos)} videos, as `prepare` writes them. Received: "
                f"{self.cache.folder}, which lacks {len(missing)}, e.g. of {printable(missing[0].path)}: it is of "
                "another data set, of files that have changed since, or not complete"
            )

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a latent frame."""
        return self.cache.spec.latent.frame_shape

    def stem(self, video: Video) -> pathlib.Path:
        """Where a video's latents lie, without suffix: by the file's content and what is made of it."""
        if video.path not in self._digests:
            self._digests[video.path] = file_digests([video.path])[0]
        key = repr((self._digests[video.path], video.member, sorted(self.pixels.options.items())))
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self.cache.folder / digest[:2] / digest[2:34]

    def is_there(self, video: Video) -> bool:
        """Whether a video has been encoded to the end."""
        stem = self.stem(video)
        return all(pathlib.Path(f"{stem}{suffix}").is_file() for suffix in (".npy", ".json"))

    def measured(self, video: Video, measure: Callable[[np.ndarray], _Measure]) -> _Measure:
        """As in `VideoStore`."""
        times = self._found(video)[1]
        try:
            return measure(times)
        except ValueError as error:
            raise VideoError(video.path, str(error)) from error

    def frames(self, video: Video, choose: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Latent frames of a video, float32 [frames, height, width, channels]; see `VideoStore`."""
        wanted = self.measured(video, choose)
        return np.ascontiguousarray(self._found(video)[0][wanted])

    def _found(self, video: Video) -> tuple[np.ndarray, np.ndarray]:
        """(latents, times), whose content is compared with its digest when the file is first opened."""
        if video not in self._opened:
            stem = self.stem(video)
            try:
                facts = json.loads(pathlib.Path(f"{stem}.json").read_text("utf-8"))
                with open(f"{stem}.npy", "rb") as file:
                    if hashlib.file_digest(file, "sha256").hexdigest() != facts["sha256"]:
                        raise ValueError("its content is not what was written")
                latent = np.load(f"{stem}.npy", mmap_mode="r", allow_pickle=False)
                times = np.array([np.nan if time is None else time for time in facts["times"]], np.float64)
                if latent.shape != (len(times), *self.image_shape) or latent.dtype != np.float32:
                    raise ValueError(f"it has {latent.dtype} {list(latent.shape)}")
            except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
                raise VideoError(
                    video.path, f"its latents, {stem}.npy, are damaged ({error}); delete the file and prepare it again"
                ) from error
            self._opened[video] = latent, times
        return self._opened[video]


def _stored(time: float) -> float | None:
    """JSON has no NaN, which says that there is no clock."""
    return None if np.isnan(time) else time
