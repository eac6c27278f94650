"""An experiment: reuse the deep level's features in every second or third call (DeepCache, Ma et al. 2024).

arXiv:2312.00858 recomputes only a U-Net's shallow level in most steps and takes what comes up from below from an
earlier step. `quality_vs_calls` measures what that keeps of the quality and what it saves, against fewer calls.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from kvdiff.diffusion import DenoiserEngine, Sampler
from kvdiff.sampling import compiled

__all__ = ["CachingEngine", "caching_sampler"]


class CachingEngine(DenoiserEngine):
    """Runs a two-level `UNet3D`, whole in every `every`-th call, else with the lower level's last answer.

    Args:
        model: a `VideoDiffusion`.
        every: 1 reuses nothing.
    """

    def __init__(self, model: Any, every: int) -> None:
        super().__init__(self._denoise)
        self.spec = model.spec
        denoiser, self.every, self._calls, self._below = model.denoiser, every, 0, None
        below = denoiser.get_layer("up1").output
        self._whole = compiled(keras.Model(denoiser.input, [denoiser.output, below]))
        self._shallow = compiled(keras.Model([denoiser.input, below], denoiser.output))

    def _denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        """The raw output; begins anew at pure noise, where a window's first call is."""
        asked = {"noisy_clip": np.asarray(noisy_clip), "noise_label": np.asarray(noise_label)}
        asked = {name: keras.ops.convert_to_tensor(value) for name, value in asked.items()}
        if self._calls % self.every == 0:
            out, self._below = self._whole(asked)
        else:
            out = self._shallow([asked, self._below])
        self._calls += 1
        return keras.ops.convert_to_numpy(out)

    def run_window(self, *args: Any) -> Any:
        """As in `Engine`; the first call is whole."""
        self._calls = 0
        return super().run_window(*args)

    def cost(self, num_steps: int, rounds: int = 9) -> float:
        """What `num_steps` calls cost, in whole calls: by the medians of processor time on 32 clips."""
        frames, *frame_shape = self.spec.latent.num_frames, *self.spec.latent.frame_shape
        clip = np.random.default_rng(0).normal(size=(32, frames, *frame_shape)).astype(np.float32)
        label = np.full((32, frames), 0.5, np.float32)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        self._calls = 0
        for call in range(self.every * (rounds + 1)):
            whole, began = call % self.every == 0, time.process_time()
            self.denoise(clip, label)
            seconds[whole].append(time.process_time() - began)
        whole, shallow = (np.median(seconds[kind][1:]) if seconds[kind] else 0.0 for kind in (True, False))
        wholes = -(-num_steps // self.every)
        return float(wholes + (num_steps - wholes) * shallow / whole)


def caching_sampler(model: Any, every: int) -> Sampler:
    """The model's sampler with a `CachingEngine`."""
    return Sampler(model.spec, CachingEngine(model, every))
