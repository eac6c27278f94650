"""Processor time of a training step a clip, in pixels and on latents: python -m tests.benchmarks.latent.step_cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

import kvdiff

SHAPE = (8, 64, 64, 1)
CLIPS, EPOCHS = 4, 6


def main() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.uniform(-1, 1, (CLIPS, *SHAPE)).astype(np.float32)
    in_pixels, _ = _trained(pixels)
    autoencoder = kvdiff.VideoAutoencoder(1)
    latents = rng.standard_normal((CLIPS, 8, 16, 16, 4)).astype(np.float32)
    on_latents, model = _trained(latents, kvdiff.UNet3D(4), codec=autoencoder)
    encode, decode = model.spec.codec.encode, model.spec.codec.decode
    of_encoding, of_decoding = _milliseconds(lambda: encode(pixels)), _milliseconds(lambda: decode(latents))
    print(f"ms a clip of 8 frames: a step in pixels {in_pixels:.0f}, on latents {on_latents:.0f}")
    print(f"ratio {in_pixels / on_latents:.1f}; to encode {of_encoding:.1f}, to decode {of_decoding:.1f}")


def _trained(clips: np.ndarray, denoiser: Any = None, **arguments: Any) -> tuple[float, Any]:
    keras.utils.set_random_seed(0)
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, **arguments)
    model.compile()
    fit = lambda: model.fit(clips, batch_size=CLIPS, epochs=EPOCHS, verbose=0)  # noqa: E731
    return _milliseconds(fit) / EPOCHS, model


def _milliseconds(run: Callable[[], Any]) -> float:
    """Processor time a clip, after a first run that pays for what is prepared once."""
    run()
    begun = time.process_time()
    run()
    return 1e3 * (time.process_time() - begun) / CLIPS


if __name__ == "__main__":
    main()
