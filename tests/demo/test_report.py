"""The page says what was measured, good or bad, and needs nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import numpy as np
import pytest

from kvdiff.demo.pictures import LossCurve
from kvdiff.demo.report import report_html, report_pictures
from kvdiff.evaluation import Bars, MadeFrames, TaskSamples
from kvdiff.training.environment import machine, versions

pytest.importorskip("av")
pytest.importorskip("matplotlib")

LOOSE = Bars(prediction_gain=-99.0, interpolation_gain=-99.0, mean_gap=9.0, variance_gap=9.0)
VOID = {"area", "base", "br", "col", "hr", "img", "input", "link", "meta", "source"}


@pytest.fixture(scope="module")
def samples() -> TaskSamples:
    rng = np.random.default_rng(0)
    truth, made, baseline = rng.uniform(-1, 1, (3, 2, 4, 8, 8, 1)).astype(np.float32)
    tasks = [MadeFrames(truth, made, baseline, np.array(known, bool)) for known in ([1, 1, 0, 0], [1, 0, 0, 1])]
    return TaskSamples(*tasks, generated=made, num_steps=3, seed=5)


@pytest.fixture(scope="module")
def content(samples) -> dict[str, bytes]:
    return report_pictures(samples, samples.report(), [LossCurve("this run", 10, (0.5, 0.2, 0.1))])


def record() -> dict:
    return {
        "command": "kvdiff demo <&>",
        "from_scratch": True,
        "recipe": {"seed": 0, "widths": [8]},
        "steps": 1234,
        "data": {"description": "digits", "seed": 1000},
        "sampling": {"solver": "ddim", "generation": {"spacing": "karras"}, "num_steps": 3, "seed": 5},
        "training_seconds": 90.0,
        "seconds": {"training": 30.0},
        "machine": machine(),
        "versions": versions(),
    }


def page(samples, content, bars=LOOSE) -> str:
    return report_html(samples, samples.report(), bars, record(), content)


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


def test_the_page_is_whole_and_refers_to_nothing_outside(samples, content):
    html = page(samples, content)
    parser = Balance()
    parser.feed(html)
    assert parser.open == []
    assert len(parser.addresses) >= 9
    assert all(address.startswith("data:image/") for address in parser.addresses)
    assert not re.search(r"https?:|<script|@import|url\(", html)


def test_every_number_is_on_the_page(samples, content):
    html = page(samples, content)
    report = samples.report()
    for score in (report.prediction, report.interpolation):
        assert (
            f"{score.model:.2f} dB" in html and f"{score.baseline:.2f} dB" in html and f"{score.gain:+.2f} dB" in html
        )
    assert f"{report.generation.mean:.3f}" in html and f"{report.generation.data_variance:.3f}" in html
    assert "1,234 steps (1.5 minutes" in html
    assert "kvdiff demo &lt;&amp;&gt;" in html


def test_the_verdict_follows_the_bars(samples, content):
    assert "Every bar was reached." in page(samples, content)
    failed = page(samples, content, dataclasses.replace(LOOSE, prediction_gain=99.0))
    assert "falls short of 1 of 4 bars" in failed
    assert "the bar is at least +99.0 dB" in failed
    assert "Every bar was reached." not in failed


def test_given_and_made_frames_are_told_apart(samples, content, tmp_path):
    from kvdiff.evaluation.pictures import KNOWN, MADE
    from kvdiff.media import read_clip

    (tmp_path / "prediction.gif").write_bytes(content["prediction.gif"])
    frames = read_clip(tmp_path / "prediction.gif").astype(int)
    near = [[(np.abs(frame - colour).max(axis=-1) < 24).sum() for colour in (KNOWN, MADE)] for frame in frames]
    assert len(frames) == 4 + 2  # The last frame is held.
    assert all(known > made for known, made in near[:2])
    assert all(known < made for known, made in near[2:])


def test_the_machine_is_described_without_its_name():
    import platform

    described = machine()
    assert described["cores"] >= 1
    assert platform.node() not in str(described)
