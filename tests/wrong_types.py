"""Wrong values by the kind of argument that they are wrong for, and how a refusal reads."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from kvdiff import diffusion as d

NAN = float("nan")
WRONG: dict[str, tuple[Any, ...]] = {
    "count": (None, True, "x", 1.5, NAN, -1, [1], {}, np.zeros(2), object()),
    "optional count": (True, "x", 1.5, NAN, -1, [1], {}, np.zeros(2), object()),
    "number": (None, True, "x", NAN, float("inf"), [0.5], {}, np.zeros(2), 1j, object()),
    "optional number": (True, "x", NAN, float("inf"), [0.5], {}, np.zeros(2), 1j, object()),
    "choice": (None, True, 5, "nope", ["v"], {}, np.zeros(2), object()),
    "optional choice": (True, 5, "nope", ["v"], {}, np.zeros(2), object()),
    "interval": (None, True, 0.5, "ab", (0.1,), (0.9, 0.1), (NAN, 1), (None, 1), {}, {0.1, 0.2}, object()),
    "clips": (None, True, 5, "x", [1], [[1], [1, 2]], {}, np.zeros(2), np.zeros((1, 2, 2, 2, 1), complex), object()),
    "object": (None, True, 5, 1.5, "nope", [1], {}, np.zeros(2), object()),
    "optional object": (True, 5, 1.5, "nope", [1], {"a": 1}, np.zeros(2), object()),
    "mapping": (True, 5, "x", [1], np.zeros(2), {"nope": 1}, object()),
    "keywords": (True, 5, "x", [1], np.zeros(2), {1: 1}, object()),
    "config": (None, True, 5, 1.5, "nope", [1], np.zeros(2), {"nope": 1}, object()),
    "no mapping": (None, True, 5, 1.5, "nope", [1], np.zeros(2), object()),
    "array": (None, True, 5, "nope", [[1], [1, 2]], ["a"], object()),
    "flag": (None, 5, "yes", [], object()),
    "function": (5, "x", [1], {}),
    "path": (True, 5, [1], {}, object()),
}

WRONG["optional clips"] = WRONG["clips"][1:]
WRONG["names"] = (True, 5, "abc", [1], {"a": 1}, object())
WRONG["size"] = (True, "x", 1.5, (2,), (2, 2.5), {}, np.zeros(2), object())
WRONG["channels"] = (True, "x", 2, 1.5, [1], {}, object())
WRONG["optional path"] = (True, 5, [1], {}, object())
WRONG["paths"] = (None, True, 5, [5], "x", b"x", object())
WRONG["colour"] = (None, True, "red", (1, 2), (1, 2, 300), (0.5, 0, 0), {}, object())
WRONG["text"] = (None, True, 5, [1], {}, object())
WRONG["labels"] = (True, 5, "nope", [1.5], {}, object())


CLIP = d.ClipSpec(4, 2, 2, 1)
SCHEDULE = d.schedules.cosine(10)
SPEC = d.ModelSpec(CLIP, SCHEDULE, d.Prediction(), conditions={"label": d.ClassLabel(3), "action": d.FrameVectors(2)})
SMALL = d.ModelSpec(d.ClipSpec(4, 1, 1, 1), SCHEDULE, d.Prediction())
LARGE = d.ModelSpec(CLIP, SCHEDULE, d.Prediction(), conditions={"small": d.LowResolution(2)})
PAST = np.zeros((1, 2, 2, 2, 1), np.float32)
KNOWN = np.array([True, False, False, False])


def sampler(spec: d.ModelSpec = SPEC) -> d.Sampler:
    return d.Sampler(spec, d.DenoiserEngine(lambda noisy_clip, noise_label, inputs: np.zeros_like(noisy_clip)))


def with_one(call: Callable[..., Any], **fixed: Any) -> Callable[[str], Callable[[Any], Any]]:
    """From an argument's name to the call with that argument alone to be said."""
    return lambda name: lambda value: call(**{**fixed, name: value})


Case = tuple[str, str, str, Callable[[Any], Any]]


def rows(label: str, call: Callable[..., Any], fixed: dict[str, Any], **kinds: str) -> list[Case]:
    """A case for each argument of a call: its kind of wrong values, and the other arguments, which are right."""
    one = with_one(call, **fixed)
    return [(label, name, kind.replace("_", " "), one(name)) for name, kind in kinds.items()]


def shown(value: Any) -> str:
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))[:40].replace("\n", " ")


def named(text: str, argument: str) -> bool:
    """Whether a message names the argument, and says what was expected and what was received."""
    return (
        (f"`{argument}" in text or re.match("[A-Z][A-Za-z]+: ", text) is not None)
        and "expected" in text
        and "Received" in text
    )


def failures(cases: list[Case]) -> list[str]:
    """The calls that accept a wrong value, or refuse it without saying which, what was expected and what received."""
    wrong = []
    for label, argument, kind, call in cases:
        for value in WRONG[kind]:
            try:
                call(value)
            except (TypeError, ValueError) as error:
                said = "" if named(str(error), argument) else f"{type(error).__name__}: {error}"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            else:
                said = "accepted"
            wrong += [f"{label}({argument}={shown(value)}): {said}"] if said else []
    return wrong
