"""Export to a page in the browser: a folder of static files that any server serves."""

from __future__ import annotations

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_flag, check_mapping, check_path
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.export.codec import float32_spec
from kvdiff.export.denoiser import check_model, check_tools
from kvdiff.export.manifest import staging_folder, write_manifest
from kvdiff.export.onnx_conversion import to_onnx
from kvdiff.export.onnx_file import EXTERNAL_ABOVE, save_model
from kvdiff.export.onnx_sampler import export_model_sampler
from kvdiff.runtime.opening import FusedOrtSampler
from kvdiff.runtime.web import WEB
from kvdiff.web import Actions, described, find_ort_web, write_page

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion

NUM_EXAMPLES = 3
"""How many clips the model generates as examples where none are given."""
_AXES = ("batch", "frames", "height", "width", "channels")


def export_web(
    model: VideoDiffusion,
    directory: str | os.PathLike[str],
    *,
    onnxruntime_web: str | os.PathLike[str] | None = None,
    webgpu: bool = True,
    examples: Any = None,
    example_conditions: Mapping[str, Any] | None = None,
    actions: Actions | Mapping[str, Any] | None = None,
    name: str | None = None,
    run: str | os.PathLike[str] | None = None,
    precision: str = "float32",
    overwrite: bool = False,
) -> pathlib.Path:
    """Write the page of a model: static files that a browser runs by itself, from any server.

    The page generates, predicts, interpolates and rolls out, and where the model knows actions it plays. The same seed
    gives the same video as in Python. Before the folder takes its name the graph is compared as in
    `export_onnx_sampler`.

    Args:
        model: the model to export, with the weights it has now.
        directory: the folder of the page, created if need be; with `overwrite` replaced whole.
        onnxruntime_web: where onnxruntime-web is, or "cdn": see `kvdiff.web.find_ort_web`.
        webgpu: whether the page runs on WebGPU, where a browser has it. Without, the folder is 27 MB smaller.
        examples: clips to predict and interpolate from, [clips, frames, height, width, channels] in the model's
            numbers, of at least the training length; by default three that the model generates.
        example_conditions: of the examples: for each condition an array [clips, …].
        actions: what a player does, by name: see `kvdiff.web.Actions`; by default one for each class, or for each
            number of the vector.
        name: the page's title; by default the name of the folder that `directory` is in.
        run: what the commands that the page shows open; by default the folder that `directory` is in.
        precision: "float32".
        overwrite: replace a folder that is there.

    Returns:
        The path of the folder.

    Raises:
        FileExistsError: there is such a folder and `overwrite` is False.
        FileNotFoundError: no onnxruntime-web.
        ValueError, TypeError: another version of it; examples or actions that are not the model's.
        ParityError, ImportError, OSError: as for `export_onnx`.
    """
    check_choice("precision", precision, WEB.precisions)
    check_tools("export_web", ("keras", "tensorflow", "tf2onnx", "onnx", "onnxruntime"))
    check_model(model)
    directory, spec = check_path("directory", directory), model.spec
    ort_web = find_ort_web(onnxruntime_web, webgpu=check_flag("webgpu", webgpu))
    if spec.codec is None and model.denoiser.count_params() * 4 > EXTERNAL_ABOVE:
        raise ValueError("`model`: expected weights below 2 GiB, for browsers take no more. Use `kvdiff play`.")
    clips = None if examples is None else _examples(spec, examples)
    conditions = _conditions(spec, clips, example_conditions)
    home = directory.resolve().parent
    words: dict[str, Any] = {"name": name or home.name, "run": os.fspath(run if run is not None else directory.parent)}
    described(spec, actions=actions, **words)  # What is wrong with the actions is said before anything is built.
    with staging_folder(directory, overwrite=overwrite) as stage, tempfile.TemporaryDirectory() as spare:
        graph = export_model_sampler(model, spare, static="size")
        sampler = FusedOrtSampler(graph, providers=["CPUExecutionProvider"])
        if clips is None:
            clips = _generated(sampler)
        listed = [
            {"file": f"examples/{number + 1}.npy", "generated": examples is None, "conditions": conditions[number]}
            for number in range(len(clips))
        ]
        content, tables = described(spec, actions=actions, examples=listed, **words)
        graphs = [graph, *_transforms(float32_spec(model), pathlib.Path(spare))]
        files = write_page(stage, content, tables, graphs, ort_web, [clip[None] for clip in clips])
        manifest = sampler.engine.artefact.manifest  # type: ignore[attr-defined]
        sections = {each: manifest[each] for each in ("sampler", "versions", "inputs", "outputs", "parity")}
        sections["versions"] = {**sections["versions"], "onnxruntime-web": ort_web.config["version"]}
        write_manifest(stage, WEB.kind, files, precision=precision, **sections)
    return directory


def _examples(spec: ModelSpec, examples: Any) -> np.ndarray:
    """Clips of users as the page has them: uint8 pixels as they are, else float32 numbers."""
    clips = check_array("examples", examples)
    checked = spec.checked("examples", clips)
    if checked.shape[1] < spec.clip.num_frames:
        raise ValueError(
            f"`examples`: expected clips of at least {spec.clip.num_frames} frames, the training length. "
            f"Received: {checked.shape[1]}"
        )
    clips = clips if clips.dtype == np.uint8 and spec.values == PIXELS else checked
    return np.asarray(clips[:, : spec.clip.num_frames])


def _conditions(spec: ModelSpec, clips: np.ndarray | None, given: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What each example is conditioned on, by name, as JSON has it."""
    if given is None or clips is None:
        if given is not None:
            raise ValueError("`example_conditions`: expected none without `examples`")
        return [{} for _ in range(NUM_EXAMPLES if clips is None else len(clips))]
    check_mapping("example_conditions", given, wanted="arrays")
    if unknown := sorted(set(given) - set(spec.conditions)):
        raise ValueError(f"`example_conditions`: expected names among {sorted(spec.conditions)}. Received: {unknown}")
    shape = len(clips), spec.clip.num_frames, spec.latent.frame_shape
    checked = {
        name: spec.conditions[name].check(f"example_conditions[{name!r}]", value, *shape)
        for name, value in given.items()
    }
    return [{name: value[number].tolist() for name, value in checked.items()} for number in range(len(clips))]


def _generated(sampler: Any) -> np.ndarray:
    """Clips of the model's own; pixels as uint8, so that a .npy file of them says the same everywhere."""
    clips = sampler.generate(NUM_EXAMPLES, seed=1)
    if sampler.spec.values != PIXELS:
        return clips
    return np.round((clips + 1.0) * 127.5).clip(0, 255).astype(np.uint8)


def _transforms(spec: ModelSpec, folder: pathlib.Path) -> list[pathlib.Path]:
    """encoder.onnx and decoder.onnx, from users' numbers to what the network sees and back, where they differ."""
    if spec.codec is None and spec.values == PIXELS:
        return []
    import keras

    encode, decode = (functools.partial(function, xp=keras.ops) for function in (spec.encode, spec.decode))
    return [
        _converted(folder / "encoder.onnx", encode, spec.clip.frame_shape),
        _converted(folder / "decoder.onnx", decode, spec.latent.frame_shape),
    ]


def _converted(path: pathlib.Path, function: Callable[[Any], Any], frame_shape: Sequence[int]) -> pathlib.Path:
    """A function of clips as a graph with the input `clip` and the output `out`, of any batch and number of frames."""
    import tensorflow as tf

    signature = tf.TensorSpec([None, None, *frame_shape], tf.float32, name="clip")
    graph = to_onnx(lambda clip: {"out": tf.identity(function(clip), name="out")}, signature)
    for tensor, name in ((graph.graph.input[0], "clip"), (graph.graph.output[0], "out")):
        _rename(graph.graph, tensor.name, name)
        for axis, dim in zip(_AXES, tensor.type.tensor_type.shape.dim, strict=True):
            if not dim.HasField("dim_value"):
                dim.dim_param = axis
    save_model(graph, path)
    return path


def _rename(graph: Any, old: str, new: str) -> None:
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    for tensor in (*graph.input, *graph.output):
        if tensor.name == old:
            tensor.name = new
