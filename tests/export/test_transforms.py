"""Values and a codec on every runtime: clips go in and come out in the user's numbers, the same as in Keras."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import kvdiff
from kvdiff.diffusion import DBZ, AveragePool, Linear, Log1p, PerChannel, Quantile, Sampler, Standardised, Unbounded
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model, verify
from kvdiff.layers.known_context import KnownContext
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler, find_artefacts, open_sampler
from kvdiff.runtime.manifest import METADATA, canonical_json, load_artefact
from kvdiff.runtime.ort import ONNX

RAIN = Linear(0.0, 40.0)  # mm/h
CLIPS = np.random.default_rng(3).uniform(0.0, 40.0, (3, 4, 8, 8, 1)).astype(np.float32)
KNOWN = np.array([[True, False, False, True], [False] * 4, [True, True, False, False]])
CHOSEN: dict[str, Any] = dict(solver="ddpm", num_steps=4)
TOLERANCE = 2e-4 * 20.0  # Of numbers 20 times as large as x_0.
RUNTIMES = ("onnx", "onnx, bound", "onnx-sampler", "litert", "saved-model")


def network(channels: int = 1) -> keras.Model:
    """A denoiser that is traced at once and sees known frames; its weights are random."""
    inputs = {"noisy_clip": keras.Input((None, None, None, channels), name="noisy_clip")}
    inputs["noise_label"] = keras.Input((None,), name="noise_label")
    kernel = keras.initializers.RandomNormal(stddev=0.5, seed=1)
    raw = keras.layers.Dense(channels, kernel_initializer=kernel)(KnownContext()(*inputs.values()))
    return keras.Model(inputs, raw)


@pytest.fixture(scope="module")
def rain() -> kvdiff.VideoDiffusion:
    """In mm/h, on frames of half the size."""
    return kvdiff.VideoDiffusion((4, 8, 8, 1), network(), values=RAIN, codec=AveragePool(2))


@pytest.fixture(scope="module")
def run(rain: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model in every format, in one folder."""
    folder = tmp_path_factory.mktemp("rain")
    export_onnx_sampler(export_onnx(rain, folder), folder)
    export_litert(rain, folder)
    export_saved_model(rain, folder / "serving", pixels="float32", **CHOSEN)
    return folder


@pytest.fixture(scope="module")
def samplers(run: Path) -> dict[str, Sampler]:
    on_cpu: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
    return {
        "onnx": OrtSampler(run, **on_cpu),
        "onnx, bound": OrtSampler(run, io_binding=True, **on_cpu),
        "onnx-sampler": FusedOrtSampler(run, **on_cpu),
        "litert": LiteRtSampler(run, threads=1),
        "saved-model": SavedModelSampler(run / "serving"),
    }


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_numbers_are_the_users_and_those_of_keras(
    rain: kvdiff.VideoDiffusion, samplers: dict[str, Sampler], runtime: str
) -> None:
    sampler = samplers[runtime]
    assert sampler.spec.config == rain.spec.config
    for how in (CHOSEN, dict(solver="dpmpp_2m", num_steps=6, seed=3)):
        found, expected = (source.infill(CLIPS, KNOWN, **how) for source in (sampler, rain))
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE)
        assert found.dtype == np.float32 and found[KNOWN].tobytes() == CLIPS[KNOWN].tobytes()
        made = found[~KNOWN]
        assert 0.0 <= made.min() < 10.0 and 30.0 < made.max() <= 40.0
        np.testing.assert_array_equal(made, made[:, ::2, ::2].repeat(2, axis=1).repeat(2, axis=2))  # Cells of 2 × 2.
    future, expected = (source.predict_frames(CLIPS[:, :2], **CHOSEN) for source in (sampler, rain))
    np.testing.assert_allclose(future, expected, rtol=0, atol=TOLERANCE)
    other = rain.predict_frames(CLIPS[::-1, :2], **CHOSEN)
    assert np.abs(other - expected).max() > 1.0  # The past is seen.


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_numbers_out_of_range_are_refused_in_the_users_words(samplers: dict[str, Sampler], runtime: str) -> None:
    with pytest.raises(ValueError, match=r"`past`: expected values in \[0, 40\], no NaN. Received: .* maximum 41.0"):
        samplers[runtime].predict_frames(np.full_like(CLIPS[:, :2], 41.0), **CHOSEN)


def test_signatures_take_and_give_the_users_numbers(rain: kvdiff.VideoDiffusion, run: Path) -> None:
    loaded = tf.saved_model.load(str(run / "serving" / "1"))
    where = dict(seed=tf.constant([5, 5], tf.int64), sample=tf.constant([0, 1], tf.int64))
    made = loaded.signatures["generate"](**where)["frames"].numpy()
    np.testing.assert_allclose(made, rain.generate(2, **CHOSEN, seed=5), rtol=0, atol=TOLERANCE)
    past = tf.constant([2, 2])
    predicted = loaded.signatures["predict"](clip=tf.constant(CLIPS[:2]), num_past=past, **where)["frames"].numpy()
    expected = rain.predict_frames(CLIPS[:2, :2], **CHOSEN, seed=5)
    np.testing.assert_allclose(predicted[:, 2:], expected, rtol=0, atol=TOLERANCE)
    assert predicted[:, :2].tobytes() == CLIPS[:2, :2].tobytes()
    one = tf.constant([1, 1])
    between = loaded.signatures["interpolate"](clip=tf.constant(CLIPS[:2]), num_before=one, num_after=one, **where)
    expected = rain.interpolate(CLIPS[:2, :1], CLIPS[:2, 3:], **CHOSEN, seed=5)
    np.testing.assert_allclose(between["frames"][:, 1:3], expected, rtol=0, atol=TOLERANCE)


def test_pictures_of_numbers_that_are_no_pixels_are_refused(rain: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    for pixels in ("uint8", "png"):
        with pytest.raises(ValueError, match=f"`pixels`: expected 'float32' for values 'linear'. Received: '{pixels}'"):
            export_saved_model(rain, tmp_path / "served", pixels=pixels)
    assert list(tmp_path.iterdir()) == []


def test_one_folder_holds_every_format_and_each_is_found(rain: kvdiff.VideoDiffusion, run: Path) -> None:
    assert [path.name for path in find_artefacts(run)] == ["denoiser.onnx", "denoiser.tflite", "sampler.onnx", "1"]
    engines = {"onnx": "Ort", "litert": "LiteRt", "onnx-sampler": "FusedOrt", "saved-model": "SavedModel"}
    for runtime, engine in engines.items():
        sampler = open_sampler(run, runtime=runtime)
        assert type(sampler.engine).__name__ == f"{engine}Engine"
    assert type(open_sampler(run).engine).__name__ == "OrtEngine"
    assert type(open_sampler(run / "serving").engine).__name__ == "SavedModelEngine"
    carried = load_artefact(run, ONNX.kind, ONNX.file).manifest["sampler"]
    assert carried == json.loads(json.dumps(rain.spec.config))
    assert canonical_json(carried).encode() in (run / ONNX.file).read_bytes() and METADATA


def test_artefacts_are_judged_on_x_0_whatever_the_users_numbers(run: Path) -> None:
    """Differences in counts up to 65535 are as large as the counts; those of x_0 are rounding."""
    counts = kvdiff.VideoDiffusion((4, 8, 8, 1), network(), values=Linear(0.0, 65535.0))
    folder = run.parent / "counts"
    export_onnx_sampler(export_onnx(counts, folder), folder)
    export_saved_model(counts, folder / "serving", pixels="float32", **CHOSEN)
    for verdict in verify(counts, folder, num_steps=3, batches=(2,), solvers=("ddpm",)):
        assert verdict.passes and verdict.max_abs_difference < 2e-4 and verdict.psnr > 60


@pytest.fixture(scope="module")
def unbounded() -> kvdiff.VideoDiffusion:
    return kvdiff.VideoDiffusion((4, 8, 8, 1), network(), values=Unbounded())


def test_without_bounds_nothing_is_clamped_inside_graphs(unbounded: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    expected = unbounded.infill(10.0 * CLIPS, KNOWN, **CHOSEN)
    assert np.abs(expected[~KNOWN]).max() > 10.0
    export_onnx_sampler(export_onnx(unbounded, tmp_path), tmp_path)
    export_saved_model(unbounded, tmp_path / "serving", pixels="float32", **CHOSEN)
    on_cpu: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
    opened = [FusedOrtSampler(tmp_path, **on_cpu), SavedModelSampler(tmp_path / "serving")]
    opened += [OrtSampler(tmp_path, io_binding=bound, **on_cpu) for bound in (False, True)]
    for sampler in opened:
        found = sampler.infill(10.0 * CLIPS, KNOWN, **CHOSEN)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-3)
    where = dict(seed=tf.constant([0], tf.int64), sample=tf.constant([0], tf.int64))
    made = tf.saved_model.load(str(tmp_path / "serving" / "1")).signatures["generate"](**where)["frames"]
    np.testing.assert_allclose(made, unbounded.generate(1, **CHOSEN), rtol=1e-5, atol=1e-4)


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> tuple[kvdiff.VideoDiffusion, Path]:
    """Four fields with values of their own, as ONNX and as a SavedModel."""
    curve = Quantile((0.0, 1.0, 5.0, 40.0), (-1.0, 0.0, 0.7, 1.0))
    values = PerChannel((Log1p(0.0, 120.0), DBZ(120.0), curve, Standardised(280.0, 9.0)))
    model = kvdiff.VideoDiffusion((4, 8, 8, 4), network(4), values=values)
    folder = tmp_path_factory.mktemp("weather")
    export_onnx(model, folder)
    export_saved_model(model, folder / "serving", pixels="float32", **CHOSEN)
    return model, folder


FIELDS = np.concatenate([CLIPS, CLIPS, CLIPS, 260 + CLIPS], axis=-1)


def test_physical_values_agree_with_keras_on_every_runtime(weather) -> None:
    model, folder = weather
    expected = model.predict_frames(FIELDS[:, :2], **CHOSEN)
    for sampler in (OrtSampler(folder, providers=["CPUExecutionProvider"]), SavedModelSampler(folder / "serving")):
        assert sampler.spec.values == model.spec.values
        found = sampler.predict_frames(FIELDS[:, :2], **CHOSEN)
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-4)
    where = dict(seed=tf.constant([0], tf.int64), sample=tf.constant([0], tf.int64))
    served = tf.saved_model.load(str(folder / "serving" / "1")).signatures["predict"]
    clip = tf.constant(FIELDS[:1])
    made = served(clip=clip, num_past=tf.constant([2]), **where)["frames"].numpy()
    np.testing.assert_allclose(made[:, 2:], expected[:1], rtol=2e-4, atol=2e-4)
    assert made[:, :2].tobytes() == FIELDS[:1, :2].tobytes()


def test_an_export_answers_in_mm_per_hour_without_tensorflow(weather, run_python, tmp_path: Path) -> None:
    model, folder = weather
    np.save(tmp_path / "past.npy", FIELDS[:1, :2])
    code = f"""
import sys, numpy as np
from kvdiff.runtime import OrtSampler
past = np.load({str(tmp_path / "past.npy")!r})
sampler = OrtSampler({str(folder)!r}, providers=["CPUExecutionProvider"])
future = sampler.predict_frames(past, solver="ddpm", num_steps=4)
np.save({str(tmp_path / "future.npy")!r}, future)
print(*[name for name in ("tensorflow", "keras") if name in sys.modules])
"""
    assert run_python(code).split() == []
    expected = model.predict_frames(FIELDS[:1, :2], **CHOSEN)
    np.testing.assert_allclose(np.load(tmp_path / "future.npy"), expected, rtol=1e-4, atol=1e-4)
