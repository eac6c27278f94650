"""`model.export`, which every Keras user tries first: one call of the denoiser, in Keras' own formats."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

import kvdiff
from kvdiff.diffusion.conditions import FrameVectors

Answer = Callable[[Mapping[str, np.ndarray]], Any]


def in_onnxruntime(path: Path) -> Answer:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, dict(inputs))[0]


def in_tensorflow(path: Path) -> Answer:
    loaded = tf.saved_model.load(str(path))
    return lambda inputs: np.asarray(loaded.serve(dict(inputs)))


def in_litert(path: Path) -> Answer:
    runner = Interpreter(str(path), num_threads=1).get_signature_runner()
    return lambda inputs: runner(**inputs)["output_0"]


FORMATS: dict[str, tuple[str, Callable[[Path], Answer], str]] = {
    "onnx": ("network.onnx", in_onnxruntime, "export_onnx"),
    "tf_saved_model": ("network", in_tensorflow, "export_saved_model"),
    "litert": ("network.tflite", in_litert, "export_litert"),
}


@keras.saving.register_keras_serializable(package="tests")
class Scale(keras.layers.Layer):
    """The clip times a weight: LiteRT's converter takes no bias on five axes."""

    def build(self, shape: Any) -> None:
        self.weight = self.add_weight(shape=(), initializer=keras.initializers.Constant(0.7))

    def call(self, clip: Any) -> Any:
        return self.weight * clip


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    """Of a denoiser that is traced at once, with a condition, and that nobody has called yet."""
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,), "push": (None, 2), "told": (1,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    label = keras.layers.Reshape((-1, 1, 1, 1))(inputs["noise_label"] + 1.0)
    push = keras.layers.Reshape((-1, 1, 1, 1))(keras.ops.sum(inputs["push"] * inputs["told"][:, None, :], axis=-1))
    denoiser = keras.Model(inputs, Scale()(inputs["noisy_clip"] * label * push))
    denoiser.conditions = {"push": FrameVectors(2)}
    return kvdiff.VideoDiffusion((3, 4, 4, 1), denoiser)


@pytest.mark.parametrize("name", FORMATS)
def test_a_network_call_is_written_and_the_richer_way_is_named(
    model: kvdiff.VideoDiffusion, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], rng: Any
) -> None:
    file, opened, richer = FORMATS[name]
    model.export(tmp_path / file, format=name)
    assert f"What samples is written by kvdiff.export.{richer}" in capsys.readouterr().out
    shapes = {"noisy_clip": (1, 3, 4, 4, 1), "noise_label": (1, 3), "push": (1, 3, 2), "told": (1, 1)}
    inputs = {each: rng.uniform(0.1, 1.0, shape).astype(np.float32) for each, shape in shapes.items()}
    expected = model.sampler.engine.denoise(inputs["noisy_clip"], inputs["noise_label"], inputs)
    np.testing.assert_allclose(opened(tmp_path / file)(inputs), expected, atol=1e-5)


def test_what_keras_takes_is_passed_on(
    model: kvdiff.VideoDiffusion, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="Unrecognized format=toaster"):
        model.export(tmp_path / "network", format="toaster")
    with pytest.raises(ValueError, match=r"to end with '.tflite'"):
        model.export(tmp_path / "network", format="litert")
    assert list(tmp_path.iterdir()) == []
    signature = [
        {
            name: keras.InputSpec(tensor.dtype, (1, *(size or 4 for size in tensor.shape[1:])), name=name)
            for name, tensor in model.denoiser.input.items()
        }
    ]
    model.export(tmp_path / "network.tflite", format="litert", input_signature=signature, verbose=False)
    runner = Interpreter(str(tmp_path / "network.tflite"), num_threads=1).get_signature_runner()
    assert runner.get_input_details()["noisy_clip"]["shape"].tolist() == [1, 4, 4, 4, 1]
    assert capsys.readouterr().out == ""
