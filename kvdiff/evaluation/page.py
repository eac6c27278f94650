"""The frame of a self-contained HTML page: nothing from elsewhere, no script; light and dark, phone and desktop."""

from __future__ import annotations

import base64
import html
from collections.abc import Iterable, Sequence

escaped = html.escape

_STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --sheet: #fff; --ink: #1d2430; --soft: #5b6675; --line: #e2e6eb;
  --accent: #b85c00; --good: #11733b; --good-ground: #e4f5ea; --bad: #b3261e; --bad-ground: #fdeceb;
  --screen: #282c34; }
@media (prefers-color-scheme: dark) { :root { --ground: #14171c; --sheet: #1c2027; --ink: #e4e8ee; --soft: #9aa5b4;
  --line: #313843; --accent: #f5a04c; --good: #6fd598; --good-ground: #16301f; --bad: #ff9b94;
  --bad-ground: #3a1b1a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 64rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 1rem 0 .5rem; }
h2 { font-size: 1.2rem; margin: 0 0 .35rem; }
p { margin: .35rem 0 .8rem; max-width: 44rem; } small, .soft { color: var(--soft); }
section { background: var(--sheet); border: 1px solid var(--line); border-radius: 12px; padding: 1.1rem 1.2rem;
  margin: 1.1rem 0; }
.verdict { border-radius: 12px; padding: .8rem 1.1rem; margin: 1rem 0; font-weight: 600; }
.verdict ul { margin: .3rem 0 0; padding-left: 1.2rem; font-weight: 400; }
.good { color: var(--good); } .bad { color: var(--bad); }
.verdict.good { background: var(--good-ground); } .verdict.bad { background: var(--bad-ground); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
th, td { text-align: right; padding: .45rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; font-size: .82rem; } tr:last-child td { border-bottom: 0; }
th:first-child, td:first-child { text-align: left; white-space: normal; }
figure { margin: .9rem 0 0; } figcaption { color: var(--soft); font-size: .88rem; margin-top: .4rem; }
img { display: block; max-width: 100%; height: auto; }
.screen { background: var(--screen); border-radius: 10px; padding: 8px; width: fit-content; max-width: 100%; }
.strip { display: grid; grid-template-columns: max-content minmax(0, max-content); gap: 8px; align-items: stretch;
  color: #dfe3ea; font-size: .8rem; }
.strip + .strip { margin-top: .7rem; }
.strip ol { list-style: none; margin: 0; padding: 0; display: grid; grid-auto-rows: 1fr; align-items: center; }
.key { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin: 0 .3em 0 .1em; }
.pair { display: flex; flex-wrap: wrap; gap: 0 1.4rem; } .pair > figure { max-width: 100%; }
.pair > figure:last-child { flex: 1 1 26rem; min-width: min(100%, 20rem); }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 18rem), 1fr)); gap: 0 1.6rem; }
@media (max-width: 44rem) { thead { display: none; } tr { display: block; padding: .5rem 0;
  border-bottom: 1px solid var(--line); } td { display: flex; justify-content: space-between; gap: 1rem; border: 0;
  padding: .12rem 0; white-space: normal; } td::before { content: attr(data-head); color: var(--soft); }
  td:first-child { font-weight: 600; justify-content: flex-start; }
  tr:last-child { border-bottom: 0; } }
details { margin-top: .8rem; } summary { cursor: pointer; color: var(--accent); }
code, pre { font: .88em/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
pre { white-space: pre-wrap; margin: .5rem 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
"""


def page(title: str, body: Iterable[str]) -> str:
    """A whole HTML document."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(body)
        + "\n</main>\n</body>\n</html>\n"
    )


def picture(content: bytes, kind: str, description: str) -> str:
    """An `img` that holds its bytes; `kind` is "png" or "gif"."""
    return f'<img src="{_data(content, kind)}" alt="{escaped(description)}">'


def themed_picture(light: bytes, dark: bytes, description: str) -> str:
    """A PNG that follows the reader's light or dark setting."""
    source = f'<source media="(prefers-color-scheme: dark)" srcset="{_data(dark, "png")}">'
    return f"<picture>{source}{picture(light, 'png', description)}</picture>"


def figure(content: str, caption: str, *, screen: bool = False) -> str:
    """Content with a caption (HTML); `screen` puts it on the dark ground that the clips' separators have."""
    inside = f'<div class="screen">{content}</div>' if screen else content
    return f"<figure>{inside}<figcaption>{caption}</figcaption></figure>"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of HTML cells; on a phone every row becomes a list of its cells, each with its heading."""
    heading = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "\n".join(f"<tr>{''.join(map(_cell, head, row))}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def _cell(heading: str, cell: str) -> str:
    return f'<td data-head="{heading}">{cell}</td>'


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
