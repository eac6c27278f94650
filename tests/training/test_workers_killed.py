"""A worker that dies: the others end too, no checkpoint is damaged, and the training goes on exactly."""

import time

import numpy as np
import pytest

from kvdiff.training.checkpoint_file import read_checkpoint
from tests.training.devices import start_workers

WORKER = """
import time
import keras, numpy as np, tensorflow as tf
from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.training.devices import clips, make

strategy = tf.distribute.MultiWorkerMirroredStrategy()
index = strategy.cluster_resolver.task_id
with strategy.scope():
    model = make(optimizer="adamw")
batches = ClipBatches(clips(32), 8)
checkpoint = TrainingCheckpoint("checkpoints", batches, every=3, writes=index == 0)
slow = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: time.sleep(0.2))
model.fit(
    checkpoint.dataset(), steps_per_epoch=4, epochs=6, verbose=0, shuffle=False, callbacks=[slow, checkpoint]
)
variables = [*model.trainable_variables, *model.optimizer.variables]
np.savez(f"weights{index}.npz", *[variable.numpy() for variable in variables])
"""


def log(folder, index):
    return (folder / f"worker{index}.log").read_text()[-3000:]


def finished(folder):
    """The first worker's variables after both have trained to the end."""
    for index, worker in enumerate(start_workers(WORKER, folder)):
        assert worker.wait(300) == 0, log(folder, index)
    return list(np.load(folder / "weights0.npz").values())


@pytest.mark.slow
def test_a_killed_worker_ends_the_others_and_the_training_goes_on_exactly(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    expected = finished(whole)
    survivor, victim = start_workers(WORKER, cut)
    checkpoints = cut / "checkpoints"
    deadline = time.monotonic() + 300
    while len(list(checkpoints.glob("step-*.npz"))) < 2 and time.monotonic() < deadline:
        assert victim.poll() is None, log(cut, 1)
        time.sleep(0.05)
    victim.kill()
    started = time.monotonic()
    assert survivor.wait(60) != 0
    print(f"the other ended after {time.monotonic() - started:.1f} s")
    paths = sorted(checkpoints.glob("step-*.npz"))
    steps = [read_checkpoint(path).facts["step"] for path in paths]  # Raises where one is damaged.
    assert steps[0] >= 3 and steps[-1] < 24
    for ours, theirs in zip(finished(cut), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
