"""The record of a training: whole, however often it was cut off."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import keras
import pytest

from kvdiff.training import RunRecord, Throughput
from kvdiff.training.run_record import peak_memory_mib
from tests.training.trainings import make_model


def rows(folder):
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def model():
    model = make_model(keras.optimizers.SGD(0.25))
    model.optimizer.build(model.trainable_variables)
    return model


def begun(folder, model, **config):
    record = RunRecord(folder, **config)
    record.set_model(model)
    record.set_params({"epochs": 9, "steps": 4})
    record.on_train_begin()
    return record


def test_what_was_run_on_what(tmp_path, model):
    begun(tmp_path / "run", model, data={"batch_size": 4})
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["data"] == {"batch_size": 4} and config["fit"] == {"epochs": 9, "steps": 4}
    assert config["optimizer"]["config"]["learning_rate"] == 0.25 and config["model"]["seed"] == model.seed
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert environment["machine"]["cores"] >= 1 and environment["arithmetic"]["keras"] == keras.__version__


def test_a_row_an_epoch_and_columns_that_come_later(tmp_path, model):
    record = begun(tmp_path, model)
    model.optimizer.iterations.assign(4)
    record.on_epoch_end(0, {"loss": 0.5})
    record.on_epoch_end(1, {"loss": 0.25, "diversity": 1.0})
    first, second = rows(tmp_path)
    assert first == {"epoch": "1", "step": "4", "loss": "0.5", "diversity": ""}
    assert second["epoch"] == "2" and float(second["diversity"]) == 1.0


def test_an_epoch_that_was_cut_off_before_it_was_saved_leaves_no_row(tmp_path, model):
    record = begun(tmp_path, model)
    record.on_epoch_end(0, {"loss": 0.5})
    state = json.loads(json.dumps(record.get_state()))
    record.on_epoch_end(1, {"loss": 0.125})
    again = begun(tmp_path, model)
    again.set_state(state)
    again.on_epoch_end(1, {"loss": 0.25})
    assert [(row["epoch"], row["loss"]) for row in rows(tmp_path)] == [("1", "0.5"), ("2", "0.25")]


def test_throughput_counts_an_epoch_that_went_on_once(monkeypatch):
    clock = iter([10.0, 11.0, 12.0, 100.0, 103.0])
    monkeypatch.setattr("kvdiff.training.run_record.time.perf_counter", lambda: next(clock))
    before, after, logs = Throughput(4), Throughput(4), {}
    before.on_epoch_begin(0)
    before.on_train_batch_end(0)
    before.on_train_batch_end(1)
    after.on_epoch_begin(0)
    after.set_state(before.get_state())
    after.on_train_batch_end(0)
    after.on_epoch_end(0, logs)
    assert logs["seconds"] == 2.0 + 3.0 and logs["clips_per_second"] == 3 * 4 / 5.0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux")
def test_peak_memory_is_in_mebibytes():
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    assert peak_memory_mib() == pytest.approx(int(status["VmHWM"].split()[0]) / 1024, rel=0.05)


def test_a_row_that_cannot_be_written_is_warned_of_and_written_with_the_next(tmp_path, model, monkeypatch):
    record = begun(tmp_path, model)
    with monkeypatch.context() as patch:
        patch.setattr("kvdiff.training.run_record.write_bytes", full)
        with pytest.warns(UserWarning, match="no row of metrics for epoch 1, training goes on: .*No space left"):
            record.on_epoch_end(0, {"loss": 0.5})
    assert not (tmp_path / "metrics.csv").exists()
    record.on_epoch_end(1, {"loss": 0.25})
    assert [row["loss"] for row in rows(tmp_path)] == ["0.5", "0.25"]


def full(*args):
    raise OSError(28, "No space left on device")
