"""Data with units on the command line: its recipe, its values, and forecasts to files of its own kind."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from kvdiff.cli.field_options import DataOptions, FieldTraining, Forecasting
from kvdiff.cli.progress import progress_bars
from kvdiff.diffusion import ClipSpec, PerChannel, Sampler, Values, fitted
from kvdiff.diffusion.conditions import Observed
from kvdiff.diffusion.transforms.fitting import Summary
from kvdiff.fields import (
    DATASET_SUFFIXES,
    Field,
    FieldRecipe,
    as_dataset,
    frame_activity,
    is_field,
    last_clip,
    open_fields,
    survey,
    write_dataset,
)
from kvdiff.media import write_bytes

if TYPE_CHECKING:
    from kvdiff.data import FieldBatches
    from kvdiff.models.recipes import Recipe
    from kvdiff.models.video_diffusion import VideoDiffusion

DATA_FILE = "data.json"
_SURVEYED = 2000  # Frames of a training to which values are fitted, evenly from all.


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingData:
    """Fields to train on, and what the model must be for them.

    Attributes:
        batches: the clips.
        clip: their shape, clock, names and units.
        values: fitted to them.
        has_missing: whether some numbers are missing.
        past: the frames that most training clips know; None: every task alike.
    """

    batches: FieldBatches
    clip: ClipSpec
    values: Values
    has_missing: bool
    past: int | None

    @classmethod
    def of(
        cls,
        asked: FieldTraining,
        paths: list[pathlib.Path],
        frames: int,
        size: tuple[int, int] | None,
        say: Callable[[str], None],
        batch_size: int,
        **options: Any,
    ) -> TrainingData:
        """Open the files, fit the values, draw the clips; `options` are those of `FieldBatches`."""
        from kvdiff.data import FieldBatches

        fields = open_fields(paths, asked.recipe())
        asked.kinds(fields[0].shape[3])
        whole = size is None or all(field.shape[1:3] == size for field in fields)
        options |= {"batch_size": batch_size, "patch": None if whole else size, "flips": asked.flips or ()}
        batches = FieldBatches(fields, frames, **options)
        with progress_bars() as progress:
            found = survey(fields, at_most=_SURVEYED, progress=lambda *n: progress("Surveying", *n))
        values = fitted_values(asked, found.summaries)
        by_channel = values.by_channel(len(found.summaries))
        for name, unit, summary, own in zip(fields[0].names, fields[0].units, found.summaries, by_channel, strict=True):
            gone = summary.missing / max(summary.count + summary.missing, 1)
            say(f"{name} [{unit or 'no unit'}]: {summary.low:g} to {summary.high:g}, {gone:.1%} missing; {own}")
        if asked.importance:
            activity = [frame_activity(field, values) for field in fields]
            batches = FieldBatches(fields, frames, activity=activity, **options)
        step, units = fields[0].time_step, fields[0].units
        clip = ClipSpec(
            *(frames, *batches.frame_shape),
            fps=1.0 / step if step else None,
            channel_names=fields[0].names,
            units=units if any(units) else (),
        )
        missing = asked.max_gap or any(summary.missing for summary in found.summaries)
        return cls(batches, clip, values, bool(missing), asked.past)

    def model(self, recipe: Recipe, seed: int) -> VideoDiffusion:
        """A recipe's model for this data: its values, a network that knows what is missing, the frames it learns by."""
        import keras

        keras.utils.set_random_seed(seed)
        network = {"conditions": {"observed": Observed()}} if self.has_missing else None
        return recipe.forecaster(self.clip, self.past, network=network, values=self.values, seed=seed)

    def trained(
        self, recipe: Recipe, strategy: Any, folder: pathlib.Path, preview_every: int
    ) -> tuple[VideoDiffusion, Any, list[Any]]:
        """The model, made on the devices of `strategy`; the batches; and what shows the training on the way."""
        from kvdiff.cli.previews import previews

        with strategy.scope():
            model = self.model(recipe, self.batches.seed)
        return model, self.batches, previews(None, folder, preview_every)

    def write_record(self, run: pathlib.Path) -> None:
        """RUN/data.json: the recipe for files to come, so without the part of time that was trained on."""
        run.mkdir(parents=True, exist_ok=True)
        field = self.batches.fields[0]
        recipe = dataclasses.replace(
            field.recipe, region={name: ends for name, ends in field.recipe.region.items() if name != field.dims[0]}
        )
        record = {"recipe": recipe.config, "past": self.past, "files": [one.path for one in self.batches.fields]}
        write_bytes(run / DATA_FILE, (json.dumps(record, indent=1) + "\n").encode())


def fitted_values(asked: FieldTraining, summaries: Sequence[Summary]) -> Values:
    """The values that `--values` and `--outside` say, of summaries of each channel."""
    kinds = asked.kinds(len(summaries))
    made = [fitted(kind, one, **options) for (kind, options), one in zip(kinds, summaries, strict=True)]
    return made[0] if len(made) == 1 else PerChannel(tuple(made))


def is_forecast(path: pathlib.Path, asked: Forecasting) -> bool:
    """Whether `predict` goes on with a field: by the files' kinds, or by one of the options."""
    return is_field(path) or asked.is_said or asked.output.suffix.lower() in DATASET_SUFFIXES


def opened_fields(
    run: pathlib.Path, path: pathlib.Path, sampler: Sampler, asked: DataOptions
) -> tuple[list[Field], int]:
    """The fields of a file by the recipe of a run, and how many frames to go by."""
    folder = run if run.is_dir() else run.parent
    record = json.loads((folder / DATA_FILE).read_text("utf-8")) if (folder / DATA_FILE).is_file() else {}
    base = FieldRecipe.from_config(record.get("recipe", {"variable": list(sampler.spec.clip.channel_names)}))
    fields = open_fields(path, asked.recipe(base))
    return fields, record.get("past") or max(sampler.spec.clip.num_frames // 2, 1)


def opened_field(run: pathlib.Path, path: pathlib.Path, sampler: Sampler, asked: DataOptions) -> tuple[Field, int]:
    """The one field of a file, see `opened_fields`."""
    fields, past = opened_fields(run, path, sampler, asked)
    if len(fields) != 1:
        raise ValueError(f"{path}: expected one series of frames. Received: {len(fields)}")
    return fields[0], past


def predict_field(
    opened: tuple[Field, int],
    sampler: Sampler,
    asked: Forecasting,
    past: int | None,
    num_frames: int | None,
    keywords: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """The last frames of a field and those that follow, [clips, frames, …]; as a data set where the output is one."""
    field, usual = opened
    known = last_clip(field, sampler.spec, past or usual)
    future = sampler.predict_frames(known, num_frames, **keywords)
    if asked.output.suffix.lower() in DATASET_SUFFIXES:
        plain = {name: value for name, value in keywords.items() if name != "progress"}
        path = write_dataset(as_dataset(field, sampler.spec, future, plain), asked.output)
        members = f"{len(future)} members of " if future.ndim == 6 else ""
        typer.echo(f"Wrote {path}: {members}{future.shape[-4]} frames after {known.shape[1]} known ones.")
    return known, future
