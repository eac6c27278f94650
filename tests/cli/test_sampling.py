"""The line that says what a sampling command wrote: how many of its frames are known, and how many generated."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("av")

from typer.testing import CliRunner

from kvdiff import diffusion, media
from kvdiff.cli.app import app


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("generate run --num-clips 2", "2 clips of 8 frames (all generated), 8×8 pixels"),
        ("predict run a.gif", "1 clip of 8 frames (4 known, 4 generated)"),
        ("predict run a.gif --past 2 --num-frames 3", "1 clip of 5 frames (2 known, 3 generated)"),
        ("predict run a.gif --only-new", "1 clip of 4 frames (all generated)"),
        ("interpolate run a.gif a.gif", "1 clip of 8 frames (4 known, 4 generated)"),
        ("infill run a.gif --known 0-2,5", "1 clip of 6 frames (4 known, 2 generated)"),
        ("rollout run a.gif --num-frames 10", "1 clip of 10 frames (4 known, 6 generated)"),
        ("rollout run --num-frames 10", "1 clip of 10 frames (all generated)"),
    ],
)
def test_known_and_generated_frames_are_counted(tmp_path, monkeypatch, line, said):
    monkeypatch.chdir(tmp_path)
    media.write_clip("a.gif", np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8))
    spec = diffusion.ModelSpec(diffusion.ClipSpec(8, 8, 8, 1), diffusion.schedules.cosine(100), diffusion.Prediction())
    engine = diffusion.DenoiserEngine(lambda noisy_clip, noise_label, inputs: np.zeros_like(noisy_clip))
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: diffusion.Sampler(spec, engine))
    result = CliRunner().invoke(app, [*line.split(), "-o", "new.npy", "--num-steps", "2"])
    assert f"Wrote new.npy: {said}" in result.output, result.output
