import json

import pytest

from kvdiff.training.cluster import num_workers, training_strategy, worker_number


@pytest.mark.parametrize(
    ("cluster", "task", "expected"),
    [
        (None, None, (1, 0)),
        ({"worker": ["a:1"]}, {"type": "worker", "index": 0}, (1, 0)),
        ({"worker": ["a:1", "b:1", "c:1"]}, {"type": "worker", "index": 2}, (3, 2)),
        ({"chief": ["a:1"], "worker": ["b:1"]}, {"type": "chief", "index": 0}, (2, 0)),
        ({"chief": ["a:1"], "worker": ["b:1"]}, {"type": "worker", "index": 0}, (2, 1)),
    ],
)
def test_reads_the_place_in_the_cluster(monkeypatch, cluster, task, expected):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if cluster:
        monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    assert (num_workers(), worker_number()) == expected


@pytest.mark.parametrize("text", ["{", "3"])
def test_says_what_is_wrong_with_the_environment(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="TF_CONFIG: expected .* Received: "):
        num_workers()


def test_one_device_needs_no_strategy(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert training_strategy().num_replicas_in_sync == 1
