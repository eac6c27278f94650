"""What a preset says of itself."""

from __future__ import annotations

import json

import pytest
import yaml

from kvdiff.models.preset_card import PresetCard

CARD = PresetCard(
    summary="Continues clips of digits.",
    license="Apache-2.0",
    data="Digits, by hand.",
    data_license="CC BY 4.0: attribution",
    training="kvdiff train digits --minutes 5",
    flaws="Digits wear.",
    figures={"digits@2": {"prediction": {"psnr": 29.43162, "ssim": 0.93}, "generation": {"spread": 1.25}}},
)


def test_json_holds_all_of_it():
    assert PresetCard(**json.loads(json.dumps(CARD.config))) == CARD


def test_the_readme_says_all_of_it_under_headings():
    text = CARD.readme("digits-8x32", "8 frames.")
    _, heading, body = text.split("---\n", 2)
    assert yaml.safe_load(heading) == {
        "library_name": "keras",
        "license": "apache-2.0",
        "tags": ["kvdiff", "video-diffusion"],
    }
    assert 'kvdiff.VideoDiffusion.from_preset("digits-8x32")' in body and "# digits-8x32\n" in body
    parts = dict(part.split("\n", 1) for part in body.split("\n## ")[1:])
    assert list(parts) == ["Data", "Training", "Known flaws", "Figures", "Licence"]
    assert CARD.data in parts["Data"] and f"Licence of the data: {CARD.data_license}" in parts["Data"]
    assert CARD.training in parts["Training"] and CARD.flaws in parts["Known flaws"]
    assert parts["Figures"].strip().splitlines() == [
        "Under `digits@2`:",
        "",
        "|  | prediction | generation |",
        "| --- | --- | --- |",
        "| psnr | 29.43 |  |",
        "| ssim | 0.93 |  |",
        "| spread |  | 1.25 |",
    ]


def test_what_is_left_out_is_seen_to_be():
    text = PresetCard().readme("mine", "8 frames.")
    assert text.count("Not said.") == 6 and "Not measured." in text and "license:" not in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"data": None}, "`data`: expected a text. Received: None"),
        ({"license": ["MIT"]}, "`license`: expected a text"),
        ({"figures": [1]}, "`figures`: expected a dict of tasks, one for each protocol"),
        ({"figures": {"p": {"psnr": 1.0}}}, r"`figures\['p'\]`: expected a dict of figures, one for each task"),
        ({"figures": {"p": {"t": {"psnr": "high"}}}}, r"`figures\['p'\]\['t'\]\['psnr'\]`: expected a number"),
        ({"figures": {"p": {"t": {"psnr": float("nan")}}}}, r"\['psnr'\]`: expected a number"),
    ],
)
def test_what_is_no_card_is_refused(arguments, said):
    with pytest.raises((TypeError, ValueError), match=said):
        PresetCard(**arguments)
