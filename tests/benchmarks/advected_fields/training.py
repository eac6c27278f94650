"""The two networks: one that is trained to sample the law, one of the same size that is trained to give its mean."""

from __future__ import annotations

import functools
import pathlib
from typing import Any

import keras
import numpy as np
from keras import ops

import kvdiff
from kvdiff.diffusion.tasks.known_frames import First
from kvdiff.diffusion.transforms.values import Unbounded
from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.benchmarks.advected_fields.law import AdvectedFields
from tests.benchmarks.quality_per_hour.training import ProcessorClock

__all__ = ["KINDS", "DeterministicNetwork", "built", "train"]

_EPOCH, _BATCH, _CLIPS = 100, 64, 200_000
_NETWORK = dict(patch_size=2, widths=(48, 96), blocks=1, groups=4, heads=2, known_per_side=2)


class DeterministicNetwork(kvdiff.VideoDiffusion):
    """The same network as a regression: no noise goes in, the mean of the frames to come is what it is trained for."""

    def noised(self, data: Any, training_step: Any, timestep: Any = None, *, samples: Any = None) -> Any:
        """As in `VideoDiffusion` at the last timestep, with 0 in place of noise."""
        clips = data[0] if isinstance(data, (tuple, list)) else data
        last = self.forward_diffusion.schedule.num_timesteps - 1
        timestep = last + ops.zeros_like(clips[:, 0, 0, 0, 0], "int32")
        inputs, target, weight = super().noised(data, training_step, timestep, samples=samples)
        known = ops.cast(inputs["noise_label"] == 0.0, "float32")[:, :, None, None, None]
        return {**inputs, "noisy_clip": known * inputs["noisy_clip"]}, target, weight

    def future(self, past: np.ndarray) -> np.ndarray:
        """The mean of the frames after `past`, float32."""
        clip = np.zeros((len(past), *self.spec.clip.shape), np.float32)
        clip[:, : past.shape[1]] = past
        label = np.ones(clip.shape[:2], np.float32)
        label[:, : past.shape[1]] = 0.0
        return self.sampler.engine.denoise(clip, label)[:, past.shape[1] :].numpy()


KINDS: dict[str, tuple[type[kvdiff.VideoDiffusion], str]] = {
    "diffusion": (kvdiff.VideoDiffusion, "v"),
    "deterministic": (DeterministicNetwork, "x0"),
}
"""Classes and predictions."""


def built(kind: str, law: AdvectedFields, steps: int) -> Any:
    """A compiled model of a kind, its learning rate annealed over so many steps."""
    keras.utils.set_random_seed(0)
    build, prediction = KINDS[kind]
    schedule = {"name": "cosine", "logsnr_shift": -1.0}
    model = build(
        (law.frames, law.size, law.size, 1),
        kvdiff.UNet3D(1, **_NETWORK),
        values=Unbounded(),
        schedule=schedule,
        prediction=prediction,
        known_frames=First(law.past, law.past),
    )
    rate = keras.optimizers.schedules.CosineDecay(1e-4, steps - 100, warmup_target=4e-3, warmup_steps=100)
    model.compile(
        keras.optimizers.Muon(
            rate,
            adam_beta_2=0.99,
            adam_weight_decay=0.0,
            weight_decay=0.0,
            exclude_layers=["head"],
            use_ema=True,
            ema_momentum=0.998,
            global_clipnorm=1.0,
        )
    )
    return model


def train(kind: str, law: AdvectedFields, steps: int, folder: pathlib.Path) -> tuple[kvdiff.VideoDiffusion, float]:
    """Train, or go on with a training: (the model with averaged weights, processor seconds)."""
    model = built(kind, law, steps)
    batches = ClipBatches(law.sample(_CLIPS, seed=1), _BATCH, steps_per_epoch=_EPOCH)
    clock = ProcessorClock(functools.partial(print, flush=True))
    checkpoint = TrainingCheckpoint(folder, batches, every=500, keep=1, callbacks=[clock])
    options: dict[str, Any] = dict(epochs=steps // _EPOCH, steps_per_epoch=_EPOCH, shuffle=False, verbose=0)
    model.fit(checkpoint.dataset(), callbacks=[clock, checkpoint], **options)
    return model, float(np.sum(clock.seconds))
