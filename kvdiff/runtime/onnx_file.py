"""What an ONNX file contains, looked at before ONNX Runtime opens it.

The runtime opens whatever file a tensor says its data lie in, runs a loop as often as the file says, and knows
operators that load compiled engines from disk. So the whole file is read, with the graphs inside its nodes and the
tensors inside those: all that protobuf holds, not what a search for bytes would find.
"""

from __future__ import annotations

import dataclasses
import mmap
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.runtime.manifest import Artefact, ArtefactError, shortened
from kvdiff.runtime.protobuf import Reader, Span, WireError

MAX_ITERATIONS = 2**16
"""The most iterations that a loop, with the loops around it, may have by a constant of the file."""

_MAX_DEPTH = 16
_MAX_STEPS = 64  # From a number back to its parts.
_MAX_BYTES = 2**31 - 1  # Protobuf's own limit.
_LEAF = ""
_EXTERNAL = ("location", "offset", "length", "checksum")
_DOMAINS = ("", "ai.onnx")

# The messages of onnx.proto by the numbers of their fields: what is in an exported file, and what lies inside it.
# Not there: sparse tensors, functions, training graphs, segments of tensors.
SCHEMA: Mapping[str, Mapping[int, str]] = {
    "ModelProto": dict.fromkeys((1, 2, 3, 4, 5, 6, 8, 14), _LEAF) | {7: "GraphProto"},
    "GraphProto": dict.fromkeys((2, 10, 12, 13, 14, 16), _LEAF)
    | {1: "NodeProto", 5: "TensorProto", 11: "ValueInfoProto"},
    "NodeProto": dict.fromkeys((1, 2, 3, 4, 6, 7, 9), _LEAF) | {5: "AttributeProto"},
    "AttributeProto": dict.fromkeys((1, 2, 3, 4, 7, 8, 9, 13, 20), _LEAF)
    | {5: "TensorProto", 6: "GraphProto", 10: "TensorProto", 11: "GraphProto"},
    "TensorProto": dict.fromkeys((1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16), _LEAF) | {13: "StringStringEntryProto"},
    "StringStringEntryProto": dict.fromkeys((1, 2), _LEAF),
    "ValueInfoProto": dict.fromkeys((1, 2, 3, 4), _LEAF),
}

# Operators that hand on some of their first input's numbers.
_PICKING = ("Cast", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze")
_INTEGERS = {6: "<i4", 7: "<i8"}  # TensorProto.DataType
_LARGEST_COUNT = 64  # Bytes; a constant that counts iterations is one number, or a few to gather it from.


@dataclasses.dataclass(frozen=True)
class OnnxFile:
    """What was found.

    Attributes:
        locations: the files that tensors lie in, each with the bytes that it must have at least.
        loops_by: for each loop that is in no other graph, the name of the input whose size is its number of iterations,
            or "" where another size or a constant is.
    """

    locations: Mapping[str, int]
    loops_by: Sequence[str]


@dataclasses.dataclass(frozen=True)
class _Node:
    operator: str = ""
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    blocks: tuple[Span, ...] = ()
    constant: int | None = None


_Scope = Mapping[str, "_Node | int | None"]
"""What a name stands for: a node's output, the largest number of a constant, or None for what comes from outside."""


def read_onnx(path: pathlib.Path) -> OnnxFile:
    """Read a file whole.

    Raises:
        WireError: what is no ONNX model, or has something in it that no export of kvdiff has.
    """
    size = path.stat().st_size
    if not 0 < size <= _MAX_BYTES:
        raise WireError(f"{size} bytes; expected 1 to {_MAX_BYTES}")
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Walk(Reader(content)).run()


def check_onnx(artefact: Artefact) -> None:
    """Refuse a model whose tensors lie in files that its manifest does not list, or that a reader would not trust.

    Raises:
        ArtefactError: what is wrong, before anything has opened the file.
    """
    path, listed = artefact.path, artefact.manifest["files"]
    if path.suffix != ".onnx":  # ONNX Runtime reads others by other rules.
        raise ArtefactError(path, "whose name does not end in .onnx")
    try:
        found = read_onnx(path)
    except ValueError as error:
        raise ArtefactError(path, f"which is no ONNX model that kvdiff has exported: {error}") from error
    if unlisted := sorted(set(found.locations) - set(listed)):
        raise ArtefactError(path, f"whose weights lie in {shortened(unlisted)}, which its manifest does not list")
    short = [name for name, size in found.locations.items() if size > listed[name]["bytes"]]
    if short or path.name in found.locations:
        raise ArtefactError(path, f"whose weights lie beyond the end of {short}, or in itself")
    if artefact.manifest["kind"] in ("onnx-sampler", "web") and set(found.loops_by) - {"b", "table"}:
        raise ArtefactError(path, f"whose loops follow {list(found.loops_by)}; expected the rows of the table alone")


def check_network(path: pathlib.Path) -> None:
    """Refuse a network of an autoencoder that has loops, or whose tensors lie in other files.

    Raises:
        ArtefactError: what is wrong, before anything has opened the file.
    """
    try:
        found = read_onnx(path)
    except ValueError as error:
        raise ArtefactError(path, f"which is no ONNX model that kvdiff has exported: {error}") from error
    if found.locations or found.loops_by:
        raise ArtefactError(path, "which has loops, or weights in other files; no encoder or decoder has")


class _Walk:
    """Goes through a file once."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._locations: dict[str, int] = {}
        self._loops_by: list[str] = []

    def run(self) -> OnnxFile:
        """All that is asked of the file."""
        graphs = [span for _, span in self._fields("ModelProto", self._reader.whole, "GraphProto")]
        if not graphs:
            raise WireError("no graph")
        self._graph(graphs, {}, 1, 0)
        return OnnxFile(self._locations, self._loops_by)

    def _fields(self, message: str, span: Span, kind: str | None = None) -> Iterator[tuple[int, Any]]:
        """The fields of a message, or those of one kind; raises for a field that an export does not have."""
        known = SCHEMA[message]
        for number, value in self._reader.fields(span):
            if number not in known:
                raise WireError(f"field {number} of a {message}, which no export has")
            if kind is None or (known[number] == kind and isinstance(value, tuple)):
                yield number, value

    def _graph(self, parts: Sequence[Span], outer: _Scope, times: int, depth: int) -> None:
        """A graph in one or more parts, which protobuf joins; it runs `times` times, inside `depth` other graphs."""
        if depth > _MAX_DEPTH:
            raise WireError(f"graphs nested more than {_MAX_DEPTH} deep")
        scope, nodes, inputs = dict(outer), list[_Node](), list[str]()
        for number, value in (field for part in parts for field in self._fields("GraphProto", part)):
            if number == 1:
                nodes.append(self._node(value))
            elif number == 5:
                name, constant = self._tensor(value)
                scope[name] = constant
            elif number == 11:
                inputs += [self._reader.text(name) for at, name in self._fields("ValueInfoProto", value) if at == 1]
        scope |= dict.fromkeys(inputs) | {name: node for node in nodes for name in node.outputs}
        for node in nodes:
            repeats = times
            if node.operator == "Loop":
                most = _most(node.inputs[0] if node.inputs else "", scope)
                repeats *= _iterations(most, times)
                if depth == 0:
                    self._loops_by.append(most if isinstance(most, str) and most in inputs else "")
            for block in node.blocks:
                self._graph([block], scope, repeats, depth + 1)

    def _node(self, span: Span) -> _Node:
        texts: dict[int, list[str]] = {1: [], 2: [], 4: [], 7: []}
        blocks, constants = list[Span](), list[int | None]()
        for number, value in self._fields("NodeProto", span):
            if number in texts and isinstance(value, tuple):
                texts[number].append(self._reader.text(value))
            elif number == 5:
                self._attribute(value, blocks, constants)
        operator, domain = ("".join(texts[number][-1:]) for number in (4, 7))
        if domain not in _DOMAINS:
            raise WireError(f"an operator {operator!r} of {domain!r}; expected ONNX's own")
        constant = constants[0] if operator == "Constant" and len(constants) == 1 else None
        return _Node(operator, tuple(texts[1]), tuple(texts[2]), tuple(blocks), constant)

    def _attribute(self, span: Span, blocks: list[Span], constants: list[int | None]) -> None:
        for number, value in self._fields("AttributeProto", span):
            kind = SCHEMA["AttributeProto"][number]
            if kind == "TensorProto":
                constants.append(self._tensor(value)[1])
            elif kind == "GraphProto":
                blocks.append(value)
            elif number == 3:
                constants.append(_signed(value))

    def _tensor(self, span: Span) -> tuple[str, int | None]:
        """A tensor's name, and the largest of its numbers where they are a few integers; notes where its data lie."""
        name, dtype, places, data = "", 0, list[Span](), list[tuple[int, Any]]()
        for number, value in self._fields("TensorProto", span):
            if number == 2:
                dtype = value
            elif number == 8:
                name = self._reader.text(value)
            elif number == 13:
                places.append(value)
            elif number in (5, 7, 9):
                data.append((number, value))
        if places:
            self._place(places)
            return name, None
        return name, self._largest(dtype, data) if dtype in _INTEGERS else None

    def _largest(self, dtype: int, data: Sequence[tuple[int, Any]]) -> int | None:
        """The largest number of a constant, if it has a few and none is below 0, which a cast could make large."""
        numbers: list[int] = []
        for number, value in data:
            if isinstance(value, int):
                numbers.append(_signed(value))
            elif value[1] - value[0] > _LARGEST_COUNT:
                return None
            elif number == 9:
                numbers += np.frombuffer(self._reader.data(value), _INTEGERS[dtype]).tolist()
            else:
                numbers += map(_signed, self._reader.integers(value))
        return max(numbers) if numbers and min(numbers) >= 0 else None

    def _place(self, places: Sequence[Span]) -> None:
        """Note the file of a tensor's data; of an entry that stands twice, both count."""
        found: dict[str, list[str]] = {name: [] for name in _EXTERNAL}
        for place in places:
            entry = dict.fromkeys((1, 2), "")
            for number, value in self._fields("StringStringEntryProto", place, _LEAF):
                entry[number] = self._reader.text(value)
            if entry[1] not in _EXTERNAL:
                raise WireError(f"a tensor's data by {entry[1]!r}; expected {list(_EXTERNAL)}")
            found[entry[1]].append(entry[2])
        numbers = [*found["offset"], *found["length"]]
        if not found["location"] or not all(text.isascii() and text.isdecimal() and len(text) < 20 for text in numbers):
            raise WireError(f"a tensor's data in {found}; expected a location, and whole numbers where in it")
        for location in found["location"]:
            self._locations[location] = max(self._locations.get(location, 0), sum(map(int, numbers)))


def _most(name: str, scope: _Scope) -> int | str | None:
    """At most how large a number is: a constant, the name of the tensor whose size it is, or None: nothing says."""
    for _ in range(_MAX_STEPS):
        found = scope.get(name)
        if not isinstance(found, _Node):
            return found
        if found.operator == "Constant":
            return found.constant
        if found.operator == "Shape" and found.inputs:
            return found.inputs[0]
        if found.operator == "Min" and (constants := [n for n in map(scope.get, found.inputs) if isinstance(n, int)]):
            return min(constants)
        if found.operator not in _PICKING or not found.inputs:
            return None
        name = found.inputs[0]
    return None


def _iterations(most: int | str | None, times: int) -> int:
    """How often a loop runs by a constant, inside loops that run `times` times; 1 where a tensor's size says."""
    if most is None or (isinstance(most, int) and most * times > MAX_ITERATIONS):
        found = "nothing that says how often" if most is None else f"{most} times in each of {times}"
        raise WireError(f"a Loop with {found}; expected the size of a tensor, or at most {MAX_ITERATIONS} in all")
    return max(most, 1) if isinstance(most, int) else 1


def _signed(value: int) -> int:
    """A varint as int64."""
    return value - 2**64 if value >= 2**63 else value
