"""A checkpoint is a usable model: with the averaged weights, from a file or from the newest of a folder."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.training import ClipBatches, RunRecord, TrainingCheckpoint, averaged
from kvdiff.training.checkpoint_file import DamagedCheckpointError, TrainingState, read_checkpoint, write_checkpoint
from tests.training.trainings import BATCH, STEPS, clips, digest, make_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run cut off in its second epoch, and the model as it was."""
    run = tmp_path_factory.mktemp("run") / "training"
    checkpoint, model = TrainingCheckpoint(run / "checkpoints", ClipBatches(clips(), BATCH), every=4), make_model()

    def stop(batch, logs=None):
        model.stop_training = int(model.optimizer.inner_optimizer.iterations) == STEPS + 2

    stopping = keras.callbacks.LambdaCallback(on_train_batch_end=stop)
    options = dict(steps_per_epoch=STEPS, epochs=3, verbose=0, shuffle=False)
    model.fit(checkpoint.dataset(), callbacks=[stopping, RunRecord(run), checkpoint], **options)
    return run / "checkpoints", model


def weights(model):
    return digest(model.trainable_variables)


def test_a_folder_gives_the_newest_and_a_file_its_own(trained):
    folder, model = trained
    found = kvdiff.load_model(folder)
    assert weights(found) == weights(model) and found.get_config()["seed"] == model.seed
    np.testing.assert_array_equal(found.generate(1, num_steps=2, seed=1), model.generate(1, num_steps=2, seed=1))
    assert weights(kvdiff.load_model(folder / f"step-{STEPS + 2:010d}.npz")) == weights(model)
    assert weights(kvdiff.load_model(folder / f"step-{4:010d}.npz")) != weights(model)
    with averaged(model):
        assert weights(found) == weights(model)


def test_opening_changes_nothing(trained):
    folder, _ = trained
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    kvdiff.load_model(folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


def of_earlier_version(trained, folder):
    path = folder / "checkpoints" / f"step-{STEPS + 2:010d}.npz"
    path.parent.mkdir(parents=True)
    state = read_checkpoint(trained[0] / path.name)
    facts = {name: value for name, value in state.facts.items() if name not in ("network", "averages", "loss")}
    write_checkpoint(path, TrainingState(state.arrays, facts))
    return path


def test_one_of_an_earlier_version_is_opened_with_the_runs_record(trained, tmp_path):
    path = of_earlier_version(trained, tmp_path)
    with pytest.raises(ValueError, match="it is of an earlier version and has no network; expected the run's record"):
        kvdiff.load_model(path)
    (tmp_path / "config.json").write_bytes((trained[0].parent / "config.json").read_bytes())
    assert weights(kvdiff.load_model(path)) == weights(trained[1])


def test_without_averages_the_weights_are_as_they_are(tmp_path):
    checkpoint, model = TrainingCheckpoint(tmp_path, ClipBatches(clips(), BATCH)), make_model(keras.optimizers.SGD(0.1))
    model.fit(checkpoint.dataset(), steps_per_epoch=STEPS, callbacks=[checkpoint], verbose=0, shuffle=False)
    assert weights(kvdiff.load_model(tmp_path)) == weights(model)


def test_clear_errors(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a folder of checkpoints. Received: .*, which holds none"):
        kvdiff.load_model(tmp_path)
    path = of_earlier_version(trained, tmp_path)
    state = read_checkpoint(path)
    foreign = {**state.facts, "network": {"class_name": "Nothing", "config": {}, "module": "x", "registered_name": "x"}}
    write_checkpoint(path, TrainingState(state.arrays, foreign))
    with pytest.raises(ValueError, match="`path`: expected a checkpoint of a model. Received: "):
        kvdiff.load_model(path)
    write_checkpoint(path, TrainingState(state.arrays, json.loads("{}")))
    with pytest.raises(DamagedCheckpointError, match="expected the fields step, epoch"):
        kvdiff.load_model(path)
