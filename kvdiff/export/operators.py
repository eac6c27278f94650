"""Which operators an exported file is made of."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator
from typing import Any

from kvdiff.runtime import litert, saved_model

__all__ = ["operators"]


def operators(path: pathlib.Path, kind: str) -> Iterator[str]:
    """The operator of every node of an artefact, those of inner graphs too."""
    if kind == litert.KIND:
        return _of_litert(path)
    if kind == saved_model.KIND:
        return _of_saved_model(path)
    return _of_onnx(path)


def _of_onnx(path: pathlib.Path) -> Iterator[str]:
    import onnx

    graphs: list[Any] = [onnx.load(path, load_external_data=False).graph]
    while graphs:
        for node in graphs.pop().node:
            yield node.op_type
            graphs += [attribute.g for attribute in node.attribute if attribute.HasField("g")]


def _of_litert(path: pathlib.Path) -> Iterator[str]:
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


def _of_saved_model(path: pathlib.Path) -> Iterator[str]:
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel.FromString((path / saved_model.FILE).read_bytes())
    for meta in content.meta_graphs:
        for function in meta.graph_def.library.function:
            yield from (node.op for node in function.node_def)
