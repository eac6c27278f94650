"""The machine and the versions that a record names: enough to judge its figures. It names no host, user or folder."""

from __future__ import annotations

import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Sequence
from typing import Any

from kvdiff.system import __version__

PACKAGES = ("tensorflow", "keras", "numpy", "onnx", "onnxruntime", "tf2onnx", "scikit-learn")
"""What kvdiff computes with."""


def machine() -> dict[str, Any]:
    """Processor, usable cores, memory in GiB and operating system; None where this system does not say."""
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": _first_value("/proc/cpuinfo", "model name") or platform.machine(),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gib": _memory_gib(),
        "system": platform.system(),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of Python, of this package and of those of `packages` that are installed."""
    found = {"python": platform.python_version(), "kvdiff": __version__}
    for name in packages:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _memory_gib() -> float | None:
    kilobytes = _first_value("/proc/meminfo", "MemTotal")
    return round(int(kilobytes.split()[0]) / 2**20, 1) if kilobytes else None


def _first_value(path: str, key: str) -> str | None:
    """The value of the first `key: value` line of a file under /proc, if there is one."""
    try:
        lines = pathlib.Path(path).read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key) and ":" in line), None)
