"""Arrays that write ONNX nodes, so that functions of `kvdiff.diffusion` become graphs by being run on them.

`Nodes` collects the nodes of a graph, and is the array namespace `xp` that those functions take; a `Tensor` is one of
its values. There is no uint32 arithmetic in ONNX Runtime, so words of 32 bits are int64 here, masked where a sum or a
shift could leave them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_WORD = 0xFFFFFFFF
_OPERATORS = {
    "bitwise_or": "BitwiseOr",
    "bitwise_xor": "BitwiseXor",
    "cos": "Cos",
    "exp": "Exp",
    "log": "Log",
    "sin": "Sin",
    "sqrt": "Sqrt",
}
_DTYPES = {"float32": np.float32, "int64": np.int64, "uint32": np.int64, "int32": np.int64, "bool": np.bool_}


@dataclasses.dataclass(frozen=True, eq=False)
class Tensor:
    """A value of a graph.

    Attributes:
        nodes: where operators on it are written to.
        name: of the value.
        dtype: "float32", "int64", "uint32" (words in an int64) or "bool".
        shape: its sizes where they are known, else None; () where nothing is known.
        value: its content, where it is a constant.
    """

    nodes: Nodes
    name: str
    dtype: str
    shape: tuple[int | None, ...] = ()
    value: Any = None

    __array_ufunc__ = None  # NumPy scalars on the left leave the operator to the tensor.

    def __add__(self, other: Any) -> Tensor:
        return self.nodes.binary("Add", self, other)

    def __sub__(self, other: Any) -> Tensor:
        return self.nodes.binary("Sub", self, other)

    def __mul__(self, other: Any) -> Tensor:
        return self.nodes.binary("Mul", self, other)

    def __truediv__(self, other: Any) -> Tensor:
        return self.nodes.binary("Div", self, other)

    def __floordiv__(self, other: Any) -> Tensor:
        return self.nodes.binary("Div", self, other)  # Of whole numbers >= 0, which is all there is here.

    def __rsub__(self, other: Any) -> Tensor:
        return self.nodes.binary("Sub", self.nodes.of(other, self.dtype), self)

    __radd__, __rmul__ = __add__, __mul__

    def __getitem__(self, key: Any) -> Tensor:
        """A slice of the last axis, [..., a:b], or of the second of two, [:, :b]."""
        start, stop = key[-1].start or 0, key[-1].stop
        nodes = self.nodes
        end = (
            nodes.reshape(stop, (1,))
            if isinstance(stop, Tensor)
            else nodes.of([2**31 if stop is None else stop], "int64")
        )
        sliced = nodes.node("Slice", self, nodes.of([start], "int64"), end, nodes.of([-1], "int64"))
        width = None
        if stop is None and self.shape and self.shape[-1] is not None:
            width = self.shape[-1] - start
        elif isinstance(stop, int):
            width = stop - start
        return dataclasses.replace(sliced, shape=(*self.shape[:-1], width))


class Nodes:
    """The nodes of a graph in the making, and the array functions that write them.

    Args:
        prefix: of all names created here.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.constants: dict[str, np.ndarray] = {}
        self._names: dict[tuple[Any, ...], str] = {}
        self.blocks: list[list[Any]] = [[]]
        self._count = 0

    # Writing.

    def new_name(self, what: str) -> str:
        """A name that no other value has."""
        self._count += 1
        return f"{self.prefix}/{what}_{self._count}"

    def of(self, value: Any, dtype: str) -> Tensor:
        """`value` as a tensor: itself, or a constant."""
        if isinstance(value, Tensor):
            return value
        array: np.ndarray = np.asarray(value, _DTYPES[dtype])
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self._names:
            self._names[key] = self.new_name("constant")
        return Tensor(self, self._names[key], dtype, array.shape, array)

    def initializers(self) -> list[Any]:
        """The constants that nodes use, for the outermost graph."""
        from onnx import numpy_helper

        return [numpy_helper.from_array(array, name) for name, array in self.constants.items()]

    def node(self, operator: str, *inputs: Tensor, dtype: str | None = None, **attributes: Any) -> Tensor:
        """Write one node of one output, of the first input's type and shape unless said otherwise."""
        from onnx import helper

        name = self.new_name(operator)
        self.constants |= {tensor.name: tensor.value for tensor in inputs if tensor.value is not None}
        self.blocks[-1].append(helper.make_node(operator, [tensor.name for tensor in inputs], [name], **attributes))
        return Tensor(self, name, dtype or inputs[0].dtype, inputs[0].shape)

    def named(self, tensor: Tensor, name: str) -> Tensor:
        """`tensor` under a name of the caller's."""
        from onnx import helper

        self.blocks[-1].append(helper.make_node("Identity", [tensor.name], [name]))
        return dataclasses.replace(tensor, name=name)

    def binary(self, operator: str, left: Tensor, right: Any) -> Tensor:
        """An operator of two tensors; 32-bit words stay such."""
        right = self.of(right, left.dtype)
        made = self.node(operator, left, right)
        shape = max(left.shape, right.shape, key=len)
        if left.dtype == "uint32" and operator != "Div":
            made = self.node("BitwiseAnd", made, self.of(_WORD, "int64"), dtype="uint32")
        return dataclasses.replace(made, shape=shape)

    def block(self, function: Callable[[], Sequence[Tensor]], inputs: Sequence[Any] = ()) -> Any:
        """What `function` writes as a graph of its own, for a branch of If or the body of Loop."""
        from onnx import TensorProto, helper

        self.blocks.append([])
        outputs = [self.node("Identity", tensor) for tensor in function()]
        kinds = {"float32": TensorProto.FLOAT, "bool": TensorProto.BOOL}
        described = [
            helper.make_tensor_value_info(tensor.name, kinds.get(tensor.dtype, TensorProto.INT64), None)
            for tensor in outputs
        ]
        return helper.make_graph(self.blocks.pop(), self.new_name("block"), list(inputs), described)

    def cond(self, condition: Tensor, then: Callable[[], Tensor], otherwise: Callable[[], Tensor]) -> Tensor:
        """The value of one of two functions, of which the other is not computed."""
        branches = {"then_branch": self.block(lambda: [then()]), "else_branch": self.block(lambda: [otherwise()])}
        return self.node("If", condition, dtype="float32", **branches)

    # The array functions: those that `kvdiff.diffusion` calls.

    def __getattr__(self, name: str) -> Callable[..., Tensor]:
        """A function that is one operator by another name."""
        if name not in _OPERATORS:
            raise AttributeError(f"Nodes: no array function {name!r}")
        return functools.partial(self.node, _OPERATORS[name])

    def array(self, value: Any, dtype: str) -> Tensor:
        """A constant."""
        return self.of(value, dtype)

    def cast(self, value: Any, dtype: str) -> Tensor:
        """To another type; words of 32 bits are cut to that."""
        from onnx import TensorProto

        if not isinstance(value, Tensor):
            return self.of(value, dtype)
        kind = TensorProto.FLOAT if dtype == "float32" else TensorProto.INT64
        made = self.node("Cast", value, dtype=dtype, to=kind)
        if dtype != "uint32":
            return made
        return self.node("BitwiseAnd", made, self.of(_WORD, "int64"), dtype=dtype)

    def left_shift(self, word: Tensor, bits: Tensor) -> Tensor:
        """Of words."""
        return word * 2 ** int(bits.value)

    def right_shift(self, word: Tensor, bits: Tensor) -> Tensor:
        """Of words."""
        return word // 2 ** int(bits.value)

    def zeros_like(self, tensor: Tensor) -> Tensor:
        """0 in that shape."""
        return tensor * 0

    def arange(self, count: Any, dtype: str) -> Tensor:
        """0 … count - 1."""
        return self.node("Range", self.of(0, "int64"), self.of(count, "int64"), self.of(1, "int64"), dtype=dtype)

    def reshape(self, tensor: Tensor, shape: Sequence[Any]) -> Tensor:
        """To sizes of which some may be tensors."""
        sizes = [self.of(size if isinstance(size, Tensor) else [size], "int64") for size in shape]
        flat = [self.node("Unsqueeze", s, self.of([0], "int64")) if s.value is None else s for s in sizes]
        wanted = self.node("Concat", *flat, axis=0)
        return dataclasses.replace(self.node("Reshape", tensor, wanted), shape=tuple(_size(size) for size in shape))

    def concatenate(self, tensors: Sequence[Tensor], axis: int) -> Tensor:
        """Along an axis."""
        return self.node("Concat", *tensors, axis=axis)

    def maximum(self, tensor: Tensor, other: Any) -> Tensor:
        """The larger of each pair."""
        return self.binary("Max", tensor, other)

    def std(self, tensor: Tensor, axis: tuple[int, ...], keepdims: bool) -> Tensor:
        """The standard deviation, as NumPy's."""
        axes = self.of(axis, "int64")
        mean = self.node("ReduceMean", tensor, axes, keepdims=1)
        return self.node(
            "Sqrt", self.node("ReduceMean", (tensor - mean) * (tensor - mean), axes, keepdims=int(keepdims))
        )

    def clip(self, tensor: Tensor, low: float, high: float) -> Tensor:
        """`tensor` clamped to [low, high]."""
        return self.node("Clip", tensor, self.of(low, "float32"), self.of(high, "float32"))


def _size(size: Any) -> int | None:
    return size if isinstance(size, int) and size >= 0 else None
