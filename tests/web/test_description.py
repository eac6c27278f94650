"""What a page is told of a model: controls from conditions, actions from names, and nothing that JSON cannot hold."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    ClassLabel,
    ClipSpec,
    ClipVector,
    FrameTimes,
    FrameVectors,
    Linear,
    LowResolution,
    TokenIds,
    TokenSequence,
)
from kvdiff.web import Actions, described
from tests.web.models import SPEC

WORDS: Any = dict(name="digits", run="saved_models/digits")


def of(conditions: dict[str, Any], **options: Any) -> dict[str, Any]:
    content, tables = described(dataclasses.replace(SPEC, conditions=conditions), **WORDS, **options)
    assert len(tables) % 48 == 0
    return json.loads(json.dumps(content))


def test_a_model_without_conditions_has_four_tasks_and_no_play() -> None:
    content = of({})
    assert list(content["tasks"]) == ["predict", "interpolate", "generate", "rollout"]
    assert content["actions"] is None and content["optional"] == [] and not content["coded"]
    assert content["values"]["curves"] == [[-1, 1]] and content["values"]["ticks"] == []


def test_each_condition_gets_the_control_that_its_array_asks_for() -> None:
    content = of(
        {
            "digit": ClassLabel(10),
            "style": ClipVector(3),
            "text": ClipVector(512),
            "at": FrameTimes(),
            "small": LowResolution(2),
            "words": TokenIds(4, 9),
            "tokens": TokenSequence(2, 3),
        }
    )
    controls = {each["name"]: each["control"] for each in content["conditions"]}
    nothing = dict.fromkeys(("text", "small", "words", "tokens"), "none")
    assert controls == {"digit": "classes", "style": "sliders", "at": "times"} | nothing
    shapes = {each["name"]: each["shape"] for each in content["conditions"]}
    assert shapes == {
        "digit": [],
        "style": [3],
        "text": [512],
        "at": [],
        "small": [4, 4, 1],
        "words": [4],
        "tokens": [2, 3],
    }
    assert content["optional"] == ["digit", "style", "text", "small", "words", "tokens"]  # The columns of the mask.


def test_actions_are_one_for_each_number_unless_named() -> None:
    content = of({"action": FrameVectors(2)})
    assert [each["value"] for each in content["actions"]["values"]] == [[1, 0], [0, 1]]
    named = of({"action": FrameVectors(2)}, actions={"turn left": [-1, 0], "stay": [0, 0], "jump": [0, 1]})
    assert [each["key"] for each in named["actions"]["values"]] == ["ArrowLeft", "Space", "3"]
    own = of({"action": FrameVectors(2)}, actions=Actions({"jump": [0, 1]}, keys={"jump": "j"}))
    assert own["actions"]["values"] == [{"name": "jump", "value": [0, 1], "key": "j"}]


@pytest.mark.parametrize(
    ("conditions", "actions", "match"),
    [
        ({}, {"left": [1]}, "expected the `condition` that they are values of, one of none"),
        ({"digit": ClassLabel(3)}, {"left": [1]}, "one of none"),
        ({"a": FrameVectors(2), "b": FrameVectors(2)}, {"left": [1, 0]}, r"one of \['a', 'b'\]"),
        ({"a": FrameVectors(2)}, {"left": [1, 0, 0]}, "actions\\['left'\\]`: expected shape"),
        ({"a": FrameVectors(2)}, {"values": {}}, "expected at least one"),
        ({"a": FrameVectors(2)}, {"values": {"left": [1, 0]}, "buttons": {}}, "Received: \\['buttons'\\]"),
    ],
)
def test_actions_that_are_not_the_models_are_refused(conditions: Any, actions: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        of(conditions, actions=actions)


def test_of_several_conditions_a_frame_the_actions_say_which() -> None:
    conditions = {"a": FrameVectors(2), "b": FrameVectors(1)}
    assert of(conditions)["actions"] is None
    content = of(conditions, actions={"values": {"up": [1.0]}, "condition": "b"})
    assert content["actions"] == {"condition": "b", "values": [{"name": "up", "value": [1.0], "key": "ArrowUp"}]}


def test_values_with_units_have_a_bar_of_their_own_numbers() -> None:
    spec = dataclasses.replace(SPEC, values=Linear(0, 40), clip=ClipSpec(4, 8, 8, 2))
    content, _ = described(spec, **WORDS)
    assert content["coded"] and [tick["label"] for tick in content["values"]["ticks"]] == ["0", "10", "20", "30", "40"]
    assert np.allclose(content["values"]["curves"], np.tile(np.linspace(0, 40, 65), (2, 1)), atol=1e-4)


def test_a_page_samples_with_clean_known_frames_and_its_commands_say_so() -> None:
    content, _ = described(dataclasses.replace(SPEC, sampling={"predict": {"known_noise": 0.1}}), **WORDS)
    assert content["tasks"]["predict"]["fixed"] == {"known_noise": 0.0} and not content["tasks"]["generate"]["fixed"]
    content, _ = described(dataclasses.replace(SPEC, sampling={"predict": {"history_guidance": 2.0}}), **WORDS)
    assert content["tasks"]["predict"]["fixed"] == {"history_guidance": 1.0}
