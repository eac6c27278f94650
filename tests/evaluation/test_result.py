"""A result says what its figures depend on, survives its file, and is compared with its like alone."""

from __future__ import annotations

import copy
import json

import pytest

from kvdiff.evaluation import compare, evaluate, read_result, result_of, write_result
from kvdiff.evaluation.result import I3D_RECORD, NUMBERS, aligned, flat_numbers, model_record
from tests.evaluation.guesser import GENERATION, PREDICTION, Guesser, features, noise_clips, noisy, protocol


@pytest.fixture(scope="module")
def results() -> list[dict]:
    """Two models under one protocol: one errs by 0.1, the other by 0.2."""
    clips, rule = noise_clips(), protocol(PREDICTION, GENERATION)
    made = []
    for std in (0.1, 0.2):
        sampler = Guesser(lambda clip, samples, std=std: noisy(std, clip, samples))
        evaluation = evaluate(sampler, rule, clips, features=features)
        how = dict(model={"file": "m"}, sampling={"num_steps": 3, "seed": 5}, features=I3D_RECORD)
        how["classifier"] = {"accuracy": 0.9}
        made.append(result_of(evaluation, rule, clips, **how))
    return made


def test_a_result_says_what_its_figures_depend_on(results, tmp_path):
    write_result(tmp_path / "result.json", results[0])
    again = read_result(tmp_path / "result.json")
    assert again == json.loads(json.dumps(results[0]))
    assert again["protocol"]["sha256"] == protocol(PREDICTION, GENERATION).sha256
    assert again["protocol"]["clip_shape"] == [5, 12, 12, 1] and again["protocol"]["psnr_of"] == "frames"
    assert again["sampling"] == {"num_steps": 3, "seed": 5} and len(again["clips"]["sha256"]) == 64
    assert again["versions"]["kvdiff"] and again["features"]["weights_sha256"]


def test_every_number_has_a_name(results):
    for task in results[0]["tasks"].values():
        assert set(task["numbers"]) <= set(NUMBERS)
        assert {"frechet", "frechet_floor", "frechet_extrapolated"} <= set(flat_numbers(task))


def test_results_of_one_protocol_stand_side_by_side(results):
    head, *rows = compare(results, ["a.json", "b.json"])
    assert head == ("task", "number", "a.json", "b.json", "difference")
    table = {(task, number): values for task, number, *values in rows}
    better, worse, apart = table["prediction", "PSNR, mean over samples"]
    numbers = [result["tasks"]["prediction"]["numbers"]["psnr"] for result in results]
    assert (better, worse) == tuple(f"{value:.2f} dB" for value in numbers)
    assert float(apart) == pytest.approx(numbers[1] - numbers[0], rel=1e-3) and float(apart) < -4
    assert ("generation", "Fréchet video distance") in table
    assert compare([results[0], *results], ["a", "b", "c"])[0][-1] == "range"


def test_a_number_that_one_result_lacks_is_left_blank(results):
    without = copy.deepcopy(results[1])
    del without["tasks"]["generation"]["frechet"]
    without["features"] = None
    del without["classifier"]  # As in the results of earlier versions.
    rows = compare([results[0], without], ["a", "b"])
    assert [row[3:] for row in rows if row[:2] == ("generation", "Fréchet video distance")] == [("—", "—")]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["protocol"].update(sha256="0", psnr_of="clips"), "one protocol.*differ in psnr_of, sha256"),
        (
            lambda r: r["clips"].update(sha256="0", source="others"),
            "one real clips.*b of others; they differ in sha256",
        ),
        (lambda r: r["features"].update(weights_sha256="0"), "one network's features"),
        (lambda r: r.update(classifier={"accuracy": 0.5}), "by one classifier"),
    ],
)
def test_unlike_results_are_refused(results, change, message):
    other = copy.deepcopy(results[1])
    change(other)
    with pytest.raises(ValueError, match=message):
        compare([results[0], other], ["a", "b"])


def test_one_result_is_nothing_to_compare(results):
    with pytest.raises(ValueError, match="at least two, each with a name. Received: 1"):
        compare(results[:1], ["a"])


@pytest.mark.parametrize("content", ["no json", "[]", "{}", '{"format": "other", "format_version": 1}'])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match="x.json: expected"):
        read_result(tmp_path / "x.json")
    with pytest.raises(FileNotFoundError, match="no such file"):
        read_result(tmp_path / "none.json")


def test_the_model_is_recorded_by_its_file(tmp_path):
    (tmp_path / "model.keras").write_bytes(b"weights")
    sampler = Guesser(lambda clip, samples: clip)
    record = model_record(sampler, tmp_path / "model.keras")
    assert record["file"] == "model.keras" and record["bytes"] == 7 and record["sampler"] == "DenoiserEngine"
    with pytest.raises(ValueError, match="`path`: expected the model's file"):
        model_record(sampler)


def test_a_table_is_aligned():
    assert aligned([("", "one"), ("longer", "2")]) == "        one\nlonger  2"


def test_the_machine_is_described_without_its_name():
    import platform

    from kvdiff.system.environment import machine

    described = machine()
    assert described["cores"] >= 1
    assert platform.node() not in str(described)
