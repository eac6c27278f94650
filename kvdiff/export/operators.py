"""Which operators an exported file has: the operator of every node."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from kvdiff.runtime.ort_sampler import ONNX_SAMPLER
from kvdiff.runtime.saved_model import SAVED_MODEL


def of_onnx(path: pathlib.Path) -> Iterator[str]:
    """Of an ONNX file, those of inner graphs too."""
    import onnx

    graphs: list[Any] = [onnx.load(path, load_external_data=False).graph]
    while graphs:
        for node in graphs.pop().node:
            yield node.op_type
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def of_litert(path: pathlib.Path) -> Iterator[str]:
    """Of a LiteRT file."""
    from ai_edge_litert import schema_py_generated as schema

    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes())
    for graph in model.subgraphs:
        for operator in graph.operators:
            code = model.operatorCodes[operator.opcodeIndex]
            yield (
                code.customCode.decode()
                if code.customCode
                else names[max(code.builtinCode, code.deprecatedBuiltinCode)]
            )


def of_saved_model(path: pathlib.Path) -> Iterator[str]:
    """Of the functions of a SavedModel's folder."""
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((path / SAVED_MODEL.file).read_bytes())
    for meta in content.meta_graphs:
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)


def of_web(path: pathlib.Path) -> Iterator[str]:
    """Of the graph in a page's folder."""
    return of_onnx(path / ONNX_SAMPLER.file)
