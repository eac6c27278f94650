"""Batches of clips from fields: numbers with units, drawn anywhere in time and space, or where something happens."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.data.augmentation import FLIPS, turned
from kvdiff.data.order import epoch_order
from kvdiff.diffusion.checks import check_choice, check_count, check_flag, check_kind, check_real, received
from kvdiff.diffusion.process.noise import AUGMENTATION, WINDOW, uniform
from kvdiff.fields import Field


class FieldBatches:
    """The clips of fields, by (epoch, position): each a pure function of the seed, read when it is asked for.

    ```python
    fields = kvdiff.fields.open_fields("radar.zarr", FieldRecipe(variable="rate"))
    batches = kvdiff.data.FieldBatches(fields, 12, batch_size=8, patch=(64, 64))
    model.fit(batches.dataset(), steps_per_epoch=batches.steps_per_epoch, epochs=10)
    ```

    With `activity`, clips are drawn with a probability that grows with what happens in them, and each has a sample
    weight, 1 over its probability, so that the expected loss is that of all clips alike: rare events are seen often and
    count for no more than they are.

    Args:
        fields: of the same channels; a clip does not cross from one into another.
        num_frames: of a clip.
        batch_size: clips a training step.
        window_step: frames from the beginning of a clip to that of the next.
        patch: (height, width) of the clips: a place of each field, drawn anew for each clip; by default whole frames.
        position: the condition, a `ClipVector(4)`, that says where the patch lies: its centre (down, across) from -1 to
            1, and its share of the field's height and width.
        statics: for each condition `StaticFields` by its name, an array [height, width, n] for all fields.
        activity: how much happens in each frame of each field, see `kvdiff.fields.frame_activity`; by default all
            clips are drawn alike, each once an epoch.
        floor: with `activity`, the share of draws that are blind to it, in (0, 1]: no weight is above 1 / floor.
        flips: which symmetries the data has: any of "up_down", "left_right" and "turns", by quarters. Each clip is
            drawn one of their combinations.
        vectors: pairs of channels (across, down) that are components of vectors, and turn with the picture; the second
            component grows with the row.
        shuffle: whether epochs differ in their order.
        seed: of order, places and flips.

    Raises:
        ValueError, TypeError: arguments that do not go together, or fields without one whole clip.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        num_frames: int,
        *,
        batch_size: int,
        window_step: int = 1,
        patch: tuple[int, int] | None = None,
        position: str | None = None,
        statics: Mapping[str, np.ndarray] | None = None,
        activity: Sequence[np.ndarray] | None = None,
        floor: float = 0.1,
        flips: Sequence[str] = (),
        vectors: Sequence[tuple[int, int]] = (),
        shuffle: bool = True,
        seed: int = 0,
    ) -> None:
        self.fields = [check_kind("fields", field, Field) for field in fields]
        if len({field.shape[3] for field in self.fields}) != 1:
            raise ValueError(f"`fields`: expected fields of as many channels. Received: {received(self.fields)}")
        self.num_frames = check_count("num_frames", num_frames)
        self.window_step, self.patch = check_count("window_step", window_step), patch
        self.frame_shape = self._frame_shape()
        self.flips = tuple(check_choice("flips", flip, FLIPS) for flip in flips)
        if "turns" in self.flips and self.frame_shape[0] != self.frame_shape[1]:
            raise ValueError(f"`flips`: expected square clips for 'turns'. Received: {self.frame_shape[:2]}")
        self.vectors = tuple((int(across), int(down)) for across, down in vectors)
        self.position, self.statics = position, dict(statics or {})
        for name, array in self.statics.items():
            if array.ndim != 3 or any(array.shape[:2] != field.shape[1:3] for field in self.fields):
                wanted = f"[height, width, n] of the fields, {list(self.fields[0].shape[1:3])}"
                raise ValueError(f"`statics`: expected {wanted}, for {name!r}. Received: {list(array.shape)}")
        self.shuffle, self.seed = check_flag("shuffle", shuffle), check_count("seed", seed, at_least=0)
        self.rows = [field.clips(num_frames)[::window_step] for field in self.fields]
        self.num_samples = sum(map(len, self.rows))
        self.batch_size = check_count("batch_size", batch_size)
        if self.num_samples < batch_size:
            gaps = f"{self.num_samples}, of {sum(field.shape[0] for field in self.fields)} frames"
            raise ValueError(
                f"`fields`: expected at least {batch_size} clips of {num_frames} frames without a gap, a batch. "
                f"Received: {gaps}"
            )
        self._firsts = np.concatenate([[0], np.cumsum([len(rows) for rows in self.rows])])
        self.probabilities = None if activity is None else self._probabilities(activity, floor)
        self._order = functools.lru_cache(maxsize=4)(self._drawn_order)

    def _frame_shape(self) -> tuple[int, int, int]:
        height, width, channels = self.fields[0].shape[1:]
        if self.patch is None:
            if shapes := {field.shape[1:] for field in self.fields} - {(height, width, channels)}:
                raise ValueError(f"`fields`: expected frames of one size, or a `patch`. Received: {sorted(shapes)}")
            return height, width, channels
        rows, columns = (check_count("patch", size) for size in self.patch)
        for field in self.fields:
            if rows > field.shape[1] or columns > field.shape[2]:
                wanted = f"at most {field.shape[1]} × {field.shape[2]}, as {field.path} has"
                raise ValueError(f"`patch`: expected {wanted}. Received: {rows} × {columns}")
        return rows, columns, channels

    def _probabilities(self, activity: Sequence[np.ndarray], floor: float) -> np.ndarray:
        """Of each clip: `floor` blind, the rest by the mean activity of its frames."""
        check_real("floor", floor, above=0.0, below=1.0 + 1e-12)
        sizes = [len(array) for array in activity]
        if sizes != [field.shape[0] for field in self.fields] or any((np.asarray(a) < 0).any() for a in activity):
            wanted = f"{[field.shape[0] for field in self.fields]} numbers of at least 0"
            raise ValueError(f"`activity`: expected {wanted}, one a frame of each field. Received: {sizes}")
        means = []
        for rows, frames in zip(self.rows, activity, strict=True):
            there = rows >= 0
            means.append((np.asarray(frames, np.float64)[rows] * there).sum(axis=1) / there.sum(axis=1))
        mean = np.concatenate(means)
        even = np.full(len(mean), 1.0 / len(mean))
        return even if not mean.any() else floor * even + (1.0 - floor) * mean / mean.sum()

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return self.num_samples // self.batch_size

    @property
    def config(self) -> dict[str, Any]:
        """What decides every batch, JSON-able: a training that goes on must find it unchanged."""
        digest = hashlib.sha256()
        for field, rows in zip(self.fields, self.rows, strict=True):
            digest.update(json.dumps([field.path, field.shape, field.names, field.recipe.config]).encode())
            digest.update(rows.tobytes())
        for array in (*self.statics.values(), *([] if self.probabilities is None else [self.probabilities])):
            digest.update(np.ascontiguousarray(array).tobytes())
        names = ("num_frames", "batch_size", "window_step", "num_samples", "shuffle", "seed", "position")
        plain = {name: getattr(self, name) for name in names}
        lists = {
            "frame_shape": list(self.frame_shape),
            "flips": list(self.flips),
            "vectors": list(map(list, self.vectors)),
        }
        return {**plain, **lists, "sha256": digest.hexdigest()}

    def sample(self, epoch: int, position: int) -> tuple[np.ndarray, dict[str, np.ndarray], np.float32]:
        """The clip at a position of an epoch, float32 [frames, height, width, channels], its conditions and its weight.

        NaN are missing.
        """
        index = int(self._order(epoch)[position])
        numbers = uniform(np, self.seed, epoch, np.array([position]), 6, WINDOW)[0].astype(np.float64)
        which = int(np.searchsorted(self._firsts, index, side="right")) - 1
        field = self.fields[which]
        spots = [
            int(u * (whole - part + 1))
            for u, whole, part in zip(numbers, field.shape[1:3], self.frame_shape, strict=False)
        ]
        rows, columns = (slice(spot, spot + part) for spot, part in zip(spots, self.frame_shape, strict=False))
        clip = field.read(self.rows[which][index - self._firsts[which]], rows, columns)
        turn = functools.partial(turned, flips=self.flips, numbers=numbers[2:])
        conditions = {name: turn(array[rows, columns][None])[0] for name, array in self.statics.items()}
        if self.position is not None:
            whole, part = np.array(field.shape[1:3], np.float64), np.array(self.frame_shape[:2])
            centre = (2.0 * np.array(spots) + part) / whole - 1.0
            conditions[self.position] = np.concatenate([centre, part / whole]).astype(np.float32)
        weight = 1.0 if self.probabilities is None else 1.0 / (self.num_samples * self.probabilities[index])
        return turn(clip, vectors=self.vectors), conditions, np.float32(weight)

    def _drawn_order(self, epoch: int) -> np.ndarray:
        """Which clip stands at each position: each once, or by probability, one from each of as many even shares."""
        count = self.num_samples
        order = epoch_order(self.seed, epoch, count) if self.shuffle else np.arange(count)
        if self.probabilities is None:
            return order
        inside = uniform(np, self.seed, epoch, np.arange(count), 1, AUGMENTATION)[:, 0]
        ends = np.cumsum(self.probabilities)
        return np.searchsorted(ends / ends[-1], (order + inside) / count, side="right").clip(0, count - 1)

    def dataset(self, start_step: int = 0) -> Any:
        """An endless `tf.data.Dataset` of whole batches; the first is that of training step `start_step`.

        Clips alone; with conditions (clips, {name: array}); with `activity` (clips, conditions, weights).
        """
        epoch, batch = divmod(check_count("start_step", start_step, at_least=0), self.steps_per_epoch)
        whole = self.steps_per_epoch * self.batch_size

        def places() -> Iterator[tuple[int, int]]:
            yield from ((epoch, position) for position in range(batch * self.batch_size, whole))
            yield from ((later, position) for later in itertools.count(epoch + 1) for position in range(whole))

        return self._pipeline(places)

    def one_epoch(self) -> Any:
        """A `tf.data.Dataset` of one pass over all clips, in the order of epoch 0, for validation."""
        return self._pipeline(lambda: ((0, position) for position in range(self.num_samples)))

    def _pipeline(self, places: Callable[[], Iterator[tuple[int, int]]]) -> Any:
        import tensorflow as tf

        clip, conditions, _ = self.sample(0, 0)
        names, shapes = list(conditions), [clip.shape, *(value.shape for value in conditions.values()), ()]

        def read(epoch: Any, position: Any) -> list[np.ndarray]:
            clip, conditions, weight = self.sample(int(epoch), int(position))
            return [clip, *(conditions[name].astype(np.float32) for name in names), np.asarray(weight)]

        def tensors(epoch: Any, position: Any) -> Any:
            made = tf.numpy_function(read, [epoch, position], [tf.float32] * len(shapes), stateful=False)
            clip, *others, weight = (tf.ensure_shape(one, shape) for one, shape in zip(made, shapes, strict=True))
            given = dict(zip(names, others, strict=True))
            if self.probabilities is not None:
                return clip, given, weight
            return (clip, given) if names else clip

        pairs = tf.TensorSpec([], tf.int64), tf.TensorSpec([], tf.int64)
        dataset = tf.data.Dataset.from_generator(places, output_signature=pairs)
        tensors = tf.autograph.experimental.do_not_convert(tensors)
        dataset = dataset.map(tensors, num_parallel_calls=2, deterministic=True)
        return dataset.batch(self.batch_size).prefetch(2)
