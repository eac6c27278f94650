"""Every command and every Python block of the documentation is run from the text itself, or listed with a reason."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.pages import PAGES, SHELL, Block, blocks, blocks_in, inline_commands
from tests.documentation.rules import NOT_RUN, NOT_RUN_BLOCKS, OPTIONS, SLOW, SMALLER
from tests.documentation.stand_ins import prepare

LANGUAGES = {*SHELL, "json", "python", "text", "mermaid"}


def reason_not_to_run(command: str) -> str | None:
    """Of the longest beginning that is listed; None where the command is run."""
    listed = [start for start in NOT_RUN if f"{command} ".startswith(start)]
    return NOT_RUN[max(listed, key=len)] if listed else None


def is_run(block: Block) -> bool:
    return block.language == "python" and (block.page, block.first_line) not in NOT_RUN_BLOCKS


def to_run(block: Block) -> list[str]:
    """A shell block's commands that are run; `kvdiff` alone is."""
    commands = [command for command in block.commands if reason_not_to_run(command) is None]
    foreign = [command for command in commands if not command.startswith("kvdiff ")]
    assert not foreign, f"{block.name}: neither run nor in NOT_RUN of {__package__}.rules: {foreign}"
    return commands


def test_a_new_command_is_run_or_listed() -> None:
    new = blocks_in(
        "Text.\n\n```bash\nkvdiff train clips/ \\\n  -o mine  # Why.\npip install x\nwget x  # New.\n```\n", "page.md"
    )
    (block,) = new
    assert block.name == "page.md:4"
    assert block.commands == ["kvdiff train clips/ -o mine", "pip install x", "wget x"]
    with pytest.raises(AssertionError, match=re.escape("page.md:4: neither run nor in NOT_RUN")):
        to_run(block)


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_listed(page: str) -> None:
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{block.name}: expected one of {sorted(LANGUAGES)}"
        if block.language in SHELL:
            to_run(block)
        elif block.language == "python":
            compile(block.text, block.name, "exec")


def test_nothing_is_listed_that_is_not_there() -> None:
    every = [block for page in PAGES for block in blocks(page)]
    commands = [f"{command} " for block in every if block.language in SHELL for command in block.commands]
    assert [start for start in NOT_RUN if not any(command.startswith(start) for command in commands)] == []
    assert set(NOT_RUN_BLOCKS) <= {(block.page, block.first_line) for block in every if block.language == "python"}
    for page, smaller in SMALLER.items():
        text = "".join(block.text for block in blocks(page) if block.language == "python")
        assert [old for old in smaller if old not in text] == [], page
    assert set(SLOW) <= set(PAGES)


def test_every_command_in_a_sentence_is_one() -> None:
    """Commands between backticks name a command and options that there are."""
    from typer.main import get_command

    from kvdiff.cli.app import app

    unknown = []
    for page in PAGES:
        for line in inline_commands(page):
            words, command = shlex.split(line)[1:], get_command(app)
            while words and words[0] in getattr(command, "commands", {}):
                command = command.commands[words.pop(0)]
            options = {
                option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
            }
            unknown += [(page, line) for word in words if word[0] == "-" and word.split("=")[0] not in options]
            unknown += [(page, line)] if hasattr(command, "commands") and words[0].islower() else []
    assert unknown == []


def call(command: str) -> None:
    """Run a `kvdiff` command in this process."""
    from typer.testing import CliRunner

    from kvdiff.cli.app import app

    words = shlex.split(command)[1:]
    more = shlex.split(OPTIONS.get(" ".join(words[:2]), OPTIONS.get(words[0], "")))
    result = CliRunner().invoke(app, [*words, *more])
    assert result.exit_code == 0, f"{shlex.join(['kvdiff', *words, *more])}\n{result.output}"


def run(page: str) -> None:
    """One block after the other, in this folder, as a reader would who begins at the top."""
    namespace: dict[str, Any] = {"__name__": page}
    for block in blocks(page):
        if block.language in SHELL:
            for command in to_run(block):
                call(command)
        elif is_run(block):
            text = block.text
            for old, new in SMALLER.get(page, {}).items():
                text = text.replace(old, new)
            exec(compile("\n" * (block.line - 1) + text, page, "exec"), namespace)  # A traceback names the page's line.


def has_something_to_run(page: str) -> bool:
    return any(is_run(block) or (block.language in SHELL and to_run(block)) for block in blocks(page))


RUN = [
    pytest.param(page, marks=pytest.mark.slow) if page in SLOW else page for page in PAGES if has_something_to_run(page)
]


@pytest.mark.parametrize("page", RUN)
@pytest.mark.usefixtures("own_workers", "small_networks", "small_protocol")
def test_the_pages_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    prepare(page, monkeypatch)
    run(page)
