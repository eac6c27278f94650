"""`ModelSpec` as JSON and back, what it makes of clips, and what it refuses."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    AveragePool,
    ClassLabel,
    ClipSpec,
    ClipVector,
    FrameTimes,
    FrameVectors,
    KnownFrames,
    Linear,
    LowResolution,
    ModelSpec,
    Pixels,
    Prediction,
    Unbounded,
    known_frames,
)
from kvdiff.diffusion.process.schedules import SCHEDULES
from kvdiff.diffusion.spec import FORMAT_VERSION

PLAIN = ModelSpec(ClipSpec(4, 8, 8, 1), SCHEDULES["cosine"](1000), Prediction("v"))
FULL = ModelSpec(
    ClipSpec(4, 8, 8, 2),
    SCHEDULES["logsnr"](200, logsnr_min=-6.0, logsnr_max=8.0),
    Prediction("edm"),
    values=Linear(0.0, 40.0),
    codec=AveragePool(4),
    conditions={"kind": ClassLabel(3), "text": ClipVector(5), "push": FrameVectors(2), "when": FrameTimes()},
    known_frames=KnownFrames(none=0, first=1, ends=2, random=0),
    known_noise=0.25,
    independent_noise=0.5,
    sampling={"predict": {"num_steps": 5, "at_a_time": 1}, "generate": {"solver": "ddim", "eta": 0.5}},
)


def through_json(spec: ModelSpec) -> ModelSpec:
    return ModelSpec.from_config(json.loads(json.dumps(spec.config)))


@pytest.mark.parametrize("spec", [PLAIN, FULL], ids=["plain", "full"])
def test_every_field_comes_back_from_json(spec: ModelSpec) -> None:
    again = through_json(spec)
    assert again.config == spec.config
    for field in dataclasses.fields(ModelSpec):
        found, expected = getattr(again, field.name), getattr(spec, field.name)
        if field.name == "schedule":
            np.testing.assert_array_equal(found.alpha, expected.alpha)
        elif field.name == "known_frames":
            assert (found and found.config) == (expected and expected.config)
        else:
            assert found == expected, field.name
    assert FULL.config.keys() == {field.name for field in dataclasses.fields(ModelSpec)} | {"format_version"}


@pytest.mark.parametrize(
    "changes",
    [
        {"values": Unbounded()},
        {"conditions": {"small": LowResolution(2, max_noise=0.4)}},
        {"known_frames": known_frames.Every((2,))},
        {"known_noise": 0.0, "independent_noise": 0.0},
    ],
    ids=lambda changes: " ".join(changes),
)
def test_single_fields_come_back_from_json(changes: dict[str, Any]) -> None:
    spec = dataclasses.replace(PLAIN, **changes)
    again = through_json(spec)
    assert again.config == spec.config
    assert all(getattr(again, name) == value for name, value in changes.items())


def test_what_a_file_does_not_say_is_as_it_was_before_there_were_such_fields() -> None:
    """Artefacts of version 0.1 hold clip, schedule, prediction and conditions."""
    old = {name: PLAIN.config[name] for name in ("clip", "schedule", "prediction")}
    for config in (old, {**old, "conditions": {}}):
        spec = ModelSpec.from_config(config)
        assert spec.values == Pixels() and spec.bounds == (-1.0, 1.0) and spec.codec is None
        assert spec.conditions == {} and spec.sampling == {}
        assert spec.known_frames is spec.known_noise is spec.independent_noise is None
    told = {**old, "conditions": {"kind": {"condition": "class_label", "num_classes": 3}}}
    assert ModelSpec.from_config(told).conditions == {"kind": ClassLabel(3)}
    for name in old:
        with pytest.raises(KeyError, match=name):
            ModelSpec.from_config({key: value for key, value in old.items() if key != name})


def test_what_a_newer_version_wrote_is_refused() -> None:
    newer = {**PLAIN.config, "format_version": FORMAT_VERSION + 1}
    with pytest.raises(ValueError, match=f"`format_version`: expected at most {FORMAT_VERSION}; a newer kvdiff wrote"):
        ModelSpec.from_config(newer)
    with pytest.raises(ValueError, match="`format_version`: expected an integer >= 1. Received: 0"):
        ModelSpec.from_config({**PLAIN.config, "format_version": 0})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"known_noise": 0.995}, "`known_noise`: expected a number in .*0.99.* Received: 0.995"),
        ({"known_noise": -0.1}, "`known_noise`: expected a number in .* Received: -0.1"),
        ({"independent_noise": 1.5}, "`independent_noise`: expected a number in .* Received: 1.5"),
        ({"sampling": {"dream": {}}}, r"`sampling`: expected tasks among .*'generate'.* Received: \['dream'\]"),
        (
            {"codec": AveragePool(2), "conditions": {"small": LowResolution(2)}},
            r"`codec`: expected none with conditions that are clips. Received: one, and \['small'\]",
        ),
    ],
)
def test_clear_errors(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(PLAIN, **changes)


def test_unknown_kinds_are_named() -> None:
    for name, kind in (("values", "values"), ("codec", "codec")):
        with pytest.raises(ValueError, match=f"`{kind}`: expected one of .* Received: 'toaster'"):
            ModelSpec.from_config({**PLAIN.config, name: {kind: "toaster"}})


def test_clips_go_through_values_then_codec_and_back(rng: np.random.Generator) -> None:
    assert FULL.latent == ClipSpec(4, 2, 2, 2) and FULL.bounds == (-1.0, 1.0) and PLAIN.latent is PLAIN.clip
    rain = rng.uniform(0, 40, (3, 4, 8, 8, 2)).astype(np.float32)
    cells = rain.reshape(3, 4, 2, 4, 2, 4, 2).mean(axis=(3, 5))
    x_0 = FULL.encode(rain)
    np.testing.assert_allclose(x_0, cells / 20.0 - 1.0, atol=1e-6)
    np.testing.assert_allclose(FULL.decode(x_0), cells.repeat(4, axis=2).repeat(4, axis=3), atol=1e-5)
    assert FULL.decode(np.full_like(x_0, 1.001)).max() == 40.0  # A codec may overshoot; values do not.
    free = dataclasses.replace(FULL, values=Unbounded())
    assert free.bounds is None and free.decode(np.full_like(x_0, 7.0)).max() == 7.0


def test_a_codec_must_divide_the_frames() -> None:
    spec = dataclasses.replace(PLAIN, codec=AveragePool(3))
    with pytest.raises(ValueError, match="`clip_shape`: expected a height divisible by 3, e.g. 6 or 9. Received: 8"):
        _ = spec.latent


@dataclasses.dataclass(frozen=True)
class Halves(AveragePool):
    """A codec whose latents reach further than pixels, and that computes by the arrays' own means."""

    bounds = (-3.0, 3.0)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        return xp.multiply(AveragePool.encode(self, clip), 3.0)

    def decode(self, latent: Any, xp: Any = np) -> Any:
        return AveragePool.decode(self, xp.multiply(latent, 1.0 / 3.0))


def test_latents_have_the_codecs_shape_and_bounds(rng: np.random.Generator) -> None:
    spec = dataclasses.replace(PLAIN, clip=ClipSpec(3, 4, 6, 2), codec=Halves(2))
    assert spec.latent == ClipSpec(3, 2, 3, 2) and spec.bounds == (-3.0, 3.0)
    assert dataclasses.replace(spec, values=Unbounded()).bounds is None
    assert dataclasses.replace(spec, codec=None).bounds == (-1.0, 1.0)
    clip = rng.uniform(-1, 1, (2, 3, 4, 6, 2)).astype(np.float32)
    assert spec.checked("clip", clip).tobytes() == clip.tobytes()  # Users' clips are of the clip's shape.
    with pytest.raises(ValueError, match=r"`clip`: expected shape \[batch, frames, 4, 6, 2\]"):
        spec.checked("clip", spec.encode(clip))


def test_a_runtimes_arrays_are_computed_by_its_own_means() -> None:
    asked = []

    def counted(name: str):
        return lambda *arguments: asked.append(name) or getattr(np, name)(*arguments)

    class Arrays:
        multiply, clip = staticmethod(counted("multiply")), staticmethod(counted("clip"))

        @staticmethod
        def cast(array: np.ndarray, dtype: str) -> np.ndarray:
            asked.append("cast")
            return array.astype(dtype)

    spec = dataclasses.replace(PLAIN, codec=Halves(2))
    clip = np.full((1, 4, 8, 8, 1), 0.5, np.float32)
    latent = spec.encode(clip, Arrays)
    np.testing.assert_allclose(latent, np.full((1, 4, 4, 4, 1), 1.5))
    np.testing.assert_allclose(spec.decode(latent, Arrays), clip)
    assert asked == ["cast", "multiply", "multiply", "clip"]


def test_what_is_not_said_is_left_out_and_zero_is_said() -> None:
    assert set(PLAIN.config) == {"format_version", "clip", "values", "schedule", "prediction"}
    said = dataclasses.replace(PLAIN, known_noise=0.0, independent_noise=0.0).config
    assert said["known_noise"] == said["independent_noise"] == 0.0


@pytest.mark.parametrize("task", ["generate", "predict", "interpolate", "infill", "rollout", "frame_rate"])
def test_every_task_may_have_defaults(task: str) -> None:
    assert dataclasses.replace(PLAIN, sampling={task: {"num_steps": 3}}).config["sampling"] == {task: {"num_steps": 3}}


@dataclasses.dataclass(frozen=True)
class Unregistered(FrameVectors):
    """A kind that a saved model could not be opened with."""


def test_a_condition_that_a_saved_model_would_not_open_with_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`conditions`: .* Received: 'push', a Unregistered"):
        dataclasses.replace(PLAIN, conditions={"push": Unregistered(2)})
