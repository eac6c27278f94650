"""Exporting to any format by its name."""

from __future__ import annotations

import os
import pathlib
from typing import TYPE_CHECKING, Any

from kvdiff.diffusion.checks import check_choice
from kvdiff.runtime.format import resolved
from kvdiff.runtime.opening import FORMATS

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion


def export_model(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    to: str = "onnx",
    *,
    precision: str = "float32",
    overwrite: bool = False,
    **options: Any,
) -> pathlib.Path:
    """Write a model in one of `kvdiff.runtime.FORMATS`, for `kvdiff.runtime.open_sampler`; returns the path.

    Args:
        model: the model to export, with the weights it has now.
        directory: where to; it may hold other formats. One that is a folder of versions has its own inside.
        to: the name of the format.
        precision: one of the format's.
        overwrite: replace what is there.
        **options: of the format's own exporter, e.g. `onnxruntime_web` of "web".
    """
    form = FORMATS[check_choice("to", to, FORMATS)]
    check_choice("precision", precision, form.precisions)
    folder = pathlib.Path(directory) / form.folder
    return resolved(form.export)(model, folder, precision=precision, overwrite=overwrite, **options)
