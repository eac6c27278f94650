"""What a SavedModel contains, looked at before TensorFlow opens it, and whether what opens is what its manifest says.

A SavedModel is a program. Its functions may read and write files, and some run while it is loaded; so every operator of
every function must be one that only computes, and nothing else in the folder may be what TensorFlow reads.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.limits import MAX_CLIP, MAX_TIMESTEPS
from kvdiff.runtime.manifest import Artefact, ArtefactError, canonical_json, shortened
from kvdiff.runtime.tensorflow_operators import COMPUTING, SAVING

FILE = "saved_model.pb"
SAMPLER = "sampler"
"""The function by which a SavedModel tells the sampler's configuration, as JSON."""

_FILES = re.compile(
    r"saved_model\.pb|fingerprint\.pb|manifest\.json|variables/variables\.(index|data-\d{5}-of-\d{5})"
    r"|assets\.extra/tf_serving_warmup_requests"
)
_OBJECTS = ("bare_concrete_function", "captured_tensor", "constant", "function", "user_object", "variable")
_CLASSES = ("_generic_user_object", "signature_map", "trackable_dict_wrapper", "trackable_list_wrapper")
_LONGEST = 2**31 - 1  # Bytes; protobuf's own limit.


def check_saved_model(artefact: Artefact) -> int:
    """The most network calls of the signature `sample`, if nothing in the folder does more than compute.

    Raises:
        ArtefactError: what else it does, or holds.
    """
    folder, listed = artefact.path, artefact.manifest["files"]
    if strange := sorted(name for name in listed if not _FILES.fullmatch(name)):
        raise ArtefactError(folder, f"which holds {shortened(strange)}; no export does")
    if FILE not in listed or not 0 < listed[FILE]["bytes"] <= _LONGEST:
        raise ArtefactError(folder, f"which has no {FILE} of at most {_LONGEST} bytes")
    try:
        (graph,) = _parsed((folder / FILE).read_bytes()).meta_graphs
        if not graph.HasField("object_graph_def"):  # TensorFlow 1's loader would run it.
            raise ValueError("it has no objects")
        _check_objects(graph)
        _check_operators(graph)
        serving = artefact.manifest.get("serving")
        calls = serving.get("max_calls") if isinstance(serving, dict) else None
        return check_count("max_calls", calls, at_most=2 * MAX_TIMESTEPS)
    except (TypeError, ValueError) as error:
        raise ArtefactError(folder, f"which is no SavedModel that kvdiff has exported: {error}") from error


def axes_of(shape: Any) -> list[str | int]:
    """A tensor's sizes as a manifest has them: the batch and a number of frames are any."""
    return ["batch", *("frames" if size is None else size for size in shape[1:])]


def check_loaded(artefact: Artefact, model: Any) -> None:
    """What TensorFlow has opened must have the signatures and the sampler that the manifest claims.

    Raises:
        ArtefactError: it has others. A file of an older kvdiff does not tell its sampler, and is taken at its word.
    """
    found: dict[str, dict[str, list[str | int]]] = {"inputs": {}, "outputs": {}}
    for signature in sorted({name.split("/")[0] for name in artefact.inputs}):
        function = model.signatures[signature]
        sides = {"inputs": function.structured_input_signature[1], "outputs": function.structured_outputs}
        for side, specs in sides.items():
            found[side] |= {f"{signature}/{name}": axes_of(spec.shape) for name, spec in specs.items()}
    for side, shapes in found.items():
        if shapes != (expected := getattr(artefact, side)):
            raise ArtefactError(artefact.path, f"whose {side} are {shapes}; its manifest says {expected}")
    tell = getattr(model, SAMPLER, None)
    if tell is not None and tell().numpy().decode() != canonical_json(artefact.manifest["sampler"]):
        raise ArtefactError(artefact.path, "whose own sampler configuration is not the one in its manifest")


def _parsed(content: bytes) -> Any:
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    from tensorflow.core.protobuf import saved_model_pb2

    try:
        return saved_model_pb2.SavedModel.FromString(content)
    except DecodeError as error:
        raise ValueError(f"{FILE} is damaged ({error})") from error


def _check_objects(graph: Any) -> None:
    """Variables, functions and lists of them; no files, no tables, nothing that another package would rebuild."""
    if graph.asset_file_def:
        raise ValueError("it reads files of its own, assets")
    for node in graph.object_graph_def.nodes:
        kind, name = node.WhichOneof("kind"), node.user_object.identifier
        other = kind not in _OBJECTS or node.registered_name or node.registered_saver
        if other or (kind == "user_object" and name not in _CLASSES):
            raise ValueError(f"it holds an object {shortened(node.registered_name or name or kind)}")
        if kind == "variable":
            _check_size(node.variable.shape, "a variable")


def _check_operators(graph: Any) -> None:
    """Every operator but those of saving must compute, and nothing that is served may call one of saving."""
    import tensorflow as tf

    library = {function.signature.name: function for function in graph.graph_def.library.function}
    if clash := sorted(name for name in library if hasattr(tf.raw_ops, name)):
        raise ValueError(f"it has functions of the names of operators: {shortened(clash)}")
    uses = {name: _used(function.node_def, library) for name, function in library.items()}
    _used(graph.graph_def.node, library)
    saving, left = set[str](), dict(uses)
    while left:
        done = {name for name, used in left.items() if not used & left.keys()}
        if not done:
            raise ValueError(f"its functions call each other in a circle: {shortened(sorted(left))}")
        saving |= {name for name in done if left[name] & (SAVING | saving)}
        left = {name: used for name, used in left.items() if name not in done}
    if served := sorted(saving & graph.object_graph_def.concrete_functions.keys()):
        raise ValueError(f"its functions {shortened(served)} read or write files")


def _used(nodes: Any, library: Mapping[str, Any]) -> set[str]:
    """The library's functions that some nodes call, and the operators of saving among them."""
    used = set()
    for node in nodes:
        if node.op in library or node.op in SAVING:
            used.add(node.op)
        elif node.op not in COMPUTING:
            raise ValueError(f"it has an operator {shortened(node.op)}, which is not known to compute alone")
        if node.op == "Const":
            _check_size(node.attr["value"].tensor.tensor_shape, "a constant")
        used.update(name for value in node.attr.values() for name in _functions(value))
    return used


def _functions(value: Any) -> Iterator[str]:
    """The functions that an attribute names."""
    for function in (value.func, *value.list.func):
        if function.name:
            yield function.name
            for inner in function.attr.values():
                yield from _functions(inner)


def _check_size(shape: Any, what: str) -> None:
    if math.prod(max(dim.size, 0) for dim in shape.dim) > MAX_CLIP:
        raise ValueError(f"it has {what} of {[dim.size for dim in shape.dim]}")
