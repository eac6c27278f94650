"""Imports go downward only, and the lower floors stand without TensorFlow."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import kvdiff

PACKAGE = Path(kvdiff.__file__).parent

# A room may import itself and the rooms of lower floors. Everything in kvdiff/ has a floor.
FLOORS = {
    **dict.fromkeys(["system"], -1),
    **dict.fromkeys(["diffusion"], 0),
    **dict.fromkeys(["layers", "media", "runtime"], 1),
    **dict.fromkeys(["fields", "web"], 2),
    **dict.fromkeys(["sampling", "training"], 3),
    **dict.fromkeys(["data", "models"], 4),
    **dict.fromkeys(["evaluation", "export"], 5),
    **dict.fromkeys(["demo"], 6),
    **dict.fromkeys(["cli"], 7),
    **dict.fromkeys(["__main__"], 8),
}
WITHOUT_TENSORFLOW = ("kvdiff", "kvdiff.diffusion", "kvdiff.runtime")


def sources() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]


def room_of(module: str) -> str:
    """The room of a dotted name below `kvdiff`; a name of the public face lives where the face says."""
    head = module.split(".")[1]
    return kvdiff._HOMES.get(head, head).split(".")[0] or head


def imported_rooms(source: str) -> Iterator[tuple[int, str]]:
    """(line, room) of every import from kvdiff, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: expected an absolute import"
            whole = node.module == "kvdiff"
            modules = [f"kvdiff.{alias.name}" for alias in node.names] if whole else [str(node.module)]
        else:
            continue
        for module in modules:
            if module.startswith("kvdiff.") and module != "kvdiff.__version__":
                yield node.lineno, room_of(module)
            elif module == "kvdiff":  # The whole face reaches up to the models.
                yield node.lineno, "models"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_downward(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    assert room in FLOORS, f"give {room!r} a floor"
    for line, imported in imported_rooms(path.read_text()):
        allowed = imported == room or FLOORS[imported] < FLOORS[room]
        assert allowed, f"line {line}: {room} (floor {FLOORS[room]}) imports {imported} (floor {FLOORS[imported]})"


def test_the_guard_sees_every_kind_of_import() -> None:
    source = "import kvdiff.cli\nfrom kvdiff import UNet3D, __version__\nfrom kvdiff.runtime.onnx import x\n"
    source += "import os\nimport kvdiff\ndef f():\n    from kvdiff import demo\n"
    assert list(imported_rooms(source)) == [(1, "cli"), (2, "models"), (3, "runtime"), (5, "models"), (7, "demo")]


@pytest.mark.parametrize("module", WITHOUT_TENSORFLOW)
def test_lower_floors_load_no_framework(module: str, run_python: Callable[..., str]) -> None:
    loaded = run_python(f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))").split()
    assert "kvdiff" in loaded
    assert {"tensorflow", "keras", "torch", "jax"}.isdisjoint(loaded)
