"""The recipe of the shipped model: data, network, schedule and optimiser, in one value."""

from __future__ import annotations

import dataclasses
import pathlib
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.data.moving_digits import moving_digits

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

__all__ = [
    "CONTINUE",
    "RECIPE",
    "SAMPLING",
    "SHIPPED",
    "Recipe",
    "build_model",
    "forget_backup",
    "held_out_clips",
    "train",
]

SHIPPED = pathlib.Path(__file__).resolve().parents[2] / "saved_models" / "moving_digits" / "model.keras"
"""Where a checkout keeps the model that the recipe trained."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that decides the trained weights, apart from the machine's arithmetic.

    Attributes:
        num_clips: training clips; their digits, positions and velocities come from `seed`.
        num_frames, size: of the clips.
        widths, blocks, attention, patch_size: of `UNet3D`.
        logsnr_shift: added to the cosine schedule's log-SNR; below 0 more of the training is spent on noisy clips,
            where the known frames are what there is to go by.
        known_frames: weights of the tasks in training, as in `KnownFrames`.
        epochs, steps_per_epoch, batch_size: the length of training.
        learning_rate, warmup_steps: a linear warm-up to the peak, then a cosine to zero.
        ema_momentum: of the averaged weights.
        seed: of data, initial weights and noise.
    """

    num_clips: int = 60_000
    num_frames: int = 8
    size: int = 16
    widths: tuple[int, ...] = (48, 96)
    blocks: int = 2
    attention: tuple[str | None, ...] = (None, "space_time")
    patch_size: int = 2
    logsnr_shift: float = -3.0
    known_frames: tuple[tuple[str, float], ...] = (("none", 0.2), ("first", 0.35), ("ends", 0.25), ("random", 0.2))
    epochs: int = 40
    steps_per_epoch: int = 200
    batch_size: int = 16
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    ema_momentum: float = 0.995
    seed: int = 0

    @property
    def config(self) -> dict[str, Any]:
        """The attributes, JSON-able."""
        return {**dataclasses.asdict(self), "known_frames": dict(self.known_frames)}


RECIPE = Recipe()
CONTINUE = dataclasses.replace(RECIPE, epochs=3, steps_per_epoch=100, learning_rate=1e-4, seed=1)


SAMPLING: dict[str, Any] = {
    "solver": "dpmpp_2m",
    "by_task": {
        "prediction": {"at_a_time": 1, "num_steps": 2},
        "interpolation": {"num_steps": 4},
        "generation": {"spacing": "uniform_logsnr"},
    },
}
"""How the demo samples. One frame at a time, of two calls each, keeps a digit far longer than all four at once."""


def held_out_clips(num_clips: int = 64, *, recipe: Recipe = RECIPE, seed: int = 1000) -> np.ndarray:
    """Digits and trajectories never seen in training: uint8 [num_clips, frames, size, size, 1]."""
    return moving_digits(num_clips, num_frames=recipe.num_frames, size=recipe.size, split="test", seed=seed)


def build_model(recipe: Recipe) -> VideoDiffusion:
    """A fresh, uncompiled model."""
    import keras

    from kvdiff.models.unet3d import UNet3D
    from kvdiff.models.video_diffusion import VideoDiffusion

    keras.utils.set_random_seed(recipe.seed)
    denoiser = UNet3D(
        1, widths=recipe.widths, blocks=recipe.blocks, attention=recipe.attention, patch_size=recipe.patch_size
    )
    return VideoDiffusion(
        (recipe.num_frames, recipe.size, recipe.size, 1),
        denoiser,
        schedule={"name": "cosine", "logsnr_shift": recipe.logsnr_shift},
        known_frames=dict(recipe.known_frames),
        seed=recipe.seed,
    )


def train(model: VideoDiffusion, recipe: Recipe, directory: pathlib.Path, *, resume: bool = True) -> dict[str, Any]:
    """Compile `model` and fit it by `recipe`, saving the training to `directory`/backup after every epoch.

    A run that was cut off goes on at the last step that was saved, with the clips and the noise that it would have had:
    with the same number of threads the weights come out the same. `directory` gets the record of the run. The backup
    stays until `forget_backup`, so that what follows training can be cut off too.

    Returns:
        `{"loss": [one an epoch], "seconds": float, "steps": int}`, of all runs that led to these weights.
    """
    from kvdiff.training import ClipBatches, RunRecord, Throughput, TrainingCheckpoint

    model.compile(_optimizer(recipe))
    clips = moving_digits(recipe.num_clips, num_frames=recipe.num_frames, size=recipe.size, seed=recipe.seed)
    batches = ClipBatches(clips, recipe.batch_size, steps_per_epoch=recipe.steps_per_epoch, seed=recipe.seed)
    throughput, record = Throughput(recipe.batch_size), RunRecord(directory, recipe=recipe.config)
    checkpoint = TrainingCheckpoint(directory / "backup", batches, callbacks=[throughput, record], resume=resume)
    length = dict(epochs=recipe.epochs, steps_per_epoch=recipe.steps_per_epoch)
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=[throughput, record, checkpoint], **length)
    loss, seconds = ([row[name] for row in record.rows] for name in ("loss", "seconds"))
    return {"loss": loss, "seconds": sum(seconds), "steps": recipe.epochs * recipe.steps_per_epoch}


def forget_backup(directory: pathlib.Path) -> None:
    """Remove what `train` keeps for resuming; the next run starts anew."""
    shutil.rmtree(directory / "backup", ignore_errors=True)


def _optimizer(recipe: Recipe) -> Any:
    import keras

    rate = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=recipe.learning_rate / recipe.warmup_steps,
        decay_steps=recipe.epochs * recipe.steps_per_epoch - recipe.warmup_steps,
        warmup_target=recipe.learning_rate,
        warmup_steps=recipe.warmup_steps,
    )
    # Muon learnt as much as Adam from about half the clips here; the head and all vectors stay with its Adam.
    return keras.optimizers.Muon(
        rate,
        adam_beta_2=0.99,
        weight_decay=0.0,
        adam_weight_decay=0.0,
        exclude_layers=["head"],
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=recipe.ema_momentum,
    )
