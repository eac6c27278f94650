"""The options of `kvdiff train`, but for those of data with units."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kvdiff.cli.field_options import parse_size
from kvdiff.cli.options import Links

if TYPE_CHECKING:
    from kvdiff.models.recipes import Recipe
    from kvdiff.models.video_diffusion import VideoDiffusion

PRECISIONS = {"float32": "float32", "bfloat16": "mixed_bfloat16"}
_RECIPE = "small"
_RATES = {"all": 1e-3, "lora": 4e-3}  # Of a training that begins with a trained model: of all weights, of adapters.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a training is told. None is the default that its help names."""

    base: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Begin with a trained model: a run, a .keras file, or a preset's name or folder. Network and clips "
            "are its own. [default: new weights]",
        ),
    ] = None
    lora: Annotated[
        int | None,
        typer.Option(metavar="RANK", min=1, help="With --from, train adapters of this rank alone; the run is merged."),
    ] = None
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            help="Frames of a training clip; longer files are cut into windows. [default: 8, or as of --from]",
        ),
    ] = None
    stride: Annotated[
        int, typer.Option(metavar="N", min=1, help="Frames from the start of one window to the next.")
    ] = 1
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="The model's clock: frames a second at which clips are read, now and for sampling. "
            "[default: frames as they are]",
        ),
    ] = None
    default_fps: Annotated[
        float | None,
        typer.Option(metavar="X", help="Frames a second of arrays and folders of frames, which --fps needs to know."),
    ] = None
    links: Links = None
    size: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Height and width that videos are resized and cut to, e.g. 48x64, or one number for both; of data "
            "with units the part that a clip shows. [default: 32; whole frames of data with units; with --from the "
            "model's, of which all frames then must be]",
        ),
    ] = None
    channels: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=3, help="3 for colour, 1 for grey. [default: 3, or as of --from]"),
    ] = None
    labels: Annotated[
        bool,
        typer.Option(
            "--labels",
            help="The folders inside CLIPS, one folder, are classes that the model learns: kvdiff generate --label "
            "NAME.",
        ),
    ] = False
    actions: Annotated[
        pathlib.Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Vectors of the frames, such as actions, that the model learns: of CLIPS/a.mp4 those of FOLDER/a.npy, "
            "[frames, n]. Then kvdiff generate --actions FILE.",
        ),
    ] = None
    validation_split: Annotated[
        float | None,
        typer.Option(
            "--validation",
            metavar="SHARE",
            help="Hold out this share of the files, such as 0.1: their loss, val_loss, is measured after each epoch.",
        ),
    ] = None
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="With --validation, stop when val_loss has not fallen for so many epochs, and keep the best weights.",
        ),
    ] = None
    cache: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FOLDER", help="Keep decoded clips there. [default: in memory; with --draw not at all]"),
    ] = None
    draw: Annotated[
        bool,
        typer.Option(
            "--draw",
            help="For long files: as many windows an epoch, each from anywhere in its part of a file and decoded when "
            "it is needed, in place of all of them from memory.",
        ),
    ] = False
    balance: Annotated[
        bool, typer.Option("--balance", help="With --draw, every file equally often, however long it is.")
    ] = False
    digest: Annotated[
        str, typer.Option(metavar="HOW", help="How --resume knows the files again: by 'parts' of them, or 'all'.")
    ] = "parts"
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out files that cannot be read, up to a tenth of them.")
    ] = False
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Network and settings: 'tiny' for minutes of training, 'small' for an hour, 'base' for a night. "
            "[default: small]",
        ),
    ] = None
    epochs: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Passes over all windows. [default: 50, without --minutes]")
    ] = None
    minutes: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.1, help="Train for about so long, in place of --epochs; a step is timed first."
        ),
    ] = None
    batch_size: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Windows a training step. [default: the recipe's]")
    ] = None
    learning_rate: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            min=1e-8,
            help="Of Muon at its peak. [default: the recipe's; 0.001 with --from, 0.004 with --lora]",
        ),
    ] = None
    width: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=24, help="Channels of the network's first level, a multiple of 24. [default: the recipe's]"
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What the network computes in: float32, or bfloat16, which some machines do faster. [default: "
            "float32]",
        ),
    ] = None
    latent_factor: Annotated[
        int | None,
        typer.Option(metavar="N", help="Train an autoencoder first, whose frames are 2, 4 or 8 times smaller."),
    ] = None
    latent_channels: Annotated[
        int, typer.Option(metavar="N", min=1, help="Numbers a latent pixel, with --latent-factor.")
    ] = 4
    autoencoder_epochs: Annotated[
        int, typer.Option(metavar="N", min=1, help="Passes over all frames, with --latent-factor.")
    ] = 20
    autoencoder: Annotated[
        pathlib.Path | None,
        typer.Option(metavar="FILE", help="Train in the latent of this autoencoder, from kvdiff autoencoder."),
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of weights, noise and order.")] = 0
    save_every: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training steps between checkpoints. [default: an epoch's]")
    ] = None
    preview_every: Annotated[
        int, typer.Option(metavar="N", min=0, help="Epochs between GIFs of generated clips; 0 writes none.")
    ] = 10
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the training that was cut off in the folder, bit for bit.")
    ] = False
    workers: Annotated[
        int, typer.Option(metavar="N", min=1, help="Processes on this machine that share every batch.")
    ] = 1
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the model in the folder.")] = False

    @property
    def sizes(self) -> tuple[int, int] | None:
        """(height, width) of --size."""
        return None if self.size is None else parse_size(self.size)

    @property
    def is_latent(self) -> bool:
        """Whether an autoencoder is said."""
        return bool(self.latent_factor or self.autoencoder)

    @property
    def num_epochs(self) -> int:
        """Passes over all windows, without --minutes."""
        return self.epochs or 50

    @contextlib.contextmanager
    def computing(self) -> Iterator[None]:
        """Networks that are made meanwhile compute in --precision; their weights are float32."""
        import keras

        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy(PRECISIONS[self.precision or "float32"])
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def chosen_recipe(self) -> Recipe:
        """The recipe's settings, and what is said in place of them."""
        from kvdiff.models.recipes import recipe_named

        rate = self.learning_rate
        if rate is None and self.base is not None:
            rate = _RATES["all" if self.lora is None else "lora"]
        recipe = recipe_named(self.recipe or _RECIPE)
        return recipe.changed(width=self.width, batch_size=self.batch_size, learning_rate=rate)

    def used(self, model: VideoDiffusion, recipe: Recipe, *, fields: bool) -> dict[str, Any]:
        """These options with what stood for those that were not said, by their parameters' names."""
        values = {**vars(self), "batch_size": recipe.batch_size, "learning_rate": recipe.learning_rate}
        if self.minutes is None:
            values["epochs"] = self.num_epochs
        if self.base is not None:  # What is not said is the model's own.
            return values
        clip = model.spec.clip
        values |= dict(frames=clip.num_frames, recipe=self.recipe or _RECIPE, width=recipe.widths[0])
        return values if fields else values | dict(size=f"{clip.height}x{clip.width}", channels=clip.channels)
