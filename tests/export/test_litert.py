"""The LiteRT file against Keras: operators, axes, single calls, whole samples, precisions and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from kvdiff.diffusion import ClipSpec, ModelSpec, Prediction, Sampler, StepTable
from kvdiff.diffusion.process.noise import video_noise
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.export import export_litert
from kvdiff.export.litert import _recipe
from kvdiff.export.litert_file import _packed, at_most_4d, with_metadata
from kvdiff.runtime import ArtefactError, LiteRtSampler
from kvdiff.runtime.litert import _metadata
from kvdiff.runtime.manifest import METADATA, manifest_path
from tests.export.hostile import assert_damage_is_refused

CLIPS = np.random.default_rng(3).uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_litert(model, tmp_path_factory.mktemp("litert") / "run")


@pytest.fixture(scope="module")
def lite(file: Path) -> Sampler:
    return LiteRtSampler(file, threads=1)


def operators(file: Path) -> list[dict[str, Any]]:
    """The graph's operators and, last, the delegates that replace them."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter._get_ops_details()


def assert_all_delegated(file: Path) -> None:
    """One delegate takes the graph's inputs and makes its output, so nothing is left for anyone else."""
    delegates = [operator for operator in operators(file) if operator["op_name"] == "DELEGATE"]
    interpreter = Interpreter(str(file), num_threads=1)
    inputs = {detail["index"] for detail in interpreter.get_input_details()}
    outputs = {detail["index"] for detail in interpreter.get_output_details()}
    assert len(delegates) == 1
    assert inputs <= set(delegates[0]["inputs"]) and outputs <= set(delegates[0]["outputs"])
    made = {int(output) for operator in operators(file) for output in operator["outputs"]} - outputs
    assert made.isdisjoint(delegates[0]["inputs"]), "something in front of the delegate"


def assert_builtin_and_flat(file: Path, made_of: str = "CONV_2D") -> None:
    names = {operator["op_name"] for operator in operators(file)}
    assert made_of in names
    assert not {name for name in names if "Flex" in name or name in ("CONV_3D", "CUSTOM")}
    assert max(len(tensor["shape"]) for tensor in Interpreter(str(file)).get_tensor_details()) == 4


def test_builtin_operators_on_four_axes_and_all_in_xnnpack(file: Path) -> None:
    assert_builtin_and_flat(file)
    assert_all_delegated(file)


def test_the_rewrite_to_four_axes_refuses_what_it_does_not_know(file: Path) -> None:
    import tensorflow as tf

    def converted(function: Any, shape: tuple[int, ...]) -> bytes:
        concrete = tf.function(function, input_signature=[tf.TensorSpec(shape)]).get_concrete_function()
        return tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert()

    with pytest.raises(NotImplementedError, match="expected no .* on a five-dimensional tensor"):
        at_most_4d(converted(lambda x: tf.transpose(x, (0, 2, 1, 3, 4)), (1, 2, 3, 4, 5)))
    with pytest.raises(NotImplementedError, match="expected no STRIDED_SLICE that cuts"):
        at_most_4d(converted(lambda x: x[:, ::2], (1, 2, 3, 4, 5)))
    with pytest.raises(NotImplementedError, match=r"expected tensors of one clip.*Received: \[2, 2, 3, 4, 5\]"):
        at_most_4d(converted(lambda x: x + 1.0, (2, 2, 3, 4, 5)))


def test_weights_behind_the_file_are_brought_in(file: Path, lite: Sampler, tmp_path: Path) -> None:
    """As in files that a quantizer wrote of a larger model: the buffer says where in the file its bytes are."""
    content = schema.ModelT.InitFromPackedBuf(file.read_bytes())
    buffer = max(content.buffers, key=lambda each: 0 if each.data is None else len(each.data))
    weights, buffer.data = bytes(buffer.data), None
    buffer.offset, buffer.size = 1, len(weights)
    buffer.offset = len(_packed(content))
    large = _packed(content) + weights
    assert len(_packed(content)) == buffer.offset and len(large) > len(weights) + 1000
    (tmp_path / "one.tflite").write_bytes(with_metadata(large, {"note": "x"}))
    denoise = Interpreter(str(tmp_path / "one.tflite"), num_threads=1).get_signature_runner("denoise")
    label = np.full((1, 4), 0.5, np.float32)
    raw = denoise(noisy_clip=CLIPS[0], noise_label=label)["raw_output"]
    assert np.array_equal(raw, lite.engine.denoise(CLIPS[:1], label)[0])


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpmpp_2m"])
def test_samples_are_those_of_keras(lite: Sampler, model, solver: str) -> None:
    sampling = dict(solver=solver, num_steps=10, seed=6)
    known = np.array([[True, False, False, True], [False] * 4, [True, True, False, False]])
    ours, theirs = lite.infill(CLIPS, known, **sampling), model.infill(CLIPS, known, **sampling)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert ours[known].tobytes() == CLIPS[known].tobytes()


def test_the_recipe_in_the_file_is_enough_to_sample_with(file: Path, lite: Sampler) -> None:
    """As a host without kvdiff would: the interpreter, the metadata, and the loop that they describe."""
    content = _metadata(file.read_bytes())
    assert json.loads(content[METADATA]) == lite.spec.config
    recipe = json.loads(content["kvdiff.recipe"])
    denoise = Interpreter(str(file), num_threads=1).get_signature_runner("denoise")
    for name, table in recipe["tables"].items():
        x = np.float32(table["init_std"]) * video_noise(4, 0, [0], (4, 8, 8, 1))[0]
        history = [0.0] * len(table["b"][0])
        for i in range(20):
            row = {column: np.float32(table[column][i]) for column in StepTable.COLUMNS}
            label = np.broadcast_to(row["c_noise"], (1, 4))
            raw = denoise(noisy_clip=row["c_in"] * x, noise_label=label)["raw_output"]
            history = [np.clip(row["c_skip"] * x + row["c_out"] * raw, -1, 1), *history[:-1]]
            x = row["a"] * x + sum(b * predicted for b, predicted in zip(row["b"], history, strict=True))
        expected = lite.generate(1, num_steps=20, seed=4, solver=name.split(",")[0])[0]
        np.testing.assert_allclose(x, expected, atol=1e-5)


def test_the_recipe_visits_no_more_levels_than_there_are() -> None:
    short = ModelSpec(ClipSpec(4, 8, 8, 1), cosine(12), Prediction("v"))
    tables = _recipe(short)["tables"]
    assert {name: len(table["a"]) for name, table in tables.items()} == {"ddim, 12 steps": 12, "dpmpp_2m, 12 steps": 12}


@pytest.mark.parametrize(
    ("precision", "share", "error"),
    [
        ("float16", 0.65, 0.05),
        ("int8", 0.5, 0.2),
        pytest.param("int8-weights", 0.5, 0.2, marks=pytest.mark.slow),
    ],
)
def test_smaller_precisions(model, file: Path, tmp_path: Path, precision: str, share: float, error: float) -> None:
    path = export_litert(model, tmp_path / "run", precision=precision)
    assert path.name == f"denoiser.{precision}.tflite"
    assert path.stat().st_size < share * file.stat().st_size
    sampler = LiteRtSampler(path)
    manifest = sampler.engine.artefact.manifest
    assert manifest["precision"] == precision and manifest["parity"]["tolerance"] is None
    assert 0 < manifest["parity"]["max_relative_difference"] < error
    assert np.isfinite(sampler.generate(1, num_steps=2)).all()
    assert_builtin_and_flat(path)
    assert_all_delegated(path)


def test_200_flipped_bytes_and_cut_off_files(file: Path, tmp_path: Path) -> None:
    assert_damage_is_refused(file, tmp_path, lambda path: LiteRtSampler(path, threads=1))


def test_refusals(model, file: Path, lite: Sampler, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"`precision`: expected one of .* Received: 'int4'"):
        export_litert(model, tmp_path / "run", precision="int4")
    with pytest.raises(FileExistsError, match="`directory`: expected one without denoiser.tflite"):
        export_litert(model, file.parent)
    with pytest.raises(ValueError, match=r"expected clips of \[4, 8, 8, 1\].* Received: \[5, 8, 8, 1\]"):
        lite.generate(1, num_frames=5, num_steps=1)
    (tmp_path / "denoiser.tflite").write_bytes(file.read_bytes()[:-1] + b"x")
    manifest_path(tmp_path / "denoiser.tflite").write_bytes(manifest_path(file).read_bytes())
    with pytest.raises(ArtefactError, match="has changed since export"):
        LiteRtSampler(tmp_path)
    assert not (tmp_path / "run").exists()
