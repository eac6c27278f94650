"""Known frames with noise, against the closed form: what the network sees, and what the rest of the video then is.

A sampler of a Gaussian is affine in its noise, so `moments` tells its mean and covariance exactly. In the closed form
every window goes by y = alpha x + sigma e, with an e of its own.
"""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, Sampler, masks, plans
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.tasks.plan import Plan, Window
from tests.diffusion.helpers import moments, schedule, wrapped

FRAMES, KNOWN, LABEL = 8, 2, 0.3
ALPHA, SIGMA = np.cos(LABEL * np.pi / 2), np.sin(LABEL * np.pi / 2)
DATA = GaussianClips(
    np.linspace(-0.3, 0.3, FRAMES).reshape(FRAMES, 1, 1, 1),
    0.25 * 0.8 ** np.abs(np.arange(FRAMES)[:, None] - np.arange(FRAMES)),
)
PAST = np.array([0.5, -0.4], np.float32).reshape(1, KNOWN, 1, 1, 1)
TWICE = Plan(  # Both windows go by frames 0 and 1, each with noise of its own.
    FRAMES,
    masks.first(FRAMES, KNOWN),
    [Window.of([0, 1, *new], new) for new in ([2, 3, 4], [5, 6, 7])],
)
PLANS = {"once": plans.whole(masks.first(FRAMES, KNOWN)), "twice": TWICE}
PLANS |= {"autoregressive": plans.autoregressive(FRAMES, 5, overlap=3, known=KNOWN)}
PLANS |= {"hierarchy_2": plans.hierarchy_2(FRAMES, 4, known=KNOWN)}


def sampler() -> Sampler:
    return OracleSampler(DATA, ClipSpec(5, 1, 1, 1), schedule("logsnr"), Prediction("v"))


def exact(plan: Plan) -> tuple[np.ndarray, np.ndarray]:
    """(mean, covariance) of the whole video."""
    mean, covariance = np.zeros(FRAMES), np.zeros((FRAMES, FRAMES))
    mean[:KNOWN] = PAST.ravel()
    prior, c = DATA.mean.ravel(), DATA.covariance
    for window in plan.windows:
        seen, new = window.frames[~window.moves], window.frames[window.moves]
        of_seen = ALPHA**2 * c[np.ix_(seen, seen)] + SIGMA**2 * np.eye(len(seen))
        gain = ALPHA * c[np.ix_(new, seen)] @ np.linalg.inv(of_seen)
        mean[new] = prior[new] + ALPHA * gain @ (mean[seen] - prior[seen])
        rest = c[np.ix_(new, new)] - ALPHA * gain @ c[np.ix_(seen, new)] + SIGMA**2 * gain @ gain.T
        covariance[new] = ALPHA * gain @ covariance[seen]
        covariance[:, new] = covariance[new].T
        covariance[np.ix_(new, new)] = ALPHA**2 * gain @ covariance[np.ix_(seen, seen)] @ gain.T + rest
    return mean, covariance


@pytest.mark.parametrize("name", PLANS)
def test_the_video_has_the_exact_mean_and_covariance(monkeypatch, name: str) -> None:
    def run(count: int) -> np.ndarray:
        past = np.repeat(PAST, count, axis=0)
        words = dict(num_steps=60, solver="dpmpp_2m", spacing="uniform_logsnr", known_noise=LABEL)
        return sampler().rollout(FRAMES, past, plan=PLANS[name], batch_size=count, **words)

    mean, covariance = moments(monkeypatch, run)
    truth = exact(PLANS[name])
    np.testing.assert_allclose(mean, truth[0], atol=0.003)  # The solver's own error at this many steps.
    np.testing.assert_allclose(covariance, truth[1], atol=0.003)


def test_every_window_shows_known_frames_at_that_level_with_noise_of_its_own(monkeypatch) -> None:
    shown: list[np.ndarray] = []

    def recorded(inner, noisy_clip, noise_label, inputs):
        shown.append(noisy_clip[:, :KNOWN].reshape(len(noisy_clip), KNOWN))
        np.testing.assert_allclose(noise_label[:, :KNOWN], LABEL)
        return inner(noisy_clip, noise_label, inputs)

    def run(count: int) -> np.ndarray:
        shown.clear()
        words = dict(num_steps=3, solver="ddpm", known_noise=LABEL, plan=TWICE, batch_size=count)
        wrapped(sampler(), recorded).rollout(FRAMES, np.repeat(PAST, count, axis=0), **words)
        return np.stack(shown, axis=1)

    mean, covariance = moments(monkeypatch, run)
    np.testing.assert_allclose(mean.reshape(6, KNOWN), np.tile(ALPHA * PAST.ravel(), (6, 1)), atol=1e-6)
    same_window = np.kron(np.eye(2), np.ones((3, 3)))  # Of the six calls, three a window: one noise for all its rows.
    np.testing.assert_allclose(covariance, np.kron(same_window, SIGMA**2 * np.eye(KNOWN)), atol=1e-6)
