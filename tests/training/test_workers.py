"""Several processes that train one model, on the loopback address."""

import numpy as np
import pytest

from tests.training.devices import largest_difference, start_workers

WORKER = """
import numpy as np, tensorflow as tf
from tests.training.devices import trained
strategy = tf.distribute.MultiWorkerMirroredStrategy()
trainings = {"sgd": dict(count=48, epochs=1), "adamw": dict(count=27, micro_batches=2, steps_per_execution=2)}
for name, options in trainings.items():
    weights, seen = trained(strategy, optimizer=name, **options)
    np.savez(f"{name}{strategy.cluster_resolver.task_id}.npz", *weights, seen)
"""

ALONE = """
import numpy as np, tensorflow as tf
from tests.training.devices import trained
for name, options in (("sgd", dict(count=48, epochs=1)), ("adamw", dict(count=27))):
    np.savez(f"{name}.npz", *trained(tf.distribute.get_strategy(), optimizer=name, **options)[0])
"""


def arrays(path):
    return list(np.load(path).values())


@pytest.mark.slow
def test_two_workers_train_what_one_device_trains(tmp_path, run_python):
    workers = start_workers(WORKER, tmp_path)
    run_python(ALONE)
    for index, worker in enumerate(workers):
        assert worker.wait(300) == 0, (tmp_path / f"worker{index}.log").read_text()[-3000:]
    for name, bound, passes in (("sgd", 1e-6, 1), ("adamw", 1e-5, 2)):
        *first, seen = arrays(tmp_path / f"{name}0.npz")
        *second, _ = arrays(tmp_path / f"{name}1.npz")
        assert largest_difference(first, second) == 0.0
        assert largest_difference(first, arrays(tmp_path / f"{name}.npz")) < bound
        assert (seen == passes).all()
