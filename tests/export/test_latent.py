"""An autoencoder in every export: pixels go in and come out, the same as in Keras, whatever the batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.diffusion.solvers.by_name import step_table
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model, verify
from kvdiff.layers.known_context import KnownContext
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler
from kvdiff.runtime.format import COLUMNS, MEMORY, packed_rows
from kvdiff.runtime.manifest import ArtefactError, sealed

SHAPE = (4, 10, 8, 1)  # Ten rows are no multiple of the factor: they are padded, and cut again.
CLIPS = np.random.default_rng(3).integers(0, 256, (3, *SHAPE)).astype(np.uint8)
KNOWN = np.array([[True, False, False, True], [False] * 4, [True, True, False, False]])
CHOSEN: dict[str, Any] = dict(solver="ddpm", num_steps=4)
CPU: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
TOLERANCE = 1e-4
RUNTIMES = ("onnx", "onnx, bound", "onnx-sampler", "litert", "saved-model")


def network(channels: int) -> keras.Model:
    """A denoiser that is traced at once and sees known frames; its weights are random."""
    inputs = {"noisy_clip": keras.Input((None, None, None, channels), name="noisy_clip")}
    inputs["noise_label"] = keras.Input((None,), name="noise_label")
    kernel = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    raw = keras.layers.Dense(channels, kernel_initializer=kernel)(KnownContext()(*inputs.values()))
    return keras.Model(inputs, raw)


def autoencoder(**arguments: Any) -> kvdiff.VideoAutoencoder:
    """One with every weight far from its start, and with statistics that are not those of a new one."""
    model = kvdiff.VideoAutoencoder(1, **{**dict(factor=4, latent_channels=3, widths=(8,), blocks=1), **arguments})
    rng = np.random.default_rng(7)
    for variable in model.trainable_variables:
        variable.assign_add(0.2 * rng.standard_normal(variable.shape).astype(np.float32))
    model.moments.mean.assign([0.3, -0.2, 1.0])
    model.moments.power.assign([0.5, 2.0, 1.5])
    return model


@pytest.fixture(scope="module")
def model() -> kvdiff.VideoDiffusion:
    return kvdiff.VideoDiffusion(SHAPE, network(3), codec=autoencoder())


@pytest.fixture(scope="module")
def run(model: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in every format, in one folder."""
    folder = tmp_path_factory.mktemp("latent")
    export_onnx_sampler(export_onnx(model, folder), folder)
    export_litert(model, folder)
    export_saved_model(model, folder / "serving", pixels="uint8", **CHOSEN)
    return folder


@pytest.fixture(scope="module")
def samplers(run: Path) -> dict[str, Sampler]:
    return {
        "onnx": OrtSampler(run, **CPU),
        "onnx, bound": OrtSampler(run, io_binding=True, **CPU),
        "onnx-sampler": FusedOrtSampler(run, **CPU),
        "litert": LiteRtSampler(run, threads=1),
        "saved-model": SavedModelSampler(run / "serving"),
    }


def uint8(clip: np.ndarray) -> np.ndarray:
    return np.round((clip + 1.0) * 127.5).astype(np.int16)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_pixels_are_those_of_keras(model: kvdiff.VideoDiffusion, samplers: dict[str, Sampler], runtime: str) -> None:
    sampler = samplers[runtime]
    assert sampler.spec.config == model.spec.config and sampler.spec.bounds is None
    for how in (CHOSEN, dict(solver="dpmpp_2m", num_steps=6, seed=3)):
        found, expected = (source.infill(CLIPS, KNOWN, **how) for source in (sampler, model))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        assert np.abs(uint8(found) - uint8(expected)).max() <= 1
        np.testing.assert_array_equal(uint8(found)[KNOWN], CLIPS[KNOWN])
        assert found[~KNOWN].std() > 0.1
    alone = sampler.predict_frames(CLIPS[1:2, :2], first_sample=1, **CHOSEN)
    together = sampler.predict_frames(CLIPS[:, :2], **CHOSEN)[1:2]
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_long_videos_have_the_same_pixels(
    model: kvdiff.VideoDiffusion, samplers: dict[str, Sampler], runtime: str
) -> None:
    how: dict[str, Any] = dict(num_steps=2, at_a_time=2, solver="ddim")
    found, expected = (source.rollout(20, CLIPS[:2, :2], **how) for source in (samplers[runtime], model))
    assert found.shape == (2, 20, *SHAPE[1:])
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_encoder_and_decoder_are_those_of_keras(
    model: kvdiff.VideoDiffusion, samplers: dict[str, Sampler], runtime: str, rng: np.random.Generator
) -> None:
    theirs, ours = model.spec.codec, samplers[runtime].spec.codec
    assert theirs == ours and theirs.network is not ours.network
    clip = rng.uniform(-1, 1, (2, 5, *SHAPE[1:])).astype(np.float32)
    latent = rng.standard_normal((2, 5, 3, 2, 3)).astype(np.float32)
    np.testing.assert_allclose(ours.encode(clip), theirs.encode(clip), rtol=0, atol=TOLERANCE)
    found, expected = (np.clip(codec.decode(latent), -1.0, 1.0) for codec in (ours, theirs))  # `sampler.onnx` does.
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)


def test_one_call_of_the_fused_graph_goes_from_pixels_to_pixels(model: kvdiff.VideoDiffusion, run: Path) -> None:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    session = onnxruntime.InferenceSession(run / "sampler.onnx", options, providers=["CPUExecutionProvider"])
    pixels = CLIPS / np.float32(127.5) - np.float32(1.0)
    table = step_table(model.spec.schedule, model.spec.prediction, **CHOSEN)
    rows, b = packed_rows(table.with_known(KNOWN), COLUMNS, *KNOWN.shape)
    latent = (3, 4, *model.spec.latent.frame_shape)
    feed = {
        "pixels": pixels,
        "pixels_known": KNOWN.astype(np.float32),
        "start": np.zeros(latent, np.float32),
        "start_std": np.where(KNOWN, 0.0, table.init_std).astype(np.float32),
        "table": rows,
        "b": b,
        "history": np.zeros((MEMORY, 1, 1, 1, 1, 1), np.float32),
        "noise": np.zeros((0, 1, 1, 1, 1, 1), np.float32),
        "seed": np.full(3, 5, np.int64),
        "sample": np.arange(3, dtype=np.int64),
        "first_draw": np.zeros(1, np.int64),
    }
    made = session.run(["pixels_out"], feed)[0]
    np.testing.assert_allclose(made, model.infill(CLIPS, KNOWN, seed=5, **CHOSEN), rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(made[KNOWN], pixels[KNOWN])


def test_a_server_speaks_pixels(model: kvdiff.VideoDiffusion, run: Path) -> None:
    import tensorflow as tf

    signatures = tf.saved_model.load(str(run / "serving" / "1")).signatures
    feed = dict(clip=CLIPS, num_past=np.full(3, 2), seed=np.zeros(3), sample=np.arange(3))
    types = dict(clip="uint8", num_past="int32", seed="int64", sample="int64")
    frames = signatures["predict"](**{name: tf.constant(value, types[name]) for name, value in feed.items()})["frames"]
    expected = uint8(model.predict_frames(CLIPS[:, :2], **CHOSEN))
    assert np.abs(frames.numpy()[:, 2:].astype(np.int16) - expected).max() <= 1
    np.testing.assert_array_equal(frames.numpy()[:, :2], CLIPS[:, :2])


def test_manifests_say_what_lies_beside_and_how_far_it_is_from_keras(run: Path) -> None:
    for name in ("denoiser.onnx", "denoiser.tflite"):
        manifest = json.loads((run / f"{name}.manifest.json").read_text())
        assert set(manifest["codec"]) == {"encoder", "decoder"}
        assert set(manifest["codec"].values()) <= set(manifest["files"])
        assert max(manifest["parity"]["codec"]["max_relative_difference"].values()) < 1e-4
        assert manifest["sampler"]["codec"]["codec"] == "autoencoder"
        assert "section `codec`" in manifest["how_to_sample"]["codec"]


def test_every_artefact_is_verified(model: kvdiff.VideoDiffusion, run: Path) -> None:
    verdicts = verify(model, run, num_steps=2, batches=(1, 2), solvers=("ddim",))
    assert {verdict.kind for verdict in verdicts} == {"onnx-denoiser", "onnx-sampler", "litert-denoiser", "saved-model"}
    assert all(verdict.passes for verdict in verdicts)


@pytest.mark.parametrize(("runtime", "file"), [("onnx", "denoiser.onnx"), ("litert", "denoiser.tflite")])
def test_a_pair_that_is_missing_cut_or_of_another_export_is_refused(
    run: Path, tmp_path: Path, runtime: str, file: str
) -> None:
    import shutil

    from kvdiff.runtime import open_sampler

    manifest = json.loads((run / f"{file}.manifest.json").read_text())
    decoder = manifest["codec"]["decoder"]
    for name in (*manifest["files"], f"{file}.manifest.json"):
        shutil.copy(run / name, tmp_path / name)
    open_sampler(tmp_path, runtime=runtime)
    whole = (tmp_path / decoder).read_bytes()
    (tmp_path / decoder).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ArtefactError, match=f"{decoder}.* has changed since export"):
        open_sampler(tmp_path, runtime=runtime)
    (tmp_path / decoder).unlink()
    with pytest.raises(ArtefactError, match=f"{decoder}, which does not exist"):
        open_sampler(tmp_path, runtime=runtime)
    (tmp_path / decoder).write_bytes(whole)
    changed = {**manifest, "codec": {"encoder": "elsewhere", "decoder": decoder}}
    (tmp_path / f"{file}.manifest.json").write_text(json.dumps(sealed(changed)))
    with pytest.raises(ArtefactError, match="whose encoder and decoder are"):
        open_sampler(tmp_path, runtime=runtime)


def test_lower_precisions_carry_it(model: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    export_onnx_sampler(export_onnx(model, tmp_path, precision="float16"), tmp_path)
    expected = model.infill(CLIPS, KNOWN, **CHOSEN)
    for open_it in (OrtSampler, FusedOrtSampler):
        name = "denoiser.float16.onnx" if open_it is OrtSampler else "sampler.float16.onnx"
        found = open_it(tmp_path / name, **CPU).infill(CLIPS, KNOWN, **CHOSEN)
        error = np.square(found - expected).mean()
        assert 10 * np.log10(4 / error) > 35
        np.testing.assert_array_equal(uint8(found)[KNOWN], CLIPS[KNOWN])
    export_litert(model, tmp_path, precision="int8")
    found = LiteRtSampler(tmp_path / "denoiser.int8.tflite", threads=1).infill(CLIPS, KNOWN, **CHOSEN)
    assert np.abs(found - expected).mean() < 0.1


def test_a_decoder_that_looks_at_time_is_carried_where_frames_come_together(tmp_path: Path) -> None:
    model = kvdiff.VideoDiffusion(SHAPE, network(3), codec=autoencoder(time=True))
    with pytest.raises(ValueError, match="expected an autoencoder without `time`, for LiteRT decodes frame by frame"):
        export_litert(model, tmp_path)
    export_onnx_sampler(export_onnx(model, tmp_path), tmp_path)
    expected = model.rollout(20, CLIPS[:2, :2], num_steps=2)
    for sampler in (OrtSampler(tmp_path, **CPU), FusedOrtSampler(tmp_path, **CPU)):
        np.testing.assert_allclose(sampler.rollout(20, CLIPS[:2, :2], num_steps=2), expected, rtol=0, atol=TOLERANCE)
