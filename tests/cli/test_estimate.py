"""`kvdiff estimate`: what it says, and what it refuses before it builds anything."""

from __future__ import annotations

import pytest

pytest.importorskip("typer")

import kvdiff
from kvdiff.training.estimate import TrainingEstimate
from tests.test_cli import call, refused
from tests.training.trainings import tiny_denoiser


@pytest.fixture
def measured(monkeypatch):
    """The shapes of the batches of which a step of a tiny network was timed, which takes half a second."""
    shapes = []

    def estimate_training(model, batch):
        shapes.append(batch.shape)
        assert model.compiled
        return TrainingEstimate(first_step=20.0, step=0.5, memory_mib=2048.0)

    make = lambda recipe, clip, seed: kvdiff.VideoDiffusion(clip, tiny_denoiser(), seed=seed)  # noqa: E731
    monkeypatch.setattr("kvdiff.models.recipes.seeded_model", make)
    monkeypatch.setattr("kvdiff.training.estimate.estimate_training", estimate_training)
    return shapes


def test_time_and_memory_of_so_many_steps_or_minutes(measured):
    settings = ("--size", "8x12", "--frames", 4, "--channels", 1, "--batch-size", 3)
    step, length = call("estimate", *settings, "--steps", 1000).output.strip().splitlines()
    assert step == "A step takes 0.5 s after a first one of 20 s, and 2.0 GiB of memory."
    assert length == "1000 steps of 3 clips take about 9 minutes."
    assert "10 minutes are about 1161 steps of 3 clips." in call("estimate", *settings, "--minutes", 10).output
    assert "800 steps of 3 clips take about 7 minutes." in call("estimate", *settings).output
    assert measured == [(3, 4, 8, 12, 1)] * 3


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--size", "33"), "--size: expected a multiple of 4"),
        (("--size", "a"), "`--size`: expected HEIGHTxWIDTH"),
        (("--channels", 2), "--channels: expected 1 for grey or 3 for colour. Received: 2"),
        (("--width", 25), "--width: expected a multiple of 24"),
        (("--recipe", "huge"), "`--recipe`: expected one of"),
        (("--steps", 3, "--minutes", 1), "--minutes: expected it without --steps. Received: both, 1 and 3"),
    ],
)
def test_what_is_refused_before_anything_is_built(measured, options, line):
    assert line in refused("estimate", *options)
    assert not measured
