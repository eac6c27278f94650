"""The figures of the shipped model in the documentation are those of its result."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvdiff.evaluation import protocol_named, read_result, real_clips
from kvdiff.evaluation.result import NUMBERS, flat_numbers

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "evaluation.md"
RESULT = ROOT / "saved_models" / "moving_digits" / "evaluation.json"


def test_the_table_is_the_result():
    result = read_result(RESULT)
    numbers = {name: flat_numbers(task) for name, task in result["tasks"].items()}
    text = PAGE.read_text("utf-8")
    section = text[text.index("## The shipped model") :]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if line[:1] == "|"]
    head, _, *rows = rows
    assert head == ["", *numbers]
    labels = {label: (number, form) for number, (label, form) in NUMBERS.items()}
    for label, *cells in rows:
        number, form = labels[label]
        of_tasks = [values.get(number) for values in numbers.values()]
        assert cells == ["" if value is None else form.format(value) for value in of_tasks], label
    assert {labels[label][0] for label, *_ in rows} == set().union(*numbers.values())


def test_the_result_is_of_the_frozen_protocol_and_the_command_is_given():
    result = read_result(RESULT)
    assert result["protocol"]["sha256"] == protocol_named("moving-digits-8@2").sha256
    assert result["command"] in PAGE.read_text("utf-8")
    assert result["features"] and result["model"]["file"] == "model.keras"


def test_the_results_clips_can_be_drawn_again(monkeypatch):
    pytest.importorskip("sklearn")
    monkeypatch.setattr("kvdiff.evaluation.real._SHIPPED_TRAINING", 1)
    clips = real_clips(protocol_named("moving-digits-8@2")).config
    assert clips["sha256"] == read_result(RESULT)["clips"]["sha256"]
