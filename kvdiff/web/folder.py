"""Writing the files of a page: what the package has, what belongs to the model, and onnxruntime-web."""

from __future__ import annotations

import html
import io
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.web.ort_web import FOLDER, OrtWeb

PAGE = pathlib.Path(__file__).with_name("page")
"""The folder of the page's own files."""
_GALLERY = PAGE / "gallery.html"
_SELF = "connect-src 'self'"


def page_files() -> list[pathlib.Path]:
    """The page's own files, index.html among them."""
    return sorted(path for path in PAGE.iterdir() if path.is_file() and path != _GALLERY)


def index_of(name: str, origin: str = "") -> str:
    """index.html for the page of a model.

    Args:
        name: of the model.
        origin: one besides the page's own that it may connect to.
    """
    text = (PAGE / "index.html").read_text("utf-8").replace("$NAME", html.escape(name))
    if not origin:
        return text
    return text.replace(_SELF, f"{_SELF} {origin}")


def write_page(
    folder: pathlib.Path,
    content: Mapping[str, Any],
    tables: bytes,
    graphs: Sequence[pathlib.Path],
    ort_web: OrtWeb,
    examples: Sequence[np.ndarray] = (),
) -> list[str]:
    """Write a page into the empty `folder`; the names of its files, for a manifest.

    Args:
        folder: where to.
        content, tables: what `described` says of the model.
        graphs: the ONNX files, which are moved.
        ort_web: what runs them.
        examples: clips [1, frames, height, width, channels] in users' numbers, as `content` lists them.
    """
    for path in page_files():
        shutil.copyfile(path, folder / path.name)
    (folder / "index.html").write_text(index_of(content["name"], ort_web.origin), "utf-8")
    (folder / "spec.json").write_text(json.dumps({**content, "ort": ort_web.config}) + "\n", "utf-8")
    (folder / "tables.bin").write_bytes(tables)
    for graph in graphs:
        shutil.move(graph, folder / graph.name)
    for entry, clip in zip(content["examples"], examples, strict=True):
        path = folder / entry["file"]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(npy(clip))
    for path in ort_web.files:
        (folder / FOLDER).mkdir(exist_ok=True)
        shutil.copyfile(path, folder / FOLDER / path.name)
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def npy(array: np.ndarray) -> bytes:
    """An array as a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def write_gallery(folder: pathlib.Path, title: str = "Models") -> pathlib.Path:
    """Write `folder/index.html`, which lists the pages in the folders inside it; returns its path.

    Raises:
        FileNotFoundError: there are none.
    """
    pages = sorted(path.parent for path in folder.glob("*/spec.json") if (path.parent / "index.html").is_file())
    if not pages:
        raise FileNotFoundError(f"`folder`: expected pages of models in folders inside. Received: {folder}, with none")
    cards = "\n".join(_card(page) for page in pages)
    text = _GALLERY.read_text("utf-8").replace("$TITLE", html.escape(title)).replace("$CARDS", cards)
    path = folder / "index.html"
    path.write_text(text, "utf-8")
    return path


def _card(page: pathlib.Path) -> str:
    """The link to one page."""
    spec = json.loads((page / "spec.json").read_text("utf-8"))
    clip = spec["clip"]
    facts = f"{clip['num_frames']} frames, {clip['height']} × {clip['width']}"
    facts += ", to be played" if spec["actions"] else ""
    megabytes = sum(path.stat().st_size for path in page.glob("*.onnx")) / 1e6
    name, link = html.escape(spec["name"]), html.escape(page.name)
    return f'<li><a href="{link}/"><strong>{name}</strong><span>{facts}; {megabytes:.0f} MB</span></a></li>'
