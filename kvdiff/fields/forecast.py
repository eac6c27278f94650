"""From a field to its forecast: the last frames as the past, and what is generated as a data set with coordinates."""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import pathlib
import shutil
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_path
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.fields.field import Field, same_units
from kvdiff.fields.opening import open_fields
from kvdiff.fields.recipe import FieldRecipe
from kvdiff.fields.source import FieldError, import_for
from kvdiff.media import check_file_writable
from kvdiff.system import __version__

DATASET_SUFFIXES = (".nc", ".zarr")
"""The suffixes of the files that data sets are written to."""


def last_clip(field: Field, spec: ModelSpec, past: int) -> np.ndarray:
    """The last `past` frames of a field, float32 [1, past, height, width, channels], in the numbers of a model.

    Raises:
        FieldError: a field that does not fit the model, see `check_fits`, or a gap in its last frames.
    """
    check_fits(field, spec)
    rows = field.clips(past)
    if not len(rows) or rows[-1][-1] != field.shape[0] - 1:
        gaps = f"{field.shape[0]} frames, with gaps after {[time for time, _ in field.gaps()[-3:]]}"
        raise FieldError(
            field.path, field.names[0], f"expected {past} frames at its end, without a gap. Received: {gaps}"
        )
    return field.read(rows[-1])[None]


def check_fits(field: Field, spec: ModelSpec) -> None:
    """Raise FieldError unless frames have the size, channels, units and clock that a model is for."""
    name, wanted, found = field.names[0], spec.clip.frame_shape, field.shape[1:]
    if wanted != found:
        advice = "`region` takes a part" if found[2] == wanted[2] else "`variable` says which channels"
        shapes = f"frames of {list(wanted)} (height, width, channels), as the model has; {advice}"
        raise FieldError(field.path, name, f"expected {shapes}. Received: {list(found)}")
    for channel, own, unit in zip(field.names, field.units, spec.clip.units or field.units, strict=True):
        if not same_units(own, unit):
            raise FieldError(field.path, channel, f"expected units {unit!r}, as the model has. Received: {own!r}")
    step, clock = field.time_step, spec.clip.fps
    if step and clock and abs(step * clock - 1.0) > 1e-3:
        wanted_step = f"{1.0 / clock:g} s from frame to frame, as the model has; `time_step` says which to take"
        raise FieldError(field.path, name, f"expected {wanted_step}. Received: {step:g} s")


def forecast(
    model: Any,
    source: Any,
    num_frames: int | None = None,
    *,
    recipe: FieldRecipe | None = None,
    past: int | None = None,
    **sampling: Any,
) -> Any:
    """What follows the last frames of a field, as an `xarray.Dataset` with its coordinates continued.

    ```python
    future = kvdiff.fields.forecast(model, xarray.open_dataset("radar.nc"), num_members=20)
    ```

    Args:
        model: a `VideoDiffusion`, or a `Sampler` of any runtime.
        source: an `xarray.Dataset`, or a path, as `open_fields` takes it.
        num_frames: how many frames to generate; by default what fills a clip of the training length.
        recipe: which numbers of the source; by default the model's channels by their names.
        past: how many of the last frames to go by; by default half the training length.
        **sampling: as in `Sampler.infill`, and `num_members`.

    Raises:
        FieldError: a source that does not fit the model.
        ImportError: xarray is not installed.
    """
    sampler: Sampler = getattr(model, "sampler", model)
    recipe = recipe or FieldRecipe(variable=sampler.spec.clip.channel_names)
    fields = open_fields(source, recipe)
    if len(fields) != 1:
        raise FieldError(fields[0].path, "", f"expected one series of frames. Received: {len(fields)}")
    known = last_clip(fields[0], sampler.spec, past or max(sampler.spec.clip.num_frames // 2, 1))
    future = sampler.predict_frames(known, num_frames, **sampling)
    return as_dataset(fields[0], sampler.spec, future, sampling)


def as_dataset(field: Field, spec: ModelSpec, future: np.ndarray, sampling: dict[str, Any]) -> Any:
    """Generated frames as an `xarray.Dataset`: coordinates continued, units, and where they come from.

    Args:
        field: what they follow.
        spec: of the model.
        future: [1, frames, height, width, channels], or with members [members, 1, frames, …].
        sampling: the keywords of sampling, for the record.
    """
    xarray = import_for(".nc", "xarray")
    has_members = future.ndim == 6
    numbers = future[:, 0] if has_members else future[0]
    time, height, width = field.dims
    dims = (*(["member"] if has_members else []), time, height, width)
    frames = numbers.shape[-4]
    coords: dict[str, Any] = {time: (time, _times(field, frames), _attributes(field, time))}
    coords |= {name: (name, values, _attributes(field, name)) for name, values in field.coords.items()}
    if has_members:
        coords["member"] = np.arange(len(numbers))
    variables = {}
    for index, (name, unit) in enumerate(zip(field.names, field.units, strict=True)):
        attributes = {**_attributes(field, name), **({"units": unit} if unit else {})}
        variables[name.rpartition("/")[2]] = (dims, numbers[..., index], attributes)
    origin = dict(getattr(field.origin, "attrs", {}))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    line = f"{now}: {frames} frames generated by kvdiff {__version__} after {field.path}"
    record = {
        "Conventions": origin.get("Conventions", "CF-1.11"),
        "history": "\n".join(filter(None, [line, str(origin.get("history", ""))])),
        "source": f"kvdiff {__version__}, a video diffusion model",
        "kvdiff_input": field.path,
        "kvdiff_model": hashlib.sha256(json.dumps(spec.config, sort_keys=True).encode()).hexdigest(),
        "kvdiff_recipe": json.dumps(field.recipe.config),
        "kvdiff_sampling": json.dumps({name: value for name, value in sampling.items() if _is_plain(value)}),
    }
    return xarray.Dataset(variables, coords, {**origin, **record})


def _is_plain(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str, type(None)))


def _times(field: Field, frames: int) -> np.ndarray:
    """The times that follow the field's; without a clock the numbers of the frames."""
    if field.times is None or field.time_step is None:
        return field.shape[0] + np.arange(frames)
    steps = field.time_step * np.arange(1, frames + 1)
    if field.times.dtype.kind == "M":
        return field.times[-1] + (steps * 1e9).round().astype("timedelta64[ns]")
    return field.times[-1] + steps


def _attributes(field: Field, name: str) -> dict[str, Any]:
    """What the data set says of a variable or a coordinate."""
    plain = name.rpartition("/")[2]
    if not hasattr(field.origin, "variables"):
        return dict(getattr(field.origin, "attrs", {})) if plain == getattr(field.origin, "name", None) else {}
    return dict(field.origin[plain].attrs) if plain in field.origin.variables else {}


def check_dataset_writable(path: str | os.PathLike[str], *, overwrite: bool) -> pathlib.Path:
    """Return the path when a data set can be written there.

    Raises:
        ValueError: another suffix. FileExistsError: something is there, and `overwrite` is False.
        ImportError: what writes such files is not installed.
    """
    path = check_path("output", path)
    suffix = path.suffix.lower()
    if suffix not in DATASET_SUFFIXES:
        raise ValueError(f"{path}: expected a file ending in {', '.join(DATASET_SUFFIXES)}. Received: {suffix!r}")
    import_for(suffix, "xarray", "h5netcdf" if suffix == ".nc" else "zarr")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path}: exists; pass --overwrite to replace it")
    check_file_writable(path.with_name(f".{path.name}.unfinished"))
    return path


def write_dataset(dataset: Any, path: str | os.PathLike[str]) -> pathlib.Path:
    """Write a data set, whole or not at all, in place of what was there; returns the path."""
    path = check_dataset_writable(path, overwrite=True)
    unfinished = path.with_name(f".{path.name}.unfinished{path.suffix}")
    try:
        if path.suffix.lower() == ".nc":
            packed = {name: {"zlib": True} for name in dataset.data_vars}
            dataset.to_netcdf(unfinished, engine="h5netcdf", encoding=packed)
        else:
            dataset.to_zarr(unfinished, mode="w", consolidated=False)
        if path.is_dir():
            shutil.rmtree(path)
        return unfinished.replace(path)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished)
        unfinished.unlink(missing_ok=True)
