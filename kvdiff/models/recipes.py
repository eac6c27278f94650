"""Recipes: settings of network and training that go together, by how long there is to train."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.tasks.known_frames import Mixture
from kvdiff.diffusion.tasks.mask_kinds import Ends, First, FrameMask, Nothing, Subset
from kvdiff.diffusion.transforms.values import PIXELS, values_from_config
from kvdiff.models.latent_codec import codec_of
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.training.averaged_muon import AveragedMuon
from kvdiff.training.budget import Annealed

if TYPE_CHECKING:
    import keras

_ONE_AT_A_TIME = {"at_a_time": 1, "num_steps": 2}


def mostly_known(frames: int) -> FrameMask:
    """Masks that leave few frames to generate, as sampling one frame at a time does; some leave all of them.

    On moving digits, at equal training, these predict 2 dB better than masks of which half leave most frames unknown:
    the nearer frames are what a network learns from first, and what sampling asks for.
    """
    half = max(check_count("frames", frames, at_least=2) // 2, 1)
    return Mixture(
        {
            First(half, frames - 1): 0.45,
            Ends(min(half, frames - 1)): 0.2,
            First(1, max(half - 1, 1)): 0.1,
            Subset(half): 0.1,
            Nothing(): 0.15,
        }
    )


def continuing(past: int) -> FrameMask:
    """Masks of `past` known frames at the beginning, and of none for a quarter of the clips."""
    return Mixture({First(past, past): 3.0, Nothing(): 1.0})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Network, model and optimiser for clips of any size.

    What was compared to choose these settings is in tests/benchmarks/quality_per_hour.

    Attributes:
        widths, blocks: of `UNet3D`.
        positions: into how many patches a frame's shorter side is cut, about; more cost more, and see finer.
        batch_size: clips a training step.
        learning_rate, warmup_steps: of `Annealed`.
        ema_momentum: of the averaged weights, at most.
        logsnr_shift: added to the cosine schedule's log-SNR; below 0 more of the training is spent on noisy clips,
            where the known frames are what there is to go by.
        enough_steps: with fewer, predictions were not worth looking at in what was tried.
    """

    widths: tuple[int, ...]
    blocks: int = 2
    positions: int = 8
    batch_size: int = 16
    learning_rate: float = 4e-3
    warmup_steps: int = 100
    ema_momentum: float = 0.998
    logsnr_shift: float = -3.0
    enough_steps: int = 800

    def changed(self, *, width: int | None = None, **settings: Any) -> Recipe:
        """The same with other settings, where they are not None; `width` is that of the first level."""
        settings = {name: value for name, value in settings.items() if value is not None}
        if width is not None:
            settings["widths"] = tuple(w * width // self.widths[0] for w in self.widths)
        return dataclasses.replace(self, **settings)

    def patch_size(self, height: int, width: int) -> int:
        """The largest power of two that leaves `positions` patches and divides what the network halves."""
        unit = 2 ** (len(self.widths) - 1)
        patch = 1
        while min(height, width) >= 2 * patch * self.positions and not any(
            side % (2 * patch * unit) for side in (height, width)
        ):
            patch *= 2
        return patch

    def denoiser(self, frame_shape: tuple[int, int, int], **options: Any) -> keras.Model:
        """A network for frames (height, width, channels); `options` of `UNet3D` in place of the recipe's."""
        height, width, channels = frame_shape
        own = dict(
            widths=self.widths,
            blocks=self.blocks,
            patch_size=self.patch_size(height, width),
            known_per_side=2,
            motion_reach=max(4, min(height, width) // 12),
        )
        return UNet3D(channels, **{**own, **options})

    def model(
        self,
        clip: ClipSpec,
        denoiser: keras.Model | None = None,
        *,
        network: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> VideoDiffusion:
        """A model of `denoiser`, by default the recipe's; `options` of `VideoDiffusion` in place of the recipe's.

        `network` are options of the recipe's denoiser, such as its conditions.

        With a `codec` the network is for its latent frames.
        """
        codec = codec_of(options.get("codec"), clip, values_from_config(options.get("values", PIXELS)))
        frame_shape = clip.frame_shape if codec is None else codec.latent_shape(clip.frame_shape)
        own = dict(
            prediction="x0",
            schedule={"name": "cosine", "logsnr_shift": self.logsnr_shift},
            known_frames=mostly_known(clip.num_frames),
            sampling={
                "predict": _ONE_AT_A_TIME,
                "rollout": _ONE_AT_A_TIME,
                "interpolate": {"num_steps": 4},
                "generate": {"spacing": "uniform_logsnr"},
            },
        )
        return VideoDiffusion(clip, denoiser or self.denoiser(frame_shape, **(network or {})), **{**own, **options})

    def forecaster(
        self, clip: ClipSpec, past: int | None = None, *, network: Mapping[str, Any] | None = None, **options: Any
    ) -> VideoDiffusion:
        """A model whose predictions differ as the data does: for ensembles of forecasts.

        The recipe's own predicts x_0, which keeps what it saw; its members hardly differ. This one predicts v, all
        frames at once.

        Args:
            clip: its shape.
            past: the frames that most training clips know; None: every task alike.
            network, **options: as of `model`.
        """
        own: dict[str, Any] = dict(prediction="v", schedule="cosine", sampling={"predict": {"num_steps": 20}})
        if past is not None:
            own["known_frames"] = continuing(past)
        return self.model(clip, network={"motion_reach": 0, **(network or {})}, **{**own, **options})

    def rate(self, steps: int) -> Annealed:
        """The learning rate of a training of so many steps."""
        return Annealed(self.learning_rate, self.warmup_steps, steps)

    def optimizer(self, rate: Annealed) -> keras.optimizers.Optimizer:
        """Muon for matrices; the head, the kernels of motion and all vectors learn by its Adam."""
        return AveragedMuon(
            rate,
            adam_beta_2=0.99,
            weight_decay=0.0,
            adam_weight_decay=0.0,
            exclude_layers=["head", "moved"],
            global_clipnorm=1.0,
            ema_momentum=self.ema_momentum,
        )


RECIPES = {
    "tiny": Recipe((48, 96), positions=8),
    "small": Recipe((48, 96), positions=16),
    "base": Recipe((48, 96, 192), positions=16),
}
"""The recipes by name: for minutes, an hour, and a night of one core."""


def recipe_named(name: str) -> Recipe:
    """The recipe "tiny", "small" or "base"."""
    return RECIPES[check_choice("recipe", name, RECIPES)]


def seeded_model(recipe: Recipe, clip: ClipSpec, seed: int, **options: Any) -> VideoDiffusion:
    """The recipe's model, as `Recipe.model` makes it, uncompiled; the weights follow from `seed` too."""
    import keras

    keras.utils.set_random_seed(seed)
    return recipe.model(clip, seed=seed, **options)
