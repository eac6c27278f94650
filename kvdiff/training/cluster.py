"""Where this process trains: one device, all GPUs of a machine, or one of several workers named by `TF_CONFIG`."""

from __future__ import annotations

import json
import os
from typing import Any


def training_strategy() -> Any:
    """The `tf.distribute` strategy for what is there; build and compile the model in its `scope()`.

    `MultiWorkerMirroredStrategy` where `TF_CONFIG` names several workers, with all GPUs of each; else
    `MirroredStrategy` where there are several GPUs; else TensorFlow's own, which does nothing.

    Call it before anything else of TensorFlow's: the workers meet here.
    """
    import tensorflow as tf

    if num_workers() > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def num_workers() -> int:
    """How many processes train together."""
    cluster = _config().get("cluster", {})
    return max(1, len(cluster.get("chief", [])) + len(cluster.get("worker", [])))


def worker_number() -> int:
    """Which of them this is; number 0 writes what all share."""
    config = _config()
    task = config.get("task", {})
    chiefs = len(config.get("cluster", {}).get("chief", []))
    return int(task.get("index", 0)) + (chiefs if task.get("type") == "worker" else 0)


def _config() -> dict[str, Any]:
    """What `TF_CONFIG` holds; empty where it is not set."""
    text = os.environ.get("TF_CONFIG") or "{}"
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ValueError(f"TF_CONFIG: expected JSON. Received: {text!r}") from error
    if not isinstance(config, dict):
        raise ValueError(f"TF_CONFIG: expected an object with `cluster` and `task`. Received: {text!r}")
    return config
