"""Batches of clips cut from videos; every one is a pure function of (seed, epoch, batch) and the files."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from kvdiff.data.augmentation import Augmentation
from kvdiff.data.bad_files import BadFiles
from kvdiff.data.content import DIGESTS, file_digests
from kvdiff.data.latents import LatentStore
from kvdiff.data.listing import Listing, Video
from kvdiff.data.order import BALANCES, balanced, epoch_order, window_numbers
from kvdiff.data.reading_rate import ReadingRate
from kvdiff.data.store import VideoStore
from kvdiff.data.vectors import FrameVectorFiles
from kvdiff.data.windows import ClipWindows
from kvdiff.diffusion.checks import check_choice, check_count, optional
from kvdiff.media import VideoError, printable


class VideoBatches:
    """The clips of a data set, by (epoch, position), and `tf.data` pipelines over them.

    A bad file that is skipped gives its place to the next good one in the epoch's order, so the places of all others
    stay: any batch can be had again, and a `TrainingCheckpoint` goes on in mid-epoch.

    Args:
        listing: the videos.
        store: decodes them, or has their latents.
        windows: cuts them into clips.
        bad_files: decides what becomes of bad ones.
        batch_size: clips a batch.
        shuffle: whether epochs differ in their order.
        seed: of order and random beginnings.
        digest: how much of the files `config` knows: "parts", sizes and some blocks of each, or "all".
        balance: what the clips of an epoch are shared among evenly: "videos", "classes", or None: as they come.
        augment: how clips are changed.
        image_size: (height, width) of the clips, which `augment` cuts from frames of `store`; by default the store's.
        encode: from an integer label to what a batch holds of it; None: batches are clips alone.
        vectors: of every frame, which batches hold in place of a label.
        announce: called with a line for every video that is left out as too short ("all", "by length"), and with one
            that says how fast the first epoch was read; None for silence.
    """

    def __init__(
        self,
        listing: Listing,
        store: VideoStore | LatentStore,
        windows: ClipWindows,
        bad_files: BadFiles,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        digest: str = "parts",
        balance: str | None = None,
        augment: Augmentation | None = None,
        image_size: tuple[int, int] | None = None,
        encode: Callable[[int], np.ndarray] | None = None,
        vectors: FrameVectorFiles | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.listing, self.store, self.windows, self.bad_files = listing, store, windows, bad_files
        self.batch_size, self.shuffle, self.seed = check_count("batch_size", batch_size), shuffle, seed
        self.digest = check_choice("digest", digest, DIGESTS)
        self.balance = self._checked_balance(balance)
        self.augment, self._image_size, self._encode, self.vectors = augment, image_size, encode, vectors
        self._labels = np.zeros(len(listing.videos), np.int64) if listing.labels is None else listing.labels
        self._announce = announce or (lambda line: None)
        self._progress = ReadingRate(self._announce)
        with self._progress.reading():
            self._samples = self._all_samples()
        self._draw = functools.lru_cache(maxsize=4)(self._drawn)

    @property
    def num_samples(self) -> int:
        """Clips an epoch."""
        return len(self._samples)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches an epoch."""
        return self.num_samples // self.batch_size

    @property
    def config(self) -> dict[str, Any]:
        """What decides every batch, JSON-able: a training that goes on must find it unchanged.

        The files are looked at once, when this is first asked for. Where only parts of them are, the times at which
        they were written are there too: files copied anew have others, so a `TrainingCheckpoint` warns of those.
        """
        listed = "\n".join(
            f"{name}\t{video.member}" for name, video in zip(self.listing.names(), self.videos, strict=True)
        )
        content, times = self._file_digests
        return dict(
            dataclasses.asdict(self.windows),
            num_samples=self.num_samples,
            batch_size=self.batch_size,
            shuffle=self.shuffle,
            seed=self.seed,
            image=repr(self.store.options),
            sha256=hashlib.sha256(f"{listed}\n{self._labels.tolist()}".encode("utf-8", "surrogateescape")).hexdigest(),
            content={"digest": self.digest, "sha256": content},
            **({} if self.balance is None else {"balance": self.balance}),
            **({"file_times": times} if self.digest == "parts" else {}),
            **({} if self.augment is None else {"augment": self.augment.config}),
            **({} if self.vectors is None else {"vectors": self._vector_digest}),
        )

    @functools.cached_property
    def _file_digests(self) -> tuple[str, str]:
        return file_digests(self.listing.file_paths, self.digest)

    @functools.cached_property
    def _vector_digest(self) -> str:
        files = [] if self.vectors is None else list(map(self.vectors.path, self.listing.videos.files))
        return file_digests(files, self.digest)[0]

    @property
    def videos(self) -> Sequence[Video]:
        """The videos that clips are cut from."""
        return self.listing.videos

    def sample(self, epoch: int, position: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The clip at a place of an epoch, pixels or latents [frames, height, width, channels]; its label or vectors.

        Raises:
            VideoError: the file is bad, and bad files are not, or no longer, skipped.
        """
        order, shares = self._draw(epoch)
        for shift in range(self.num_samples):
            sample = order[(position + shift) % self.num_samples]
            index, number, count = map(int, self._samples[sample])
            numbers = None if self.augment is None else self.augment.numbers(self.seed, epoch, int(sample))
            try:
                with self._progress.reading():
                    clip, vectors = self._cut(self.videos[index], number, float(shares[sample]), count, numbers)
            except VideoError as error:
                self.bad_files.add(self.videos[index], error)
                continue
            self._progress.add(self.windows.num_frames, self.num_samples)
            if vectors is not None:
                return clip, vectors
            label = int(self._labels[index])
            if self.augment is not None and numbers is not None:
                label = self.augment.label(label, numbers)
            return clip, None if self._encode is None else self._encode(label)
        raise VideoError(self.videos[0].path, "no usable file is left")

    def dataset(self, start_step: int = 0) -> Any:
        """An endless `tf.data.Dataset` of whole batches; the first is that of training step `start_step`."""
        if not self.steps_per_epoch:
            raise ValueError(
                f"`batch_size`: expected at most {self.num_samples}, the clips an epoch, for whole batches. "
                f"Received: {self.batch_size}"
            )
        epoch, batch = divmod(check_count("start_step", start_step, at_least=0), self.steps_per_epoch)
        whole = self.steps_per_epoch * self.batch_size
        first = batch * self.batch_size

        def places() -> Iterator[tuple[int, int, int]]:
            yield epoch, first, whole
            yield from ((later, 0, whole) for later in itertools.count(epoch + 1))

        return self._pipeline(places, drop_remainder=True)

    def epochs(self, drop_remainder: bool = False) -> Any:
        """A `tf.data.Dataset` of one epoch; every further iteration over it is the next epoch."""
        import tensorflow as tf

        counter = itertools.count()
        dataset = self._pipeline(lambda: iter([(next(counter), 0, self.num_samples)]), drop_remainder)
        steps = self.steps_per_epoch if drop_remainder else -(-self.num_samples // self.batch_size)
        return dataset.apply(tf.data.experimental.assert_cardinality(steps))

    def _pipeline(self, places: Callable[[], Iterator[tuple[int, int, int]]], drop_remainder: bool) -> Any:
        """Batches of the positions [first, last) of the epochs that `places` names."""
        import tensorflow as tf

        def positions(place: Any) -> Any:
            return tf.data.Dataset.range(place[1], place[2]).map(lambda position: (place[0], position))

        dataset = tf.data.Dataset.from_generator(places, output_signature=tf.TensorSpec([3], tf.int64))
        dataset = dataset.flat_map(positions)
        workers = self.store.reader.num_workers
        dataset = dataset.map(
            tf.autograph.experimental.do_not_convert(self._tensors), num_parallel_calls=workers, deterministic=True
        )
        return dataset.batch(self.batch_size, drop_remainder=drop_remainder).prefetch(2)

    def _tensors(self, epoch: Any, position: Any) -> Any:
        import tensorflow as tf

        frames = self.windows.num_frames
        shape, dtype = (frames, *self.image_shape), tf.as_dtype(self.store.dtype)
        if self._encode is None and self.vectors is None:
            clip = tf.numpy_function(lambda *place: self.sample(*map(int, place))[0], [epoch, position], dtype)
            return tf.ensure_shape(clip, shape)
        if self.vectors is not None:
            blank = np.zeros((frames, self.vectors.size), np.float32)
        elif self._encode is not None:
            blank = self._encode(0)
        kinds = (dtype, tf.as_dtype(blank.dtype))
        clip, label = tf.numpy_function(lambda *place: self.sample(*map(int, place)), [epoch, position], kinds)
        return tf.ensure_shape(clip, shape), tf.ensure_shape(label, blank.shape)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a frame."""
        height, width, channels = self.store.image_shape
        return (height, width, channels) if self._image_size is None else (*self._image_size, channels)

    def _cut(
        self, video: Video, number: int, share: float, count: int, numbers: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """A clip of a video, and its frames' vectors where there are some."""
        augment, chosen = (None if numbers is None else self.augment), list[np.ndarray]()

        def choose(times: np.ndarray) -> np.ndarray:
            if augment is None or numbers is None:
                wanted = self.windows.frames(times, self.windows.start(times, number, share, count))
            else:
                wanted = augment.frames(times, self.windows, (number, share, count), numbers)
            if self.vectors is not None:
                chosen.append(self.vectors.of(video, wanted, len(times)))
            return wanted

        clip = self.store.frames(video, choose)
        if augment is not None and numbers is not None:
            clip = augment.picture(clip, self.image_shape[:2], numbers)
        return clip, chosen[-1] if chosen else None

    def _drawn(self, epoch: int) -> tuple[np.ndarray, np.ndarray]:
        count = self.num_samples
        order = epoch_order(self.seed, epoch, count) if self.shuffle else np.arange(count)
        return order, window_numbers(self.seed, epoch, count)

    def _all_samples(self) -> np.ndarray:
        """(video, number of the clip in it, how many clips are in it) of every sample: int64 [samples, 3]."""
        if self.windows.by_length:
            counts = np.array([self._num_clips(video) for video in self.videos], np.int64)
        else:
            counts = np.full(len(self.videos), self.windows.clips_per_video, np.int64)
        if self.balance is not None:
            groups = self._labels if self.balance == "classes" else np.arange(len(counts))
            counts = balanced(counts, groups)
        videos = np.repeat(np.arange(len(counts)), counts)
        if not len(videos):
            raise ValueError(f"expected at least one clip of {self.windows.span} frames or more. Received: none")
        numbers = np.arange(len(videos)) - np.repeat(np.cumsum(counts) - counts, counts)
        return np.stack([videos, numbers, counts[videos]], axis=1)

    def _checked_balance(self, balance: str | None) -> str | None:
        optional(check_choice, "balance", balance, BALANCES)
        if balance is not None and self.windows.sampling == "all":
            raise ValueError(
                f'`balance`: expected it with `clip_sampling` "random" or "uniform", for "all" takes every clip once. '
                f"Received: {balance!r}"
            )
        if balance == "classes" and self.listing.labels is None:
            raise ValueError('`balance`: expected a data set with labels for "classes". Received: one without')
        return balance

    def _num_clips(self, video: Video) -> int:
        try:
            count, ticks = self.store.measured(video, lambda t: (self.windows.num_clips(t), self.windows.num_ticks(t)))
        except VideoError as error:
            self.bad_files.add(video, error)
            return 0
        if not count:
            self._announce(
                f"Note: {printable(video.path)} has {ticks} frames, fewer than {self.windows.span}; left out."
            )
        return count
