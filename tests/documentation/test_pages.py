"""The pages name what there is: public names in the API, files and headings in links, pages in the navigation."""

from __future__ import annotations

import importlib
import inspect
import re

import pytest

from tests.documentation.pages import PAGES, ROOT, prose, read

NAMES = re.findall(r"^::: (\S+)$", read("docs/api.md"), re.MULTILINE)
COMPLETE = (
    "kvdiff",
    *(
        f"kvdiff.{room}"
        for room in ("data", "diffusion", "evaluation", "export", "layers", "models", "runtime", "training")
    ),
)
"""Rooms whose classes and functions are all in the API."""


@pytest.mark.parametrize("name", NAMES)
def test_the_api_shows_public_names(name: str) -> None:
    pytest.importorskip("tensorflow")
    room, last = name.rsplit(".", 1)
    value = getattr(importlib.import_module(room), last, None) or importlib.import_module(name)
    public = getattr(importlib.import_module(room), "__all__", None)  # A module inside a room has none.
    assert inspect.ismodule(value) or (last in public if public is not None else value.__module__ == room)


@pytest.mark.parametrize("room", COMPLETE)
def test_the_api_is_complete(room: str) -> None:
    pytest.importorskip("tensorflow")
    module = importlib.import_module(room)
    shown = {name.rsplit(".", 1)[1] for name in NAMES}
    assert [name for name in module.__all__ if callable(getattr(module, name)) and name not in shown] == []


def headings(page: str) -> set[str]:
    """The anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)", prose(page), re.MULTILINE)
    return {re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.lower())).strip("-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        target, _, anchor = link.partition("#")
        path = (ROOT / page).parent / target if target else ROOT / page
        if ":" in link or "api.md#" in link:
            continue
        if not path.exists() or (anchor and anchor not in headings(str(path.resolve().relative_to(ROOT)))):
            broken.append(link)
    assert broken == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = read("mkdocs.yml")
    pages = [page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")]
    assert [page for page in pages if f": {page}\n" not in navigation] == []
