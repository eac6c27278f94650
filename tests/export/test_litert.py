"""The LiteRT file against Keras: operators, single calls, whole samples, precisions and refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kvdiff.export import export_litert
from kvdiff.runtime import ArtefactError, LiteRtSampler
from kvdiff.runtime.manifest import manifest_path

CLIPS = np.random.default_rng(3).uniform(-1, 1, (3, 4, 8, 8, 1)).astype(np.float32)


@pytest.fixture(scope="module")
def file(model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_litert(model, tmp_path_factory.mktemp("litert") / "run")


@pytest.fixture(scope="module")
def lite(file: Path) -> LiteRtSampler:
    return LiteRtSampler(file, threads=1)


def test_has_builtin_operators_only_and_no_3d_convolution(lite: LiteRtSampler) -> None:
    names = {operator["op_name"] for operator in lite._interpreter._get_ops_details()}
    assert "CONV_2D" in names
    assert not {name for name in names if "Flex" in name or name in ("CONV_3D", "CUSTOM")}


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "dpmpp_2m"])
def test_samples_are_those_of_keras(lite: LiteRtSampler, model, solver: str) -> None:
    sampling = dict(solver=solver, num_steps=10, seed=6)
    known = np.array([[True, False, False, True], [False] * 4, [True, True, False, False]])
    ours, theirs = lite.infill(CLIPS, known, **sampling), model.infill(CLIPS, known, **sampling)
    np.testing.assert_allclose(ours, theirs, atol=2e-4)
    assert ours[known].tobytes() == CLIPS[known].tobytes()


@pytest.mark.parametrize(("precision", "share", "error"), [("float16", 0.65, 0.05), ("int8", 0.5, 0.2)])
def test_smaller_precisions(model, file: Path, tmp_path: Path, precision: str, share: float, error: float) -> None:
    path = export_litert(model, tmp_path / "run", precision=precision)
    assert path.stat().st_size < share * file.stat().st_size
    sampler = LiteRtSampler(path)
    recorded = sampler.manifest["parity"]
    assert recorded["precision"] == precision and recorded["tolerance"] is None
    assert 0 < recorded["max_relative_difference"] < error
    assert np.isfinite(sampler.generate(1, num_steps=2)).all()


def test_refusals(model, file: Path, lite: LiteRtSampler, tmp_path: Path) -> None:
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
