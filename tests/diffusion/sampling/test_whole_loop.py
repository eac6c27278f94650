"""Whole videos against `slow_loop`: batches in several chunks, in which every clip has its own of everything.

What a clip must have to itself, in whatever chunk it goes through the network: its mask, its noise, its conditions, its
guidance, its known frames' noise, its solver's memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    ClassLabel,
    ClipSpec,
    DenoiserEngine,
    FrameTimes,
    FrameVectors,
    LowResolution,
    ModelSpec,
    Prediction,
    Sampler,
    masks,
    plans,
    step_table,
)
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.tasks.plan import Plan, Window
from kvdiff.diffusion.transforms.values import PIXELS, Linear, Values
from tests.diffusion.helpers import schedule
from tests.diffusion.sampling.slow_loop import slow_clip

BATCH, FRAME, FIRST = 5, (2, 4, 1), 7
CONDITIONS = {"kind": ClassLabel(4), "push": FrameVectors(2), "small": LowResolution(2), "when": FrameTimes()}
CONDITIONS |= {"tiny": LowResolution(2)}  # A second clip among the conditions has noise of its own.


def network(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Mixes frames and reads every input, clip by clip."""
    told = inputs["told"][:, :, None].astype(np.float64)
    frames = 0.3 * told[:, 0] * (inputs["kind"][:, None] - 1.5) + 0.5 * told[:, 1] * inputs["push"].sum(axis=2)
    frames = frames - 0.2 * noise_label + 0.1 * np.sin(inputs["when"])
    small = inputs["small"] * (told[:, 2] - inputs["small_noise"][:, None])[..., None, None, None]
    small = small - 0.7 * inputs["tiny"] * (told[:, 3] + inputs["tiny_noise"][:, None])[..., None, None, None]
    mixed = np.tanh(noisy_clip.mean(axis=1, keepdims=True) + 0.5 * np.roll(noisy_clip, 1, axis=1))
    return 0.5 * noisy_clip + 0.3 * mixed + frames[..., None, None, None] + 0.4 * small.repeat(2, 2).repeat(2, 3)


def spec(name: str = "cosine", prediction: str = "v", values: Values = PIXELS) -> ModelSpec:
    return ModelSpec(ClipSpec(4, *FRAME), schedule(name, 60), Prediction(prediction), values, conditions=CONDITIONS)


def given(frames: int, batch: int = BATCH, low: float = -1.0, high: float = 1.0) -> dict[str, np.ndarray]:
    """Conditions of which each clip has its own."""
    rng = np.random.default_rng(8)
    small = rng.uniform(low, high, (2, batch, frames, 1, 2, 1)).astype(np.float32)
    return {
        "kind": np.arange(batch) % 4,
        "push": rng.normal(size=(batch, frames, 2)).astype(np.float32),
        "small": small[0],
        "tiny": small[1],
        "when": (np.arange(frames) + rng.uniform(0, 3, (batch, 1))).astype(np.float32),
    }


def assert_equal_to_slow(
    of: ModelSpec, clip: np.ndarray, known: np.ndarray, plan: Plan | None = None, atol: float = 3e-6, **sampling: Any
) -> None:
    """The sampler's video, in chunks of 2 clips, is the slow loop's, clip by clip."""
    sampler = Sampler(of, DenoiserEngine(network), np.float64)
    made = sampler.infill(clip, known, plan=plan, batch_size=2, first_sample=FIRST, **sampling)
    keywords = dict(sampling)
    table_words = {name: keywords.pop(name) for name in ("solver", "num_steps", "spacing") if name in keywords}
    table = step_table(of.schedule, of.prediction, **table_words)
    mask = np.broadcast_to(known, clip.shape[:2])
    weights = np.broadcast_to(keywords.pop("guidance", 1.0), len(clip))
    conditions = keywords.pop("conditions")
    interval, rescale = keywords.pop("guidance_interval", (0.0, 1.0)), keywords.pop("guidance_rescale", 0.0)
    for i in range(len(clip)):
        own = [Window(np.arange(clip.shape[1]), mask[i].astype(int), np.ones(clip.shape[1], int))]
        slow = slow_clip(
            of,
            network,
            table,
            own if plan is None else plan.windows,
            clip[i],
            mask[i],
            sample=FIRST + i,
            given={name: value[i] for name, value in conditions.items()},
            guidance=float(weights[i]),
            interval=interval,
            rescale=rescale,
            **keywords,
        )
        np.testing.assert_allclose(made[i], slow, rtol=0, atol=atol, err_msg=f"clip {i}")


WEIGHTS = [1.0, 2.0, 3.5, 0.5, 1.5]
MASKS = np.array(
    [[1, 0, 0, 0, 0], [0, 0, 1, 0, 1], [1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]], bool
)  # Every clip another task.


@pytest.mark.parametrize(
    "guided",
    [
        {},
        {"guidance": WEIGHTS},
        {"guidance": WEIGHTS, "guidance_rescale": 0.7},
        {"guidance": WEIGHTS, "guidance_rescale": 1.0, "guidance_interval": (0.35, 0.8)},
    ],
    ids=lambda guided: " ".join(guided) or "plain",
)
@pytest.mark.parametrize("known_noise", [0.0, 0.25])
def test_every_clip_of_a_batch_has_its_own(guided: dict[str, Any], known_noise: float) -> None:
    clip = np.random.default_rng(3).uniform(-1, 1, (BATCH, 5, *FRAME)).astype(np.float32)
    assert_equal_to_slow(
        spec(),
        clip,
        MASKS,
        num_steps=4,
        solver="dpmpp_2m_sde",
        seed=2**40 + 3,
        conditions=given(5),
        known_noise=known_noise,
        augmentation=0.2,
        **guided,
    )


@pytest.mark.parametrize("absent", sorted(CONDITIONS))
def test_a_condition_that_is_not_given_is_absent(absent: str) -> None:
    conditions = {name: value for name, value in given(4).items() if name != absent}
    clip = np.zeros((BATCH, 4, *FRAME), np.float32)
    assert_equal_to_slow(
        spec(), clip, masks.first(4, 1), num_steps=2, seed=1, conditions=conditions, guidance=2.0, augmentation=0.1
    )


@pytest.mark.parametrize(
    ("name", "prediction"), [("karras", "edm"), ("flow", "flow"), ("linear", "eps"), ("cosine", "x0")]
)
@pytest.mark.parametrize("known_noise", [0.0, 0.3])
def test_every_path_and_prediction(name: str, prediction: str, known_noise: float) -> None:
    """Starts of another standard deviation than 1, and known frames with noise at a level of that path."""
    clip = np.random.default_rng(4).uniform(-1, 1, (3, 4, *FRAME)).astype(np.float32)
    assert_equal_to_slow(
        spec(name, prediction),
        clip,
        masks.ends(4, 1, 1),
        num_steps=4,
        solver="ddpm",
        seed=5,
        conditions=given(4, 3),
        known_noise=known_noise,
        atol=2e-5,  # Starts of 80 times unit noise are rounded in float32.
    )


def test_numbers_with_units_are_scaled_on_the_way_in_and_out() -> None:
    clip = np.random.default_rng(4).uniform(-5, 40, (3, 4, *FRAME)).astype(np.float32)
    assert_equal_to_slow(
        spec(values=Linear(-5.0, 40.0)),
        clip,
        masks.first(4, 2),
        num_steps=3,
        solver="ddpm",
        seed=5,
        conditions=given(4, 3, -5.0, 40.0),
        known_noise=0.1,
        atol=1e-4,
    )


FRAMES, KNOWN = 9, 2
WAITING = Plan(  # Frames that stop on the way, and wait in another's window before they go on.
    FRAMES,
    masks.first(FRAMES, KNOWN),
    [
        Window(np.arange(6), np.array([3, 3, 0, 0, 0, 0]), np.array([3, 3, 1, 1, 0, 0]), 3),
        Window(np.arange(2, 9), np.array([1, 1, 0, 0, 0, 0, 0]), np.array([1, 1, 1, 1, 1, 1, 1]), 3),
        Window(np.arange(2, 9), np.full(7, 1), np.full(7, 3), 3),
    ],
    "waiting",
)
PLANS = [
    plans.autoregressive(FRAMES, 4, overlap=2, known=KNOWN),
    plans.autoregressive(FRAMES, 4, overlap=1),
    plans.hierarchical(FRAMES, 4, known=KNOWN),
    plans.hierarchy_2(FRAMES, 4, known=KNOWN),
    plans.rolling(FRAMES, 4, context=1, known=KNOWN),
    plans.rolling(FRAMES, 4, context=1),
    plans.frame_rate(FRAMES, 4, factor=2),
    plans.in_order(masks.ends(FRAMES, 2, 2), 5, at_a_time=2),
    WAITING,
]


def named(plan: Plan) -> str:
    return f"{plan.name}-{int(plan.known.sum())}"


@pytest.mark.parametrize("known_noise", [0.0, 0.2])
@pytest.mark.parametrize("plan", PLANS, ids=named)
def test_every_plan(plan: Plan, known_noise: float) -> None:
    clip = np.random.default_rng(6).uniform(-1, 1, (3, FRAMES, *FRAME)).astype(np.float32)
    assert_equal_to_slow(
        spec(),
        clip,
        plan.known,
        plan,
        num_steps=6,
        solver="dpmpp_2m_sde",
        seed=11,
        conditions=given(FRAMES, 3),
        guidance=[1.0, 2.5, 0.5],
        known_noise=known_noise,
        augmentation=0.1,
    )


@pytest.mark.parametrize("solver", sorted(SOLVERS))
@pytest.mark.parametrize("plan", [PLANS[1], PLANS[4], WAITING], ids=named)
def test_every_solver_goes_on_where_a_window_stopped(plan: Plan, solver: str) -> None:
    """With what it remembers of its earlier predictions, and with noise that no window had before."""
    clip = np.random.default_rng(7).uniform(-1, 1, (3, FRAMES, *FRAME)).astype(np.float32)
    assert_equal_to_slow(
        spec(),
        clip,
        plan.known,
        plan,
        num_steps=11 if solver in ("dpm_2", "edm", "heun") else 12,  # Two calls a step but for the last: 21 rows.
        solver=solver,
        seed=13,
        conditions=given(FRAMES, 3),
        atol=1e-5,
    )
