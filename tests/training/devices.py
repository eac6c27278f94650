"""A tiny training, to be run in processes of its own: on one device, on two, or on two workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kvdiff.cli.workers import worker_environments
from kvdiff.diffusion.transforms.values import PIXELS

SHAPE = (3, 4, 4, 1)
ROOT = Path(__file__).parents[2]


def two_cpus() -> Any:
    """A MirroredStrategy of two logical CPUs; before TensorFlow's first operation."""
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def make(optimizer: str = "sgd", dropout: float = 0.2, values: Any = PIXELS, **compiling: Any) -> Any:
    """A tiny compiled model; its `seen` counts how often it was trained on each of `clips`."""
    import keras
    import tensorflow as tf

    import kvdiff

    class Counting(kvdiff.VideoDiffusion):
        def train_step(self, data: Any) -> Any:
            number = tf.cast(tf.round(data[:, 0, 0, 0, 0] * 1000.0), tf.int32)
            self.seen.assign_add(tf.reduce_sum(tf.one_hot(number, 1000), axis=0))
            return super().train_step(data)

    ema = dict(use_ema=True, ema_momentum=0.9)
    optimizers = {
        # Every step is clipped, so that clipping before or after the reduction differ.
        "sgd": lambda: keras.optimizers.SGD(1.0, global_clipnorm=0.05, **ema),
        "adamw": lambda: keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=0.1, **ema),
    }
    keras.utils.set_random_seed(0)
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, heads=2, attention=("time",), dropout=dropout)
    model = Counting(SHAPE, denoiser, seed=4, values=values)
    model.seen = tf.Variable(
        tf.zeros(1000),
        synchronization=tf.VariableSynchronization.ON_READ,
        aggregation=tf.VariableAggregation.SUM,
        trainable=False,
    )
    model.compile(optimizers[optimizer](), **compiling)
    return model


def clips(count: int) -> Any:
    """Different clips, float32 [count, *SHAPE]; the first pixel tells which one it is."""
    import numpy as np

    made = np.random.default_rng(0).uniform(-1, 1, (count, *SHAPE)).astype("float32")
    made[:, 0, 0, 0, 0] = np.arange(count) / 1000
    return made


def trained(strategy: Any, count: int = 32, epochs: int = 2, **making: Any) -> tuple[list[Any], Any]:
    """(raw weights, averages and the rest of the optimizer's variables; how often each clip was seen).

    The training is `epochs` of `count` clips, 8 a step.
    """
    import tensorflow as tf

    with strategy.scope():
        model = make(**making)
    data = tf.data.Dataset.from_tensor_slices(clips(count)).batch(8)
    model.fit(data, epochs=epochs, verbose=0, shuffle=False)
    raw = model._raw_weights.values()
    weights = [raw[id(variable)] for variable in model.trainable_variables]
    return weights + [v.numpy() for v in model.optimizer.variables], model.seen.numpy()[:count]


def largest_difference(a: list[Any], b: list[Any]) -> float:
    import numpy as np

    return max(float(np.abs(x - y).max()) for x, y in zip(a, b, strict=True))


def start_workers(code: str, folder: Path, count: int = 2) -> list[subprocess.Popen[bytes]]:
    """`code` in `count` processes that find each other by `TF_CONFIG`, as on a real cluster; one thread each."""
    processes = []
    for index, environment in enumerate(worker_environments(count)):
        environment |= {"PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
        with (folder / f"worker{index}.log").open("wb") as output:
            options = dict(cwd=folder, env=environment, stdout=output, stderr=subprocess.STDOUT)
            processes.append(subprocess.Popen([sys.executable, "-c", code], **options))
    return processes


def outcome(code: str) -> dict[str, Any]:
    """The JSON that `code`, run in a fresh process, prints after the word RESULT."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))[len("RESULT") :])
