"""What version 0.1.0 saved and exported opens with the public openers, and makes the videos that it made then."""

from __future__ import annotations

import pathlib
import shutil

import numpy as np
import pytest

from tests.frozen import adapter
from tests.frozen.artefacts import (
    CHECKPOINTS,
    EXPECTED,
    EXPORTED,
    MODELS,
    from_checkpoint,
    video,
)
from tests.frozen.record import load

VIDEOS = load(adapter.FIXTURES / EXPECTED)

# Absolute, of pixels in [-1, 1]; of int8 because rounding to 256 levels turns a last bit into a level.
TOLERANCE = 1e-5
LOOSER = {"plain/denoiser.float16.onnx": 5e-3, "plain/denoiser.int8.onnx": 5e-2, "plain/denoiser.int8.tflite": 5e-2}
FROM_FLOAT32 = {"float16": 2e-2, "bfloat16": 2e-2, "int8-weights": 5e-2, "int8": 2e-1}


@pytest.mark.parametrize("path", MODELS)
def test_saved_models(path: str) -> None:
    made = video(adapter.open_model(adapter.artefacts() / path))
    np.testing.assert_allclose(made, VIDEOS[path], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("path", [pytest.param(p, marks=[pytest.mark.slow] * ("served" in p)) for p in EXPORTED])
def test_exported_files(path: str) -> None:
    made = video(adapter.open_artefact(adapter.artefacts() / path))
    np.testing.assert_allclose(made, VIDEOS[path], rtol=0, atol=LOOSER.get(path, TOLERANCE))


@pytest.mark.parametrize("path", EXPORTED)
def test_all_formats_made_one_video(path: str) -> None:
    """So that what is expected of a file is right: Keras' video, but for the file's precision."""
    name = pathlib.PurePath(path).name.split(".")
    tolerance = FROM_FLOAT32.get(name[1], TOLERANCE) if len(name) > 2 else TOLERANCE
    of_model = VIDEOS[f"{pathlib.PurePath(path).parts[0]}/model.keras"]
    np.testing.assert_allclose(VIDEOS[path], of_model, rtol=0, atol=tolerance)


def test_a_folder_of_them_is_found() -> None:
    folder = adapter.artefacts()
    found = {path.relative_to(folder).as_posix() for name in ("plain", "told") for path in adapter.find(folder / name)}
    assert found == set(EXPORTED)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:going on with another arithmetic")
def test_a_training_goes_on_from_its_checkpoint(tmp_path: pathlib.Path) -> None:
    folder = shutil.copytree(adapter.artefacts() / CHECKPOINTS, tmp_path / "checkpoints")
    made, resumed_at = from_checkpoint(folder)
    assert resumed_at == 4
    np.testing.assert_allclose(made, VIDEOS[CHECKPOINTS], rtol=0, atol=1e-4)
    assert np.abs(made - VIDEOS["plain/model.keras"]).max() > 0.01  # It has learned something.
