"""The page of an evaluation: every number, choice and bar, good or bad, and pictures that hold what they say."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from kvdiff.evaluation import Bars, Task, evaluate, result_of
from kvdiff.evaluation.charts import LossCurve, loss_lines
from kvdiff.evaluation.report import Training, write_report
from kvdiff.evaluation.result import I3D_RECORD, NUMBERS, flat_numbers
from tests.evaluation.guesser import GENERATION, PREDICTION, Guesser, features, noise_clips, noisy, protocol

pytest.importorskip("av")
pytest.importorskip("matplotlib")

INTERPOLATION = Task("interpolation", past=1, future=2)
LOOSE = Bars(prediction_gain=-99.0, interpolation_gain=-99.0, mean_gap=9.0, variance_gap=9.0)
LOSSES = [LossCurve("before", 10, (0.5, 0.2)), LossCurve("this run", 5, (0.1,))]
TRAINING = Training("Trained for <3 minutes.", LOSSES, {"widths": [8]})
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(folder, result, page) of an evaluation of every kind of task."""
    folder = tmp_path_factory.mktemp("report")
    clips, rule = noise_clips(), protocol(PREDICTION, INTERPOLATION, GENERATION)
    evaluation = evaluate(Guesser(lambda clip, samples: noisy(0.1, clip, samples)), rule, clips, features=features)
    how = dict(model={"file": "m<>"}, sampling={"seed": 5}, features=I3D_RECORD, command="kvdiff <&>", bars=LOOSE)
    result = result_of(evaluation, rule, clips, **how)
    write_report(folder, evaluation, clips, result, TRAINING)
    return folder, result, (folder / "report.html").read_text()


class Balance(HTMLParser):
    """Collects the addresses a page refers to, and checks that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.addresses = [], []

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for name, value in attrs if name in ("src", "href", "srcset")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_every_number_and_choice_is_on_the_page(written):
    _, result, html = written
    for task in result["tasks"].values():
        for number, value in flat_numbers(task).items():
            label, form = NUMBERS[number]
            assert label.replace("'", "&#x27;") in html and form.format(value) in html
    assert "kvdiff &lt;&amp;&gt;" in html and "m&lt;&gt;" in html
    assert "Trained for &lt;3 minutes." in html and "widths = [8]" in html
    assert result["protocol"]["sha256"] in html and "frechet_counts_known = True" in html
    low = result["tasks"]["prediction"]["frechet"]["made"]["low"]
    assert f"10 and 10 clips, real and generated, with the interval {low:.1f}" in html


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(written):
    html, parser = written[2], Balance()
    parser.feed(html)
    assert parser.open == []
    gifs, strips, curves = 4, 2 * 3, 2 * 5 + 1
    assert len(parser.addresses) == gifs + strips + 2 * curves
    assert all(address.startswith("data:image/") for address in parser.addresses)
    assert not re.search(r"https?:|<script|@import|url\(", html)


def test_pictures_lie_beside_it_and_show_the_clips(written):
    from kvdiff.media import read_clip

    folder = written[0]
    names = {path.name for path in folder.iterdir()}
    tasks, dark = ("prediction", "interpolation"), ("", "_dark")
    measures = ("psnr", "ssim", "psnr_aligned", "shift", "sharpness")
    curves = {f"{task}_{curve}{suffix}.png" for task in tasks for curve in measures for suffix in dark}
    strips = {f"{task}_{index}.png" for task in tasks for index in range(3)}
    gifs = {"prediction.gif", "interpolation.gif", "generation.gif", "generation_nearest.gif"}
    assert names == {"report.html", "loss.png", "loss_dark.png"} | gifs | curves | strips
    scale, held = 96 // 12, 2
    assert read_clip(folder / "prediction.gif").shape[:2] == (5 + held, 5 * (12 * scale + 4 + 3) + 3 + 21)
    # The nearest training clips are pairwise as many as the generated ones.
    assert read_clip(folder / "generation_nearest.gif").shape[0] == 5 + held


def test_known_and_generated_frames_are_told_apart(written):
    from kvdiff.evaluation.pictures import GENERATED, KNOWN
    from kvdiff.media import read_clip

    frames = read_clip(written[0] / "interpolation.gif").astype(int)
    blue, orange = (
        [(np.abs(frame - colour).max(axis=-1) < 24).sum() for frame in frames] for colour in (KNOWN, GENERATED)
    )
    assert [more > less for more, less in zip(blue, orange, strict=True)] == [
        True,
        False,
        False,
        True,
        True,
        True,
        True,
    ]


def test_the_verdict_follows_the_bars(written, tmp_path):
    _, result, html = written
    assert "Every bar was reached." in html and html.count("✓ reached") == 4
    clips, rule = dataclasses.replace(noise_clips(), training=None), protocol(GENERATION)
    evaluation = evaluate(Guesser(lambda clip, samples: clip), rule, clips)
    failed = result_of(evaluation, rule, clips, model={}, sampling={})
    failed["checks"] = [{**result["checks"][0], "reached": False}, *result["checks"][1:]]
    write_report(tmp_path, evaluation, clips, failed)
    html = (tmp_path / "report.html").read_text()
    assert "falls short of 1 of 4 bars" in html and "the bar is at least -99.0 dB." in html
    assert "Every bar was reached." not in html and html.count("✗ missed") == 1


def test_the_loss_of_later_runs_goes_on_where_the_earlier_one_ended():
    assert loss_lines(LOSSES) == {"this run": ([25], (0.1,)), "before": ([10, 20], (0.5, 0.2))}
    assert list(loss_lines(LOSSES)) == ["this run", "before"]


def test_without_features_or_training_clips_it_says_so(tmp_path):
    clips, rule = dataclasses.replace(noise_clips(), training=None), protocol(GENERATION)
    evaluation = evaluate(Guesser(lambda clip, samples: clip), rule, clips)
    result = result_of(evaluation, rule, clips, model={}, sampling={}, features=None)
    write_report(tmp_path, evaluation, clips, result)
    assert {path.name for path in tmp_path.iterdir()} == {"report.html", "generation.gif"}
    html = (tmp_path / "report.html").read_text()
    assert "The Fréchet video distance was not measured." in html and "bar was reached" not in html
