"""Running the programs of deployment kits where what they must not need cannot be imported."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import kvdiff

__all__ = ["KITS", "imports_of", "run_without"]

ROOT = Path(kvdiff.__file__).parents[1]
KITS = ROOT / "export"
_BLOCKING = """
import runpy, sys
sys.modules |= dict.fromkeys(sys.argv[1].split(","))
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run_without(modules: Sequence[str], program: Path, *arguments: str, cwd: Path) -> str:
    """What `program` prints in a fresh process in which importing `modules` fails."""
    command = [sys.executable, "-c", _BLOCKING, ",".join(modules), str(program), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout


def imports_of(program: Path) -> set[str]:
    """The packages that a program imports, Python's own left out."""
    names = set()
    for node in ast.walk(ast.parse(program.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    return names - sys.stdlib_module_names
