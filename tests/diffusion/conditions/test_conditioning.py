"""Conditions as a user gives them and as windows and chunks see them; and what guidance costs.

One call of both halves where guidance acts, one call of one half where it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    ClassLabel,
    ClipSpec,
    FrameTimes,
    FrameVectors,
    Linear,
    LowResolution,
    NoiseSchedule,
    Prediction,
    Unbounded,
    step_table,
)
from kvdiff.diffusion.conditions import conditioning
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.process.noise import AUGMENTATION, video_noise
from tests.diffusion.helpers import network_sampler

SCHEDULE = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 100})
STEPS, BATCH = 8, 3


class Counting:
    """A network that remembers the noise label and the batch of every call, and which clips had their condition."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, int, list[float]]] = []
        self.sampler = network_sampler(self, ClipSpec(2, 1, 1, 1), SCHEDULE, conditions={"kind": ClassLabel(4)})

    def __call__(self, noisy_clip, noise_label, inputs=None):
        assert len(noisy_clip) == len(noise_label) == len(inputs["kind"]) == len(inputs["told"])
        self.calls.append((float(noise_label.max()), len(noisy_clip), inputs["told"].ravel().tolist()))
        return 0.1 * noisy_clip * (1.0 + inputs["told"][:, :, None, None, None])


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.7), (0.0, 0.5), (0.6, 1.0), (0.0, 0.001)])
@pytest.mark.parametrize("verb", ["generate", "predict"])
def test_outside_its_interval_guidance_doubles_no_batch(interval: tuple[float, float], verb: str) -> None:
    network, given = Counting(), {"kind": np.arange(BATCH)}
    sampling = dict(num_steps=STEPS, solver="ddim", conditions=given, guidance=3.0, guidance_interval=interval)
    if verb == "generate":
        network.sampler.generate(BATCH, **sampling)
    else:
        network.sampler.predict_frames(np.zeros((BATCH, 1, 1, 1, 1), np.float32), **sampling)
    labels = step_table(SCHEDULE, Prediction("v"), solver="ddim", num_steps=STEPS).c_noise[:, 0]
    acts = (labels >= interval[0]) & (labels <= interval[1])
    assert len(network.calls) == STEPS  # Both halves go through the network together, never one after the other.
    for (label, batch, who), expected, guided in zip(network.calls, labels, acts, strict=True):
        assert label == pytest.approx(expected, abs=1e-6)
        assert batch == (2 * BATCH if guided else BATCH)
        assert who == [1.0] * BATCH + ([0.0] * BATCH if guided else [])


def test_a_weight_of_one_doubles_nothing() -> None:
    network = Counting()
    network.sampler.generate(BATCH, num_steps=STEPS, conditions={"kind": 1}, guidance=[1.0] * BATCH)
    assert [batch for _, batch, _ in network.calls] == [BATCH] * STEPS


def small_clips(value: float, **options: Any) -> np.ndarray:
    """What the network sees of small clips of one value."""
    shape = (1, 2, 4, 4, 1)
    given = {"small": np.full((2, 2, 2, 1), value)}
    return Conditioning.of({"small": LowResolution(2)}, given, shape, **options).inputs["small"]


def test_conditions_that_are_clips_are_in_the_clips_own_numbers() -> None:
    np.testing.assert_allclose(small_clips(10.0, values=Linear(0.0, 40.0)), np.full((1, 2, 2, 2, 1), -0.5))
    assert (small_clips(3.0, values=Unbounded()) == 3.0).all()
    with pytest.raises(ValueError, match=r"`conditions\['small'\]`: expected values in \[0, 40\]. Received: .* 41.0"):
        small_clips(41.0, values=Linear(0.0, 40.0))
    with pytest.raises(ValueError, match=r"`conditions\['small'\]`: expected values in \[-1, 1\]. Received: .* 1.1"):
        small_clips(1.1)
    with pytest.raises(ValueError, match=r"`conditions\['small'\]`: expected finite numbers"):
        small_clips(np.nan, values=Unbounded())


CONDITIONS = {"kind": ClassLabel(4), "push": FrameVectors(2), "small": LowResolution(2), "tiny": LowResolution(2)}
RNG = np.random.default_rng(1)
GIVEN = {
    "kind": np.arange(4),
    "push": RNG.normal(size=(4, 5, 2)).astype(np.float32),
    "small": RNG.uniform(-1, 1, (4, 5, 1, 1, 1)).astype(np.float32),
    "tiny": RNG.uniform(-1, 1, (4, 5, 1, 1, 1)).astype(np.float32),
}
SHAPE = (4, 5, 2, 2, 1)


def test_rows_and_frames_take_their_own() -> None:
    whole = Conditioning.of(CONDITIONS, GIVEN, SHAPE, guidance=[1, 2, 3, 4], guidance_interval=(0.2, 0.7))
    rows, at = whole.rows(np.arange(1, 3)), np.array([0, 3, 4])
    window = rows.frames(at)
    assert rows.guidance.tolist() == window.guidance.tolist() == [2, 3] and window.interval == (0.2, 0.7)
    assert window.inputs["kind"].tolist() == [1, 2] and window.inputs["told"].tolist() == [[1, 1, 1, 1]] * 2
    for name in ("push", "small", "tiny"):
        np.testing.assert_array_equal(rows.inputs[name], GIVEN[name][1:3])
        np.testing.assert_array_equal(window.inputs[name], GIVEN[name][1:3][:, at])
    assert set(window.inputs) == set(whole.inputs)
    assert Conditioning.of(CONDITIONS, GIVEN, SHAPE).rows(np.arange(1, 3)).guidance is None


def test_noise_on_a_condition_is_its_own_of_its_label_and_of_the_sample() -> None:
    samples = np.array([9, 3, 5, 2**32 - 1])
    clean = Conditioning.of(CONDITIONS, GIVEN, SHAPE, augmentation=0.3)
    noisy = clean.with_noise(7, samples)
    angle = 0.3 * np.pi / 2
    for number, name in ((2, "small"), (3, "tiny")):
        noise = video_noise(7, number, samples, (5, 1, 1, 1), AUGMENTATION)
        np.testing.assert_allclose(noisy.inputs[name], np.cos(angle) * GIVEN[name] + np.sin(angle) * noise, atol=1e-6)
        np.testing.assert_array_equal(noisy.inputs[f"{name}_noise"], np.full(4, 0.3, np.float32))
    for name in ("kind", "push", "told"):
        np.testing.assert_array_equal(noisy.inputs[name], clean.inputs[name])


def test_clean_conditions_draw_no_noise(monkeypatch) -> None:
    monkeypatch.setattr(conditioning, "video_noise", None)
    still = Conditioning.of(CONDITIONS, GIVEN, SHAPE)
    assert still.with_noise(7, np.arange(4)).inputs["small"] is still.inputs["small"]


def test_what_is_not_given_is_absent() -> None:
    of = CONDITIONS | {"when": FrameTimes()}
    for nothing in (None, {}, {"kind": None, "when": None}):
        inputs = Conditioning.of(of, nothing, SHAPE).inputs
        assert inputs["told"].tolist() == [[0, 0, 0, 0]] * 4 and not inputs["push"].any()
        assert inputs["when"].tolist() == [[0, 1, 2, 3, 4]] * 4
    one = Conditioning.of(of, {"push": GIVEN["push"][0]}, SHAPE).inputs
    assert one["told"].tolist() == [[0, 1, 0, 0]] * 4 and one["told"].dtype == np.float32
    np.testing.assert_array_equal(one["push"], np.repeat(GIVEN["push"][:1], 4, axis=0))


def test_both_ends_of_the_interval_belong_to_it() -> None:
    of = Conditioning.of(CONDITIONS, GIVEN, SHAPE, guidance=2.0, guidance_interval=(0.25, 0.75))
    for label, acts in ((0.25, True), (0.75, True), (0.5, True), (0.2499, False), (0.7501, False)):
        assert (of.at(np.array(label)).guidance is not None) == acts
    assert of.at(np.array([[0.1, 0.5]])).guidance is not None  # The noisiest frame decides, not the mean or the least.
    assert of.at(np.array([[0.1, 0.9]])).guidance is None and of.at(np.array([[0.3, 0.8]])).guidance is None
    assert (
        of.at(np.array(0.9)).inputs is of.inputs and Conditioning.of(CONDITIONS, GIVEN, SHAPE).at(1.0).guidance is None
    )


def test_a_weight_of_zero_is_the_unconditional_network_and_ones_among_others_stay() -> None:
    assert Conditioning.of(CONDITIONS, GIVEN, SHAPE, guidance=0.0).guidance.tolist() == [0.0] * 4
    weights = Conditioning.of(CONDITIONS, GIVEN, SHAPE, guidance=[1, 1, 1, 2]).guidance
    assert weights.tolist() == [1, 1, 1, 2] and weights.dtype == np.float32


def test_everything_goes_to_the_device() -> None:
    moved = Conditioning.of(CONDITIONS, GIVEN, SHAPE, guidance=2.0, guidance_rescale=0.5).on(lambda array: [array])
    assert all(isinstance(value, list) for value in [moved.guidance, *moved.inputs.values()])
    assert moved.rescale == 0.5 and len(moved.inputs) == 7
    assert Conditioning.of(CONDITIONS, GIVEN, SHAPE).on(lambda array: [array]).guidance is None


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        (dict(given={"color": 1}), ValueError, r"`conditions`: expected names among .*'kind'.* Received: \['color'\]"),
        (dict(given=[1]), TypeError, r"`conditions`: expected a dict of arrays by name. Received: \[1\] \(list\)"),
        (
            dict(guidance=[1, 2, 3]),
            ValueError,
            "`guidance`: expected a number, or one for each of the 4 clips. Received",
        ),
        (dict(guidance="much"), TypeError, "`guidance`: expected a number, or one for each clip. Received: 'much'"),
        (dict(guidance=-0.1), ValueError, "`guidance`: expected finite weights >= 0. Received: -0.1"),
        (dict(guidance=[1, 1, 1, np.nan]), ValueError, "`guidance`: expected finite weights >= 0."),
        (dict(given={}, guidance=2), ValueError, "`guidance`: expected 1 where there is no condition to guide by."),
        (dict(guidance=2, guidance_rescale=1.1), ValueError, "`guidance_rescale`: .* Received: 1.1"),
        (dict(guidance=2, guidance_interval=(0.5, 0.4)), ValueError, "`guidance_interval`: .* Received: 0.4"),
        (dict(augmentation=0.4), ValueError, "`augmentation`: expected a number in .*0.3.* Received: 0.4"),
    ],
)
def test_clear_errors(keywords, error, message: str) -> None:
    with pytest.raises(error, match=message):
        Conditioning.of(CONDITIONS, **({"given": GIVEN} | keywords), clip_shape=SHAPE)


def test_a_condition_that_is_always_present_is_nothing_to_guide_by() -> None:
    with pytest.raises(ValueError, match="`guidance`: expected 1 where there is no condition"):
        Conditioning.of({"when": FrameTimes()}, {"when": np.arange(5.0)}, SHAPE, guidance=2.0)
