"""Every number that a file can set has bounds: refused by name, at once, and without a warning on the way."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion.conditions import CONDITIONS, condition_from_config
from kvdiff.diffusion.limits import MAX_CLIP, MAX_FEATURES, MAX_TIMESTEPS
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import SCHEDULES, NoiseSchedule
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks.known_frames import mask_from_config
from kvdiff.diffusion.transforms.values import Values, values_from_config

SPEC: dict[str, Any] = {
    "clip": {"num_frames": 4, "height": 8, "width": 8, "channels": 1},
    "schedule": {"name": "cosine"},
    "prediction": {"name": "v"},
}
STRANGE: list[Any] = [0, -1, 1, 0.5, 100.0, 1000.0, 1e5, 1e9, -1e9, 1e308, -1e308, 1e-308, 5e-324]
STRANGE += [2**63, 10**8, 10**400, -(10**400), float("inf"), float("nan"), True, None, "x", [], {}, [1]]


def answers(make: Callable[[], object]) -> None:
    """`make` gives a value, or an error that fits on a screen."""
    message = ""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            make()
        except (TypeError, ValueError) as error:
            message = str(error)
    assert len(message) < 2000


@pytest.mark.parametrize("name", SCHEDULES)
def test_no_number_upsets_a_schedule(name: str) -> None:
    for argument in (*inspect.signature(SCHEDULES[name]).parameters, "logsnr_shift", "zero_terminal_snr"):
        for value in STRANGE:
            answers(lambda config={"name": name, argument: value}: NoiseSchedule.from_config(config))


@pytest.mark.parametrize("value", STRANGE, ids=str)
def test_no_number_upsets_the_others(value: Any) -> None:
    clip = {"num_frames": 1, "height": 1, "width": 1, "channels": 1}
    for field in clip:
        answers(lambda field=field: ClipSpec(**{**clip, field: value}))
    answers(lambda: Prediction.from_config({"name": "edm", "sigma_data": value}))
    for name, kind in CONDITIONS.items():
        for field in kind.__dataclass_fields__:
            answers(lambda config={"condition": name, field: value}: condition_from_config(config))
    for field in ("at_least", "at_most"):
        answers(lambda field=field: mask_from_config({"mask": "first", field: value}))
    answers(lambda: mask_from_config({"mask": "every", "strides": [value]}))


@pytest.mark.parametrize("value", STRANGE, ids=str)
def test_no_number_upsets_a_spec(value: Any) -> None:
    whole = ModelSpec.from_config(SPEC).config
    for field in (*whole, "codec", "values", "known_frames", "known_noise", "independent_noise", "sampling"):
        answers(lambda field=field: used(ModelSpec.from_config({**whole, field: value})))
    for field in ("fps", "channel_names"):
        answers(lambda field=field: used(ModelSpec.from_config({**whole, "clip": {**whole["clip"], field: value}})))
    for low, high in ((0, value), (value, 1)):
        answers(lambda low=low, high=high: used(values_from_config({"values": "linear", "low": low, "high": high})))
    answers(lambda: used(ModelSpec.from_config({**whole, "codec": {"codec": "average_pool", "factor": value}})))
    answers(lambda: used(ModelSpec.from_config({**whole, "sampling": {"predict": value}})))


def used(made: Any) -> None:
    """What a reader does first with a spec, or with values."""
    if isinstance(made, Values):
        assert np.isfinite(made.decode(made.encode(np.float32([made.limits[0], made.limits[1]])))).all()
    else:
        json.dumps(made.config)
        assert np.isfinite(made.latent.num_frames / (made.clip.fps or 1.0)) and made.bounds


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_hundred_million_timesteps_are_refused_at_once(name: str) -> None:
    with pytest.raises(ValueError, match=f"`num_timesteps`: expected an integer from 1 to {MAX_TIMESTEPS}. Received"):
        NoiseSchedule.from_config({"name": name, "num_timesteps": 10**8})


def test_clips_and_conditions_of_any_use_are_taken() -> None:
    assert ClipSpec(65536, 1, 1, 1).num_frames == 65536 and ClipSpec(16, 4320, 7680, 3).width == 7680
    assert condition_from_config({"condition": "class_label", "num_classes": 21_843}).num_classes == 21_843
    assert len(SCHEDULES["cosine"](100_000).alpha) == 100_000
    with pytest.raises(ValueError, match=f"clip: expected at most {MAX_CLIP} numbers, .* = 4294967296"):
        ClipSpec(2**16, 2**8, 2**8, 1)
    with pytest.raises(ValueError, match=f"`size`: expected an integer from 1 to {MAX_FEATURES}. Received: 10000000"):
        condition_from_config({"condition": "clip_vector", "size": 10_000_000})
