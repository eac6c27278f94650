"""The graph of `sampler.onnx`: an exported denoiser inside a Loop over the rows of a table.

The step table is an *input* of the graph, so one file runs every solver, every number of steps and every task, chosen
when it is called. The loop's body is the denoiser's own nodes between those that `step`, `normal` and the rest of
`kvdiff.diffusion` write when they are run on the tensors of `kvdiff.export.onnx_trace`; the denoiser's weights stay
initialisers of the outer graph.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from kvdiff.diffusion.process.noise import SAMPLING, normal
from kvdiff.diffusion.solvers.rows import LearnedVarianceRow, Row
from kvdiff.diffusion.solvers.step_table import step
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.clamps import Bounds, clamp_to
from kvdiff.export.onnx_pixels import PixelNodes
from kvdiff.export.onnx_trace import Nodes, Tensor
from kvdiff.runtime.format import COLUMNS, MEMORY

if TYPE_CHECKING:
    import onnx

_CLIP_AXES = ("batch", "frames", "height", "width")


def fused_model(source: onnx.ModelProto, spec: ModelSpec, pair: Mapping[str, onnx.GraphProto]) -> onnx.ModelProto:
    """The denoiser's graph inside a Loop over the rows of a table, between encoder and decoder where there are some."""
    from onnx import helper

    loop = Loop(source.graph, spec.bounds, open_axes=_CLIP_AXES[:2] if pair else ())
    if pair:
        loop.put_pixels_around(PixelNodes(loop.nodes, pair, spec.values.bounds))
    nodes = [node for node in source.graph.node if loop.is_weight(node)] + loop.write()
    inputs = list(loop.described.values())
    outputs = [loop.describe("clip", loop.clip_axes), loop.describe("history_out", [MEMORY, *loop.clip_axes])]
    weights = [*source.graph.initializer, *loop.nodes.initializers()]
    if loop.pixels is not None:
        outputs.append(loop.describe("pixels_out", loop.pixels.output))
        weights += loop.pixels.weights
    graph = helper.make_graph(nodes, "sampler", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=source.opset_import, ir_version=source.ir_version)
    model.doc_string = "Equation (7) of kvdiff.diffusion for every row of the table; see kvdiff.runtime.ort_sampler."
    return model


class Loop:
    """The nodes around a denoiser's.

    Args:
        denoiser: the graph F(noisy_clip, noise_label) -> raw_output.
        bounds: of the predicted x_0.
        open_axes: those that stay open around a denoiser that fixes them, for an autoencoder that takes any.
    """

    def __init__(self, denoiser: onnx.GraphProto, bounds: Bounds, open_axes: Collection[str] = ()) -> None:
        self.denoiser = denoiser
        self.nodes = Nodes("sampler")
        self.clamp = clamp_to(bounds, self.nodes)
        self.weights = {tensor.name for tensor in denoiser.initializer}
        self.channels, self.out_channels = (
            tensor.type.tensor_type.shape.dim[-1].dim_value for tensor in (denoiser.input[0], denoiser.output[0])
        )
        own = zip(_CLIP_AXES, denoiser.input[0].type.tensor_type.shape.dim, strict=False)
        self.sizes = {axis: dim.dim_value for axis, dim in own if dim.dim_value and axis not in open_axes}
        self.clip_axes: list[str | int] = [*_CLIP_AXES, self.channels]
        self.conditions = {
            tensor.name: tensor for tensor in denoiser.input if tensor.name not in ("noisy_clip", "noise_label")
        }
        self.is_guided = CONDITION_MASK in self.conditions
        self.described = self._inputs()
        self.pixels: PixelNodes | None = None

    def put_pixels_around(self, pixels: PixelNodes) -> None:
        """Take known frames as pixels too, and give all frames as such."""
        self.pixels = pixels
        self.described |= {name: self.describe(name, axes) for name, axes in pixels.axes.items()}

    def _inputs(self) -> dict[str, onnx.ValueInfoProto]:
        """The graph's inputs; what may be 1 or as large as the clip has axes of its own."""
        of_frames: list[str | int] = ["batch", "frames"]
        axes: dict[str, list[str | int]] = {
            "start": self.clip_axes,
            "start_std": of_frames,
            "history": [MEMORY, *(f"history_{axis}" for axis in (*_CLIP_AXES, "channels"))],
            "table": ["calls", len(COLUMNS), *of_frames],
            "b": ["calls", MEMORY, *of_frames],
            "noise": ["draws", *(f"noise_{axis}" for axis in (*_CLIP_AXES, "channels"))],
        }
        numbers: dict[str, list[str | int]] = {"seed": ["batch"], "sample": ["batch"], "first_draw": [1]}
        if self.is_guided:
            axes |= {"guidance": ["calls", "batch"], "guidance_rescale": [1]}
        described = {name: self.describe(name, sizes) for name, sizes in axes.items()}
        described |= {name: self.describe(name, sizes, "int64") for name, sizes in numbers.items()}
        return described | self.conditions

    def describe(self, name: str, axes: Sequence[str | int], dtype: str = "float32") -> onnx.ValueInfoProto:
        """The description of an input or output."""
        from onnx import TensorProto, helper

        sizes = [self.sizes.get(axis, axis) if isinstance(axis, str) else axis for axis in axes]
        return helper.make_tensor_value_info(name, getattr(TensorProto, _PROTO[dtype]), sizes)

    def is_weight(self, node: onnx.NodeProto) -> bool:
        """Whether a node of the denoiser turns a weight into another type, which is done once, outside the loop."""
        return node.op_type == "Cast" and node.input[0] in self.weights

    def given(self, name: str) -> Tensor:
        """An input of the graph."""
        axes = self.described[name].type.tensor_type.shape.dim
        integer = self.described[name].type.tensor_type.elem_type != 1
        shape = tuple(dim.dim_value or None for dim in axes)
        return Tensor(self.nodes, name, "int64" if integer else "float32", shape)

    def write(self) -> list[onnx.NodeProto]:
        """All nodes but those that prepare weights."""
        from onnx import TensorProto, helper

        nodes = self.nodes
        start, std = self.given("start"), self._pixelwise(self.given("start_std"))
        self.clip_shape = nodes.node("Shape", start, dtype="int64")
        if self.pixels is not None:
            start = dataclasses.replace(self.pixels.into(start), shape=start.shape)
        self.has_tape = self._any(nodes.node("Shape", self.given("noise"), dtype="int64", start=0, end=1))
        first = nodes.cond(self._any(std), lambda: start + std * self._noise(nodes.of([0], "int64")), lambda: start)
        memory = [nodes.node("Expand", self._part(self.given("history"), k), self.clip_shape) for k in range(MEMORY)]
        calls = nodes.node("Squeeze", nodes.node("Shape", self.given("b"), dtype="int64", start=0, end=1))
        states = [nodes.new_name("x"), *(nodes.new_name("history") for _ in memory)]
        scalars = [
            helper.make_tensor_value_info(nodes.new_name(name), kind, [])
            for name, kind in (("i", TensorProto.INT64), ("go_on", TensorProto.BOOL))
        ]
        body = nodes.block(
            lambda: self._row(scalars[0].name, scalars[1].name, states),
            [*scalars, *(self.describe(name, self.clip_axes) for name in states)],
        )
        ends = ["clip", *(nodes.new_name("end") for _ in memory)]
        always = nodes.node("Identity", nodes.of(True, "bool"))
        carried = [calls.name, always.name, first.name, *(tensor.name for tensor in memory)]
        nodes.blocks[-1].append(helper.make_node("Loop", carried, ends, body=body))
        stacked = [nodes.node("Unsqueeze", Tensor(nodes, name, "float32"), nodes.of([0], "int64")) for name in ends[1:]]
        nodes.named(nodes.node("Concat", *stacked, axis=0), "history_out")
        if self.pixels is not None:
            nodes.named(self.pixels.out_of(Tensor(nodes, "clip", "float32")), "pixels_out")
        return nodes.blocks[-1]

    def _row(self, i: str, go_on: str, states: list[str]) -> list[Tensor]:
        """One row: the denoiser's nodes and `kvdiff.diffusion.step`."""
        nodes = self.nodes
        index = Tensor(nodes, i, "int64")
        x, *history = (Tensor(nodes, name, "float32", self.given("start").shape) for name in states)
        columns, b = (nodes.node("Gather", self.given(name), index, axis=0) for name in ("table", "b"))
        parts = {name: self._part(columns, k) for k, name in enumerate(COLUMNS)}
        fields: dict[str, Any] = {name: self._pixelwise(part) for name, part in parts.items()}
        fields["b"] = [self._pixelwise(self._part(b, k)) for k in range(MEMORY)]
        variance = {name: fields.pop(name) for name in COLUMNS[-2:]}
        learned = self.out_channels != self.channels
        row = LearnedVarianceRow(**fields, **variance) if learned else Row(**fields)
        out = self._guided(row.c_in * x, parts["c_noise"], index)
        fresh = nodes.cond(self._any(parts["std"]), lambda: self._drawn(index), lambda: nodes.of(0.0, "float32"))
        moved, remembered = step(row, x, out, tuple(history), fresh, self.clamp, nodes.exp)
        return [Tensor(nodes, go_on, "bool"), moved, *remembered]

    def _guided(self, noisy_clip: Tensor, noise_label: Tensor, index: Tensor) -> Tensor:
        """As `kvdiff.diffusion.conditions.conditioning.guided_output`, as one batch in rows that are guided."""
        nodes = self.nodes
        frames = nodes.node("Slice", self.clip_shape, nodes.of([0], "int64"), nodes.of([2], "int64"))
        inputs = {"noisy_clip": noisy_clip, "noise_label": nodes.node("Expand", noise_label, frames)}
        inputs |= {name: self.given(name) for name in self.conditions}
        if not self.is_guided:
            return self._answer(inputs)
        weight = nodes.node("Gather", self.given("guidance"), index, axis=0)
        guides = self._any(weight - 1.0)
        weight = nodes.node("Unsqueeze", weight, nodes.of([1, 2, 3, 4], "int64"))
        share: Any = nodes.node("Squeeze", self.given("guidance_rescale"))

        def mixed(main: Tensor, guide: Tensor) -> Tensor:
            return rescaled(nodes, guided(main, guide, weight), main, share)

        if "batch" in self.sizes:  # A network of one clip is called twice.
            main, absent = self._answer(inputs), {**inputs, CONDITION_MASK: inputs[CONDITION_MASK] * 0.0}
            answered = nodes.cond(guides, lambda: mixed(main, self._answer(absent, "guide/")), lambda: main)
            return dataclasses.replace(answered, shape=main.shape)
        repeats = nodes.reshape(nodes.cast(guides, "int64") + 1, (1,))
        ranks = {tensor.name: len(tensor.type.tensor_type.shape.dim) for tensor in self.denoiser.input}
        inputs = {name: self._repeated(tensor, repeats, ranks[name]) for name, tensor in inputs.items()}
        batch = nodes.node("Shape", self.given("start"), dtype="int64", start=0, end=1)
        rows = nodes.arange(nodes.node("Squeeze", batch * repeats), "int64")
        present = nodes.cast(nodes.node("Less", rows, batch, dtype="bool"), "float32")
        inputs[CONDITION_MASK] = inputs[CONDITION_MASK] * nodes.node("Unsqueeze", present, nodes.of([1], "int64"))
        out = self._answer(inputs)
        zero = nodes.of([0], "int64")
        main = nodes.node("Slice", out, zero, batch, zero)
        guide = nodes.node("Slice", out, batch * (repeats - 1), batch * repeats, zero)
        answered = nodes.cond(guides, lambda: mixed(main, guide), lambda: main)
        return dataclasses.replace(answered, shape=out.shape)

    def _repeated(self, tensor: Tensor, repeats: Tensor, rank: int) -> Tensor:
        """The batch `repeats` times over."""
        ones = self.nodes.of([1] * (rank - 1), "int64")
        return self.nodes.node("Tile", tensor, self.nodes.node("Concat", repeats, ones, axis=0))

    def _answer(self, inputs: dict[str, Tensor], prefix: str = "") -> Tensor:
        """The denoiser's raw output; its nodes keep their names behind `prefix`, but for those of its inputs."""
        nodes = self.nodes
        renamed = {name: nodes.named(tensor, f"{prefix}denoiser/{name}").name for name, tensor in inputs.items()}
        for node in self.denoiser.node:
            if not self.is_weight(node):
                own = type(node).FromString(node.SerializeToString())
                own.input[:] = [renamed.get(name, name) for name in node.input]
                renamed |= {name: f"{prefix}{name}" for name in node.output}
                own.name, own.output[:] = f"{prefix}{node.name}", [renamed[name] for name in node.output]
                nodes.blocks[-1].append(own)
        output = renamed[self.denoiser.output[0].name]
        return Tensor(nodes, output, "float32", (None, None, None, None, self.out_channels))

    def _drawn(self, index: Tensor) -> Tensor:
        """The fresh noise of a row, from the tape where there is one and else from the seed."""
        nodes = self.nodes
        return nodes.cond(
            self.has_tape,
            lambda: nodes.node("Gather", self.given("noise"), index, axis=0),
            lambda: self._noise(nodes.node("Unsqueeze", index, nodes.of([0], "int64")) + 1),
        )

    def _noise(self, draw: Tensor) -> Tensor:
        """`kvdiff.diffusion.process.noise.video_noise` of draw `first_draw + draw`, with a seed for each clip."""
        nodes, seed = self.nodes, self.given("seed")
        mask = nodes.of(2**32 - 1, "int64")
        low = nodes.node("BitwiseAnd", seed, mask)
        high = nodes.node("BitwiseAnd", nodes.node("Div", seed - low, nodes.of(2**32, "int64")), mask)
        sizes = nodes.node("Slice", self.clip_shape, nodes.of([1], "int64"), nodes.of([5], "int64"))
        count = nodes.node("ReduceProd", sizes, keepdims=0)
        at = self.given("first_draw") + draw
        drawn = normal(nodes, (low, high), at, self.given("sample"), cast(int, count), SAMPLING)
        return nodes.node("Reshape", drawn, self.clip_shape)

    def _part(self, tensor: Tensor, k: int) -> Tensor:
        """tensor[k]."""
        return self.nodes.node("Gather", tensor, self.nodes.of(k, "int64"), axis=0)

    def _pixelwise(self, column: Tensor) -> Tensor:
        """[batch, frames] -> [batch, frames, 1, 1, 1]."""
        return self.nodes.node("Unsqueeze", column, self.nodes.of([2, 3, 4], "int64"))

    def _any(self, tensor: Tensor) -> Tensor:
        """Whether a number is above 0; of none, no."""
        nodes = self.nodes
        largest = nodes.node("ReduceMax", nodes.node("Abs", tensor), keepdims=0)
        return nodes.node("Greater", largest, nodes.of(0, tensor.dtype), dtype="bool")


_PROTO = {"float32": "FLOAT", "int64": "INT64"}
