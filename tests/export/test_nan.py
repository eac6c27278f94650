"""A network that answers with NaN: no export is written of it, and no runtime passes NaN for a video."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

import kvdiff
from kvdiff.diffusion import Sampler
from kvdiff.export import ParityError, export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler

CHOSEN: dict[str, Any] = dict(solver="ddim", num_steps=4)
CALL, WINDOW = "network call 4", "frames 0 to 3"


@pytest.fixture(scope="module")
def broken() -> kvdiff.VideoDiffusion:
    """Its answers are numbers above a noise label of 0.4, as of the first three of four calls."""
    inputs = {"noisy_clip": keras.Input((None, None, None, 1), name="noisy_clip")}
    inputs["noise_label"] = keras.Input((None,), name="noise_label")
    root = keras.layers.Reshape((-1, 1, 1, 1))(keras.ops.sqrt(inputs["noise_label"] - 0.4))
    return kvdiff.VideoDiffusion((4, 8, 8, 1), keras.Model(inputs, inputs["noisy_clip"] * root))


@pytest.fixture(scope="module")
def run(broken: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every format of it, written without a look at the answers."""
    folder = tmp_path_factory.mktemp("broken")
    with pytest.MonkeyPatch.context() as patch:
        for module in ("onnx", "onnx_sampler", "litert", "saved_model"):
            patch.setattr(f"kvdiff.export.{module}._parity", lambda *compared: {})
        export_onnx_sampler(export_onnx(broken, folder), folder)
        export_litert(broken, folder)
        export_saved_model(broken, folder / "serving", pixels="float32", **CHOSEN)
    return folder


OPENED: dict[str, tuple[Callable[[Path], Sampler], str]] = {
    "onnx": (lambda run: OrtSampler(run, providers=["CPUExecutionProvider"]), CALL),
    "onnx, bound": (lambda run: OrtSampler(run, providers=["CPUExecutionProvider"], io_binding=True), WINDOW),
    "onnx-sampler": (lambda run: FusedOrtSampler(run, providers=["CPUExecutionProvider"]), WINDOW),
    "litert": (lambda run: LiteRtSampler(run, threads=1), CALL),
    "saved-model": (lambda run: SavedModelSampler(run / "serving"), WINDOW),
}


@pytest.mark.parametrize("runtime", OPENED)
def test_no_runtime_passes_nan_for_a_video(run: Path, runtime: str) -> None:
    opened, where = OPENED[runtime]
    with pytest.raises(FloatingPointError, match=f"expected finite numbers. Received: NaN or infinity after {where}"):
        opened(run).generate(1, **CHOSEN)


def test_nor_does_keras(broken: kvdiff.VideoDiffusion) -> None:
    with pytest.raises(FloatingPointError, match=f"Received: NaN or infinity after {WINDOW}"):
        broken.generate(1, **CHOSEN)


def test_no_export_is_written_of_it(broken: kvdiff.VideoDiffusion, tmp_path: Path) -> None:
    for export in (export_onnx, export_litert, export_saved_model):
        with pytest.raises(ParityError, match="expected the exported network within 3e-05 of Keras.* nan of an output"):
            export(broken, tmp_path)
    assert list(tmp_path.iterdir()) == []
