"""Set before anything imports TensorFlow: quiet logs. And what every test may ask for."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

ROOT = Path(__file__).parents[1]

# Tests that need other projects' code live in environments of their own. By folder: the package that tells the
# environment, and the marker of everything inside.
APART = {"peers": ("torch", "peers"), "export/serving": ("kserve", "serving")}
collect_ignore = [folder for folder, (package, _) in APART.items() if not importlib.util.find_spec(package)]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for folder, (_, marker) in APART.items():
            if item.path.is_relative_to(ROOT / "tests" / folder):
                item.add_marker(marker)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """New weights are the same whichever tests ran before; Keras is not imported for it."""
    if keras := sys.modules.get("keras"):
        keras.utils.set_random_seed(0)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same numbers in every test."""
    return np.random.default_rng(0)


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., str]:
    """`run_python(code)` runs code in a fresh interpreter, in an empty folder, and returns what it printed.

    For what must be seen from a process' start: which modules an import loads, or two logical devices, which TensorFlow
    takes only before its first operation. Fails with the process' own error output.
    """

    def run(code: str, timeout: float = 300.0, env: dict[str, str] | None = None) -> str:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_NUM_INTRAOP_THREADS": "1", **(env or {})}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout
        )
        assert done.returncode == 0, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
