"""What goes with the frames of videos, such as actions: a vector a frame, in an array file for each video's."""

from __future__ import annotations

import functools
import os
import pathlib

import numpy as np

from kvdiff.data.listing import Listing, Video
from kvdiff.diffusion.checks import check_path
from kvdiff.media import VideoError


class FrameVectorFiles:
    """Vectors of the frames of videos: of `clips/a/b.mp4` those of `folder/a/b.npy`, [frames, size].

    Args:
        folder: it has a .npy file for each file of clips, under the same name but for the suffix; of an array of
            several clips [clips, frames, size].
        listing: the videos, whose files are looked for.

    Attributes:
        size: numbers a frame.

    Raises:
        ValueError: a file that is not there, or of the first video is no such array.
    """

    def __init__(self, folder: str | os.PathLike[str], listing: Listing) -> None:
        self.folder = check_path("vectors", folder)
        self._read = functools.lru_cache(maxsize=256)(_read)  # A data set may have more files than may be open.
        missing = [path for path in map(self.path, listing.videos.files) if not path.is_file()]
        if missing:
            raise ValueError(
                f"`vectors`: expected a .npy file for each of {len(listing.videos.files)} files of clips. Received: "
                f"{self.folder}, which lacks {len(missing)}, such as {missing[0]}"
            )
        self.size = int(self._opened(listing.videos[0]).shape[-1])

    def path(self, video: Video) -> pathlib.Path:
        """The file of a video's vectors."""
        name = pathlib.PurePath(video.name)
        relative = pathlib.PurePath(name.name) if name.is_absolute() else name
        return self.folder / relative.with_name(f"{relative.name if video.path.is_dir() else relative.stem}.npy")

    def of(self, video: Video, frames: np.ndarray, count: int) -> np.ndarray:
        """float32 [len(frames), size]: the vectors of some frames of a video that has `count`.

        Raises:
            VideoError: they are no numbers, or not as many as frames, or not of `size`.
        """
        found = self._opened(video)
        if found.shape != (count, self.size):
            raise VideoError(
                video.path,
                f"expected vectors [{count}, {self.size}]. Received: {self.path(video)}, {list(found.shape)}",
            )
        vectors = np.asarray(found[frames], np.float32)
        if not np.isfinite(vectors).all():
            raise VideoError(video.path, f"expected finite vectors. Received: {self.path(video)}")
        return vectors

    def _opened(self, video: Video) -> np.ndarray:
        """A video's vectors, as the file has them."""
        array = self._read(self.path(video))
        if array.ndim == 3 and video.member < len(array):
            array = array[video.member]
        if array.ndim != 2 or array.dtype.kind not in "fiu":
            received = f"{self.path(video)}, {array.dtype} {list(array.shape)}"
            raise VideoError(video.path, f"expected vectors, numbers [frames, size]. Received: {received}")
        return array


def _read(path: pathlib.Path) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise VideoError(path, f"expected a .npy file ({error})") from error
    if not isinstance(array, np.ndarray):
        raise VideoError(path, "expected one array. Received: several")
    return array
