"""A cache of latents: as on the fly, resumed after kill -9, shared by processes, refused where it is another."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.data import LatentCache, VideoError, list_directory, video_batches
from kvdiff.diffusion.transforms.autoencoder import Autoencoder

SHAPE = (3, 8, 8, 1)
DIGEST = "0123456789abcdef"
PROGRAM = """
import sys, time
from tests.data.test_latents import batches, spec
from kvdiff.data import LatentCache
print(LatentCache(sys.argv[2], spec(pause=float(sys.argv[3]))).prepare(batches(sys.argv[1])), flush=True)
"""


class Doubled:
    """A network without weights: every second pixel, twice as large."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause

    def encode(self, clip: Any, xp: Any = np) -> Any:
        time.sleep(self.pause)
        return 2.0 * clip[:, :, ::2, ::2]

    def decode(self, latent: Any, xp: Any = np) -> Any:
        return latent.repeat(2, axis=2).repeat(2, axis=3) / 2.0


def spec(digest: str = DIGEST, pause: float = 0.0) -> Any:
    codec = Autoencoder(2, SHAPE[1:], 1, digest).bound(Doubled(pause))
    schedule, prediction = kvdiff.NoiseSchedule.from_config({"name": "cosine"}), kvdiff.Prediction("v")
    return kvdiff.ModelSpec(kvdiff.diffusion.ClipSpec(*SHAPE), schedule, prediction, codec=codec)


def batches(folder: Any, **options: Any) -> Any:
    listing = list_directory(folder, None)
    own = dict(label_mode=None, num_frames=3, image_size=8, color_mode="grayscale", batch_size=2, num_workers=1)
    return video_batches(listing, **{**own, **options})


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("videos")
    rng = np.random.default_rng(0)
    for index in range(6):
        np.save(folder / f"{index}.npy", rng.integers(0, 256, (5 + index, 8, 8, 1), dtype=np.uint8))
    return folder


@pytest.fixture
def cache(videos: pathlib.Path, tmp_path: pathlib.Path) -> LatentCache:
    cache = LatentCache(tmp_path / "latents", spec())
    seen: list[tuple[int, int]] = []
    assert cache.prepare(batches(videos), progress=lambda *call: seen.append(call)) == 6
    assert seen == [(index, 6) for index in range(1, 7)]
    return cache


def test_its_clips_are_those_of_the_pixels_encoded(videos: pathlib.Path, cache: LatentCache) -> None:
    for options in (dict(), dict(clip_sampling="all", window_step=2), dict(frame_stride=2)):
        pixels, latents = batches(videos, **options), batches(videos, latents=cache, **options)
        assert pixels.num_samples == latents.num_samples
        for position in range(4):
            clip, latent = pixels.sample(1, position)[0], latents.sample(1, position)[0]
            np.testing.assert_array_equal(latent, spec().encode(clip[None])[0])
            assert latent.dtype == np.float32
    (batch,) = batches(videos, latents=cache).dataset(3).take(1)
    assert batch.shape == (2, 3, 4, 4, 1) and batch.dtype == "float32"
    first, second = batches(videos).config, batches(videos, latents=cache).config
    assert first != second  # A training that goes on must find the same cache.


def test_what_is_there_is_not_encoded_again(videos: pathlib.Path, cache: LatentCache) -> None:
    assert cache.prepare(batches(videos)) == 0
    np.save(videos / "more.npy", np.zeros((4, 8, 8, 1), np.uint8))
    try:
        assert cache.prepare(batches(videos)) == 1
    finally:
        (videos / "more.npy").unlink()


def process(videos: pathlib.Path, folder: pathlib.Path, pause: float) -> Any:
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow"}
    arguments = [sys.executable, "-c", PROGRAM, str(videos), str(folder), str(pause)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    kept = (".npy", ".json")
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.suffix in kept}


@pytest.mark.slow
def test_after_kill_9_it_goes_on_to_the_same_files(
    videos: pathlib.Path, cache: LatentCache, tmp_path: pathlib.Path
) -> None:
    folder = tmp_path / "killed"
    worker = process(videos, folder, 0.3)
    deadline = time.monotonic() + 300
    while not list(folder.rglob("*/*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    assert 1 <= len(list(folder.rglob("*/*.json"))) < 6
    with pytest.raises(ValueError, match="`latents`: expected those of all 6 videos.*which lacks"):
        batches(videos, latents=LatentCache(folder, spec()))
    pair = [process(videos, folder, 0.05) for _ in range(2)]
    encoded = [int(worker.communicate(timeout=300)[0]) for worker in pair]
    assert 1 <= sum(encoded) < 6  # Each by one of them.
    assert contents(folder) == contents(cache.folder)


def test_a_cache_of_another_autoencoder_is_refused(videos: pathlib.Path, cache: LatentCache) -> None:
    with pytest.raises(
        ValueError, match="expected latents of this autoencoder. Received: .*, those of another: its digest"
    ):
        LatentCache(cache.folder, spec("f" * 16))
    with pytest.raises(ValueError, match="`spec`: expected that of a model with an autoencoder"):
        LatentCache(cache.folder, spec().with_codec(None))
    (cache.folder / "latents.json").write_text("{")
    with pytest.raises(ValueError, match="expected a cache of latents. Received: .*damaged"):
        LatentCache(cache.folder, spec())


def test_another_data_set_and_other_frames_are_refused(
    videos: pathlib.Path, cache: LatentCache, tmp_path: pathlib.Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    np.save(other / "0.npy", np.ones((5, 8, 8, 1), np.uint8))
    with pytest.raises(ValueError, match="which lacks 1, e.g. of .*0.npy: it is of another data set"):
        batches(other, latents=cache)
    with pytest.raises(ValueError, match=r"expected frames of the model, \(8, 8, 1\). Received: \(6, 6, 1\)"):
        batches(videos, latents=cache, image_size=6)
    with pytest.raises(TypeError, match="`latents`: expected a LatentCache"):
        batches(videos, latents=str(cache.folder))


def test_damaged_latents_are_refused(videos: pathlib.Path, cache: LatentCache) -> None:
    made = batches(videos, latents=cache)
    stem = made.store.stem(made.videos[2])
    content = bytearray(pathlib.Path(f"{stem}.npy").read_bytes())
    content[-3] ^= 4
    pathlib.Path(f"{stem}.npy").write_bytes(content)
    with pytest.raises(VideoError, match=r"its latents, .*npy, are damaged \(its content is not what was written\)"):
        made.store.frames(made.videos[2], lambda times: np.arange(2))
    pathlib.Path(f"{stem}.npy").unlink()
    with pytest.raises(ValueError, match="which lacks 1"):
        batches(videos, latents=cache)
    assert cache.prepare(batches(videos)) == 1
    made = batches(videos, latents=cache)
    assert made.store.frames(made.videos[2], lambda times: np.arange(2)).shape == (2, 4, 4, 1)


def test_a_model_trains_on_it(videos: pathlib.Path, tmp_path: pathlib.Path) -> None:
    clip, label = keras.Input((None, None, None, 2), name="noisy_clip"), keras.Input((None,), name="noise_label")
    denoiser = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(2)(clip))
    autoencoder = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=2, widths=(4,), blocks=1)
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, codec=autoencoder)
    model.compile(keras.optimizers.SGD(0.01))
    cache = LatentCache(tmp_path / "latents", model.spec)
    cache.prepare(batches(videos))
    data = batches(videos, latents=cache)
    model.fit(data.dataset(), steps_per_epoch=data.steps_per_epoch, epochs=1, verbose=0)
