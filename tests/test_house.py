"""How the house is built: no circle between modules, inner rooms in order, no question of a condition's kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import kvdiff
from kvdiff.diffusion.conditions import CONDITIONS

PACKAGE = Path(kvdiff.__file__).parent
MODULES = {
    ".".join(["kvdiff", *path.relative_to(PACKAGE).with_suffix("").parts]).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}
# A room of kvdiff/diffusion may import itself and those of lower floors.
INNER_FLOORS = {
    "limits": 0,
    "checks": 1,
    "drawing": 1,
    **dict.fromkeys(["process", "tasks", "transforms"], 2),
    **dict.fromkeys(["conditions", "solvers"], 3),
    "spec": 4,
    "sampling": 5,
}
# The loop of sampling, wherever it runs: their methods take at most five arguments.
LOOPS = {
    "kvdiff.diffusion.sampling.sampler": ["Sampler"],
    "kvdiff.diffusion.sampling.engine": ["Draws", "Engine", "DenoiserEngine"],
    "kvdiff.sampling": ["KerasEngine", "ReconstructionEngine"],
    "kvdiff.runtime.ort": ["OrtEngine"],
    "kvdiff.runtime.ort_device": ["DeviceLoop"],
    "kvdiff.runtime.ort_sampler": ["FusedOrtEngine"],
    "kvdiff.runtime.litert": ["LiteRtEngine"],
    "kvdiff.runtime.saved_model": ["SavedModelEngine"],
    "kvdiff.export.graph_sampler": ["GraphSampler"],
    "kvdiff.export.onnx_loop": ["Loop"],
}
KINDS = {kind.__name__ for kind in CONDITIONS.values()}
WHERE_KINDS_ARE = "kvdiff.diffusion.conditions.kinds"


def imports(module: str) -> set[str]:
    """The modules of kvdiff that a module imports: inside functions and for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            # `from kvdiff import x` is the public face, which loads what it is asked for.
            found |= {name if name in MODULES else str(node.module) for name in inside}
    return {name for name in found if name in MODULES}


def circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """The paths that lead back to where they began, one for each way found."""
    found, done = [], set()

    def walk(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for other in sorted(graph[name]):
                walk(other, [*path, name])
            done.add(name)

    for name in graph:
        walk(name, [])
    return found


def test_no_circle_between_modules() -> None:
    assert circles({module: imports(module) for module in MODULES}) == []


def test_a_circle_would_be_seen() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c", "b"]]


def inner_room(module: str) -> str | None:
    parts = module.split(".")
    return parts[2] if parts[:2] == ["kvdiff", "diffusion"] and len(parts) > 2 else None


@pytest.mark.parametrize("module", [module for module in MODULES if inner_room(module)])
def test_inner_rooms_import_downward(module: str) -> None:
    room = inner_room(module)
    assert room in INNER_FLOORS, f"give {room!r} a floor"
    for imported in imports(module):
        other = inner_room(imported)
        assert other is not None, f"{module} imports {imported}, which imports all of the room"
        assert other == room or INNER_FLOORS[other] < INNER_FLOORS[room], f"{module} imports {imported}"


def questions_of_kind(source: str) -> Iterator[int]:
    """The lines that ask by `isinstance` or `issubclass` whether something is of a kind of condition."""
    for node in ast.walk(ast.parse(source)):
        called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
        if called in ("isinstance", "issubclass") and KINDS & _names(node.args[1]):  # type: ignore[attr-defined]
            yield node.lineno


def _names(node: ast.AST) -> set[str]:
    inside = list(ast.walk(node))
    attributes = {each.attr for each in inside if isinstance(each, ast.Attribute)}
    return attributes | {each.id for each in inside if isinstance(each, ast.Name)}


def test_conditions_answer_for_themselves() -> None:
    asking = {
        module: lines
        for module, path in MODULES.items()
        if module != WHERE_KINDS_ARE and (lines := list(questions_of_kind(path.read_text("utf-8"))))
    }
    assert asking == {}


def test_a_question_of_kind_would_be_seen() -> None:
    source = "if isinstance(c, ClassLabel): ...\nisinstance(c, (int, kinds.FrameTimes))\nisinstance(c, dict)\n"
    assert list(questions_of_kind(source)) == [1, 2]


def arguments(function: ast.FunctionDef) -> int:
    """How many arguments a method takes, `self` not counted; `**keywords` is one."""
    given = function.args
    count = len(given.posonlyargs) + len(given.args) + len(given.kwonlyargs)
    count += (given.vararg is not None) + (given.kwarg is not None)
    static = any(isinstance(each, ast.Name) and each.id == "staticmethod" for each in function.decorator_list)
    return count - (not static)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in LOOPS.items() for name in names])
def test_methods_of_the_loop_take_few_arguments(module: str, name: str) -> None:
    tree = ast.parse(MODULES[module].read_text("utf-8"))
    (loop,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    methods = [node for node in loop.body if isinstance(node, ast.FunctionDef) and node.name != "__init__"]
    assert methods
    assert {method.name: arguments(method) for method in methods if arguments(method) > 5} == {}


MOST_LINES, LONG_BODY, MOST_LONG_BODIES = 300, 40, 5


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """The lines of a function's body, its docstring not counted."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return int(function.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("module", MODULES)
def test_no_file_is_long(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= MOST_LINES, "a second noun, or the same thing said twice?"


def test_functions_are_seldom_long() -> None:
    bodies = {
        f"{module}.{node.name}": body_lines(node)
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    long = {name: lines for name, lines in bodies.items() if lines > LONG_BODY}
    assert len(long) <= MOST_LONG_BODIES and max(bodies.values()) <= LONG_BODY + 10, long


def test_a_long_body_would_be_seen() -> None:
    (function,) = ast.parse('def f():\n    """Words.\n\n    More.\n    """\n    x = 1\n    y = 2\n    return x\n').body
    assert isinstance(function, ast.FunctionDef) and body_lines(function) == 3
