"""Writing an ONNX file: checked, and with its weights in a second file where it would pass protobuf's 2 GiB."""

from __future__ import annotations

import hashlib
import pathlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

EXTERNAL_ABOVE = 2**31 - 2**26
"""Bytes of weights from which they go into a file of their own; protobuf ends at 2^31."""

_SMALLEST = 1024  # Smaller tensors stay inside: ONNX Runtime needs the constants among them while it loads the graph.


def save_model(model: onnx.ModelProto, path: pathlib.Path) -> list[str]:
    """Write and check `model`; the names of the files, `path`'s own first. A model with external data is emptied by it.

    A data file is named after its content, so that it never takes the place of an older export's.

    Raises:
        onnx.checker.ValidationError: an invalid graph (tf2onnx only logs what it could not convert).
    """
    import onnx

    weights = [tensor.raw_data for tensor in model.graph.initializer if len(tensor.raw_data) >= _SMALLEST]
    if sum(map(len, weights)) < EXTERNAL_ABOVE:
        files = [path.name]
        onnx.save(model, path)
    else:
        digest = hashlib.sha256()
        for content in weights:
            digest.update(content)
        files = [path.name, f"{path.name}.{digest.hexdigest()[:16]}.data"]
        where = dict(location=files[1], size_threshold=_SMALLEST)
        onnx.save(model, path, save_as_external_data=True, all_tensors_to_one_file=True, **where)
    onnx.checker.check_model(path, full_check=True)
    return files
