"""The page of an evaluation: every number, every choice, and pictures that hold what they say."""

from __future__ import annotations

import re

import pytest

from kvdiff.evaluation import evaluate, result_of
from kvdiff.evaluation.report import write_report
from kvdiff.evaluation.result import I3D_RECORD, NUMBERS, flat_numbers
from tests.evaluation.guesser import GENERATION, PREDICTION, Guesser, features, noise_clips, noisy, protocol

pytest.importorskip("av")
pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, result, page) of an evaluation of both kinds of task."""
    folder = tmp_path_factory.mktemp("report")
    clips, rule = noise_clips(), protocol(PREDICTION, GENERATION)
    evaluation = evaluate(Guesser(lambda clip, samples: noisy(0.1, clip, samples)), rule, clips, features=features)
    result = result_of(
        evaluation, rule, clips, model={"file": "m<>"}, sampling={"seed": 5}, features=I3D_RECORD, command="kvdiff <&>"
    )
    write_report(folder, evaluation, clips, result)
    return folder, result, (folder / "report.html").read_text()


def test_every_number_and_choice_is_on_the_page(written):
    _, result, html = written
    for task in result["tasks"].values():
        for number, value in flat_numbers(task).items():
            label, form = NUMBERS[number]
            assert label.replace("'", "&#x27;") in html and form.format(value) in html
    assert "kvdiff &lt;&amp;&gt;" in html and "m&lt;&gt;" in html
    assert result["protocol"]["sha256"] in html and "frechet_counts_known = True" in html
    low = result["tasks"]["prediction"]["frechet"]["made"]["low"]
    assert f"10 and 10 clips, real and made, with the interval {low:.1f}" in html


def test_the_page_needs_nothing_from_elsewhere(written):
    html = written[2]
    addresses = re.findall(r'(?:src|srcset|href)="([^"]{0,30})', html)
    assert len(addresses) == 3 + 2 * 2 and all(address.startswith("data:image/") for address in addresses)
    assert not re.search(r"https?:|<script|@import", html)


def test_pictures_lie_beside_it_and_show_the_clips(written):
    from kvdiff.media import read_clip

    folder = written[0]
    names = {path.name for path in folder.iterdir()}
    curves = {f"prediction_{curve}{dark}.png" for curve in ("psnr", "ssim") for dark in ("", "_dark")}
    assert names == {"report.html", "prediction.gif", "generation.gif", "nearest.gif"} | curves
    scale, held = 96 // 12, 2
    assert read_clip(folder / "prediction.gif").shape[:2] == (5 + held, 5 * (12 * scale + 4 + 3) + 3 + 21)
    # The nearest training clips are pairwise as many as the generated ones.
    assert read_clip(folder / "nearest.gif").shape[0] == 5 + held


def test_without_features_or_training_clips_it_says_so(tmp_path):
    import dataclasses

    clips, rule = dataclasses.replace(noise_clips(), training=None), protocol(GENERATION)
    evaluation = evaluate(Guesser(lambda clip, samples: clip), rule, clips)
    result = result_of(evaluation, rule, clips, model={}, sampling={}, features=None)
    write_report(tmp_path, evaluation, clips, result)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "generation.gif"}
    assert "The Fréchet video distance was not measured." in (tmp_path / "report.html").read_text()
