"""How the stored weights and artefacts were made, and the videos that each artefact must keep making."""

from __future__ import annotations

import pathlib
import tarfile
import tempfile
from typing import Any

import numpy as np

from tests.frozen import adapter

__all__ = [
    "CHECKPOINTS",
    "EXPECTED",
    "EXPORTED",
    "MODELS",
    "draw_weights",
    "export_all",
    "from_checkpoint",
    "video",
]

EXPECTED = "expected.npz"
MODELS = ("plain/model.keras", "told/model.keras")
EXPORTED = (
    "plain/denoiser.onnx",
    "plain/denoiser.float16.onnx",
    "plain/denoiser.bfloat16.onnx",
    "plain/denoiser.int8.onnx",
    "plain/sampler.onnx",
    "plain/denoiser.tflite",
    "plain/denoiser.float16.tflite",
    "plain/denoiser.int8.tflite",
    "plain/denoiser.int8-weights.tflite",
    "plain/served/1",
    "told/denoiser.onnx",
    "told/sampler.onnx",
)
CHECKPOINTS = "checkpoints"
_SAMPLING = dict(solver="dpmpp_2m_sde", spacing="trailing", num_steps=3, seed=11, eta=1.0)


def video(of: Any) -> np.ndarray:
    """Two frames after two others, by a sampler or a model of any runtime; told what it takes to be told."""
    past = (np.random.default_rng(3).integers(-128, 128, (2, 2, 8, 8, 1)) / 128).astype(np.float32)
    sampling = dict(_SAMPLING)
    if adapter.conditions(of):
        actions = np.arange(16).reshape(2, 4, 2).astype(np.float32) / 16
        sampling |= dict(conditions={"digit": np.array([2, 0]), "action": actions}, guidance=2.0)
    return adapter.sample(of, "predict_frames", dict(past=past), "whole", sampling)


def draw_weights() -> None:
    """Weights for every network, a function of its place in the list alone."""
    drawn = {
        f"{name}/{index:03d}": value
        for seed, name in enumerate(adapter.NETWORKS)
        for index, value in enumerate(adapter.drawn_weights(name, seed))
    }
    np.savez_compressed(adapter.WEIGHTS, **drawn)


def export_all(fixtures: pathlib.Path) -> None:
    """Everything that the package of this checkout writes, packed, and the video that each makes."""
    fixtures.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        _export(folder)
        with tarfile.open(fixtures / adapter.PACKED, "w:xz") as archive:
            for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "lock"):
                archive.add(path, path.relative_to(folder).as_posix(), filter=_anonymous)
        made = {path: video(adapter.open_model(folder / path)) for path in MODELS}
        made |= {path: video(adapter.open_artefact(folder / path)) for path in EXPORTED}
        made[CHECKPOINTS], _ = from_checkpoint(folder / CHECKPOINTS)  # Last, for training on writes another one.
    np.savez_compressed(fixtures / EXPECTED, **made)


def _export(folder: pathlib.Path) -> None:
    from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model

    models = {name: adapter.keras_model(name) for name in ("plain", "told")}
    for name, model in models.items():
        (folder / name).mkdir()
        model.compile()
        model.optimizer.build(model.trainable_variables)
        model.save(folder / name / "model.keras")
        export_onnx(model, folder / name)
        export_onnx_sampler(folder / name, folder / name)
    for precision in ("float16", "bfloat16", "int8"):
        export_onnx(models["plain"], folder / "plain", precision=precision)
    for precision in ("float32", "float16", "int8", "int8-weights"):
        export_litert(models["plain"], folder / "plain", precision=precision)
    served = dict(solver="dpmpp_2m_sde", num_steps=4, spacing="trailing", eta=1.0, max_calls=8, pixels="uint8")
    export_saved_model(models["plain"], folder / "plain" / "served", **served)
    adapter.train(folder / CHECKPOINTS, epochs=2)


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without owner and time."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    return entry


def from_checkpoint(folder: pathlib.Path) -> tuple[np.ndarray, int]:
    """The video of a model whose training has gone on from a checkpoint to its third epoch, and from which step."""
    model, resumed_at = adapter.train(folder, epochs=3)
    return video(model), resumed_at
