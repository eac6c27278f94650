"""What a LiteRT file contains, looked at before the interpreter opens it."""

from __future__ import annotations

import math
import pathlib
import struct
from typing import Any

from kvdiff.diffusion.limits import MAX_CLIP
from kvdiff.runtime.manifest import ArtefactError, shortened

_FOREIGN = ("CUSTOM", "DELEGATE", "STABLEHLO_CUSTOM_CALL")
"""Operators that are code of somebody else's, TensorFlow's among it ("flex"), where the host has loaded it."""
_MOST = 2**20  # Of operators, tensors and the like.


def check_litert(path: pathlib.Path, content: bytes) -> None:
    """Refuse a file with operators that are not LiteRT's own, weights in other files, or tensors beyond any clip.

    Raises:
        ArtefactError: what is wrong with the file.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        if not schema.Model.ModelBufferHasIdentifier(content, 0):
            raise ValueError("it does not begin as one")
        _check_model(schema, schema.Model.GetRootAs(content, 0))
    except (ValueError, TypeError, AttributeError, IndexError, struct.error) as error:
        reason = f"which is no LiteRT model that kvdiff has exported: {error}"
        raise ArtefactError(path, reason) from error


def _check_model(schema: Any, model: Any) -> None:
    if model.ExternalBufferGroupsLength() or model.ExternalBuffersLength():
        raise ValueError("its weights lie in other files")
    names = {value: name for name, value in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    for code in map(model.OperatorCodes, _up_to(model.OperatorCodesLength())):
        name = names.get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()))
        if name is None or name in _FOREIGN or code.CustomCode() is not None:
            raise ValueError(f"it has an operator {shortened(code.CustomCode() or name)}, which is not LiteRT's own")
    for graph in map(model.Subgraphs, _up_to(model.SubgraphsLength())):
        for tensor in map(graph.Tensors, _up_to(graph.TensorsLength())):
            shape = [tensor.Shape(axis) for axis in _up_to(tensor.ShapeLength())]
            if math.prod(shape) > MAX_CLIP or min(shape, default=0) < 0:
                raise ValueError(f"it has a tensor of {shortened(shape)}")


def _up_to(number: int) -> range:
    if number > _MOST:
        raise ValueError(f"it has {number} of something; expected at most {_MOST}")
    return range(number)
