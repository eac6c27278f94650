"""The SavedModel against Keras, row by row, in this process and in others that know nothing of kvdiff."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

import kvdiff
from kvdiff.diffusion import Sampler, step_table
from kvdiff.diffusion.conditions import ClassLabel, FrameVectors, LowResolution
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.export import ParityError, export_saved_model
from kvdiff.export.graph_sampler import GraphSampler
from kvdiff.export.signatures import Signatures
from kvdiff.runtime import ArtefactError, SavedModelSampler
from kvdiff.runtime.format import MEMORY
from kvdiff.runtime.manifest import load_folder
from kvdiff.runtime.saved_model import SAVED_MODEL, table_inputs

ROOT = Path(kvdiff.__file__).parents[1]
CLIPS = np.random.default_rng(3).uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)
KNOWN = np.array([[True, False, False, True], [False] * 4, [True, True, False, False]])
SEEDS, SAMPLES = np.array([5, -(2**63) + 9, 5]), np.array([0, 3, 2])
CHOSEN: dict[str, Any] = dict(solver="ddpm", num_steps=4)
ROWS = {"seed": [5, 3, 5], "sample": [0, 0, 2]}


@pytest.fixture(scope="module", autouse=True)
def _unoptimised() -> Iterator[None]:
    """Optimising graphs takes longer than the few calls here; `tests.export.without_kvdiff` runs them optimised."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def version(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_saved_model(model, tmp_path_factory.mktemp("served") / "clips", pixels="float32", **CHOSEN)


@pytest.fixture(scope="module")
def served(version: Path) -> Sampler:
    return SavedModelSampler(version.parent)


@pytest.fixture(scope="module")
def signatures(version: Path) -> Any:
    """What TensorFlow loads."""
    loaded = tf.saved_model.load(str(version))
    return types.SimpleNamespace(**loaded.signatures, model=loaded)


def alone(verb: Callable[..., np.ndarray], row: int, *known: np.ndarray) -> np.ndarray:
    """The clip of one row by itself."""
    return verb(*known, **CHOSEN, seed=int(SEEDS[row]) % 2**64, first_sample=int(SAMPLES[row]))[0]


# Whole clips, by the sampler of this package.


def test_samples_are_those_of_keras(served: Sampler, model) -> None:
    check_samples(served, model, solver="ddpm", num_steps=6)


@pytest.mark.slow
@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_samples_of_every_solver_are_those_of_keras(served: Sampler, model, solver: str) -> None:
    for num_steps in (12, 40):
        check_samples(served, model, solver=solver, num_steps=num_steps, spacing="karras")


def check_samples(served: Sampler, model, **sampling: Any) -> None:
    sampling |= dict(seed=2**64 - 3, first_sample=4)
    ours, theirs = served.infill(CLIPS, KNOWN, **sampling), model.infill(CLIPS, KNOWN, **sampling)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)
    assert ours[KNOWN].tobytes() == CLIPS[KNOWN].tobytes()


def test_a_table_of_too_many_calls_runs_around_the_network(served: Sampler, monkeypatch: pytest.MonkeyPatch) -> None:
    def sample() -> tuple[np.ndarray, int]:
        calls: list[int] = []
        clip = served.infill(CLIPS, KNOWN, **CHOSEN, seed=3, progress=lambda done, total: calls.append(done))
        return clip, len(calls)

    within, once = sample()
    monkeypatch.setattr(served.engine, "max_calls", CHOSEN["num_steps"] - 1)
    around, each = sample()
    assert (once, each) == (1, CHOSEN["num_steps"])
    np.testing.assert_allclose(around, within, rtol=0, atol=2e-4)


@pytest.mark.slow
@pytest.mark.parametrize("plan", ["autoregressive", "rolling"])
def test_long_videos_are_those_of_keras(served: Sampler, model, plan: str) -> None:
    sampling: dict[str, Any] = dict(plan=plan, num_steps=6, seed=3, known_noise=0.1)
    noisy = dataclasses.replace(model.spec, known_noise=0.1)  # As if training had shown it; the network is random.
    samplers = [dataclasses.replace(source, spec=noisy) for source in (served, model.sampler)]
    for solver in ("ddpm", "deis"):
        ours, theirs = (source.rollout(9, CLIPS[:2, :2], **sampling, solver=solver) for source in samplers)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_a_learned_variance_is_served(tmp_path: Path) -> None:
    denoiser = kvdiff.UNet3D(1, out_channels=2, widths=(8,), blocks=1, attention=(None,))
    for variable in denoiser.trainable_variables:
        variable.assign_add(keras.random.normal(variable.shape, stddev=0.3, seed=len(variable.path)))
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser, learned_variance=True)
    chosen: dict[str, Any] = dict(solver="ddpm", variance="learned", num_steps=4)
    version = export_saved_model(model, tmp_path, pixels="float32", **chosen)
    expected = model.generate(2, **chosen, seed=5)
    generate = tf.saved_model.load(str(version)).signatures["generate"]
    made = generate(seed=tf.constant([5, 5], tf.int64), sample=tf.constant([0, 1], tf.int64))["frames"]
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-4)
    np.testing.assert_allclose(SavedModelSampler(version).generate(2, **chosen, seed=5), expected, rtol=0, atol=2e-4)


# The signatures, as a server calls them.


def test_generate_makes_of_each_row_what_its_seed_and_number_say(signatures: Any, model) -> None:
    made = signatures.generate(seed=tf.constant(SEEDS), sample=tf.constant(SAMPLES))["frames"].numpy()
    for row in range(3):
        np.testing.assert_allclose(made[row], alone(model.generate, row), rtol=0, atol=2e-4)


def test_predict_and_interpolate_know_other_frames_in_each_row(signatures: Any, served: Sampler) -> None:
    address = dict(clip=tf.constant(CLIPS), seed=tf.constant(SEEDS), sample=tf.constant(SAMPLES))
    past, before, after = ([1, 3, 2], [1, 1, 2], [1, 2, 1])
    predicted = signatures.predict(**address, num_past=tf.constant(past))["frames"].numpy()
    between = signatures.interpolate(**address, num_before=tf.constant(before), num_after=tf.constant(after))
    for row, (k, left, right) in enumerate(zip(past, before, after, strict=True)):
        clip = CLIPS[row : row + 1]
        expected = alone(served.predict_frames, row, clip[:, :k])
        np.testing.assert_allclose(predicted[row, k:], expected, rtol=0, atol=2e-4)
        assert predicted[row, :k].tobytes() == clip[0, :k].tobytes()
        expected = alone(served.interpolate, row, clip[:, :left], clip[:, 4 - right :])
        np.testing.assert_allclose(between["frames"][row, left : 4 - right], expected, rtol=0, atol=2e-4)


def test_rows_of_other_solvers_and_lengths_share_a_batch(served: Sampler) -> None:
    """A stochastic solver of 5 calls, one with memory of 2, and one whose clip is no number."""
    known = KNOWN[:1]
    tables = [
        step_table(served.spec.schedule, served.spec.prediction, solver=solver, num_steps=num_steps).with_known(known)
        for solver, num_steps in (("ddpm", 5), ("dpmpp_2m", 2), ("ddpm", 5))
    ]
    rows = [table_inputs(table, 1, 4, served.engine.max_calls) for table in tables]
    feed = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
    clip = np.where(known[0][:, None, None, None], CLIPS[0], 0.0)
    feed |= dict(start=np.stack([clip, clip, np.full_like(clip, np.nan)]), start_std=np.tile(~known, (3, 1)))
    made = served.engine._call("sample", feed | dict(first_draw=np.zeros(3), seed=SEEDS, sample=SAMPLES))
    for row, (solver, num_steps) in enumerate((("ddpm", 5), ("dpmpp_2m", 2))):
        sampling = dict(solver=solver, num_steps=num_steps, seed=int(SEEDS[row]) % 2**64)
        expected = served.infill(CLIPS[:1], known, **sampling, first_sample=int(SAMPLES[row]))[0]
        np.testing.assert_allclose(made[row], expected, rtol=0, atol=2e-4)


@pytest.mark.slow
def test_conditions_and_guidance_are_inputs_of_each_row(tmp_path: Path) -> None:
    conditions = {"digit": ClassLabel(3), "action": FrameVectors(2), "small": LowResolution(2)}
    denoiser = kvdiff.UNet3D(1, widths=(8,), blocks=1, attention=(None,), conditions=conditions)
    for variable in denoiser.trainable_variables:
        variable.assign_add(keras.random.normal(variable.shape, stddev=0.3, seed=len(variable.path)))
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), denoiser)
    version = export_saved_model(model, tmp_path, pixels="float32", num_steps=2)
    given = dict(digit=np.array([2, 0]), action=np.ones((2, 4, 2), np.float32), small=CLIPS[:2, :, ::2, ::2])
    weights = np.array([1.0, 3.0], np.float32)
    sampling = dict(num_steps=2, seed=5, conditions=given, guidance=weights, augmentation=0.2)
    expected = model.generate(2, **sampling)
    unguided = np.abs(expected - model.generate(2, **{**sampling, "guidance": 1.0})).max(axis=(1, 2, 3, 4))
    assert unguided[0] < 1e-5 < 1e-2 < unguided[1]
    np.testing.assert_allclose(SavedModelSampler(version).generate(2, **sampling), expected, rtol=0, atol=2e-4)
    rows = dict(seed=np.int64([5, 5]), sample=np.int64([0, 1]), guidance=weights, told=np.ones((2, 3), np.float32))
    rows |= {**given, "digit": np.int32(given["digit"]), "small_noise": np.full(2, 0.2, np.float32)}
    generate = tf.saved_model.load(str(version)).signatures["generate"]
    made = generate(**{name: tf.constant(value) for name, value in rows.items()})["frames"]
    np.testing.assert_allclose(made, expected, rtol=0, atol=2e-4)
    rows["digit"][1] = 9  # There are three classes.
    beside_an_error = generate(**{name: tf.constant(value) for name, value in rows.items()})["frames"]
    np.testing.assert_allclose(beside_an_error[0], expected[0], rtol=0, atol=2e-4)


def test_pixels_come_as_numbers_or_files(trivial: kvdiff.VideoDiffusion) -> None:
    spec = trivial.spec
    table = step_table(spec.schedule, spec.prediction, num_steps=2)
    inputs = dict(num_past=tf.constant([2]), seed=tf.constant([7], tf.int64), sample=tf.constant([0], tf.int64))
    given = np.random.default_rng(0).integers(0, 256, (1, 4, 8, 8, 1), np.uint8)
    made = {}
    for pixels in ("uint8", "png"):
        signatures = Signatures(trivial.denoiser, spec, table, max_calls=2, pixels=pixels)
        made |= signatures.predict(tf.constant(given), **inputs)
    frames = made["frames"].numpy()
    assert frames.dtype == np.uint8 and frames[:, :2].tobytes() == given[:, :2].tobytes()
    expected = trivial.predict_frames(given[:, :2], num_steps=2, seed=7)
    np.testing.assert_allclose(frames[:, 2:], (expected + 1) * 127.5, rtol=0, atol=0.5 + 2e-4 * 127.5)
    files = made["frames_bytes"].numpy()
    assert files.shape == (1, 4)
    assert (np.stack([tf.io.decode_png(file) for file in files[0]]) == frames[0]).all()


def test_every_tensor_has_the_batch_on_its_first_axis_and_fixed_sizes_elsewhere(signatures: Any) -> None:
    functions = signatures.model.signatures
    assert set(functions) == {"denoise", "generate", "predict", "interpolate", "sample", "serving_default"}
    for function in functions.values():
        tensors = [*function.structured_input_signature[1].values(), *function.structured_outputs.values()]
        for tensor in tensors:
            assert tensor.shape[0] is None and tensor.shape[1:].is_fully_defined()


def test_graph_has_operators_of_plain_tensorflow_only(version: Path) -> None:
    from tensorflow.core.protobuf import saved_model_pb2

    graph = saved_model_pb2.SavedModel.FromString((version / "saved_model.pb").read_bytes()).meta_graphs[0].graph_def
    operators = {node.op for nodes in (graph.node, *(f.node_def for f in graph.library.function)) for node in nodes}
    assert {"Conv2D", "BitwiseXor"} <= operators
    assert not {name for name in operators if "PyFunc" in name or "Random" in name or "Flex" in name}


# Other processes.


@pytest.fixture(scope="module")
def elsewhere(version: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What `tests.export.without_kvdiff` makes."""
    folder = tmp_path_factory.mktemp("elsewhere")
    process = run_module("tests.export.without_kvdiff", str(version), str(folder), json.dumps(ROWS))
    process.communicate(timeout=200)
    assert process.returncode == 0
    return {path.stem: np.load(path) for path in folder.glob("*.npy")}


def run_module(*arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("how", ["frames", "session"])  # saved_model_cli names its file after the output.
def test_tensorflows_own_tools_make_the_same_clips(elsewhere: dict[str, np.ndarray], served: Sampler, how: str) -> None:
    rows = zip(ROWS["seed"], ROWS["sample"], strict=True)
    expected = [served.generate(1, **CHOSEN, seed=seed, first_sample=sample)[0] for seed, sample in rows]
    np.testing.assert_allclose(elsewhere[how], expected, rtol=0, atol=2e-4)


def test_warmup_asks_for_each_signature(elsewhere: dict[str, np.ndarray], served: Sampler) -> None:
    names = ("denoise", "generate", "predict", "interpolate", "sample")
    assert {f"warmup_{name}" for name in names} == {name for name in elsewhere if name.startswith("warmup")}
    # Black clips of which nothing is known, seed 0, number 0: three times the same clip.
    for name in names[1:]:
        np.testing.assert_allclose(elsewhere[f"warmup_{name}"], served.generate(1, **CHOSEN), rtol=0, atol=2e-4)


@pytest.fixture(scope="module")
def service(version: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(address, file of batch sizes) of a running `tests.export.prediction_service`."""
    batches = tmp_path_factory.mktemp("service") / "batches.txt"
    process = run_module("tests.export.prediction_service", str(version), str(batches))
    try:
        assert process.stdout is not None
        yield f"127.0.0.1:{int(process.stdout.readline())}", batches
    finally:
        process.kill()
        process.communicate()


def test_requests_that_share_a_batch_get_what_they_get_alone(service: tuple[str, Path], served: Sampler) -> None:
    """Eight clients at once, over gRPC, through the server's batching."""
    address, batches = service
    with grpc.insecure_channel(address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)

        def ask(number: int) -> np.ndarray:
            request = predict_pb2.PredictRequest()
            request.model_spec.signature_name = "predict"
            inputs = dict(
                clip=CLIPS[:1], num_past=np.int32([number % 3]), seed=np.int64([number // 2]), sample=np.int64([number])
            )
            for name, value in inputs.items():
                request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
            return tf.make_ndarray(stub.Predict(request, timeout=200).outputs["frames"])[0]

        with futures.ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(ask, range(8)))
    for number, answer in enumerate(answers):
        known = np.arange(4) < number % 3
        expected = served.infill(CLIPS[:1], known, **CHOSEN, seed=number // 2, first_sample=number)[0]
        np.testing.assert_allclose(answer, expected, rtol=0, atol=2e-4)
    assert max(map(int, batches.read_text().split())) == 4


# The files.


def test_manifest_says_what_is_served(version: Path, model) -> None:
    manifest = json.loads((version / "manifest.json").read_text())
    assert manifest["serving"] == {**CHOSEN, "spacing": None, "max_calls": 100, "pixels": "float32"}
    assert manifest["inputs"]["sample/b"] == {"dtype": "float32", "shape": ["batch", 100, MEMORY, 4]}
    assert manifest["outputs"]["predict/frames"]["shape"] == ["batch", 4, 8, 8, 1]
    assert manifest["sampler"] == model.spec.config
    parity = manifest["parity"]
    assert parity["max_relative_difference"] <= parity["tolerance"] == 3e-5
    assert [case["batch"] for case in parity["cases"]] == [1, 2, 5]
    assert all(case["output_scale"] > 0.1 for case in parity["cases"])
    assert parity["samples"]["max_abs_difference"].keys() == {"dpmpp_2m", "ddpm"}
    assert max(parity["samples"]["max_abs_difference"].values()) <= parity["samples"]["tolerance"] == 2e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda folder: flip(folder / "variables" / "variables.data-00000-of-00001"), "has changed since export"),
        (lambda folder: flip(folder / "saved_model.pb"), "has changed since export"),
        (lambda folder: flip(folder / "manifest.json"), "."),
        (lambda folder: (folder / "variables" / "variables.index").unlink(), r"lists: \['variables/variables.index'\]"),
        (lambda folder: (folder / "saved_model.pbtxt").write_text(""), r"lists: \['saved_model.pbtxt'\]"),
        (lambda folder: (folder / "assets" / "link").symlink_to("/etc"), r"lists: \['assets/link'\]"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest.json, which is missing"),
    ],
)
def test_changed_files_are_refused(
    version: Path, tmp_path: Path, change: Callable[[Path], object], reason: str
) -> None:
    folder = shutil.copytree(version, tmp_path / "1")
    change(folder)
    with pytest.raises(ArtefactError, match=reason):
        SavedModelSampler(tmp_path)


def test_two_hundred_random_bytes_and_cuts_are_noticed(version: Path, tmp_path: Path) -> None:
    folder, rng = shutil.copytree(version, tmp_path / "1"), np.random.default_rng(0)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for turn in range(200):
        path = files[rng.integers(len(files))]
        content = bytearray(path.read_bytes())
        where = rng.integers(len(content))
        damaged = bytearray(content)
        damaged[where] ^= rng.integers(1, 256)
        path.write_bytes(damaged[:where] if turn % 4 == 0 else damaged)
        with pytest.raises(ArtefactError):
            load_folder(folder, SAVED_MODEL.kind)
        path.write_bytes(content)
    load_folder(folder, SAVED_MODEL.kind)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_refusals(trivial: kvdiff.VideoDiffusion, served: Sampler, version: Path, tmp_path: Path) -> None:
    with pytest.raises(FileExistsError, match="`version`: expected a number that is not taken.* Received: 1; .*clips"):
        export_saved_model(trivial, version.parent, version=1)
    with pytest.raises(ValueError, match=r"`pixels`: expected one of .* Received: 'jpeg'"):
        export_saved_model(trivial, tmp_path / "clips", pixels="jpeg")
    with pytest.raises(TypeError, match="solver 'dpmpp_2m_sde': expected options among"):
        export_saved_model(trivial, tmp_path / "clips", order=3)
    with pytest.raises(ValueError, match=r"expected clips of \[4, 8, 8, 1\].* Received: \[5, 8, 8, 1\]"):
        served.generate(1, num_frames=5, num_steps=1)
    assert list(tmp_path.iterdir()) == []


def test_a_sampler_that_answers_otherwise_is_refused(
    monkeypatch: pytest.MonkeyPatch, trivial: kvdiff.VideoDiffusion, tmp_path: Path
) -> None:
    noise = GraphSampler._noise
    monkeypatch.setattr(
        GraphSampler, "_noise", lambda self, draw, *where, **more: noise(self, draw + 1, *where, **more)
    )
    with pytest.raises(ParityError, match=r"expected exported samples within 0.0002 of Keras"):
        export_saved_model(trivial, tmp_path / "clips", **CHOSEN)
    assert list(tmp_path.iterdir()) == []
