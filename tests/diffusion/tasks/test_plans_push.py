"""Solvers with noise in windows: the exact mean and covariance by pushing them through every window and row.

The push gives each row of each window a noise of its own. A sampler whose windows share a draw, or draw one twice, has
another covariance; so has one that forgets what its solver remembers.
"""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, StepTable, plans, step_table
from kvdiff.diffusion.sampling.oracle import GaussianClips, OracleSampler
from kvdiff.diffusion.tasks.plan import Plan
from tests.diffusion.helpers import moments, schedule

FRAMES, KNOWN = 7, 1
DATA = GaussianClips(
    np.linspace(-0.3, 0.3, FRAMES).reshape(FRAMES, 1, 1, 1),
    0.25 * 0.8 ** np.abs(np.arange(FRAMES)[:, None] - np.arange(FRAMES)),
)
PAST = np.full((1, KNOWN, 1, 1, 1), 0.4, np.float32)


def pushed(plan: Plan, table: StepTable) -> tuple[np.ndarray, np.ndarray]:
    """(mean, covariance) of the video; the state is every frame, and behind it every frame's earlier predictions."""
    n, memory = FRAMES, table.memory
    mean, covariance = np.zeros(n * (1 + memory)), np.zeros((n * (1 + memory),) * 2)
    mean[:KNOWN] = PAST.ravel()
    row = np.where(plan.known, table.num_steps, -1)  # Which row comes next; -1 for a frame that has not begun.
    for window in plan.windows:
        for frame in window.frames[row[window.frames] < 0]:
            row[frame], covariance[frame, frame] = 0, table.init_std**2
        at, moving = window.frames, window.frames[window.moves]
        for _ in range(int((window.stop - window.start).max()) * table.num_steps // window.parts):
            denoise, offset = DATA.of_frames(at).affine(table.alpha[row[at], 0], table.sigma[row[at], 0])
            step, shift, added = np.eye(len(mean)), np.zeros(len(mean)), np.zeros(len(mean))
            for frame in moving:
                i, place = row[frame], int(np.flatnonzero(at == frame)[0])
                predicted = np.zeros(len(mean))
                predicted[at] = denoise[place]
                past = [frame + n * (1 + k) for k in range(memory)]  # D_{i-1}, D_{i-2}, …
                step[frame] = 0.0
                step[frame, frame] = table.a[i, 0]
                step[frame] += table.b[i, 0, 0] * predicted
                step[frame, past[:-1]] += table.b[i, 1:, 0]
                step[past] = 0.0
                step[past[0]], shift[past[0]] = predicted, offset[place]
                step[past[1:], past[:-1]] = 1.0
                shift[frame], added[frame] = table.b[i, 0, 0] * offset[place], table.std[i, 0] ** 2
            mean, covariance = step @ mean + shift, step @ covariance @ step.T + np.diag(added)
            row[moving] += 1
    assert (row == table.num_steps).all()
    return mean[:n], covariance[:n, :n]


PLANS = [
    plans.rolling(FRAMES, 4, context=1, known=KNOWN),
    plans.rolling(FRAMES, 3, context=0, known=KNOWN),
    plans.autoregressive(FRAMES, 4, overlap=2, known=KNOWN),
    plans.hierarchy_2(FRAMES, 4, known=KNOWN),
]


@pytest.mark.parametrize("solver", ["ddpm", "dpmpp_2m_sde", "dpmpp_3m_sde", "euler_ancestral"])
@pytest.mark.parametrize("plan", PLANS, ids=lambda plan: f"{plan.name}-{plan.parts}")
def test_noise_is_independent_from_row_to_row_and_window_to_window(monkeypatch, plan: Plan, solver: str) -> None:
    sampler = OracleSampler(DATA, ClipSpec(4, 1, 1, 1), schedule("logsnr", 100), Prediction("v"))

    def run(count: int) -> np.ndarray:
        past = np.repeat(PAST, count, axis=0)
        return sampler.rollout(FRAMES, past, plan=plan, num_steps=6, solver=solver, batch_size=count)

    mean, covariance = moments(monkeypatch, run)
    table = step_table(schedule("logsnr", 100), Prediction("v"), solver=solver, num_steps=6)
    exact_mean, exact_covariance = pushed(plan, table)
    np.testing.assert_allclose(mean, exact_mean, atol=1e-6)
    np.testing.assert_allclose(covariance, exact_covariance, atol=1e-6)
