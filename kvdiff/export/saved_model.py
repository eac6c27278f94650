"""SavedModel export for TensorFlow Serving: a numbered version with the whole sampler inside, and its manifest."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_path
from kvdiff.diffusion.sampling.engine import denoise_of
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER, step_table
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.values import Pixels
from kvdiff.export.codec import check_codec_parity, float32_spec
from kvdiff.export.denoiser import check_model, check_tools, float32_twin
from kvdiff.export.how_to_sample import how_to_sample
from kvdiff.export.manifest import staging_version, write_manifest
from kvdiff.export.parity import ParityError, cases, check_parity, measure, sample_differences
from kvdiff.export.signatures import PIXELS, Signatures
from kvdiff.export.warmup import write_warmup
from kvdiff.runtime.manifest import canonical_json, manifest_path
from kvdiff.runtime.opening import SavedModelSampler
from kvdiff.runtime.saved_model import SAVED_MODEL
from kvdiff.runtime.saved_model_file import SAMPLER, axes_of
from kvdiff.system.environment import versions

if TYPE_CHECKING:
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

SAMPLE_TOLERANCE = 2e-4
"""Of whole clips as x_0, in [-1, 1], against Keras: rounding of a call, carried through the others."""

_PACKAGES = ("keras", "tensorflow", "tensorflow-serving-api", "numpy")


def export_saved_model(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    *,
    precision: str = "float32",
    version: int | None = None,
    overwrite: bool = False,
    solver: str = DEFAULT_SOLVER,
    num_steps: int = DEFAULT_NUM_STEPS,
    spacing: str | Sequence[int] | np.ndarray | None = None,
    num_frames: int | None = None,
    max_calls: int = 100,
    pixels: str | None = None,
    **options: Any,
) -> pathlib.Path:
    """Write a version of the model, `directory/1`, `directory/2`, …, for TensorFlow Serving.

    The signatures are `generate` (also the default one), `predict` and `interpolate`, which run the solver chosen here;
    `sample`, whose step table is an input, so that it runs every solver, number of steps and task; and `denoise`, one
    network call. Every input and output has the batch on axis 0, noise included, so a server may batch requests. The
    version loads with TensorFlow alone, and `kvdiff.runtime.SavedModelSampler` runs it. It is written under a
    name that servers pass over, compared with Keras, and then renamed: a server finds it whole or not at all.

    Args:
        model: the model to export, with the weights it has now.
        directory: the model's base directory; created if need be.
        precision: "float32", the only one that servers take.
        version: its number, one that is not taken; by default the highest there is, plus 1. A version never changes,
            because a server that has loaded it would not look again.
        overwrite: remove the other versions once this one is in place. By default they stay, to go back to.
        solver, num_steps, spacing, **options: of `generate`, `predict` and `interpolate`, see
            `kvdiff.diffusion.Sampler.infill`.
        num_frames: of all clips; by default the training length. Batches need one length.
        max_calls: the most network calls of a table that `sample` takes; at least those of the solver chosen here.
        pixels: how frames come out: "uint8"; "float32", in the numbers of the model's values; or "png", for REST, where
            a file's base64 is far smaller than numbers in JSON. By default "uint8", and "float32" of values that are no
            pixels.

    Returns:
        The version's directory.

    Raises:
        FileExistsError: the version is there already.
        OSError: `directory` cannot be written to.
        ParityError: the exported sampler does not agree with Keras.
        ImportError: a package of the extra "export" is missing.
    """
    check_choice("precision", precision, SAVED_MODEL.precisions)
    check_tools("export_saved_model", ("tensorflow", "tensorflow_serving"))
    check_model(model)
    spec = float32_spec(model)
    pixels = pixels or ("uint8" if isinstance(spec.values, Pixels) else "float32")
    check_choice("pixels", pixels, PIXELS)
    if num_frames is not None:
        clip = dataclasses.replace(spec.clip, num_frames=check_count("num_frames", num_frames))
        spec = dataclasses.replace(spec, clip=clip)
    chosen = dict(solver=solver, num_steps=num_steps, spacing=spacing, **options)
    table = step_table(spec.schedule, spec.prediction, **chosen)
    max_calls = max(check_count("max_calls", max_calls), table.num_steps)
    denoiser = float32_twin(model.denoiser)
    served: dict[str, Any] = dict(max_calls=max_calls, pixels=pixels)
    signatures = Signatures(denoiser, spec, table, **served)
    with staging_version(check_path("directory", directory), version, overwrite=overwrite) as (stage, target):
        concrete = signatures.concrete()
        _save(_variables(denoiser, spec), concrete, dict(spec.config), stage)
        write_warmup(stage, {name: signatures.example(name) for name in concrete})
        sections = {
            "inputs": _described({name: signatures.inputs(name) for name in concrete}),
            "outputs": _described({name: function.structured_outputs for name, function in concrete.items()}),
            "sampler": spec.config,
            "how_to_sample": how_to_sample(spec),
            "serving": {**chosen, "spacing": None if spacing is None else np.asarray(spacing).tolist(), **served},
            "versions": versions(_PACKAGES),
        }
        write_manifest(stage, SAVED_MODEL.kind, _files(stage), parity={}, **sections)
        exported = SavedModelSampler(stage)
        parity = _parity(model, denoiser, signatures, exported)
        parity |= check_codec_parity(model, getattr(exported.engine, "codec", None), "float32")
        write_manifest(stage, SAVED_MODEL.kind, _files(stage), parity=parity, **sections)
        SavedModelSampler(stage)
    return target


def _variables(denoiser: keras.Model, spec: ModelSpec) -> list[Any]:
    """TensorFlow's own variables of the denoiser, and of an autoencoder."""
    autoencoder = getattr(getattr(spec.codec, "network", None), "autoencoder", None)
    return [variable.value for network in (denoiser, autoencoder) if network for variable in network.variables]


def _save(variables: list[Any], signatures: dict[str, Any], sampler: dict[str, Any], folder: pathlib.Path) -> None:
    """Functions and variables, nothing of Keras: what loads it needs TensorFlow alone."""
    import tensorflow as tf

    module, config = tf.Module(), canonical_json(sampler)
    setattr(module, SAMPLER, tf.function(lambda: tf.constant(config), input_signature=[], autograph=False))
    module.weights = variables
    tf.saved_model.save(module, str(folder), {"serving_default": signatures["generate"], **signatures})


def _files(folder: pathlib.Path) -> list[str]:
    """The files below `folder` but for its manifest, by their relative names."""
    files = {path for path in folder.rglob("*") if path.is_file()} - {manifest_path(folder)}
    return sorted(path.relative_to(folder).as_posix() for path in files)


def _described(signatures: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What the manifest says of inputs or outputs, by "signature/name"."""
    return {
        f"{signature}/{name}": {"dtype": tensor.dtype.name, "shape": axes_of(tensor.shape)}
        for signature, tensors in signatures.items()
        for name, tensor in tensors.items()
    }


def _parity(model: VideoDiffusion, denoiser: keras.Model, signatures: Signatures, sampler: Sampler) -> dict[str, Any]:
    """Compare network and whole samples with Keras, print and return the figures.

    Raises:
        ParityError: they differ by more than the tolerance allows.
    """
    import keras

    own = ("noisy_clip", "noise_label")
    others = [spec for name, spec in signatures.inputs("denoise").items() if name not in own]
    denoise = denoise_of(sampler.engine, "export_saved_model")

    def conditions(batch: int) -> dict[str, np.ndarray]:
        """Any values, the same for both sides."""
        rng = np.random.default_rng(1)
        return {
            spec.name: rng.uniform(0.5, 1.0, (batch, *spec.shape[1:])).astype(spec.dtype.as_numpy_dtype)
            for spec in others
        }

    def in_keras(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        inputs = dict(zip(own, (noisy_clip, noise_label), strict=True)) | conditions(len(noisy_clip))
        with keras.device("cpu:0"):
            return keras.ops.convert_to_numpy(denoiser(inputs, training=False))

    def exported(noisy_clip: np.ndarray, noise_label: np.ndarray) -> np.ndarray:
        return denoise(noisy_clip, noise_label, conditions(len(noisy_clip)))

    clip = sampler.spec.latent
    measured = measure(in_keras, exported, cases(clip.shape, [True, False, False, False]), clip.channels)
    print("SavedModel: TensorFlow's graph against Keras", *measured, sep="\n  ")
    return {**check_parity(measured, SAVED_MODEL.tolerance), "samples": _sample_parity(model, sampler)}


def _sample_parity(model: VideoDiffusion, sampler: Sampler) -> dict[str, Any]:
    """Compare whole samples, of a solver with memory and of one with fresh noise."""
    differences = {}
    for solver in ("dpmpp_2m", "ddpm"):
        sampling: dict[str, Any] = dict(num_frames=sampler.spec.clip.num_frames, num_steps=4, solver=solver)
        expected, found = (source.generate(2, **sampling) for source in (model, sampler))
        differences[solver] = float(np.abs(sample_differences(model.spec.values, found, expected)).max())
        print(f"  {solver}, 4 steps: max |difference| {differences[solver]:.1e} in [-1, 1]")
    if not max(differences.values()) <= SAMPLE_TOLERANCE:
        raise ParityError(
            f"`model`: expected exported samples within {SAMPLE_TOLERANCE:g} of Keras. Received: {differences}"
        )
    return {"tolerance": SAMPLE_TOLERANCE, "max_abs_difference": differences}
