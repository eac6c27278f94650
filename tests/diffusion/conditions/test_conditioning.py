"""What guidance costs: one call of both halves where it acts, one call of one half where it does not."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSampler, ClipSpec, NoiseSchedule, Prediction, step_table
from kvdiff.diffusion.conditions import ClassLabel

SCHEDULE = NoiseSchedule.from_config({"name": "cosine", "num_timesteps": 100})
STEPS, BATCH = 8, 3


class Counting(ClipSampler):
    """Remembers the noise label and the batch of every network call, and who was told."""

    def __init__(self) -> None:
        super().__init__(ClipSpec(2, 1, 1, 1), SCHEDULE, Prediction("v"), conditions={"kind": ClassLabel(4)})
        self.calls: list[tuple[float, int, list[float]]] = []

    def denoise(self, noisy_clip, noise_label, inputs=None):
        assert len(noisy_clip) == len(noise_label) == len(inputs["kind"]) == len(inputs["told"])
        self.calls.append((float(noise_label.max()), len(noisy_clip), inputs["told"].ravel().tolist()))
        return 0.1 * noisy_clip * (1.0 + inputs["told"][:, :, None, None, None])


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.3, 0.7), (0.0, 0.5), (0.6, 1.0), (0.0, 0.001)])
@pytest.mark.parametrize("verb", ["generate", "predict"])
def test_outside_its_interval_guidance_doubles_no_batch(interval: tuple[float, float], verb: str) -> None:
    sampler, told = Counting(), {"kind": np.arange(BATCH)}
    sampling = dict(num_steps=STEPS, solver="ddim", conditions=told, guidance=3.0, guidance_interval=interval)
    if verb == "generate":
        sampler.generate(BATCH, **sampling)
    else:
        sampler.predict_frames(np.zeros((BATCH, 1, 1, 1, 1), np.float32), **sampling)
    labels = step_table(SCHEDULE, Prediction("v"), solver="ddim", num_steps=STEPS).c_noise[:, 0]
    acts = (labels >= interval[0]) & (labels <= interval[1])
    assert len(sampler.calls) == STEPS  # Both halves go through the network together, never one after the other.
    for (label, batch, who), expected, guided in zip(sampler.calls, labels, acts, strict=True):
        assert label == pytest.approx(expected, abs=1e-6)
        assert batch == (2 * BATCH if guided else BATCH)
        assert who == [1.0] * BATCH + ([0.0] * BATCH if guided else [])


def test_a_weight_of_one_doubles_nothing() -> None:
    sampler = Counting()
    sampler.generate(BATCH, num_steps=STEPS, conditions={"kind": 1}, guidance=[1.0] * BATCH)
    assert [batch for _, batch, _ in sampler.calls] == [BATCH] * STEPS
