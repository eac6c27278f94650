"""The whole sampling loop as one ONNX file: `sampler.onnx`, from an exported denoiser; `onnx_loop` has its graph."""

from __future__ import annotations

import os
import pathlib
import tempfile
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_path
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.export.how_to_sample import how_to_sample
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.export.onnx import export_onnx
from kvdiff.export.onnx_file import save_model
from kvdiff.export.onnx_loop import fused_model
from kvdiff.export.onnx_pixels import codec_graphs
from kvdiff.export.parity import ParityError, sample_differences
from kvdiff.runtime.manifest import METADATA, canonical_json
from kvdiff.runtime.opening import FusedOrtSampler, OrtSampler
from kvdiff.runtime.ort_sampler import ONNX_SAMPLER


def export_onnx_sampler(
    denoiser: str | os.PathLike[str], directory: str | os.PathLike[str], *, overwrite: bool = False
) -> pathlib.Path:
    """Write `directory/sampler.onnx`, with its manifest, for `kvdiff.runtime.FusedOrtSampler`. Needs no Keras.

    A `static` denoiser makes a `static` sampler. Before the file takes its name it is checked, loaded by ONNX Runtime
    and compared with the same denoiser in a loop on the host, for a solver with memory and one with fresh noise.

    Args:
        denoiser: what `export_onnx` wrote, the file or its directory.
        directory: where to; it may hold other artefacts.
        overwrite: replace an artefact that is there.

    Returns:
        The path of `sampler.onnx`; of a denoiser in another precision that of e.g. `sampler.float16.onnx`.

    Raises:
        FileExistsError: `directory` holds an artefact and `overwrite` is False.
        ArtefactError: `denoiser` is missing, foreign or changed.
        ValueError: a `static` denoiser beside an autoencoder, which takes any number of frames.
        ParityError: the fused loop does not agree with the loop on the host.
    """
    import onnx

    host = OrtSampler(denoiser, providers=["CPUExecutionProvider"])
    source = host.engine.artefact  # type: ignore[attr-defined]
    directory = check_path("directory", directory)
    if isinstance(host.spec.codec, Autoencoder) and isinstance(source.inputs["noisy_clip"][0], int):
        raise ValueError(
            "`denoiser`: expected one that is not `static`, for its autoencoder takes any number of frames. "
            f"Received: {source.path}"
        )
    precision = source.manifest.get("precision", "float32")
    file = ONNX_SAMPLER.file_name(precision)
    with staging(directory, ONNX_SAMPLER.kind, file, overwrite=overwrite) as stage:
        model = fused_model(onnx.load(source.path), host.spec, codec_graphs(source))
        onnx.helper.set_model_props(model, {METADATA: canonical_json(source.manifest["sampler"])})
        sections = {name: source.manifest[name] for name in ("sampler", "versions")} | {"precision": precision}
        sections |= {"inputs": _signature(model.graph.input), "outputs": _signature(model.graph.output)}
        sections["how_to_sample"] = how_to_sample(host.spec)
        files = save_model(model, stage / file)
        write_manifest(stage / file, ONNX_SAMPLER.kind, files, parity={}, **sections)
        fused = FusedOrtSampler(stage / file, providers=["CPUExecutionProvider"])
        parity = _parity(host, fused, file, precision)
        write_manifest(stage / file, ONNX_SAMPLER.kind, files, parity=parity, **sections)
    return directory / file


def export_model_sampler(
    model: Any,
    directory: str | os.PathLike[str],
    *,
    precision: str = "float32",
    static: bool | str = False,
    overwrite: bool = False,
) -> pathlib.Path:
    """`export_onnx_sampler` of a model's denoiser, which is exported to a folder that is deleted afterwards."""
    with tempfile.TemporaryDirectory() as spare:
        denoiser = export_onnx(model, spare, precision=precision, static=static)
        return export_onnx_sampler(denoiser, directory, overwrite=overwrite)


def _signature(tensors: Any) -> dict[str, Any]:
    """What the manifest says of inputs or outputs."""
    return {
        tensor.name: {
            "dtype": {1: "float32", 6: "int32", 7: "int64"}[tensor.type.tensor_type.elem_type],
            "shape": [d.dim_param or d.dim_value for d in tensor.type.tensor_type.shape.dim],
        }
        for tensor in tensors
    }


def _parity(host: Sampler, fused: Sampler, file: str, precision: str) -> dict[str, Any]:
    """Compare the two loops on whole samples; what the manifest records.

    Raises:
        ParityError: they differ by more than the tolerance allows.
    """
    measured = {}
    for solver, num_steps in (("dpmpp_2m", 8), ("ddpm", 8)):
        theirs, ours = (sampler.generate(2, num_steps=num_steps, solver=solver) for sampler in (host, fused))
        difference = np.abs(sample_differences(host.spec.values, ours, theirs)).max()
        measured[f"{solver}, {num_steps} steps"] = float(difference)
    print(f"{file}: the fused loop against the loop on the host")
    for what, difference in measured.items():
        print(f"  {what}: max |difference| {difference:.1e} in [-1, 1]")
    # In a lower precision, rounding that falls otherwise is carried through the steps.
    tolerance = ONNX_SAMPLER.tolerance if precision in ("float32", "bfloat16") else 0.05
    if not max(measured.values()) <= tolerance:
        raise ParityError(
            f"`denoiser`: expected fused samples within {tolerance:g} of the host's. Received: {measured}"
        )
    return {"reference": "OrtSampler", "tolerance": tolerance, "max_abs_difference": measured}
