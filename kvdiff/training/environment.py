"""The record of a run: enough to repeat it and to judge its times. It names no host, user or folder."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import warnings
from collections.abc import Iterator
from typing import Any

from kvdiff.media import write_bytes
from kvdiff.system import __version__

__all__ = ["arithmetic", "machine", "versions", "warning_if_unwritten", "write_json"]

_PACKAGES = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "scikit-learn")


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory in GiB and operating system; None where this system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": platform.system(),
    }


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of what it computes with."""
    found = {"python": platform.python_version(), "kvdiff": __version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


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


def _memory_gib() -> float | None:
    kilobytes = _first_value("/proc/meminfo", "MemTotal")
    return round(int(kilobytes.split()[0]) / 2**20, 1) if kilobytes else None


def _first_value(path: str, key: str) -> str | None:
    """The value of the first `key: value` line of a file under /proc, if there is one."""
    try:
        lines = pathlib.Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key) and ":" in line), None)
