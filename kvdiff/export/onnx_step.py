"""One row of a sampling without the network, as a graph of a few nodes: `kvdiff/runtime/step.onnx`.

ONNX Runtime adds and multiplies only inside a graph, so a clip that is to stay on a GPU between two calls of the
denoiser needs one. It is the same for every model, and comes with the package; `python -m kvdiff.export.onnx_step`
writes it anew.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

from kvdiff.diffusion.solvers.step_table import Row, step
from kvdiff.export.onnx_trace import Nodes, Tensor
from kvdiff.runtime.format import MEMORY, STEP_COLUMNS
from kvdiff.runtime.ort_device import BOUNDS, STEP

if TYPE_CHECKING:
    import onnx


def step_model() -> onnx.ModelProto:
    """`kvdiff.diffusion.step`, and the next row's noisy clip, traced; opset 18."""
    from onnx import TensorProto, helper

    nodes = Nodes("step")
    clips = ["x", "raw_output", "noise", *(f"history_{k}" for k in range(MEMORY))]
    columns = [*STEP_COLUMNS, *(f"b_{k}" for k in range(MEMORY)), "c_in_next", *BOUNDS]
    given = {name: Tensor(nodes, name, "float32", (None,) * 5) for name in (*clips, *columns)}
    history = tuple(given[f"history_{k}"] for k in range(MEMORY))
    b = [given[f"b_{k}"] for k in range(MEMORY)]
    # The network and its c_in, c_noise come before this graph, in the row before.
    row = Row(c_in=None, c_noise=None, b=b, **{name: given[name] for name in STEP_COLUMNS})
    low, high = (given[name] for name in BOUNDS)

    def clamp(x_0: Tensor) -> Tensor:
        """To bounds that are inputs: infinite where there are none."""
        return nodes.node("Min", nodes.node("Max", x_0, low), high)

    moved, remembered = step(row, given["x"], given["raw_output"], history, given["noise"], clamp)
    outputs = {"x_next": moved, "predicted": remembered[0], "noisy_clip_next": given["c_in_next"] * moved}
    for name, tensor in outputs.items():
        nodes.named(tensor, name)

    def described(name: str) -> onnx.ValueInfoProto:
        axes = [f"{name}_{axis}" for axis in ("batch", "frames", "height", "width", "channels")]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)

    graph = helper.make_graph(
        nodes.blocks[-1], "step", list(map(described, given)), list(map(described, outputs)), nodes.initializers()
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    model.doc_string = "Equation (7) of kvdiff.diffusion without the network."
    return model


def _main() -> None:
    path = pathlib.Path(STEP)
    path.write_bytes(step_model().SerializeToString())
    print(f"Wrote {path}: {path.stat().st_size} bytes.")


if __name__ == "__main__":
    _main()
