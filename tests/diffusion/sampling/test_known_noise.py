"""`known_noise`: on a model the most that training showed, in a call the label for that call."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, DenoiserEngine, ModelSpec, Prediction, Sampler
from kvdiff.diffusion.process.schedules import cosine

SPEC = ModelSpec(ClipSpec(4, 2, 2, 1), cosine(50), Prediction("v"))
PAST = np.full((1, 2, 2, 2, 1), 0.5, np.float32)


def predicted(model: float | None, call: float) -> tuple[np.ndarray, np.ndarray]:
    """(labels of known frames in every call, the video's frames)."""
    labels = []

    def denoise(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: object) -> np.ndarray:
        labels.append(noise_label[0, :2])
        return 0.5 * noisy_clip

    sampler = Sampler(dataclasses.replace(SPEC, known_noise=model), DenoiserEngine(denoise))
    clip = np.concatenate([PAST, 0 * PAST], axis=1)
    video = sampler.infill(clip, np.array([True, True, False, False]), num_steps=3, known_noise=call)
    return np.array(labels), video


@pytest.mark.parametrize(("model", "call"), [(0.3, 0.0), (0.3, 0.3), (None, 0.9), (0.0, 0.0)])
def test_a_call_may_have_as_much_as_training_showed(model: float | None, call: float) -> None:
    labels, video = predicted(model, call)
    np.testing.assert_allclose(labels, np.full((3, 2), call), atol=1e-6)
    assert video[:, :2].tobytes() == PAST.tobytes()  # They come back clean all the same.


@pytest.mark.parametrize(("model", "call", "most"), [(0.0, 0.1, "0"), (0.3, 0.31, "0.3"), (None, 1.0, "0.99")])
def test_more_is_refused(model: float | None, call: float, most: str) -> None:
    with pytest.raises(ValueError, match=f"`known_noise`: expected a number in .*{most}.* Received: {call}"):
        predicted(model, call)
