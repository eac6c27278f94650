"""The frozen calls, as data: each names its sampler, verb, solver, spacing, number of steps, seed and plan.

Nothing is left to a default that may change: a solver's options are all given, and a plan's too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["BOUNDS", "CALLS", "PUSHED", "TABLES", "Call", "Clip", "Numbers"]


@dataclasses.dataclass(frozen=True)
class Clip:
    """Made-up frames in the sampler's size, [batch, frames, …], of values that are exact in eight bits."""

    frames: int
    batch: int = 2
    seed: int = 0
    uint8: bool = False
    shrink: int = 1  # A low-resolution clip is as many times smaller.

    def made(self, frame_shape: tuple[int, int, int]) -> np.ndarray:
        height, width, channels = frame_shape
        shape = (self.batch, self.frames, height // self.shrink, width // self.shrink, channels)
        pixels = np.random.default_rng(self.seed).integers(0, 256, shape)
        return pixels.astype(np.uint8) if self.uint8 else ((pixels - 128) / 128).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """A made-up array of a condition, exact in eight bits."""

    shape: tuple[int, ...]
    seed: int = 0

    def made(self, frame_shape: tuple[int, int, int]) -> np.ndarray:
        return (np.random.default_rng(self.seed).integers(-128, 128, self.shape) / 64).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Call:
    """One call of a sampler's verb. `given` are the verb's own arguments, `more` the other keywords of sampling."""

    sampler: str
    verb: str
    given: Mapping[str, Any]
    solver: str
    spacing: Any
    num_steps: int
    seed: int
    plan: str
    more: Mapping[str, Any]

    @property
    def sampling(self) -> dict[str, Any]:
        names = ("solver", "spacing", "num_steps", "seed")
        return {name: getattr(self, name) for name in names} | dict(self.more)


def known(text: str) -> np.ndarray:
    """A mask of frames, "#.#." with # for a known frame; the masks of several clips are apart by blanks."""
    rows = [[frame == "#" for frame in row] for row in text.split()]
    return np.array(rows[0] if len(rows) == 1 else rows)


AUTO = "autoregressive window=4 overlap=2"
AUTO_1 = "autoregressive window=4 overlap=1"
FAR = "hierarchical window=4 stride=3"
FAR_2 = "hierarchy_2 window=4 stride=4"
ROLL = "rolling window=4 context=1"
TWO = dict(num_clips=2)
PAST, PAST_1, PAST_BYTES = dict(past=Clip(2)), dict(past=Clip(1, seed=1)), dict(past=Clip(2, uint8=True))
GAP = dict(before=Clip(1), after=Clip(1, seed=2))
LONG, LONG_PAST = dict(num_frames=9, num_clips=2), dict(num_frames=9, past=Clip(2))
DIGIT, DIGITS = {"digit": 1}, {"digit": np.array([0, 2])}
TEXT = {"text": Numbers((2, 3))}
ACTIONS, ACTIONS_9 = {"action": Numbers((2, 4, 2))}, {"action": Numbers((2, 9, 2))}
TIMES = {"times": np.array([0.0, 2.0, 3.0, 7.0], np.float32)}
ALL, ALL_9 = {**DIGITS, **TEXT, **ACTIONS}, {**DIGITS, **TEXT, **ACTIONS_9}
EDM = dict(churn=4.0, churn_min=0.02, churn_max=50.0, noise_scale=1.01)
SDE, ODE, SMALL = dict(eta=1.0), dict(eta=0.0), dict(variance="small")

# name: (sampler, verb, given, solver, spacing, num_steps, seed, plan, more)
# fmt: off
_CALLS: dict[str, tuple[Any, ...]] = {
    # Exact Gaussian samplers, in float64: every solver.
    "oracle ddpm": ("oracle", "generate", TWO, "ddpm", "trailing", 8, 1, "whole", SMALL),
    "oracle ddpm large": ("oracle", "generate", TWO, "ddpm", "linspace", 8, 1, "whole", dict(variance="large")),
    "oracle ddim": ("oracle", "predict_frames", PAST, "ddim", "leading", 8, 2, "whole", dict(eta=0.5)),
    "oracle euler": ("oracle", "interpolate", GAP, "euler", "trailing", 8, 3, "whole", {}),
    "oracle euler_ancestral": ("oracle", "generate", TWO, "euler_ancestral", "linspace", 8, 4, "whole", {}),
    "oracle heun": ("oracle", "predict_frames", PAST_1, "heun", "karras", 8, 5, "whole", {}),
    "oracle edm": ("oracle", "generate", TWO, "edm", "karras", 8, 6, "whole", EDM),
    "oracle dpm_2": ("oracle", "generate", TWO, "dpm_2", "uniform_logsnr", 8, 7, "whole", {}),
    "oracle dpmpp_2m": ("oracle", "predict_frames", PAST, "dpmpp_2m", "trailing", 8, 8, "whole", {}),
    "oracle dpmpp_2m_sde": ("oracle", "predict_frames", PAST_BYTES, "dpmpp_2m_sde", "trailing", 8, 9, "whole", SDE),
    "oracle dpmpp_3m": ("oracle", "generate", TWO, "dpmpp_3m", "uniform_logsnr", 8, 10, "whole", {}),
    "oracle dpmpp_3m_sde": ("oracle", "interpolate", GAP, "dpmpp_3m_sde", "linspace", 8, 11, "whole", dict(eta=0.6)),
    "oracle deis": ("oracle", "generate", TWO, "deis", "trailing", 8, 12, "whole", dict(order=3)),
    "oracle deis order 1": ("oracle", "generate", TWO, "deis", "trailing", 8, 12, "whole", dict(order=1)),
    "oracle unipc": (
        "oracle", "predict_frames", PAST, "unipc", "trailing", 8, 13, "whole", dict(order=2, variant="bh2")
    ),
    "oracle unipc 3 bh1": ("oracle", "generate", TWO, "unipc", "leading", 8, 13, "whole", dict(order=3, variant="bh1")),
    "oracle consistency": ("oracle", "predict_frames", PAST, "consistency", "trailing", 8, 14, "whole", {}),
    # Other predictions, schedules and data.
    "oracle eps": ("oracle eps linear", "predict_frames", PAST, "ddim", "trailing", 6, 1, "whole", ODE),
    "oracle x0": ("oracle x0 sigmoid", "interpolate", GAP, "dpmpp_2m", "linspace", 6, 2, "whole", {}),
    "oracle flow": ("oracle flow", "generate", TWO, "unipc", "trailing", 6, 3, "whole", dict(order=2, variant="bh2")),
    "oracle edm levels": ("oracle edm karras", "generate", TWO, "heun", "karras", 6, 4, "whole", {}),
    "oracle mixture": ("oracle mixture", "generate", TWO, "dpmpp_2m_sde", "trailing", 6, 5, "whole", SDE),
    "oracle own timesteps": ("oracle", "generate", TWO, "ddim", [999, 700, 320, 90, 11], 5, 6, "whole", dict(eta=1.0)),
    # Masks, tasks and plans.
    "oracle odd mask": (
        "oracle", "infill", dict(clip=Clip(5), known=known(".#.##")), "dpmpp_2m", "trailing", 6, 7, "whole", {}
    ),
    "oracle mask a clip": (
        "oracle", "infill", dict(clip=Clip(5), known=known("#..#. ..#.#")), "ddpm", "trailing", 6, 8, "whole", SMALL
    ),
    "oracle frame rate": (
        "oracle", "increase_frame_rate", dict(clip=Clip(4), factor=3), "dpmpp_2m_sde", "trailing", 5, 9,
        "frame_rate", SDE
    ),
    "oracle autoregressive": (
        "oracle", "rollout", dict(num_frames=17, past=Clip(2)), "dpmpp_2m_sde", "trailing", 5, 10,
        "autoregressive window=5 overlap=2", SDE
    ),
    "oracle autoregressive alone": (
        "oracle", "rollout", dict(num_frames=12, num_clips=2), "ddim", "trailing", 5, 10,
        "autoregressive window=5 overlap=3", dict(eta=0.3)
    ),
    "oracle hierarchical": (
        "oracle", "rollout", dict(num_frames=17, past=Clip(2)), "ddpm", "trailing", 5, 11,
        "hierarchical window=5 stride=4", SMALL
    ),
    "oracle hierarchical stride": (
        "oracle", "rollout", dict(num_frames=14, num_clips=2), "dpmpp_2m", "trailing", 5, 11,
        "hierarchical window=5 stride=3", {}
    ),
    "oracle hierarchy_2": (
        "oracle", "rollout", dict(num_frames=18, past=Clip(1)), "dpmpp_3m", "trailing", 5, 12,
        "hierarchy_2 window=5 stride=5", {}
    ),
    "oracle rolling": (
        "oracle", "rollout", dict(num_frames=11, past=Clip(2)), "dpmpp_2m_sde", "trailing", 8, 13,
        "rolling window=5 context=1", SDE
    ),
    "oracle rolling with memory": (
        "oracle", "rollout", dict(num_frames=9, num_clips=2), "deis", "trailing", 10, 14,
        "rolling window=5 context=0", dict(order=3)
    ),
    "oracle rolling two calls": (
        "oracle", "rollout", dict(num_frames=9, past=Clip(1)), "ddim", "trailing", 6, 15,
        "rolling window=5 context=2", dict(eta=1.0)
    ),
    "oracle context noise": (
        "oracle", "rollout", dict(num_frames=13, past=Clip(2)), "dpmpp_2m", "trailing", 5, 16,
        "autoregressive window=5 overlap=2", dict(context_noise=0.1)
    ),
    "oracle context noise, hierarchical": (
        "oracle", "rollout", dict(num_frames=13, past=Clip(2)), "dpmpp_2m_sde", "trailing", 5, 16,
        "hierarchical window=5 stride=4", dict(context_noise=0.2, eta=1.0)
    ),
    "oracle batches": (
        "oracle", "generate", dict(num_clips=5), "ddpm", "trailing", 5, 17, "whole", dict(batch_size=2, **SMALL)
    ),
    "oracle first sample": (
        "oracle", "generate", TWO, "ddpm", "trailing", 5, 17, "whole", dict(first_sample=3, **SMALL)
    ),
    "oracle large seed": ("oracle", "generate", TWO, "ddim", "trailing", 5, 2**64 - 3, "whole", ODE),
    "oracle one step": ("oracle", "generate", TWO, "ddim", "trailing", 1, 18, "whole", ODE),
    "oracle times": (
        "oracle", "generate", TWO, "ddim", "trailing", 5, 19, "whole",
        dict(conditions={"frame_times": np.array([0, 3, 4, 9, 15])}, eta=0.0)
    ),
    "oracle fewer frames": (
        "oracle", "predict_frames", dict(past=Clip(1), num_frames=2), "dpmpp_2m", "trailing", 5, 20, "whole", {}
    ),
    "oracle autoguidance": ("oracle guided", "generate", TWO, "dpmpp_2m_sde", "trailing", 5, 21, "whole", SDE),
    # Keras, float32: every solver.
    "keras ddpm": ("keras/plain", "generate", TWO, "ddpm", "trailing", 4, 1, "whole", SMALL),
    "keras ddpm large": ("keras/plain", "generate", TWO, "ddpm", "leading", 4, 1, "whole", dict(variance="large")),
    "keras ddpm learned": (
        "keras/learned", "predict_frames", PAST, "ddpm", "trailing", 4, 2, "whole", dict(variance="learned")
    ),
    "keras ddim on learned": ("keras/learned", "generate", TWO, "ddim", "trailing", 4, 2, "whole", ODE),
    "keras ddim": ("keras/plain", "predict_frames", PAST, "ddim", "trailing", 4, 3, "whole", dict(eta=0.7)),
    "keras consistency": ("keras/plain", "generate", TWO, "consistency", "trailing", 4, 14, "whole", {}),
    "keras euler": ("keras/plain", "generate", TWO, "euler", "linspace", 4, 4, "whole", {}),
    "keras euler_ancestral": (
        "keras/plain", "predict_frames", PAST_1, "euler_ancestral", "trailing", 4, 5, "whole", {}
    ),
    "keras heun": ("keras/plain", "interpolate", GAP, "heun", "karras", 8, 6, "whole", {}),
    "keras edm": ("keras/plain", "generate", TWO, "edm", "karras", 8, 7, "whole", EDM),
    "keras dpm_2": ("keras/plain", "generate", TWO, "dpm_2", "uniform_logsnr", 8, 8, "whole", {}),
    "keras dpmpp_2m": ("keras/plain", "predict_frames", PAST_BYTES, "dpmpp_2m", "trailing", 4, 9, "whole", {}),
    "keras dpmpp_2m_sde": ("keras/plain", "predict_frames", PAST, "dpmpp_2m_sde", "trailing", 4, 10, "whole", SDE),
    "keras dpmpp_3m": ("keras/plain", "generate", TWO, "dpmpp_3m", "uniform_logsnr", 5, 11, "whole", {}),
    "keras dpmpp_3m_sde": ("keras/plain", "generate", TWO, "dpmpp_3m_sde", "linspace", 5, 12, "whole", dict(eta=0.5)),
    "keras deis": ("keras/plain", "generate", TWO, "deis", "trailing", 5, 13, "whole", dict(order=3)),
    "keras unipc": (
        "keras/plain", "predict_frames", PAST, "unipc", "trailing", 5, 14, "whole", dict(order=2, variant="bh2")
    ),
    "keras unipc 3 bh1": (
        "keras/plain", "generate", TWO, "unipc", "trailing", 5, 14, "whole", dict(order=3, variant="bh1")
    ),
    # Predictions and schedules.
    "keras eps": ("keras/plain eps linear", "generate", TWO, "ddim", "trailing", 4, 1, "whole", dict(eta=0.2)),
    "keras x0": ("keras/plain x0 sigmoid", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 2, "whole", {}),
    "keras flow": ("keras/plain flow", "generate", TWO, "dpmpp_2m", "trailing", 4, 3, "whole", {}),
    "keras edm levels": ("keras/plain edm karras", "generate", TWO, "edm", "karras", 4, 4, "whole", EDM),
    "keras zero terminal": ("keras/plain zero terminal", "generate", TWO, "ddim", "trailing", 4, 5, "whole", ODE),
    "keras shifted": ("keras/plain shifted", "generate", TWO, "dpmpp_2m_sde", "trailing", 4, 6, "whole", SDE),
    "keras own timesteps": ("keras/plain", "generate", TWO, "ddim", [990, 610, 300, 20], 4, 7, "whole", ODE),
    # Masks, tasks and plans.
    "keras odd mask": (
        "keras/plain", "infill", dict(clip=Clip(4), known=known(".#.#")), "dpmpp_2m_sde", "trailing", 4, 8, "whole", SDE
    ),
    "keras mask a clip": (
        "keras/plain", "infill", dict(clip=Clip(5), known=known("#..#. ...##")), "ddpm", "trailing", 4, 9,
        "whole", SMALL
    ),
    "keras fewer frames": (
        "keras/plain", "generate", dict(num_clips=2, num_frames=2), "ddim", "trailing", 4, 10, "whole", ODE
    ),
    "keras more frames": (
        "keras/plain", "interpolate", dict(**GAP, num_frames=4), "ddim", "trailing", 4, 11, "whole", ODE
    ),
    "keras frame rate": (
        "keras/plain", "increase_frame_rate", dict(clip=Clip(4), factor=2), "dpmpp_2m", "trailing", 4, 12,
        "frame_rate", {}
    ),
    "keras autoregressive": ("keras/plain", "rollout", LONG_PAST, "dpmpp_2m_sde", "trailing", 4, 13, AUTO, SDE),
    "keras autoregressive alone": ("keras/plain", "rollout", LONG, "ddim", "trailing", 4, 14, AUTO_1, dict(eta=0.4)),
    "keras hierarchical": ("keras/told", "rollout", LONG_PAST, "dpmpp_2m", "trailing", 4, 15, FAR, {}),
    "keras hierarchy_2": ("keras/told", "rollout", LONG, "ddpm", "trailing", 4, 16, FAR_2, SMALL),
    "keras rolling": ("keras/context", "rollout", LONG_PAST, "dpmpp_2m_sde", "trailing", 6, 17, ROLL, SDE),
    "keras rolling with memory": ("keras/context", "rollout", LONG, "deis", "trailing", 6, 18, ROLL, dict(order=3)),
    "keras context noise": (
        "keras/context", "rollout", LONG_PAST, "dpmpp_2m", "trailing", 4, 19, AUTO, dict(context_noise=0.15)
    ),
    "keras context noise in a clip": (
        "keras/context", "predict_frames", PAST, "ddim", "trailing", 4, 20, "whole", dict(context_noise=0.1, eta=0.0)
    ),
    "keras context noise, rolling": (
        "keras/context", "rollout", LONG_PAST, "ddpm", "trailing", 6, 21, ROLL, dict(context_noise=0.1, **SMALL)
    ),
    "keras batches": (
        "keras/plain", "generate", dict(num_clips=5), "ddpm", "trailing", 4, 22, "whole", dict(batch_size=2, **SMALL)
    ),
    "keras batches rolled out": (
        "keras/plain", "rollout", dict(num_frames=7, past=Clip(2, batch=3)), "ddim", "trailing", 3, 23, AUTO,
        dict(batch_size=2, eta=1.0)
    ),
    "keras mask a clip in batches": (
        "keras/plain", "infill", dict(clip=Clip(4, batch=3), known=known("#... .##. ...#")), "ddim", "trailing", 3, 23,
        "whole", dict(batch_size=2, eta=1.0)
    ),
    "keras first sample": (
        "keras/plain", "generate", TWO, "ddpm", "trailing", 4, 22, "whole", dict(first_sample=3, **SMALL)
    ),
    # Conditions and guidance.
    "keras untold": ("keras/told", "generate", TWO, "ddim", "trailing", 4, 1, "whole", ODE),
    "keras class": ("keras/told", "generate", TWO, "ddim", "trailing", 4, 1, "whole", dict(conditions=DIGIT, **ODE)),
    "keras vector": ("keras/told", "generate", TWO, "ddim", "trailing", 4, 1, "whole", dict(conditions=TEXT, **ODE)),
    "keras frame vectors": (
        "keras/told", "predict_frames", PAST, "ddim", "trailing", 4, 2, "whole", dict(conditions=ACTIONS, **ODE)
    ),
    "keras frame times": (
        "keras/told", "predict_frames", PAST, "ddim", "trailing", 4, 2, "whole", dict(conditions=TIMES, **ODE)
    ),
    "keras all conditions": (
        "keras/told", "generate", TWO, "dpmpp_2m_sde", "trailing", 4, 3, "whole",
        dict(conditions={**ALL, **TIMES}, **SDE)
    ),
    "keras conditions rolled out": (
        "keras/told", "rollout", LONG_PAST, "dpmpp_2m", "trailing", 4, 4, AUTO, dict(conditions=ALL_9)
    ),
    "keras conditions far apart": (
        "keras/told", "rollout", LONG_PAST, "ddim", "trailing", 3, 4, FAR_2, dict(conditions=ALL_9, guidance=1.5, **ODE)
    ),
    "keras guidance": (
        "keras/told", "generate", TWO, "dpmpp_2m", "trailing", 4, 5, "whole", dict(conditions=ALL, guidance=2.5)
    ),
    "keras guidance a clip": (
        "keras/told", "generate", TWO, "ddpm", "trailing", 4, 5, "whole",
        dict(conditions=DIGITS, guidance=np.array([1.0, 3.0]), **SMALL)
    ),
    "keras guidance 0": (
        "keras/told", "generate", TWO, "ddim", "trailing", 4, 5, "whole", dict(conditions=DIGITS, guidance=0.0, **ODE)
    ),
    "keras guidance interval": (
        "keras/told", "predict_frames", PAST, "ddim", "trailing", 5, 6, "whole",
        dict(conditions=DIGITS, guidance=3.0, guidance_interval=(0.3, 0.8), **ODE)
    ),
    "keras guidance rescale": (
        "keras/told", "generate", TWO, "ddim", "trailing", 4, 7, "whole",
        dict(conditions=ALL, guidance=3.0, guidance_rescale=0.7, **ODE)
    ),
    "keras guidance in batches": (
        "keras/told", "generate", dict(num_clips=3), "ddim", "trailing", 4, 8, "whole",
        dict(conditions={"digit": np.array([0, 1, 2])}, guidance=np.array([1.0, 2.0, 3.0]), batch_size=2, **ODE)
    ),
    "keras low resolution": (
        "keras/large", "generate", TWO, "ddim", "trailing", 3, 9, "whole",
        dict(conditions={"small": Clip(4, shrink=2)}, augmentation=0.0, **ODE)
    ),
    "keras low resolution augmented": (
        "keras/large", "generate", TWO, "ddim", "trailing", 3, 9, "whole",
        dict(conditions={"small": Clip(4, shrink=2)}, augmentation=0.2, guidance=1.5, **ODE)
    ),
    # What samplers are made of: cascades, autoguidance, reconstruction, other networks.
    "cascade spatial": ("cascade spatial", "generate", TWO, "ddim", "trailing", 3, 1, "whole", ODE),
    "cascade rolled along": (
        "cascade clean", "generate", dict(num_clips=1, num_frames=6), "ddim", "trailing", 3, 2, "whole", dict(eta=1.0)
    ),
    "cascade temporal": ("cascade temporal", "generate", TWO, "dpmpp_2m_sde", "trailing", 3, 3, "whole", SDE),
    "cascade predicts": (
        "cascade temporal", "predict_frames", dict(past=Clip(2, batch=1)), "ddim", "trailing", 3, 4, "whole", ODE
    ),
    "autoguidance": ("autoguided", "generate", TWO, "dpmpp_2m", "trailing", 4, 5, "whole", {}),
    "autoguidance interval": ("autoguided interval", "predict_frames", PAST, "ddim", "trailing", 5, 6, "whole", ODE),
    "reconstruction": ("reconstruction", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 7, "whole", {}),
    "replacement": ("replacement", "interpolate", GAP, "ddpm", "trailing", 4, 8, "whole", SMALL),
    "keras factorised": (
        "keras/rgb eps linear", "predict_frames", dict(past=Clip(1)), "ddim", "trailing", 3, 9, "whole", ODE
    ),
    # Lower precisions of Keras.
    "keras float16": ("keras/plain float16", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "keras bfloat16": ("keras/plain bfloat16", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    # Exported files, as version 0.1.0 wrote them.
    "onnx": ("onnx/plain/denoiser.onnx", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "onnx ddpm": ("onnx/plain/denoiser.onnx", "generate", TWO, "ddpm", "trailing", 4, 2, "whole", SMALL),
    "onnx odd mask": (
        "onnx/plain/denoiser.onnx", "infill", dict(clip=Clip(5), known=known("#..#. ...##")), "unipc", "trailing", 4, 3,
        "whole", dict(order=2, variant="bh2")
    ),
    "onnx rolled out": ("onnx/plain/denoiser.onnx", "rollout", LONG_PAST, "dpmpp_2m_sde", "trailing", 3, 4, AUTO, SDE),
    "onnx rolling": ("onnx/plain/denoiser.onnx", "rollout", LONG, "deis", "trailing", 6, 5, ROLL, dict(order=3)),
    "onnx frame rate": (
        "onnx/plain/denoiser.onnx", "increase_frame_rate", dict(clip=Clip(3), factor=3), "heun", "karras", 8, 6,
        "frame_rate", {}
    ),
    "onnx context noise": (
        "onnx/plain/denoiser.onnx", "rollout", LONG_PAST, "ddim", "trailing", 3, 7, AUTO, dict(context_noise=0.1, **ODE)
    ),
    "onnx batches": (
        "onnx/plain/denoiser.onnx", "generate", dict(num_clips=5), "ddim", "trailing", 3, 8, "whole",
        dict(batch_size=2, first_sample=7, eta=1.0)
    ),
    "onnx device loop": (
        "onnx-device-loop/plain/denoiser.onnx", "predict_frames", PAST, "dpmpp_2m_sde", "trailing", 4, 9, "whole", SDE
    ),
    "onnx device loop rolled out": (
        "onnx-device-loop/plain/denoiser.onnx", "rollout", LONG_PAST, "dpmpp_3m", "trailing", 4, 9, AUTO, {}
    ),
    "onnx guidance": (
        "onnx/told/denoiser.onnx", "generate", TWO, "dpmpp_2m", "trailing", 4, 10, "whole",
        dict(conditions=ALL, guidance=2.5)
    ),
    "onnx guidance interval, rescaled": (
        "onnx/told/denoiser.onnx", "predict_frames", PAST, "ddim", "trailing", 5, 11, "whole",
        dict(conditions=ALL, guidance=np.array([1.0, 3.0]), guidance_interval=(0.3, 0.8), guidance_rescale=0.5, **ODE)
    ),
    "onnx hierarchical": (
        "onnx/told/denoiser.onnx", "rollout", LONG_PAST, "ddpm", "trailing", 3, 12, FAR, dict(conditions=ALL_9, **SMALL)
    ),
    "onnx float16": (
        "onnx/plain/denoiser.float16.onnx", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}
    ),
    "onnx bfloat16": (
        "onnx/plain/denoiser.bfloat16.onnx", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}
    ),
    "onnx int8": ("onnx/plain/denoiser.int8.onnx", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "fused": ("fused/plain/sampler.onnx", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "fused ddpm": ("fused/plain/sampler.onnx", "generate", TWO, "ddpm", "trailing", 4, 2, "whole", SMALL),
    "fused odd mask": (
        "fused/plain/sampler.onnx", "infill", dict(clip=Clip(4), known=known(".#.#")), "edm", "karras", 8, 3,
        "whole", EDM
    ),
    "fused rolled out": ("fused/plain/sampler.onnx", "rollout", LONG_PAST, "dpmpp_2m_sde", "trailing", 3, 4, AUTO, SDE),
    "fused rolling": ("fused/plain/sampler.onnx", "rollout", LONG, "deis", "trailing", 6, 5, ROLL, dict(order=3)),
    "fused guidance": (
        "fused/told/sampler.onnx", "predict_frames", PAST, "ddim", "trailing", 5, 11, "whole",
        dict(conditions=ALL, guidance=np.array([1.0, 3.0]), guidance_interval=(0.3, 0.8), guidance_rescale=0.5, **ODE)
    ),
    "fused hierarchical": (
        "fused/told/sampler.onnx", "rollout", LONG_PAST, "dpmpp_2m", "trailing", 3, 12, FAR, dict(conditions=ALL_9)
    ),
    "litert": ("litert/plain/denoiser.tflite", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "litert rolled out": (
        "litert/plain/denoiser.tflite", "rollout", dict(num_frames=8, past=Clip(2)),
        "ddpm", "trailing", 3, 4, AUTO, SMALL
    ),
    "litert float16": (
        "litert/plain/denoiser.float16.tflite", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}
    ),
    "litert int8": (
        "litert/plain/denoiser.int8.tflite", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}
    ),
    "litert int8-weights": (
        "litert/plain/denoiser.int8-weights.tflite", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}
    ),
    "saved model": ("saved-model/plain/served/1", "predict_frames", PAST, "dpmpp_2m", "trailing", 4, 1, "whole", {}),
    "saved model ddpm": ("saved-model/plain/served/1", "generate", TWO, "ddpm", "trailing", 4, 2, "whole", SMALL),
    "saved model too many calls": ("saved-model/plain/served/1", "generate", TWO, "heun", "karras", 8, 6, "whole", {}),
    "saved model rolled out": (
        "saved-model/plain/served/1", "rollout", dict(num_frames=8, past=Clip(2)),
        "dpmpp_2m_sde", "trailing", 3, 4, AUTO, SDE
    ),
    "saved model rolling": (
        "saved-model/plain/served/1", "rollout", dict(num_frames=9, num_clips=2),
        "deis", "trailing", 6, 5, ROLL, dict(order=3)
    ),
}
# fmt: on
CALLS = {name: Call(*columns) for name, columns in _CALLS.items()}

# The variational bound. name: (sampler, frames of the clips, options)
BOUNDS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "bits per dim, oracle": ("oracle short", 5, dict(variance="small", seed=1)),
    "bits per dim, oracle, given the past": ("oracle short", 5, dict(known=known("##..."), variance="large", seed=2)),
    "bits per dim, keras": ("keras/plain 20", 4, dict(known=known("#..."), variance="small", seed=3)),
    "bits per dim, learned variance": ("keras/learned 20", 4, dict(variance="learned", seed=4)),
}

# The exact distribution of what a solver makes. name: (solver, spacing, num_steps, options)
PUSHED: dict[str, tuple[str, Any, int, dict[str, Any]]] = {
    "pushed through ddpm": ("ddpm", "trailing", 10, SMALL),
    "pushed through heun": ("heun", "karras", 10, {}),
    "pushed through dpmpp_3m": ("dpmpp_3m", "trailing", 10, {}),
    "pushed through dpmpp_2m_sde": ("dpmpp_2m_sde", "linspace", 10, SDE),
    "pushed through unipc": ("unipc", "leading", 10, dict(order=3, variant="bh2")),
}

# A solver's coefficients. name: (solver, spacing, num_steps, schedule, prediction, options)
TABLES: dict[str, tuple[Any, ...]] = {
    "table ddpm": ("ddpm", "trailing", 9, "cosine", "v", SMALL),
    "table ddpm learned": ("ddpm", "linspace", 9, "linear", "eps", dict(variance="learned")),
    "table consistency": ("consistency", "trailing", 9, "cosine", "v", {}),
    "table ddim": ("ddim", "leading", 9, "scaled_linear", "eps", dict(eta=0.3)),
    "table euler": ("euler", "trailing", 9, "flow", "flow", {}),
    "table euler_ancestral": ("euler_ancestral", "trailing", 9, "sigmoid", "x0", {}),
    "table heun": ("heun", "karras", 9, "karras", "edm", {}),
    "table edm": ("edm", "karras", 9, "karras", "edm", EDM),
    "table dpm_2": ("dpm_2", "uniform_logsnr", 9, "cosine", "v", {}),
    "table dpmpp_2m": ("dpmpp_2m", "trailing", 9, "cosine", "v", {}),
    "table dpmpp_2m_sde": ("dpmpp_2m_sde", "trailing", 9, "logsnr", "v", SDE),
    "table dpmpp_3m": ("dpmpp_3m", "uniform_logsnr", 9, "cosine", "x0", {}),
    "table dpmpp_3m_sde": ("dpmpp_3m_sde", "linspace", 9, "cosine", "v", dict(eta=0.5)),
    "table deis": ("deis", "trailing", 9, "cosine", "v", dict(order=4)),
    "table unipc": ("unipc", "trailing", 9, "flow", "flow", dict(order=3, variant="bh1")),
    "table of own timesteps": ("ddim", [900, 500, 77, 3], 4, "cosine", "v", ODE),
}
