"""`python -m kvdiff` is the command."""

from __future__ import annotations

import runpy
import sys

import pytest

import kvdiff

pytest.importorskip("typer")


def test_the_module_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/some/where/kvdiff/__main__.py", "--version"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("kvdiff", run_name="__main__")
    assert ended.value.code == 0 and capsys.readouterr().out == f"{kvdiff.__version__}\n"
