"""What the model makes while it is trained: pictures of it, and numbers that tell collapse and copying."""

from __future__ import annotations

import io
import os
import pathlib
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.fields import pictures_of
from kvdiff.media import encode_clip, enlarge, grid, to_pixels, write_bytes
from kvdiff.media.libraries import import_av, import_pillow
from kvdiff.training.averaging import averaged
from kvdiff.training.environment import warning_if_unwritten


class Previews(keras.callbacks.Callback):
    """Writes `epoch-0010.gif`, …: the clips that the averaged weights make of the same noise every time.

    Sampling changes nothing in the training: with and without previews it ends with the same bits. One that cannot be
    written, on a full disk for example, is warned of.

    Args:
        folder: of the GIFs; created if need be.
        every: epochs between previews.
        num_clips: clips to generate, side by side.
        past: first frames of clips, [batch, frames, height, width, channels]; a second row shows them and what is
            predicted after them.
        tensorboard: a folder of TensorBoard's event files to write the same picture to.
        scale: repeat every pixel so many times in both directions.
        **sampling: of `generate` and `predict_frames`, e.g. `num_steps=20`; the seed is 0 unless said.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        every: int = 1,
        num_clips: int = 4,
        past: np.ndarray | None = None,
        tensorboard: str | os.PathLike[str] | None = None,
        scale: int = 1,
        **sampling: Any,
    ) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = check_count("every", every)
        self.num_clips = check_count("num_clips", num_clips)
        self.past = None if past is None else _checked("past", past)
        self.tensorboard = None if tensorboard is None else os.fspath(tensorboard)
        self.scale = check_count("scale", scale)
        import_av()  # What writes GIFs is missed now and not after an epoch.
        if self.tensorboard is not None:
            import_pillow()
            import tensorflow  # noqa: F401
        self.sampling = {"seed": 0, **sampling}
        self._writer: Any = None

    def close(self) -> None:
        """Close TensorBoard's file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Sample, where it is time."""
        if (epoch + 1) % self.every:
            return
        with averaged(self.model):
            rows = [self.model.generate(self.num_clips, **self.sampling)]
            if self.past is not None:
                future = self.model.predict_frames(self.past, **self.sampling)
                rows.append(np.concatenate([PIXELS.encode(self.past), future], axis=1)[:, : rows[0].shape[1]])
        values = self.model.spec.values
        clips = enlarge(np.concatenate([to_pixels(pictures_of(values, row)) for row in rows]), self.scale)
        sheet = encode_clip(grid(list(clips), self.num_clips), ".gif")
        with warning_if_unwritten(f"preview of epoch {epoch + 1}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            write_bytes(self.folder / f"epoch-{epoch + 1:04d}.gif", sheet)
        if self.tensorboard is not None:
            with warning_if_unwritten(f"preview of epoch {epoch + 1} in TensorBoard"):
                self._write_summary(sheet, epoch + 1)

    def _write_summary(self, gif: bytes, step: int) -> None:
        """The moving picture as an image summary: TensorBoard shows a GIF as it is."""
        import tensorflow as tf
        from PIL import Image

        width, height = Image.open(io.BytesIO(gif)).size
        plugin = tf.compat.v1.SummaryMetadata.PluginData(plugin_name="images")
        metadata = tf.compat.v1.SummaryMetadata(plugin_data=plugin)
        try:
            self._writer = self._writer or tf.summary.create_file_writer(self.tensorboard)
            with self._writer.as_default():
                tf.summary.write("previews", tf.constant([str(width), str(height), gif]), step, metadata)
                tf.summary.flush()
        except tf.errors.OpError as error:
            raise OSError(error.message) from error


class SampleMonitor(keras.callbacks.Callback):
    """Adds to the epoch's logs how diverse the generated clips are, and how near they come to the training clips.

    - `diversity`: the root mean square distance between two generated clips over that between two training clips. 1 is
      as diverse as the data; towards 0 the samples collapse.
    - `nearest`: the mean distance of a generated clip to the nearest training clip over that of an unseen clip. 1 is
      as far from the training clips as new data; towards 0 the samples are copies of them.

    Distances are between pixels: they tell copies and collapse, not quality.

    Args:
        clips: training clips to compare with, at least 2, [n, frames, height, width, channels]; all of them where
            memory and time allow, since a copy of what is left out is not seen.
        held_out: clips of the same kind that are not in the training, at least 1.
        every: epochs between measurements.
        num_clips: clips to generate, at least 2.
        **sampling: of `generate`, as in `Previews`.
    """

    def __init__(
        self, clips: np.ndarray, held_out: np.ndarray, *, every: int = 1, num_clips: int = 16, **sampling: Any
    ) -> None:
        super().__init__()
        self.clips = _flat(_checked("clips", clips, at_least=2))
        self.every = check_count("every", every)
        self.num_clips = check_count("num_clips", num_clips, at_least=2)
        self.sampling = {"seed": 0, **sampling}
        self._spread = pairwise_distances(self.clips[:1000])
        self._apart = float(nearest_distances(_flat(_checked("held_out", held_out)), self.clips).mean())

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sample, where it is time, and add to the logs."""
        if (epoch + 1) % self.every or logs is None:
            return
        with averaged(self.model):
            made = _flat(self.model.generate(self.num_clips, **self.sampling))
        logs["diversity"] = pairwise_distances(made) / self._spread
        logs["nearest"] = float(nearest_distances(made, self.clips).mean()) / self._apart


def pairwise_distances(clips: np.ndarray) -> float:
    """The root mean square Euclidean distance between two of `clips`, [n, pixels]."""
    # The mean of |a - b|² over all pairs is twice the variance about the mean.
    return float(np.sqrt(2.0 * np.square(clips - clips.mean(axis=0)).sum() / (len(clips) - 1)))


def nearest_distances(clips: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The Euclidean distance of each of `clips` to the nearest of `others`: [n] from [n, pixels] and [m, pixels]."""
    return np.array([np.sqrt(np.square(others - clip).sum(axis=1).min()) for clip in clips])


def _checked(name: str, clips: Any, at_least: int = 1) -> np.ndarray:
    clips = np.asarray(clips)
    if clips.ndim != 5 or len(clips) < at_least:
        shape = "[batch, frames, height, width, channels]"
        raise ValueError(f"`{name}`: expected {at_least} clips or more, {shape}. Received: shape {list(clips.shape)}")
    return clips


def _flat(clips: np.ndarray) -> np.ndarray:
    return PIXELS.encode(clips).reshape(len(clips), -1)
