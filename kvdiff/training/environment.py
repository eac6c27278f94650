"""What a training writes about itself."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import warnings
from collections.abc import Iterator
from typing import Any

from kvdiff.media import write_bytes
from kvdiff.system.environment import machine, versions


def arithmetic() -> dict[str, Any]:
    """What decides the last bits of a computation: versions, and how many threads share it."""
    import keras

    found: dict[str, Any] = {**versions(), "backend": keras.backend.backend(), "cores": machine()["cores"]}
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        found["threads"] = (
            os.environ.get("TF_NUM_INTRAOP_THREADS") or tf.config.threading.get_intra_op_parallelism_threads()
        )
        found["devices"] = [device.device_type for device in tf.config.list_logical_devices()]
    return found


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write indented JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


@contextlib.contextmanager
def warning_if_unwritten(what: str) -> Iterator[None]:
    """A training goes on where the block cannot write something that is no part of its result: a warning says so."""
    try:
        yield
    except OSError as error:
        warnings.warn(f"no {what}, training goes on: {error}", stacklevel=3)
