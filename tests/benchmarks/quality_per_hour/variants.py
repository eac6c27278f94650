"""What is compared: a variant is everything that decides the trained weights but the budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import keras

import kvdiff
from kvdiff.diffusion.tasks.known_frames import Ends, First, Mixture, Nothing, Subset
from kvdiff.models.recipes import mostly_known

__all__ = ["VARIANTS", "Variant"]

_MIXED = {"none": 0.2, "first": 0.35, "ends": 0.25, "random": 0.2}
_MANY = Mixture({First(3): 0.45, Ends(4): 0.25, Subset(4): 0.15, Nothing(): 0.15})
_NEAR = Mixture({First(4, 7): 0.5, Ends(4): 0.2, First(1, 3): 0.1, Subset(4): 0.1, Nothing(): 0.1})


@dataclasses.dataclass(frozen=True)
class Variant:
    """Settings of network, model and optimiser.

    Attributes:
        network: keywords of the denoiser.
        model: keywords of `VideoDiffusion` besides.
        batch_size, learning_rate, ema_momentum: of the training.
        denoiser: its name in `kvdiff`.
    """

    network: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    batch_size: int = 16
    learning_rate: float = 4e-3
    ema_momentum: float = 0.995
    logsnr_shift: float = -3.0
    bfloat16: bool = False
    denoiser: str = "UNet3D"

    def build(self, steps: int, *, seed: int = 0) -> kvdiff.VideoDiffusion:
        """A compiled model, its learning rate annealed to 0 over `steps`."""
        keras.utils.set_random_seed(seed)
        policy = keras.mixed_precision.global_policy()
        keras.mixed_precision.set_global_policy("mixed_bfloat16" if self.bfloat16 else policy)
        denoiser = getattr(kvdiff, self.denoiser)(1, **self.network)
        keras.mixed_precision.set_global_policy(policy)
        schedule = {"name": "cosine", "logsnr_shift": self.logsnr_shift}
        settings = {"known_frames": _MIXED, **self.model}
        model = kvdiff.VideoDiffusion((8, 16, 16, 1), denoiser, schedule=schedule, seed=seed, **settings)
        model.compile(self._optimizer(steps))
        return model

    def _optimizer(self, steps: int) -> Any:
        warmup = min(100, steps // 4)
        rate = keras.optimizers.schedules.CosineDecay(
            self.learning_rate / max(warmup, 1),
            decay_steps=max(steps - warmup, 1),
            warmup_target=self.learning_rate,
            warmup_steps=warmup,
        )
        averaged = dict(use_ema=True, ema_momentum=self.ema_momentum, global_clipnorm=1.0, weight_decay=0.0)
        return keras.optimizers.Muon(
            rate, adam_beta_2=0.99, adam_weight_decay=0.0, exclude_layers=["head", "moved"], **averaged
        )


_MOTION = dict(known_per_side=2, motion_reach=4)

VARIANTS: dict[str, Variant] = {
    "base": Variant(),
    "two_known": Variant(dict(known_per_side=2)),
    "two_known_x0": Variant(dict(known_per_side=2), dict(prediction="x0")),
    "motion": Variant(_MOTION, dict(prediction="x0")),
    "motion_bfloat16": Variant(_MOTION, dict(prediction="x0"), bfloat16=True),
    "motion_many_known": Variant(_MOTION, dict(prediction="x0", known_frames=_MANY)),
    "motion_near": Variant(_MOTION, dict(prediction="x0", known_frames=_NEAR)),
    "near": Variant(_MOTION, dict(prediction="x0", known_frames=mostly_known(8)), ema_momentum=0.998),
    "transformer": Variant(
        _MOTION | dict(patch_size=4, width=128, blocks=8), dict(prediction="x0"), denoiser="VideoTransformer"
    ),
    "patch4": Variant(dict(patch_size=4, widths=(96,), attention=("space_time",))),
}
"""Variants by name. README.md says which were measured."""
