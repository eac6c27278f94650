"""Damaged, foreign and half-written ONNX artefacts: refused with a clear error, and never in place of a sound one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

import kvdiff
from kvdiff.export import export_onnx_sampler
from kvdiff.runtime import ArtefactError, FusedOrtSampler, OrtSampler
from kvdiff.runtime.manifest import METADATA, canonical_json, file_record, manifest_path, sealed
from tests.export.hostile import assert_damage_is_refused
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact

ROOT = Path(kvdiff.__file__).parents[1]


@pytest.fixture
def denoiser(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return write_artefact(folder, make_graph({METADATA: canonical_json(SAMPLER)}))


@pytest.mark.parametrize("sampler", [OrtSampler, FusedOrtSampler])
def test_200_flipped_bytes_and_cut_off_files(denoiser: Path, tmp_path: Path, sampler: Callable[..., object]) -> None:
    file = denoiser if sampler is OrtSampler else export_onnx_sampler(denoiser, denoiser.parent)
    (tmp_path / "damaged").mkdir()
    assert_damage_is_refused(file, tmp_path / "damaged", lambda path: sampler(path, providers=["CPUExecutionProvider"]))


@pytest.mark.parametrize("opset", [3, 999])
def test_wrong_opset(tmp_path: Path, opset: int) -> None:
    graph = make_graph({METADATA: canonical_json(SAMPLER)})
    graph.opset_import[0].version = opset
    with pytest.raises(ArtefactError, match="which onnxruntime .* cannot open"):
        OrtSampler(write_artefact(tmp_path, graph))


def test_what_is_no_onnx_at_all_with_a_manifest_of_its_own(tmp_path: Path) -> None:
    graph = make_graph({METADATA: canonical_json(SAMPLER)})
    path = write_artefact(tmp_path, graph)

    class Text:
        @staticmethod
        def SerializeToString() -> bytes:
            return b"#!/bin/sh\necho not a model\n"

    with pytest.raises(ArtefactError, match="which is no ONNX model that kvdiff has exported"):
        OrtSampler(write_artefact(path.parent, Text()))


def test_a_loop_that_the_table_does_not_bound_is_refused(denoiser: Path) -> None:
    file = export_onnx_sampler(denoiser, denoiser.parent)
    model = onnx.load(file)
    (loop,) = (node for node in model.graph.node if node.op_type == "Loop")
    loop.input[0] = "often"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.int64(2**15), "often"))
    onnx.save(model, file)
    content = json.loads(manifest_path(file).read_text())
    content["files"][file.name] = file_record(file)
    manifest_path(file).write_text(json.dumps(sealed(content)))
    with pytest.raises(ArtefactError, match=r"whose loops follow \[''\]; expected the rows of the table alone"):
        FusedOrtSampler(file)


def test_a_denoiser_that_is_damaged_makes_no_sampler(denoiser: Path, tmp_path: Path) -> None:
    denoiser.write_bytes(denoiser.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match="has changed since export"):
        export_onnx_sampler(denoiser, tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()


WRITER = """
import pathlib, sys
from kvdiff.export import export_onnx_sampler
print("started", flush=True)
while True:
    export_onnx_sampler(sys.argv[1], sys.argv[2], overwrite=True)
"""


@pytest.mark.parametrize("kills", [2, pytest.param(20, marks=pytest.mark.slow)])
def test_a_sound_artefact_is_found_after_every_kill(denoiser: Path, tmp_path: Path, kills: int) -> None:
    """A process replaces `sampler.onnx` again and again and is killed at any time: old or new, the file is whole."""
    target, rng = tmp_path / "target", np.random.default_rng(0)
    other = tmp_path / "other"
    other.mkdir()
    graph = make_graph({METADATA: canonical_json(SAMPLER)})
    graph.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(np.float32([0.25]), "half"))
    changed = write_artefact(other, graph)
    whole = {export_onnx_sampler(path, path.parent).read_bytes() for path in (denoiser, changed)}
    assert len(whole) == 2
    export_onnx_sampler(denoiser, target)
    for kill in range(kills):
        command = [sys.executable, "-c", WRITER, str(changed if kill % 2 == 0 else denoiser), str(target)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
            assert process.stdout is not None and process.stdout.readline() == b"started\n"
            time.sleep(rng.uniform(0.0, 1.5))
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert (target / "sampler.onnx").read_bytes() in whole
        assert np.isfinite(FusedOrtSampler(target, providers=["CPUExecutionProvider"]).generate(num_steps=1)).all()
