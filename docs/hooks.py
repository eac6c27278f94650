"""What the site takes from outside `docs/`, so that it is written once: changes, contributing, the model's pictures.

Pages link to such files by the paths they have in the repository, which work on a code host too; here the links become
those of the site.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
PAGES = {"CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changes.md"}
_PICTURES = "saved_models/moving_digits"
_LINK = re.compile(r"\]\(([^)#:]+)(?=[)#])")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages and the pictures."""
    outside = {page: ROOT / source for source, page in PAGES.items()}
    outside |= {f"images/{path.name}": path for path in sorted((ROOT / _PICTURES).glob("*.gif"))}
    for name, path in outside.items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links from and to those files, for the site."""
    sources = {site: source for source, site in PAGES.items()}
    here = posixpath.dirname(sources.get(page.file.src_uri, f"docs/{page.file.src_uri}"))
    there = posixpath.dirname(page.file.src_uri)

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(here, found[1]))  # In the repository.
        target = PAGES.get(target, target.replace(_PICTURES, "docs/images")).removeprefix("docs/")
        return f"]({posixpath.relpath(target, there or '.')}"

    return _LINK.sub(link, markdown)
