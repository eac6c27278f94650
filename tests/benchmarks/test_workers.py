from __future__ import annotations

import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.benchmarks.answering import Call, grown_mib, timed
from tests.benchmarks.workers import Worker, WorkerError


@pytest.fixture
def worker() -> Iterator[Worker]:
    with Worker("the stand-in", [sys.executable, "-m", "tests.benchmarks.stand_in"]) as started:
        yield started


def test_what_libraries_print_is_no_answer(worker: Worker) -> None:
    assert worker.ask("shout") == "this"
    assert worker.ask("time", key="")["wall"] == 1.0


def test_a_task_that_raises_says_where_and_the_worker_lives_on(worker: Worker) -> None:
    with pytest.raises(WorkerError, match=r"(?s)the stand-in, asked to dance: Traceback.*KeyError: 'dance'"):
        worker.ask("dance")
    assert worker.ask("shout") == "this"


def test_a_dead_worker_leaves_its_exit_code_and_last_words(worker: Worker) -> None:
    with pytest.raises(WorkerError, match=r"(?s)the stand-in, asked to die: ended with exit code 7.*the last words"):
        worker.ask("die")
    with pytest.raises(WorkerError, match=r"asked to time: ended with exit code 7.*"):
        worker.ask("time")


def test_a_worker_that_cannot_start_says_why() -> None:
    with (
        Worker("nobody", [sys.executable, "-m", "tests.benchmarks.no_such_program"]) as absent,
        pytest.raises(WorkerError, match=r"(?s)nobody, asked to time: ended.*no_such_program"),
    ):
        absent.ask("time")


def test_only_the_run_is_timed() -> None:
    def work(repeats: int) -> int:
        return sum(i * i for i in range(repeats))

    outside = timed(Call(lambda: work(3_000_000), lambda made: None))
    inside = timed(Call(lambda: 3_000_000, work))
    assert outside["cpu"] < inside["cpu"] / 10  # Processor time: others at work do not count.


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_of_memory_is_seen_though_it_is_freed() -> None:
    grown_mib(lambda: np.ones(2**23))  # What the first call brings in.
    assert 60 < grown_mib(lambda: np.ones(2**23).sum()) < 80  # 64 MiB.
    assert grown_mib(lambda: None) < 8
