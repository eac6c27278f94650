"""Converting to ONNX: traced once, without a copy of the graph before every pass, and whole where a pass fails."""

from __future__ import annotations

import os

import keras
import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf
import tf2onnx
from tf2onnx.constants import ENV_TF2ONNX_CATCH_ERRORS
from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer

from kvdiff.export.onnx_conversion import OPSET, network_to_onnx, to_onnx

CLIP = tf.TensorSpec([None, 3], tf.float32, name="clip")


def answer(graph, clip):
    return ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"clip": clip})


@pytest.fixture
def copies(monkeypatch):
    """The graphs that tf2onnx copies."""
    seen, deepcopy = [], tf2onnx.optimizer.copy.deepcopy

    class Copying:
        @staticmethod
        def deepcopy(value):
            seen.extend([value] if isinstance(value, tf2onnx.graph.Graph) else [])
            return deepcopy(value)

    monkeypatch.setattr(tf2onnx.optimizer, "copy", Copying)
    return seen


def test_a_function_is_traced_once_and_its_graph_not_copied(copies, monkeypatch):
    monkeypatch.delenv(ENV_TF2ONNX_CATCH_ERRORS, raising=False)
    traced = []
    graph = to_onnx(lambda clip: (traced.append(clip), tf.sin(clip) + 1.0)[1], CLIP)
    clip = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    np.testing.assert_allclose(answer(graph, clip)[0], np.sin(clip) + 1.0, rtol=1e-6)
    assert len(traced) == 1 and not copies and graph.opset_import[0].version == OPSET
    assert ENV_TF2ONNX_CATCH_ERRORS not in os.environ


def test_a_pass_that_fails_costs_that_pass_alone(copies, monkeypatch):
    def fails(self, graph):
        raise KeyError("a node that is gone")

    monkeypatch.setenv(ENV_TF2ONNX_CATCH_ERRORS, "said by the user")
    monkeypatch.setattr(IdentityOptimizer, "_optimize", fails)
    graph = to_onnx(lambda clip: tf.sin(clip) + 1.0, CLIP)
    assert os.environ[ENV_TF2ONNX_CATCH_ERRORS] == "said by the user"
    assert copies and answer(graph, np.zeros((1, 3), np.float32))[0].tolist() == [[1.0, 1.0, 1.0]]


@pytest.mark.parametrize("several", [True, False])
def test_inputs_have_the_networks_names(several):
    clip = keras.Input((3,), name="clip")
    label = keras.Input((3,), name="label")
    network = keras.Model({"clip": clip, "label": label}, clip * label) if several else keras.Model(clip, 2.0 * clip)
    names = {tensor.name for tensor in network_to_onnx(network).graph.input}
    assert names == ({"clip", "label"} if several else {"clip"})
