"""The recipe of the shipped model: its data, the settings of its training, and how long that takes, in one value."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.data.moving_digits import moving_digits
from kvdiff.diffusion import ClipSpec
from kvdiff.models.recipes import RECIPES as SETTINGS, Recipe as Settings, seeded_model

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

SHIPPED = "moving_digits"
"""The preset that the recipe trained."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, apart from the machine's arithmetic.

    Attributes:
        num_clips: training clips; their digits, positions and velocities come from `seed`.
        num_frames, size: of the clips.
        settings: of network, model and optimiser.
        epochs, steps_per_epoch: the length of training.
        seed: of data, initial weights and noise.
    """

    num_clips: int = 60_000
    num_frames: int = 8
    size: int = 32
    settings: Settings = SETTINGS["tiny"]
    epochs: int = 80
    steps_per_epoch: int = 100
    seed: int = 0

    @property
    def config(self) -> dict[str, Any]:
        """The attributes, JSON-able."""
        return dataclasses.asdict(self)

    def clips(self, num_clips: int, split: str, *, seed: int) -> np.ndarray:
        """Moving digits: uint8 [num_clips, frames, size, size, 1]."""
        return moving_digits(num_clips, num_frames=self.num_frames, size=self.size, split=split, seed=seed)


RECIPE = Recipe()
CONTINUE = dataclasses.replace(
    RECIPE, epochs=3, seed=1, settings=dataclasses.replace(RECIPE.settings, learning_rate=1e-4)
)


def held_out_clips(num_clips: int = 64, *, recipe: Recipe = RECIPE, seed: int = 1000) -> np.ndarray:
    """Digits and trajectories never seen in training: uint8 [num_clips, frames, size, size, 1]."""
    return recipe.clips(num_clips, "test", seed=seed)


def build_model(recipe: Recipe) -> VideoDiffusion:
    """A fresh, uncompiled model."""
    clip = ClipSpec(recipe.num_frames, recipe.size, recipe.size, 1)
    return seeded_model(recipe.settings, clip, recipe.seed)


def train(model: VideoDiffusion, recipe: Recipe, directory: pathlib.Path, *, resume: bool = True) -> dict[str, Any]:
    """Compile `model` and fit it by `recipe`, saving the training to `directory`/backup after every epoch.

    A run that was cut off goes on at the last step that was saved, with the clips and the noise that it would have had:
    with the same number of threads the weights come out the same. `directory` gets the record of the run. The backup
    stays until `forget_backup`, so that what follows training can be cut off too.

    Returns:
        `{"loss": [one an epoch], "seconds": float, "steps": int}`, of all runs that led to these weights.
    """
    from kvdiff.training import ClipBatches, RunRecord, Throughput, TrainingCheckpoint

    batch_size, steps = recipe.settings.batch_size, recipe.epochs * recipe.steps_per_epoch
    model.compile(recipe.settings.optimizer(recipe.settings.rate(steps)))
    clips = recipe.clips(recipe.num_clips, "train", seed=recipe.seed)
    batches = ClipBatches(clips, batch_size, steps_per_epoch=recipe.steps_per_epoch, seed=recipe.seed)
    throughput, record = Throughput(batch_size), RunRecord(directory, recipe=recipe.config)
    checkpoint = TrainingCheckpoint(directory / "backup", batches, callbacks=[throughput, record], resume=resume)
    length = dict(epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=[throughput, record, checkpoint], **length)
    loss, seconds = ([row[name] for row in record.rows] for name in ("loss", "seconds"))
    return {"loss": loss, "seconds": sum(seconds), "steps": steps}


def forget_backup(directory: pathlib.Path) -> None:
    """Remove what `train` keeps for resuming; the next run starts anew."""
    shutil.rmtree(directory / "backup", ignore_errors=True)
