"""Smaller ONNX files: float16, bfloat16 weights, and int8 convolutions. Inputs and outputs stay float32."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from kvdiff.diffusion.sampling.engine import DenoiserEngine, denoise_of
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.tasks import masks

if TYPE_CHECKING:
    import onnx

# Operators that lose nothing in float16 but the last digits; sums over many values and angles are not among them.
_HALF = {"Add", "Concat", "Conv", "Expand", "Gemm", "MatMul", "Mul", "Pad", "Reshape", "Sigmoid", "Slice", "Split"}
_HALF |= {"Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze"}
_FULL_LAYERS = ("norm", "embedding", "known_context")  # Differences of large sums, angles, and whole numbers.
_SMALLEST_WEIGHT = 1024  # Fewer numbers are not worth a Cast.


def float16(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` computing in float16 where that is safe: not in normalisation, embeddings, softmax and sums.

    Layers with "norm", "embedding" or "known_context" in their names stay float32.

    Raises:
        ValueError: a weight beyond float16's range.
    """
    return _Halving(model).run()


def bfloat16_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """`model` with its weights stored in bfloat16, which has float32's range, and still computing in float32.

    Half the size wherever it runs; ONNX Runtime's CPU provider has hardly an operator that computes in bfloat16.
    """
    from onnx import TensorProto, helper, numpy_helper

    casts = []
    for tensor in model.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if tensor.data_type == TensorProto.FLOAT and value.size >= _SMALLEST_WEIGHT:
            stored = f"{tensor.name}/bfloat16"
            casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
            tensor.CopyFrom(
                helper.make_tensor(stored, TensorProto.BFLOAT16, value.shape, _bfloat16_bits(value).tobytes(), raw=True)
            )
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


def _bfloat16_bits(value: np.ndarray) -> np.ndarray:
    """The upper halves of float32 numbers, rounded to nearest even."""
    bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


class _Halving:
    """A graph while parts of it move to float16; casts are written where the two precisions meet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        from onnx import TensorProto

        self.model, self.graph, self.kinds = model, model.graph, TensorProto
        self.weights = {tensor.name: tensor for tensor in self.graph.initializer}
        self.types = {name: tensor.data_type for name, tensor in self.weights.items()}
        self.types |= {tensor.name: tensor.type.tensor_type.elem_type for tensor in self.graph.input}
        self.full = set(self.types)  # Names whose float32 value exists so far,
        self.half: dict[str, str] = {}  # and the names of the float16 values by those of the float32 ones.
        self.nodes: list[Any] = []

    def run(self) -> onnx.ModelProto:
        for node in list(self.graph.node):
            self.types.update(dict.fromkeys(node.output, self._type_of(node)))
            if self._moves(node):
                self._to_half(node)
            else:
                for name in node.input:
                    self._need_full(name)
                self.nodes.append(node)
                self.full.update(node.output)
        for output in self.graph.output:
            self._need_full(output.name)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:], self.graph.value_info[:]
        self.graph.initializer.extend(kept)
        return self.model

    def _moves(self, node: onnx.NodeProto) -> bool:
        safe = node.op_type in _HALF and not any(layer in node.name for layer in _FULL_LAYERS)
        return safe and self.types.get(node.input[0]) == self.kinds.FLOAT

    def _type_of(self, node: onnx.NodeProto) -> int:
        """The element type of a node's outputs."""
        if node.op_type == "Cast":
            return next(attribute.i for attribute in node.attribute if attribute.name == "to")
        if node.op_type in ("Shape", "Size"):
            return self.kinds.INT64
        if node.op_type in ("And", "Or", "Not", "Equal", "Less", "Greater", "LessOrEqual", "GreaterOrEqual"):
            return self.kinds.BOOL
        if node.op_type in ("Constant", "ConstantOfShape"):
            values = [attribute.t.data_type for attribute in node.attribute if attribute.name == "value"]
            return values[0] if values else self.kinds.FLOAT
        return self.types[node.input[1 if node.op_type == "Where" else 0]]

    def _to_half(self, node: onnx.NodeProto) -> None:
        node.input[:] = [self._as_half(name) for name in node.input]
        for index, name in enumerate(list(node.output)):
            self.half[name] = node.output[index] = f"{name}/float16"
        self.nodes.append(node)

    def _as_half(self, name: str) -> str:
        """The name of a value in float16, if it is a float; others keep theirs."""
        from onnx import helper, numpy_helper

        if self.types.get(name) != self.kinds.FLOAT:
            return name
        if name not in self.half:
            self.half[name] = f"{name}/float16"
            if name in self.weights:
                value = numpy_helper.to_array(self.weights[name])
                if np.abs(value).max(initial=0.0) > np.finfo(np.float16).max:
                    raise ValueError(f"`precision`: expected weights within float16's range. Received: {name!r}")
                self.graph.initializer.append(numpy_helper.from_array(value.astype(np.float16), self.half[name]))
            else:
                self.nodes.append(helper.make_node("Cast", [name], [self.half[name]], to=self.kinds.FLOAT16))
        return self.half[name]

    def _need_full(self, name: str) -> None:
        from onnx import helper

        if name and name not in self.full:
            self.nodes.append(helper.make_node("Cast", [self.half[name]], [name], to=self.kinds.FLOAT))
            self.full.add(name)


def int8(source: pathlib.Path, target: pathlib.Path, sampler: Sampler) -> None:
    """Write `source` with its convolutions in int8: static, per channel, between QuantizeLinear and DequantizeLinear.

    Calibrated on what the network meets while it samples: every noise level of two samplings, one of new clips and one
    that continues those.

    Args:
        source: the float32 file.
        target: the file to write.
        sampler: of the float32 file.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feeds = _feeds(sampler)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feeds, None)

    logging.getLogger().addFilter(_without_advice)
    try:
        quantize_static(
            source,
            target,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv"],
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
    finally:
        logging.getLogger().removeFilter(_without_advice)


def _without_advice(record: logging.LogRecord) -> bool:
    return "pre-processing" not in record.getMessage()


def _feeds(sampler: Sampler) -> Iterator[dict[str, np.ndarray]]:
    """The network's inputs in the course of two samplings."""
    seen: list[dict[str, np.ndarray]] = []
    denoise = denoise_of(sampler.engine, "int8")

    def watched(noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> Any:
        for index, clip in enumerate(noisy_clip):
            others = {name: value[index : index + 1] for name, value in (inputs or {}).items()}
            label = np.asarray(noise_label[index : index + 1], np.float32)
            seen.append({"noisy_clip": clip[None], "noise_label": label, **others})
        return denoise(noisy_clip, noise_label, inputs)

    observed = Sampler(sampler.spec, DenoiserEngine(watched))
    clips = observed.generate(4, num_steps=20)
    frames = sampler.spec.clip.num_frames
    if frames > 1:
        observed.infill(clips, masks.first(frames, frames // 2), num_steps=20)
    yield from seen
