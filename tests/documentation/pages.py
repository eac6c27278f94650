"""The documentation as text: its pages, their fenced blocks, and the commands in them."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = ("docs", "examples", "export", "saved_models/moving_digits", "tests/benchmarks")
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *ROOT.glob("*.md"),
        ROOT / "saved_models" / "README.md",
        *(page for folder in _FOLDERS for page in (ROOT / folder).rglob("*.md")),
    )
)
SHELL = ("bash", "sh")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: its page, the line it begins on (1 is the page's first), its language and its text."""

    page: str
    line: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def first_line(self) -> str:
        return self.text.split("\n", 1)[0]

    @property
    def commands(self) -> list[str]:
        """A shell block's commands, without comments, each with the lines that go on from it."""
        lines = self.text.replace("\\\n", "").splitlines()
        return [command for line in lines if (command := _without_comment(line))]


def _without_comment(line: str) -> str:
    """The words of a line as the shell reads them, quotes kept."""
    words = shlex.shlex(line, posix=False, punctuation_chars=False)
    words.whitespace_split = True
    return " ".join(words)


_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```", re.DOTALL | re.MULTILINE)


def blocks_in(text: str, page: str) -> Iterator[Block]:
    for found in _FENCE.finditer(text):
        language = found["language"].split(" ", 1)[0]
        inside = re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        yield Block(page, text[: found.start("text")].count("\n") + 1, language, inside)


def read(page: str) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks(page: str) -> list[Block]:
    return list(blocks_in(read(page), page))


def prose(page: str) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", read(page))


def inline_commands(page: str) -> list[str]:
    """What stands between backticks in the prose and begins with `kvdiff` and a word."""
    return [" ".join(code.split()) for code in re.findall(r"`(kvdiff [a-z][^`]*)`", prose(page))]
