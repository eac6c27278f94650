"""What an ONNX file refers to and runs is known before ONNX Runtime opens it, wherever in the file it stands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from kvdiff.runtime import ArtefactError, OrtSampler
from kvdiff.runtime.manifest import METADATA, canonical_json, manifest_path, sealed
from kvdiff.runtime.onnx_file import MAX_ITERATIONS, SCHEMA, read_onnx
from kvdiff.runtime.protobuf import MAX_FIELDS, Reader, WireError
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact


def graph() -> onnx.ModelProto:
    return make_graph({METADATA: canonical_json(SAMPLER)})


def outside(name: str = "w") -> TensorProto:
    """A tensor whose data lie in another file, the value before the key: what a search for bytes does not find."""
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", "secret.data"), ("offset", "8"), ("length", "16")):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


def reversed_entries(content: bytes) -> bytes:
    """The same message with the two fields of each entry the other way round, as no library writes them."""
    key, value = b"\x0a\x08location", b"\x12\x0bsecret.data"
    assert key + value in content
    return content.replace(key + value, value + key)


def block(*nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(nodes, "block", [], [helper.make_tensor_value_info("w", TensorProto.FLOAT, [4])])


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=tensor)


def nested(depth: int, inner: onnx.GraphProto) -> onnx.GraphProto:
    for _ in range(depth):
        inner = block(helper.make_node("If", ["c"], ["w"], then_branch=inner, else_branch=inner))
    return inner


PLACES: dict[str, Callable[[onnx.ModelProto], Any]] = {
    "an initializer": lambda model: model.graph.initializer.append(outside()),
    "a node's attribute": lambda model: model.graph.node.append(constant(outside())),
    "a list of tensors": lambda model: model.graph.node.append(helper.make_node("X", [], ["w"], some=[outside()])),
    "a graph in a node": lambda model: model.graph.node.extend(nested(3, block(constant(outside()))).node),
    "a graph in a node's list": lambda model: model.graph.node.append(
        helper.make_node("X", [], ["w"], some=[block(constant(outside()))])
    ),
    "an initializer of a graph in a node": lambda model: model.graph.node.append(
        helper.make_node("If", ["c"], ["w"], then_branch=with_initializer(), else_branch=block())
    ),
}


def with_initializer() -> onnx.GraphProto:
    made = block()
    made.initializer.append(outside())
    return made


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("order", [bytes, reversed_entries], ids=["as written", "value before key"])
def test_data_in_another_file_are_found(tmp_path: Path, place: str, order: Callable[[bytes], bytes]) -> None:
    model = graph()
    PLACES[place](model)
    path = tmp_path / "model.onnx"
    path.write_bytes(order(model.SerializeToString()))
    assert onnx.load(path, load_external_data=False).graph == model.graph  # Every parser reads both alike.
    assert read_onnx(path).locations == {"secret.data": 24}


def test_a_hard_link_to_somebody_elses_file_is_not_read_as_weights(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "secret").write_bytes(np.float32([0.5] * 6).tobytes())
    os.link(tmp_path / "home" / "secret", tmp_path / "secret.data")
    model = graph()
    half = outside("half")
    half.dims[:] = [1]
    half.external_data[2].value = "4"
    model.graph.initializer[0].CopyFrom(half)

    class Reordered:
        @staticmethod
        def SerializeToString() -> bytes:
            return reversed_entries(model.SerializeToString())

    with pytest.raises(ArtefactError, match=r"weights lie in \['secret.data'\], which its manifest does not list"):
        OrtSampler(write_artefact(tmp_path, Reordered()))


REFUSED: dict[str, tuple[Callable[[onnx.ModelProto], Any], str]] = {
    "sparse initializer": (lambda model: model.graph.sparse_initializer.add(), "field 15 of a GraphProto"),
    "sparse attribute": (
        lambda model: model.graph.node[0].attribute.add().sparse_tensor.dims.append(2**40),
        "field 22 of a AttributeProto",
    ),
    "sparse attributes": (lambda m: m.graph.node[0].attribute.add().sparse_tensors.add(), "field 23 of a Attribute"),
    "function": (lambda model: model.functions.add(name="f"), "field 25 of a ModelProto"),
    "training": (lambda model: model.training_info.add(), "field 20 of a ModelProto"),
    "operators of others": (
        lambda model: model.graph.node.append(helper.make_node("EPContext", [], ["w"], domain="com.microsoft")),
        "an operator 'EPContext' of 'com.microsoft'",
    ),
    "graphs without end": (lambda m: m.graph.node.extend(nested(17, block()).node), "nested more than 16 deep"),
    "an address in memory": (
        lambda model: model.graph.initializer.append(located("*/_ORT_MEM_ADDR_/*")),
        "which its manifest does not list",
    ),
    "a negative offset": (lambda model: model.graph.initializer.append(located("a", offset="-1")), "whole numbers"),
    "another key": (lambda model: model.graph.initializer.append(located("a", path="b")), "a tensor's data by 'path'"),
    "itself": (lambda model: model.graph.initializer.append(located("denoiser.onnx")), "or in itself"),
    "beyond the end": (
        lambda model: model.graph.initializer.append(located("denoiser.onnx", offset="99999999")),
        "beyond the end",
    ),
}


def located(location: str, **more: str) -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, value
    return tensor


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_export_has_is_refused(tmp_path: Path, what: str) -> None:
    change, message = REFUSED[what]
    model = graph()
    change(model)
    with pytest.raises(ArtefactError, match=message.replace("*", r"\*")):
        OrtSampler(write_artefact(tmp_path, model))


def number(value: int | list[int], name: str = "n") -> TensorProto:
    return numpy_helper.from_array(np.array(value, np.int64), name)


def looped(*nodes: onnx.NodeProto, times: int = 1, constants: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    """A model whose loop, `times` loops inside each other, runs as often as the tensor `n` says."""
    model = graph()
    names = [f"go{index}" for index in range(times)]
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"])], "body", [], [])
    for name in names:
        loop = helper.make_node("Loop", ["n", ""], [name], body=body)
        body = helper.make_graph([loop], "body", [], [])
    model.graph.node.extend([*nodes, *body.node])
    model.graph.initializer.extend([number([0], "zero"), number([1], "one"), *constants])
    return model


def picked(source: str) -> list[onnx.NodeProto]:
    """What converters write to take a size from a shape."""
    return [
        helper.make_node("Shape", [source], ["shape"]),
        helper.make_node("Cast", ["shape"], ["cast"], to=TensorProto.INT32),
        helper.make_node("Slice", ["cast", "zero", "one", "zero"], ["part"]),
        helper.make_node("Squeeze", ["part", "zero"], ["one_number"]),
        helper.make_node("Cast", ["one_number"], ["n"], to=TensorProto.INT64),
    ]


BOUNDED = {
    "a constant": looped(constants=(number(4),)),
    "a node's constant": looped(helper.make_node("Constant", [], ["n"], value=number(7))),
    "an integer in a node": looped(helper.make_node("Constant", [], ["n"], value_int=7)),
    "the frames of the input": looped(*picked("noisy_clip")),
    "the size of a tensor": looped(*picked("scaled")),
    "the smaller": looped(helper.make_node("Min", ["sum", "m"], ["n"]), constants=(number(9, "m"),)),
    "loops in loops": looped(times=2, constants=(number(200),)),
}
UNBOUNDED = {
    "a large constant": looped(constants=(number(2**31),)),
    "a large constant in a node": looped(helper.make_node("Constant", [], ["n"], value=number(2**31))),
    "a large integer in a node": looped(helper.make_node("Constant", [], ["n"], value_int=2**31)),
    "the largest of a list": looped(
        helper.make_node("Gather", ["m", "zero"], ["n"]), constants=(number([1, 2**40], "m"),)
    ),
    "nothing": looped(),
    "below zero": looped(constants=(number(-1),)),
    "a product": looped(helper.make_node("Mul", ["m", "m"], ["n"]), constants=(number(60_000, "m"),)),
    "loops in loops": looped(times=3, constants=(number(200),)),
    "a circle": looped(helper.make_node("Identity", ["n"], ["n"])),
    "an input": looped(helper.make_node("Identity", ["noise_label"], ["n"])),
}


@pytest.mark.parametrize("what", BOUNDED)
def test_loops_with_an_end_are_taken(tmp_path: Path, what: str) -> None:
    (tmp_path / "model.onnx").write_bytes(BOUNDED[what].SerializeToString())
    by = "noisy_clip" if what == "the frames of the input" else ""
    assert list(read_onnx(tmp_path / "model.onnx").loops_by) == [by]


@pytest.mark.parametrize("what", UNBOUNDED)
def test_loops_without_an_end_are_refused(tmp_path: Path, what: str) -> None:
    with pytest.raises(
        ArtefactError, match=f"a Loop with .* expected the size of a tensor, or at most {MAX_ITERATIONS}"
    ):
        OrtSampler(write_artefact(tmp_path, UNBOUNDED[what]))


def test_the_numbers_of_the_fields_are_onnx_s() -> None:
    """Each is a field of that message, and leads to the message that it is said to."""
    for message, fields in SCHEMA.items():
        known = {field.number: field for field in getattr(onnx, message).DESCRIPTOR.fields}
        for at, kind in fields.items():
            inner = known[at].message_type
            assert kind in ("", inner.name if inner is not None else "")
        tensors = {at for at, field in known.items() if field.message_type is not None} - set(fields)
        assert {known[at].name for at in tensors} <= {
            *("sparse_initializer", "sparse_tensor", "sparse_tensors", "functions", "training_info", "segment"),
            *("configuration", "device_configurations", "tp", "type_protos"),
        }


def test_fields_are_those_that_protobuf_reads() -> None:
    content = graph().SerializeToString()
    reader = Reader(content)
    found = [(at, reader.data(value)) for at, value in reader.fields(reader.whole) if isinstance(value, tuple)]
    assert onnx.GraphProto.FromString(dict(found)[7]) == graph().graph
    assert [at for at, _ in found] == [7, 8, 14]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x0a\x05abc", "a field of 5 bytes at byte 2, beyond its message's end at 5"),
        (b"\x0b\x0c", "a field of the kind 3 at byte 1"),  # A group, and its end.
        (b"\x0f", "a field of the kind 7"),
        (b"\x00\x01", "a field of the number 0"),
        (b"\x88", "an integer without end"),
        (b"\x08" + b"\xff" * 10 + b"\x01", "an integer without end"),
        (b"\x09\x01\x02", "a field of 8 bytes"),
        (b"\xf8\xff\xff\xff\xff\x01\x01", "a field of the number"),
    ],
)
def test_what_is_no_message_is_refused(content: bytes, message: str) -> None:
    reader = Reader(content)
    with pytest.raises(WireError, match=message):
        list(reader.fields(reader.whole))


def test_fields_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvdiff.runtime.protobuf.MAX_FIELDS", 10)
    reader = Reader(b"\x08\x01" * 11)
    with pytest.raises(WireError, match="more than 10 fields"):
        list(reader.fields(reader.whole))
    assert MAX_FIELDS > 10**6


def test_random_bytes_are_refused_or_read(rng: np.random.Generator, tmp_path: Path) -> None:
    whole = bytearray(graph().SerializeToString())
    path = tmp_path / "model.onnx"
    for position, flip in zip(rng.integers(0, len(whole), 500), rng.integers(1, 256, 500), strict=True):
        changed = bytearray(whole)
        changed[position] ^= int(flip)
        path.write_bytes(changed)
        try:
            read_onnx(path)
        except ValueError:
            continue


def test_an_empty_file_with_a_manifest_of_its_own_is_refused(tmp_path: Path) -> None:
    class Nothing:
        @staticmethod
        def SerializeToString() -> bytes:
            return b""

    with pytest.raises(ArtefactError, match="0 bytes; expected 1 to"):
        OrtSampler(write_artefact(tmp_path, Nothing()))


def test_another_suffix_which_means_another_format_to_the_runtime_is_refused(tmp_path: Path) -> None:
    path = write_artefact(tmp_path, graph())
    other = path.rename(path.with_name("denoiser.ort"))
    content = json.loads(manifest_path(path).read_text())
    content["files"] = {other.name: content["files"][path.name]}
    manifest_path(other).write_text(json.dumps(sealed(content)))
    with pytest.raises(ArtefactError, match="whose name does not end in .onnx"):
        OrtSampler(other)
