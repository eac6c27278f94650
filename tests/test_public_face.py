"""What `import kvdiff` and the distribution promise."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

import kvdiff

ROOT = Path(kvdiff.__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.mark.parametrize("name", kvdiff.__all__)
def test_every_public_name_resolves(name: str) -> None:
    value = getattr(kvdiff, name)
    assert getattr(value, "__name__", "").split(".")[-1] == name
    assert value.__doc__


def test_the_face_lists_itself() -> None:
    assert dir(kvdiff) == sorted(kvdiff.__all__)
    assert set(kvdiff.__all__) == set(kvdiff._HOMES)


@pytest.mark.parametrize("room", ["layers", "models", "training"])
def test_every_public_name_of_a_room_resolves(room: str) -> None:
    package = getattr(kvdiff, room)
    assert dir(package) == sorted(package.__all__) == sorted(package._HOMES)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name and getattr(package, name).__doc__
    with pytest.raises(AttributeError, match=f"module 'kvdiff.{room}' has no attribute 'Nothing'"):
        package.Nothing  # noqa: B018


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'kvdiff' has no attribute 'VideoDifusion'"):
        kvdiff.VideoDifusion  # noqa: B018


def requirements(extra: str) -> set[str]:
    """The distributions that an extra names, through the extras it builds on."""
    names = set()
    for requirement in EXTRAS[extra]:
        name, inner = re.match(r"([\w-]+)(?:\[([\w,]+)\])?", requirement).groups()
        names |= set().union(*map(requirements, inner.split(","))) if name == PROJECT["name"] else {name}
    return names


def test_the_core_is_numpy_alone() -> None:
    assert [re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["dependencies"]] == ["numpy"]


@pytest.mark.parametrize("extra", ["onnx", "gpu"])
def test_a_deployment_host_installs_only_the_runtime(extra: str) -> None:
    assert requirements(extra) == {"onnx": {"onnxruntime"}, "gpu": {"onnxruntime-gpu"}}[extra]


@pytest.mark.parametrize("extra", EXTRAS)
def test_no_extra_installs_both_onnx_runtimes(extra: str) -> None:
    assert not {"onnxruntime", "onnxruntime-gpu"} <= requirements(extra)


def test_peers_come_without_tensorflow() -> None:
    assert "tensorflow" not in requirements("peers")


def test_a_version_bound_is_said_once() -> None:
    bounded = [re.match(r"[\w-]+", item).group() for items in EXTRAS.values() for item in items]
    others = [name for name in bounded if name != PROJECT["name"]]
    assert len(others) == len(set(others))


def test_the_presets_that_ship_come_with_the_demo_alone() -> None:
    presets = tomllib.loads((ROOT / "saved_models" / "pyproject.toml").read_text())["project"]
    assert [extra for extra in EXTRAS if presets["name"] in requirements(extra)] == ["demo"]
    assert f"{presets['name']}>={presets['version'][0]},<" in "".join(EXTRAS["demo"])


def test_the_citation_is_of_this_version() -> None:
    lines = (ROOT / "CITATION.cff").read_text().splitlines()
    assert f"version: {kvdiff.__version__}" in lines and f"license: {PROJECT['license']}" in lines
