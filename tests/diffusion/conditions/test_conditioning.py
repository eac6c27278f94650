"""What guidance costs: one call of both halves where it acts, one call of one half where it does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    ClassLabel,
    ClipSpec,
    Linear,
    LowResolution,
    NoiseSchedule,
    Prediction,
    Unbounded,
    step_table,
)
from kvdiff.diffusion.conditions.conditioning import Conditioning
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
