"""Exact denoisers and exact samples' statistics, to test a schedule, a solver or a plan without training a network.

For Gaussian clips the best possible denoiser is known and affine, so a sampler is an affine map of its noise:
`push_through` carries the mean and the covariance of the sampler's state through a `StepTable` exactly, with no Monte
Carlo. Mixtures of Gaussians have an exact denoiser too, with several modes. Frames may have different noise levels, so
a known frame (alpha = 1, sigma = 0) conditions the denoiser exactly: the same formula serves generation, prediction and
interpolation.

```python
data = oracle.GaussianClips(mean, covariance)
table = step_table(schedule, prediction, solver="ddim", num_steps=20)
states = oracle.push_through(table, oracle.exact_network(data, prediction), data.mean.shape)
states[-1].mean, states[-1].covariance        # of the clips that this sampler generates
```
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_clip_shape
from kvdiff.diffusion.conditions.kinds import FrameTimes
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling.engine import DenoiserEngine
from kvdiff.diffusion.sampling.exact_data import Affine, ExactDenoiser, GaussianClips, MixtureClips, spread_over_pixels
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.codec import Codec
from kvdiff.diffusion.transforms.values import Unbounded

__all__ = ["ExactDenoiser", "GaussianClips", "MixtureClips", "OracleSampler", "exact_network", "push_through"]


def exact_network(data: GaussianClips, prediction: Prediction) -> Callable[[Any, Any, Any], Affine]:
    """The raw output F of a perfectly trained network, E[p x_0 + q eps | x_t] with (p, q) of equation (6).

    Returns:
        A function (c_in, alpha, sigma), each broadcastable to [frames], -> (W [n, n], w [n]) with F = W (c_in x) + w.
        On known frames (sigma = 0) F is 0; no table reads it there.
    """

    def network(c_in: Any, alpha: Any, sigma: Any) -> Affine:
        c_in, a, s = (spread_over_pixels(value, data.mean.shape) for value in (c_in, alpha, sigma))
        noisy = s > 0
        p, q = np.zeros_like(a), np.zeros_like(a)
        p[noisy], q[noisy] = prediction.target_coefficients(a[noisy], s[noisy])
        inverse = np.divide(q, s, out=np.zeros_like(s), where=noisy)  # eps = (x_t - alpha x_0) / sigma.
        matrix, offset = data.affine(alpha, sigma)
        signal = p - inverse * a
        return (signal[:, None] * matrix + np.diag(inverse)) / c_in, signal * offset

    return network


def push_through(
    table: StepTable,
    network: Callable[[Any, Any, Any], Affine],
    clip_shape: Sequence[int],
    clip: np.ndarray | None = None,
) -> list[GaussianClips]:
    """The exact distribution of a sampler's state before every row of `table` and after the last: num_steps + 1.

    The state is augmented by the remembered predictions, so that multistep solvers are affine maps as well.

    Args:
        table: of trailing shape (1,) or (frames,): where some frames are known, `table.with_known(known)`.
        network: the raw network as an affine function, e.g. `exact_network(data, prediction)`.
        clip_shape: (frames, height, width, channels).
        clip: the known frames' pixels, of clip_shape; needed where a table has known frames.
    """
    check_clip_shape("clip_shape", clip_shape)
    shape, n, memory = tuple(clip_shape), int(np.prod(clip_shape)), table.memory
    known = spread_over_pixels(table.sigma[0], shape) == 0
    if known.any() and clip is None:
        raise ValueError("`clip`: expected the known frames' pixels, for `table` has known frames. Received: None")
    mean, covariance = np.zeros(memory * n), np.zeros((memory * n, memory * n))
    mean[:n] = 0.0 if clip is None else np.where(known, np.ravel(clip), 0.0)
    covariance[:n, :n] = np.diag(np.where(known, 0.0, table.init_std**2))
    states = [GaussianClips(mean[:n].reshape(shape), covariance[:n, :n])]
    for i in range(table.num_steps):
        matrix, offset, variance = _row_map(table, i, network, shape)
        mean = matrix @ mean + offset
        covariance = matrix @ covariance @ matrix.T
        covariance[:n, :n] += np.diag(variance)
        states.append(GaussianClips(mean[:n].reshape(shape), covariance[:n, :n]))
    return states


def _row_map(table: StepTable, i: int, network: Callable, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """Row i of `table` as (matrix, offset, variance of x) on the state (x, D_{i-1}, …, D_{i-K+1})."""
    n, memory = int(np.prod(shape)), table.memory
    c_in, c_skip, c_out, a, std = (
        spread_over_pixels(getattr(table, k)[i], shape) for k in ("c_in", "c_skip", "c_out", "a", "std")
    )
    weights, offsets = network(table.c_in[i], table.alpha[i], table.sigma[i])
    predicted = np.diag(c_skip) + (c_out[:, None] * weights) * c_in  # D_i as a map of x.
    predicted_offset = c_out * offsets
    matrix, offset = np.zeros((memory * n, memory * n)), np.zeros(memory * n)
    b = [spread_over_pixels(table.b[i, k], shape) for k in range(memory)]
    matrix[:n, :n] = np.diag(a) + b[0][:, None] * predicted
    offset[:n] = b[0] * predicted_offset
    for k in range(1, memory):
        block = slice(k * n, (k + 1) * n)
        matrix[:n, block] = np.diag(b[k])
        if k == 1:
            matrix[block, :n], offset[block] = predicted, predicted_offset
        else:
            matrix[block, (k - 1) * n : k * n] = np.eye(n)
    return matrix, offset, std**2


def OracleSampler(
    data: ExactDenoiser, clip: ClipSpec, schedule: NoiseSchedule, prediction: Prediction, codec: Codec | None = None
) -> Sampler:
    """A sampler around an exact denoiser: every task, solver and schedule, without training.

    Works in float64 and does not clamp, for Gaussian pixels have no bounds.

    Args:
        data: what the clips are drawn from; with a codec, the latent clips. Gaussian data may be of more frames than
            the clip: its frames are those of the condition "frame_times".
        clip, schedule, prediction, codec: as of a trained model's spec.
    """
    times = {"frame_times": FrameTimes()} if isinstance(data, GaussianClips) else {}
    spec = ModelSpec(clip, schedule, prediction, Unbounded(), codec, times)

    def denoise(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
        """The raw output F of a perfectly trained network, which knows the noise level by its label alone."""
        here = data
        if inputs and isinstance(data, GaussianClips):
            here = data.of_frames(inputs["frame_times"][0].astype(int))
        out = np.empty(noisy_clip.shape)
        labels, group = np.unique(noise_label, axis=0, return_inverse=True)
        for index, label in enumerate(labels):
            of_group = group.ravel() == index
            out[of_group] = _raw_output(spec, here, noisy_clip[of_group], label)
        return out

    def pullback(
        noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Mapping[str, np.ndarray], u: np.ndarray
    ) -> np.ndarray:
        """u dF / d noisy_clip, for F is affine."""
        assert isinstance(data, GaussianClips)
        here = data.of_frames(inputs["frame_times"][0].astype(int)) if inputs else data
        pulled = np.empty(noisy_clip.shape)
        labels, group = np.unique(noise_label, axis=0, return_inverse=True)
        for index, label in enumerate(labels):
            of_group, column = group.ravel() == index, _columns(spec, label)
            u_0 = np.where(label[:, None, None, None] > 0, u[of_group] / column["c_out"], 0.0)
            through = u_0.reshape(len(u_0), -1) @ here.affine(*spec.schedule.level_of_label(label))[0]
            pulled[of_group] = (through.reshape(u_0.shape) - column["c_skip"] * u_0) / column["c_in"]
        return pulled

    gradient = pullback if isinstance(data, GaussianClips) else None
    return Sampler(spec, DenoiserEngine(denoise, pullback=gradient), np.float64)


def _raw_output(spec: ModelSpec, data: ExactDenoiser, noisy_clip: np.ndarray, label: np.ndarray) -> np.ndarray:
    """F at one label per frame, [frames]; 0 on clean frames."""
    alpha, sigma = spec.schedule.level_of_label(label)
    column = _columns(spec, label)
    x = noisy_clip / column["c_in"]
    raw = (data.denoise(x, alpha, sigma) - column["c_skip"] * x) / column["c_out"]
    return np.where(label[:, None, None, None] > 0, raw, 0.0)


def _columns(spec: ModelSpec, label: np.ndarray) -> dict[str, np.ndarray]:
    """c_in, c_skip and c_out at one label per frame, [frames, 1, 1, 1]; 1 on clean frames."""
    noisy = label > 0
    alpha, sigma = spec.schedule.level_of_label(label)
    row = spec.prediction.preconditioning(alpha[noisy], sigma[noisy])
    column = {k: np.ones((len(label), 1, 1, 1)) for k in ("c_in", "c_skip", "c_out")}
    for name, values in column.items():
        values[noisy, 0, 0, 0] = getattr(row, name)
    return column
