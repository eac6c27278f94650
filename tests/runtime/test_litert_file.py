"""A LiteRT file of a stranger's: what is not LiteRT's own, or beyond any clip, is refused before it is opened."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from kvdiff.runtime import ArtefactError
from kvdiff.runtime.litert_file import check_litert

PATH = Path("denoiser.tflite")


def model(change: Callable[[Any], Any] = lambda model: None) -> bytes:
    """A file of one operator, which adds a tensor to itself."""
    content, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.ADD
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0, 0], [1]
    graph.tensors, graph.operators, graph.inputs, graph.outputs = [tensor(4, 8), tensor(4, 8)], [operator], [0], [1]
    content.version, content.operatorCodes, content.subgraphs = 3, [code], [graph]
    content.buffers = [schema.BufferT()]
    change(content)
    builder = flatbuffers.Builder(1024)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(*shape: int) -> Any:
    made = schema.TensorT()
    made.shape, made.type, made.buffer = list(shape), schema.TensorType.FLOAT32, 0
    return made


def custom(name: str) -> Callable[[Any], Any]:
    def change(content: Any) -> None:
        code = content.operatorCodes[0]
        code.builtinCode = schema.BuiltinOperator.CUSTOM
        code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, name.encode()

    return change


def builtin(number: int) -> Callable[[Any], Any]:
    return lambda content: setattr(content.operatorCodes[0], "builtinCode", number)


def elsewhere(content: Any) -> None:
    group, buffer = schema.ExternalBufferGroupT(), schema.ExternalBufferT()
    group.name = b"/etc/passwd"
    content.externalBufferGroups, content.externalBuffers = [group], [buffer]


def in_second_graph(content: Any) -> None:
    graph = schema.SubGraphT()
    graph.tensors = [tensor(2**10, 2**10, 2**10, 4)]
    content.subgraphs.append(graph)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "custom": (custom("Mine"), "an operator b'Mine', which is not LiteRT's own"),
    "flex": (custom("FlexReadFile"), "an operator b'FlexReadFile'"),
    "a custom name on an operator": (
        lambda content: setattr(content.operatorCodes[0], "customCode", b"FlexWriteFile"),
        "an operator b'FlexWriteFile'",
    ),
    "delegate": (builtin(schema.BuiltinOperator.DELEGATE), "an operator 'DELEGATE'"),
    "call of a library": (builtin(schema.BuiltinOperator.STABLEHLO_CUSTOM_CALL), "'STABLEHLO_CUSTOM_CALL'"),
    "none there is": (builtin(30_000), "an operator None"),
    "weights elsewhere": (elsewhere, "its weights lie in other files"),
    "large": (lambda content: content.subgraphs[0].tensors.append(tensor(2**20, 2**20)), "a tensor of .1048576, 10"),
    "large in another graph": (in_second_graph, "a tensor of .1024, 1024, 1024, 4."),
    "below zero": (lambda content: content.subgraphs[0].tensors.append(tensor(-1, 2)), "a tensor of .-1, 2."),
}


def test_a_sound_file_is_taken() -> None:
    check_litert(PATH, model())


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_export_has_is_refused(what: str) -> None:
    change, message = REFUSED[what]
    with pytest.raises(ArtefactError, match=f"denoiser.tflite, which is no LiteRT model .*{message}"):
        check_litert(PATH, model(change))


def test_damaged_files_are_refused_or_read(rng: np.random.Generator) -> None:
    """LiteRT itself verifies what is read without complaint here."""
    whole = model()
    for position, flip in zip(rng.integers(0, len(whole), 500), rng.integers(1, 256, 500), strict=True):
        changed = bytearray(whole)
        changed[position] ^= int(flip)
        try:
            check_litert(PATH, bytes(changed))
        except ArtefactError:
            continue
    for length in range(len(whole)):
        try:
            check_litert(PATH, whole[:length])
        except ArtefactError:
            continue
