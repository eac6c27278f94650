"""Forecasts that need no trained model: persistence, and pysteps' extrapolation and STEPS.

Each is a function of (past [cases, past, height, width, channels], frames to come, members, seed) that returns
[members, cases, frames to come, height, width, channels]. Pixels that the past misses are taken for its smallest
number, but persistence repeats them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Callable
from typing import Any

import numpy as np

Baseline = Callable[[np.ndarray, int, int, int], np.ndarray]


def persistence(past: np.ndarray, future: int, members: int = 1, seed: int = 0) -> np.ndarray:
    """The last frame over again, one member."""
    return np.repeat(past[None, :, -1:], future, axis=2)


def extrapolation(past: np.ndarray, future: int, members: int = 1, seed: int = 0) -> np.ndarray:
    """The last frame carried on by the motion of the past: Lucas & Kanade, then semi-Lagrangian. One member.

    Needs pysteps and OpenCV: pip install "keras-video-diffusion[verification]".
    """
    from pysteps import extrapolation as of_pysteps

    carry = of_pysteps.get_method("semilagrangian")

    def of_field(field: np.ndarray) -> np.ndarray:
        return carry(field[-1], _motion(field), future, outval=float(field.min()))

    return _each_field(of_field, past)[None]


def steps(past: np.ndarray, future: int, members: int = 20, seed: int = 0) -> np.ndarray:
    """The short-term ensemble prediction system (Bowler et al. 2006; Pulkkinen et al. 2019), without a rain threshold.

    Needs pysteps, OpenCV and fields of 32 pixels or more a side.
    """
    from pysteps import nowcasts

    cast = nowcasts.get_method("steps")

    def of_field(field: np.ndarray) -> np.ndarray:
        levels = max(int(np.log2(min(field.shape[1:]))) - 1, 2)
        how: dict[str, Any] = dict(n_cascade_levels=levels, mask_method=None, probmatching_method=None, seed=seed)
        how |= dict(vel_pert_method=None, noise_method="nonparametric", precip_thr=float(field.min()))
        with contextlib.redirect_stdout(io.StringIO()):
            made = cast(field[-3:], _motion(field), future, n_ens_members=members, **how)
        return np.nan_to_num(made, nan=float(field.min()))  # What flows in is not known.

    return np.moveaxis(_each_field(of_field, past), 1, 0)


BASELINES: dict[str, Baseline] = {"persistence": persistence, "extrapolation": extrapolation, "steps": steps}
"""By name."""


def installed_baselines(frame_shape: tuple[int, int, int]) -> list[str]:
    """Those whose packages are installed and that take frames of this shape."""
    if not all(importlib.util.find_spec(package) for package in ("pysteps", "cv2")):
        return ["persistence"]
    return ["persistence", "extrapolation", *(["steps"] if min(frame_shape[:2]) >= 32 else [])]


def _motion(field: np.ndarray) -> np.ndarray:
    """Pixels a frame, [2, height, width]."""
    from pysteps import motion

    with contextlib.redirect_stdout(io.StringIO()):
        return motion.get_method("LK")(field.astype(np.float64))


def _each_field(function: Callable[[np.ndarray], np.ndarray], past: np.ndarray) -> np.ndarray:
    """`function` of every case's and channel's frames [past, height, width]: [cases, …, channels]."""
    past = np.where(np.isnan(past), np.nanmin(past, axis=(1, 2, 3), keepdims=True), past)
    return np.stack([np.stack([function(case[..., c]) for c in range(case.shape[-1])], axis=-1) for case in past])
