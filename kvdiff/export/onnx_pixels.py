"""Pixels into the fused sampler and out of it: an autoencoder's two graphs around the loop.

A host that can only call a model once gives x_0 and gets x_0: known frames are encoded, and all others decoded, inside
`sampler.onnx`. Either is left out where nothing is asked of it, so the same file runs the windows of a long video on
latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kvdiff.diffusion.transforms.clamps import Bounds, clamp_to
from kvdiff.export.onnx_trace import Nodes, Tensor
from kvdiff.runtime.codec_files import codec_paths
from kvdiff.runtime.manifest import Artefact

if TYPE_CHECKING:
    import onnx


def codec_graphs(artefact: Artefact) -> dict[str, onnx.GraphProto]:
    """The graphs of an exported encoder and decoder, by side, with names that no other graph has."""
    import onnx

    paths = codec_paths(artefact)
    return {side: onnx.compose.add_prefix(onnx.load(path), f"{side}/").graph for side, path in paths.items()}


class PixelNodes:
    """The nodes between pixels and the loop.

    Args:
        nodes: where they are written to.
        graphs: as `codec_graphs` gives them.
        bounds: of the values, to which decoded frames are clamped.
    """

    def __init__(self, nodes: Nodes, graphs: Mapping[str, onnx.GraphProto], bounds: Bounds) -> None:
        self.nodes, self.graphs = nodes, graphs
        self.clamp = clamp_to(bounds, nodes)
        dims = graphs["encoder"].input[0].type.tensor_type.shape.dim
        frame: list[str | int] = [dim.dim_value for dim in dims[2:]]
        self.axes: dict[str, list[str | int]] = {
            "pixels": ["pixels_batch", "pixels_frames", *frame],
            "pixels_known": ["batch", "frames"],
        }
        """The inputs of the sampler that this takes: x_0, none for a window of latents, and 1 where it is known."""
        self.output: list[str | int] = self.axes["pixels"]
        self._pixels = Tensor(nodes, "pixels", "float32", (None, None, *(int(size) for size in frame)))
        self._known = Tensor(nodes, "pixels_known", "float32", (None, None))

    @property
    def weights(self) -> list[Any]:
        """The initializers of both graphs."""
        return [tensor for graph in self.graphs.values() for tensor in graph.initializer]

    def into(self, start: Tensor) -> Tensor:
        """`start`, with known pixels encoded."""
        nodes = self.nodes

        def encoded() -> Tensor:
            return nodes.node(
                "Where", self._is_known(), self._inserted("encoder", self._pixels), start, dtype="float32"
            )

        return nodes.cond(self._any(self._known), encoded, lambda: start)

    def out_of(self, clip: Tensor) -> Tensor:
        """x_0 of the sampled latents, known frames as they were given; none where no pixels were given."""
        nodes = self.nodes
        count = nodes.cast(nodes.node("Shape", self._pixels, dtype="int64", start=0, end=1), "float32")
        wanted = nodes.node("And", self._any(count), self._any(1.0 - self._known))

        def decoded() -> Tensor:
            made = self.clamp(self._inserted("decoder", clip))
            return nodes.node("Where", self._is_known(), self._pixels, made, dtype="float32")

        return nodes.cond(wanted, decoded, lambda: self._pixels)

    def _is_known(self) -> Tensor:
        nodes = self.nodes
        column = nodes.node("Unsqueeze", self._known, nodes.of([2, 3, 4], "int64"))
        return nodes.node("Greater", column, nodes.of(0.0, "float32"), dtype="bool")

    def _any(self, tensor: Tensor) -> Tensor:
        nodes = self.nodes
        return nodes.node(
            "Greater", nodes.node("ReduceMax", tensor, keepdims=0), nodes.of(0.0, "float32"), dtype="bool"
        )

    def _inserted(self, side: str, given: Tensor) -> Tensor:
        """A graph's nodes, of a tensor that is there."""
        graph = self.graphs[side]
        old = graph.input[0].name
        for node in graph.node:
            own = type(node).FromString(node.SerializeToString())
            own.input[:] = [given.name if name == old else name for name in node.input]
            self.nodes.blocks[-1].append(own)
        return Tensor(self.nodes, graph.output[0].name, "float32")
