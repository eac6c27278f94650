"""Trainings that are killed in every way, and end as if they had not been."""

from __future__ import annotations

import json
import random
import signal

import pytest

from tests.training.trainings import STEPS, trainings

EPOCHS = 3


@pytest.fixture(scope="module")
def server():
    with trainings() as server:
        yield server


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """What a training ends with that nobody disturbs."""
    folder = tmp_path_factory.mktemp("whole")
    assert server.run(folder, EPOCHS) == 0
    return outcome(folder)


def lines(folder):
    """What the runs in a folder wrote of their steps: one line a step, cut-off ones' too."""
    path = folder / "losses.txt"
    return path.read_text().splitlines() if path.exists() else []


def outcome(folder):
    """The digest of every variable, and the loss of every step: those done twice must agree with themselves."""
    losses = {}
    for line in lines(folder):
        if line.count(" ") == 1:  # A process may die while it writes a line.
            loss, step = line.split(" ")
            assert losses.setdefault(step, loss) == loss, f"step {step} was {losses[step]}, then {loss}"
    return {**json.loads((folder / "result.json").read_text()), "losses": losses}


def after(folder, count):
    """A condition: `count` more steps were done than now."""
    known = len(lines(folder))
    return lambda: len(lines(folder)) >= known + count


def test_killed_three_times_and_terminated_it_ends_with_the_same_bits(server, whole, tmp_path):
    kills = [
        dict(until=after(tmp_path, 5)),  # Between checkpoints: steps are done again.
        dict(die=("half-written", 2)),
        dict(die=("written", 1)),
    ]
    for kill in kills:
        if "until" in kill:
            kill["until"] = after(tmp_path, 5)
        assert server.run(tmp_path, EPOCHS, pause=0.01, **kill) == -signal.SIGKILL
    done = len(lines(tmp_path))
    assert server.run(tmp_path, EPOCHS, pause=0.05, until=after(tmp_path, 2), number=signal.SIGTERM) == 0
    assert len(lines(tmp_path)) <= done + 4 and not (tmp_path / "result.json").exists()  # Within a step.
    assert server.run(tmp_path, EPOCHS) == 0
    assert outcome(tmp_path) == whole
    assert len(whole["losses"]) == EPOCHS * STEPS
    assert [path.name for path in (tmp_path / "checkpoints").iterdir() if path.name.startswith(".")] == []


@pytest.mark.slow
def test_killed_at_twenty_four_times_it_ends_with_the_same_bits(server, whole, tmp_path):
    rng, stages = random.Random(0), ["half-written", "written", "renamed"]
    kills = 0
    for number in range(24):
        if number % 3 == 2:  # 8 in mid-write.
            options = dict(die=(stages[number // 3 % 3], 1))
        else:
            options = dict(until=after(tmp_path, 1 + rng.randrange(3)), pause=rng.choice([0.0, 0.01, 0.03]))
        if (tmp_path / "result.json").exists():  # It came to its end: from the beginning, into the same record.
            assert outcome(tmp_path) == whole
            (tmp_path / "result.json").unlink()
            for path in (tmp_path / "checkpoints").glob("step-*"):
                path.unlink()
        kills += server.run(tmp_path, EPOCHS, every=2, **options) == -signal.SIGKILL
    assert kills >= 20
    assert server.run(tmp_path, EPOCHS, every=2) == 0
    assert outcome(tmp_path) == whole
