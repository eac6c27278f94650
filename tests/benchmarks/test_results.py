from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.plot import plot
from tests.benchmarks.results import RESULTS, Row, check_document, compared, write_document
from tests.benchmarks.table import left_out_lines, table

TIMES = {
    "ours": {"fast": {"wall": [1.0, 2.0, 3.0], "cpu": [2.0, 2.0, 2.0]}},
    "peer": {"slow": {"wall": [4.0, 4.0, 4.0], "cpu": [4.0, 4.0, 4.0]}},
}
ABOUT = {"machine": {"cores": 2}, "versions": {"python": "3"}, "load": [0.0, 0.0, 0.0]}


def row(**changed: Any) -> Row:
    return compared(**{"name": "train_step", "size": "S", "times": TIMES, **changed})


def written(path: Path, rows: list[Row]) -> dict[str, Any]:
    write_document(path, rows, ABOUT)
    return json.loads(path.read_text())


def test_a_row_holds_both_clocks_and_every_figure(tmp_path: Path) -> None:
    document = written(tmp_path / "new" / "a.json", [row(parity={"ours": {"fast": {"max_abs": 1e-6}}})])
    (found,) = document["rows"]
    assert {key: found[key] for key in ("name", "size", "ours", "peer", "ratio", "rounds", "unit")} == {
        "name": "train_step", "size": "S", "ours": 2.0, "peer": 4.0, "ratio": 0.5, "rounds": 3, "unit": "seconds",
    }  # fmt: skip
    assert found["cpu"]["ratio"] == 0.5 and found["ours_mode"] == "fast" and found["peer_mode"] == "slow"
    assert found["modes"] == TIMES and found["goal"] == {"at_most": 0.4, "of": "ratio"}
    assert document["machine"] == {"cores": 2}


@pytest.mark.parametrize("change", [{"ratio": None}, {"rounds": 0}, {"size": 5}, {"name": None}])
def test_malformed_rows_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    document = written(tmp_path / "a.json", [row()])
    check_document(document)
    document["rows"][0].update(change)
    with pytest.raises(ValueError, match="`rows`: expected"):
        check_document(document)


@pytest.mark.parametrize("key", ["machine", "versions", "load", "rows"])
def test_documents_say_where_they_were_made(key: str, tmp_path: Path) -> None:
    document = written(tmp_path / "a.json", [row()])
    del document[key]
    with pytest.raises(ValueError, match=f"`{key}`: expected"):
        check_document(document)


COMPARISONS = sorted(
    path for path in RESULTS.glob("*.json") if not path.name.startswith(("quality_", "distillation", "where_"))
)


@pytest.mark.parametrize("path", COMPARISONS, ids=lambda path: path.name)
def test_committed_results(path: Path) -> None:
    document = json.loads(path.read_text())
    check_document(document)
    for found in document["rows"]:
        for times in (times for modes in found.get("modes", {}).values() for times in modes.values()):
            assert {len(figures) for figures in times.values()} == {found["rounds"]}


def test_the_table_says_which_goals_are_met() -> None:
    shown = table([row(), row(name="first_step"), row(name="denoiser_call"), row(name="sampling")]).splitlines()[2:]
    assert "<= 0.4 MISSED" in shown[0] and "2000.0 ms  4000.0 ms  0.500" in shown[0]
    assert "ours <= 6 met" in shown[1]
    assert "<= 0.25 MISSED" in shown[2]
    assert "<=" not in shown[3]


def test_modes_that_do_not_run_are_named_once() -> None:
    rows = [row(left_out={"ours xla": "no compiler"}), row(left_out={"ours xla": "no compiler", "peer x": "no memory"})]
    assert left_out_lines(rows) == ["left out: ours xla: no compiler", "left out: peer x: no memory"]


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    plot([row(), row(size="M"), row(name="sampling")], tmp_path / "new" / "a.png")
    assert (tmp_path / "new" / "a.png").read_bytes().startswith(b"\x89PNG")
