"""Edits of a LiteRT file: at most four dimensions inside, and metadata.

GPU and NPU delegates take no tensor of five dimensions. A graph of a single clip has [1, frames, height, width,
channels] tensors only between operators that do not care for the axis of 1, so it is dropped everywhere: from the
shapes, and from the constants that name axes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np


def at_most_4d(model: bytes) -> bytes:
    """The same LiteRT model without the leading 1 of its five-dimensional tensors, inputs and outputs included.

    Raises:
        NotImplementedError: a tensor or an operator for which dropping the axis is not known to be exact.
    """
    from ai_edge_litert import schema_py_generated as schema

    content = _unpacked(schema, model)
    for graph in content.subgraphs:
        _Squeeze(schema, content, graph).run()
    return _packed(content)


def with_metadata(model: bytes, entries: Mapping[str, str]) -> bytes:
    """The same LiteRT model with named texts in its metadata."""
    from ai_edge_litert import schema_py_generated as schema

    content = _unpacked(schema, model)
    content.metadata = list(content.metadata or [])
    for name, text in entries.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data = np.frombuffer(text.encode(), np.uint8)
        content.buffers.append(buffer)
        entry.name, entry.buffer = name, len(content.buffers) - 1
        content.metadata.append(entry)
    return _packed(content)


def signatures(model: bytes) -> dict[str, dict[str, Any]]:
    """What a manifest says of the inputs and outputs of a LiteRT model's one signature."""
    from ai_edge_litert import schema_py_generated as schema

    content = _unpacked(schema, model)
    (signature,) = content.signatureDefs
    dtypes = {value: name.lower() for name, value in vars(schema.TensorType).items() if not name.startswith("_")}

    def described(entry: Any) -> tuple[str, dict[str, Any]]:
        tensor, name = content.subgraphs[signature.subgraphIndex].tensors[entry.tensorIndex], entry.name.decode()
        limits = [0.0, 1.0] if name == "noise_label" else None
        return name, {"dtype": dtypes[tensor.type], "shape": _shape(tensor), "range": limits}

    sections = {"inputs": signature.inputs, "outputs": signature.outputs}
    return {section: dict(sorted(map(described, entries))) for section, entries in sections.items()}


class _Squeeze:
    """One graph while its five-dimensional tensors lose their first axis."""

    def __init__(self, schema: Any, model: Any, graph: Any) -> None:
        self.schema, self.model, self.graph = schema, model, graph
        self.names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
        self.wide = {i for i, tensor in enumerate(graph.tensors) if len(_shape(tensor)) > 4}
        self.rules: dict[str, Callable[[Any], None]] = {
            "RESHAPE": self._reshape,
            "CONCATENATION": self._concatenation,
            "SPLIT": self._split,
            "STRIDED_SLICE": self._strided_slice,
        }

    def run(self) -> None:
        """Rewrite operators by their old shapes, then the shapes."""
        for operator in self.graph.operators:
            if self.wide.intersection((*operator.inputs, *operator.outputs)):
                self._rewrite(operator)
        for index in self.wide:
            tensor = self.graph.tensors[index]
            if len(tensor.shape) != 5 or tensor.shape[0] != 1:
                raise NotImplementedError(
                    f"export_litert: expected tensors of one clip, [1, …] with five axes. "
                    f"Received: {_shape(tensor)} ({tensor.name!r})"
                )
            tensor.shape, tensor.shapeSignature = tensor.shape[1:], None

    def _rewrite(self, operator: Any) -> None:
        code = self.model.operatorCodes[operator.opcodeIndex]
        name = self.names[max(code.builtinCode, code.deprecatedBuiltinCode)]
        if name in self.rules:
            self.rules[name](operator)
        elif name not in _INDIFFERENT:
            raise NotImplementedError(f"export_litert: expected no {name} on a five-dimensional tensor.")

    def _reshape(self, operator: Any) -> None:
        """The shape to take is the output's own, without its first axis where the output loses it."""
        (output,) = operator.outputs
        new = np.array(_shape(self.graph.tensors[output]), np.int32)[1 if output in self.wide else 0 :]
        operator.inputs = [operator.inputs[0], self._constant(new)]
        operator.builtinOptionsType = self.schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = self.schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = new

    def _concatenation(self, operator: Any) -> None:
        if operator.builtinOptions.axis > 0:
            operator.builtinOptions.axis -= 1

    def _split(self, operator: Any) -> None:
        axis = int(self._value(operator.inputs[0])[0])
        operator.inputs = [self._constant(np.array(axis - 1 if axis > 0 else axis, np.int32)), operator.inputs[1]]

    def _strided_slice(self, operator: Any) -> None:
        """A slice that keeps every number, for the sake of new axes, is a reshape; no other is known to occur."""
        source, target = (self.graph.tensors[i] for i in (operator.inputs[0], operator.outputs[0]))
        strides = self._value(operator.inputs[3])
        if np.prod(source.shape) != np.prod(target.shape) or (strides != 1).any():
            raise NotImplementedError("export_litert: expected no STRIDED_SLICE that cuts five-dimensional tensors.")
        operator.opcodeIndex = self._opcode("RESHAPE")
        self._reshape(operator)

    def _value(self, index: int) -> np.ndarray:
        """The int32 constant at a tensor's index."""
        return np.frombuffer(bytes(self.model.buffers[self.graph.tensors[index].buffer].data), np.int32)

    def _constant(self, value: np.ndarray) -> int:
        """A new int32 constant's index."""
        buffer, tensor = self.schema.BufferT(), self.schema.TensorT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        tensor.name, tensor.shape = f"axes_{len(self.graph.tensors)}", list(value.shape)
        tensor.type, tensor.buffer = self.schema.TensorType.INT32, len(self.model.buffers) - 1
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _opcode(self, name: str) -> int:
        """The index of an operator code, which is there, for the graph reshapes elsewhere."""
        wanted = getattr(self.schema.BuiltinOperator, name)
        codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in self.model.operatorCodes]
        return codes.index(wanted)


# Operators that treat every number alike, or the last axis alone.
_INDIFFERENT = {
    *("ADD", "CAST", "DEQUANTIZE", "DIV", "FULLY_CONNECTED", "GELU", "LOGISTIC", "MAXIMUM", "MINIMUM", "MUL", "NEG"),
    *("QUANTIZE", "RELU", "RSQRT", "SQUARE", "SQUARED_DIFFERENCE", "SUB", "TANH"),
}


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def _unpacked(schema: Any, model: bytes) -> Any:
    """The content of a file, with the buffers in their places that large files keep behind it."""
    content = schema.ModelT.InitFromPackedBuf(model)
    for buffer in content.buffers:
        if buffer.size:
            buffer.data = np.frombuffer(model, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return content


def _packed(content: Any) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(2**20)
    builder.Finish(content.Pack(builder), b"TFL3")
    return bytes(builder.Output())
