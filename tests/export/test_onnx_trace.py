"""Functions of `kvdiff.diffusion` as graphs: the same bits and the same numbers as with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper

from kvdiff.diffusion.process.noise import SAMPLING, normal, threefry, video_noise
from kvdiff.export.onnx_trace import Nodes, Tensor


def run(function: Callable[..., Sequence[Tensor]], **inputs: np.ndarray) -> list[np.ndarray]:
    """`function(nodes, **tensors)` as a graph, run on `inputs`."""
    nodes, kinds = Nodes("test"), {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64}
    given = {name: Tensor(nodes, name, value.dtype.name, value.shape) for name, value in inputs.items()}
    outputs = function(nodes, **given)
    described = [helper.make_tensor_value_info(name, kinds[value.dtype.name], None) for name, value in inputs.items()]
    made = [helper.make_tensor_value_info(t.name, kinds.get(t.dtype, TensorProto.INT64), None) for t in outputs]
    graph = helper.make_graph(nodes.blocks[-1], "test", described, made, nodes.initializers())
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def test_words_agree_bit_for_bit(rng: np.random.Generator) -> None:
    words = rng.integers(0, 2**32, (4, 1000), dtype=np.uint32)
    words[:, :3] = [[0], [1], [2**32 - 1], [2**31]]

    def graph(nodes: Nodes, **word: Tensor) -> Sequence[Tensor]:
        a, b, c, d = (nodes.cast(word[name], "uint32") for name in "abcd")
        return threefry(nodes, (a, b), (c, d))

    found = run(graph, **dict(zip("abcd", words.astype(np.int64), strict=True)))
    expected = threefry(np, (words[0], words[1]), (words[2], words[3]))
    assert np.array_equal(found, np.stack(expected).astype(np.int64))


def test_known_answers_of_threefry() -> None:
    """From the Random123 distribution: threefry2x32, 20 rounds, of all bits set and of digits of pi."""

    def graph(nodes: Nodes, word: Tensor) -> Sequence[Tensor]:
        a, b, c, d = (nodes.cast(nodes.node("Gather", word, nodes.of(k, "int64"), axis=0), "uint32") for k in range(4))
        return threefry(nodes, (a, b), (c, d))

    ones = np.full(4, 0xFFFFFFFF, np.int64)
    assert [hex(word) for word in run(graph, word=ones)] == ["0x1cb996fc", "0xbb002be7"]
    pi = np.array([0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3], np.int64)
    assert [hex(word) for word in run(graph, word=pi)] == ["0xc4923a9c", "0x483df7a0"]


@pytest.mark.parametrize("count", [7, 64])
def test_normal_numbers_of_a_count_known_at_run_time(count: int) -> None:
    def graph(nodes: Nodes, low: Tensor, sample: Tensor, size: Tensor) -> Sequence[Tensor]:
        return [normal(nodes, (low, nodes.zeros_like(low)), 3, sample, size, SAMPLING)]  # type: ignore[arg-type]

    samples = np.array([0, 5, 2**31])
    (found,) = run(graph, low=np.full(3, 9), sample=samples, size=np.array(count))
    np.testing.assert_allclose(found, video_noise(9, 3, samples, (count,)), atol=1e-6)


def test_arithmetic_is_numpys(rng: np.random.Generator) -> None:
    def formula(x: Any, y: Any) -> Any:
        return np.float32(2.0) * x[..., :2] + (1.0 - y) / 3.0 - y * x[..., 2:]

    x, y = rng.standard_normal((3, 4)).astype(np.float32), rng.standard_normal((3, 2)).astype(np.float32)
    (found,) = run(lambda nodes, x, y: [formula(x, y)], x=x, y=y)
    np.testing.assert_allclose(found, formula(x, y), rtol=1e-6)


def test_what_is_no_array_function_is_named() -> None:
    with pytest.raises(AttributeError, match="no array function 'fft'"):
        Nodes("test").fft  # noqa: B018
