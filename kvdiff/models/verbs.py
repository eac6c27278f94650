"""The verbs of sampling as methods of a Keras model."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.sampling.stream import Stream


class SamplingVerbs:
    """Passes the verbs on to `sampler`; see `kvdiff.diffusion.Sampler.infill` for every keyword."""

    sampler: Sampler

    def generate(self, num_clips: int = 1, **sampling: Any) -> np.ndarray:
        """New clips from noise: float32 [num_clips, frames, height, width, channels]. See `Sampler`."""
        return self.sampler.generate(num_clips, **sampling)

    def predict_frames(self, past: np.ndarray, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """The frames after `past`: float32 [batch, num_frames, height, width, channels]. See `Sampler`."""
        return self.sampler.predict_frames(past, num_frames, **sampling)

    def interpolate(
        self, before: np.ndarray, after: np.ndarray, num_frames: int | None = None, **sampling: Any
    ) -> np.ndarray:
        """The frames between two ends: float32 [batch, num_frames, height, width, channels]. See `Sampler`."""
        return self.sampler.interpolate(before, after, num_frames, **sampling)

    def infill(self, clip: np.ndarray, known: np.ndarray, **sampling: Any) -> np.ndarray:
        """`clip` with the frames that are not `known` generated: float32, of its shape. See `Sampler`."""
        return self.sampler.infill(clip, known, **sampling)

    def increase_frame_rate(self, clip: np.ndarray, factor: int, **sampling: Any) -> np.ndarray:
        """`clip` with `factor` - 1 new frames after each but the last. See `Sampler`."""
        return self.sampler.increase_frame_rate(clip, factor, **sampling)

    def rollout(self, num_frames: int, past: np.ndarray | None = None, **sampling: Any) -> np.ndarray:
        """A video of any length, window by window: float32 [batch, num_frames, …]. See `Sampler`."""
        return self.sampler.rollout(num_frames, past, **sampling)

    def stream(self, past: np.ndarray | None = None, actions: Any = None, **sampling: Any) -> Stream:
        """A rollout handed out frame by frame, [batch, height, width, channels] each. See `Sampler`."""
        return self.sampler.stream(past, actions, **sampling)
