"""Averaged weights whose length is chosen after training (Karras et al. 2024, arXiv:2312.02696, section 3).

A power-function average weighs the weights of step tau, seen from step t, by

    p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1),      0 <= tau <= t                            (1)

so its length grows with training: its relative standard deviation sigma_rel is the same at every t. It is updated by

    average <- beta average + (1 - beta) weights,        beta = (t' / t)^(gamma + 1)              (2)

where t' is the step before. Snapshots of two such averages, stored now and then, span a space in which every other
profile is nearly contained; the coefficients of the nearest are those of a least-squares fit of profiles, whose scalar
products are, for t_i <= t_j,

    <p_i, p_j> = (gamma_i + 1) (gamma_j + 1) / ((gamma_i + gamma_j + 1) t_j) (t_i / t_j)^gamma_j  (3)
"""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.training.checkpoint_file import (
    DamagedCheckpointError,
    TrainingState,
    read_checkpoint,
    write_checkpoint,
)
from kvdiff.training.environment import warning_if_unwritten
from kvdiff.training.replicas import updates_done

_MAX_SIGMA_REL = 12.0**-0.5  # Of gamma = 0, the plain mean of all steps.
_NAME = re.compile(r"ema-(\d{10})\.npz")


def profile_power(sigma_rel: float) -> float:
    """The gamma of relative standard deviation `sigma_rel`, in (0, 0.288): eq. (126) of the paper."""
    check_real("sigma_rel", sigma_rel, above=0.0, below=_MAX_SIGMA_REL)
    # sigma_rel² = (gamma + 1) / ((gamma + 2)² (gamma + 3)), a cubic equation.
    roots = np.roots([1.0, 7.0, 16.0 - sigma_rel**-2, 12.0 - sigma_rel**-2])
    return float(max(root.real for root in roots))


def profile_coefficients(steps: np.ndarray, powers: np.ndarray, step: int, power: float) -> np.ndarray:
    """How to mix snapshots so that their profile is nearest to that of (step, power), in the sense of (3).

    Coefficients that sum to 1, unlike the paper's: however few the snapshots, weights that stood still come out right.

    Args:
        steps, powers: t and gamma of the snapshots, [n].
        step, power: of the profile that is wanted.

    Returns:
        float64 [n], of sum 1.
    """
    steps, powers = np.asarray(steps, np.float64), np.asarray(powers, np.float64)
    products = _products(steps[:, None], powers[:, None], steps, powers)
    wanted = _products(steps, powers, float(step), power)
    ones = np.ones((len(steps), 1))
    system = np.block([[products, ones], [ones.T, 0.0]])  # The last unknown is the constraint's multiplier.
    return np.linalg.lstsq(system, np.append(wanted, 1.0), rcond=None)[0][:-1]


class PostHocEMA(keras.callbacks.Callback):
    """Keeps two power-function averages of the weights, and snapshots of them from which others are computed.

    ```python
    ema = kvdiff.training.PostHocEMA("runs/mine/ema", every=1000)
    model.fit(…, callbacks=[ema])
    kvdiff.training.assign_ema(model, "runs/mine/ema", sigma_rel=0.07)
    ```

    Independent of an optimizer's `use_ema`. Give it to a `TrainingCheckpoint` too. A snapshot holds two sets of
    weights; some tens over a training are enough.

    Args:
        folder: of the snapshots; created if need be.
        every: updates between snapshots. The last step of `fit` is always one.
        sigma_rels: relative standard deviations of the two averages.
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, every: int, sigma_rels: Sequence[float] = (0.05, 0.10)
    ) -> None:
        super().__init__()
        self.folder = pathlib.Path(folder)
        self.every = check_count("every", every)
        if not isinstance(sigma_rels, (tuple, list)) or not sigma_rels:
            raise TypeError(f"`sigma_rels`: expected a list of them, e.g. (0.05, 0.10). Received: {sigma_rels!r}")
        self.powers = [profile_power(sigma_rel) for sigma_rel in sigma_rels]
        self._step = 0
        self._averages: list[list[keras.Variable]] = []

    def get_state(self) -> dict[str, Any]:
        """The averages so far."""
        arrays = [[ops.convert_to_numpy(variable) for variable in average] for average in self._averages]
        return {"step": self._step, "averages": arrays}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._step = state["step"]
        for average, arrays in zip(self._averages, state["averages"], strict=True):
            for variable, array in zip(average, arrays, strict=True):
                variable.assign(array)

    def on_train_begin(self, logs: Any = None) -> None:
        """Make the averages, with their first call to come."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self._averages:
            weights = self.model.trainable_variables
            zeros = [[np.zeros(w.shape, np.float32) for w in weights] for _ in self.powers]
            self._averages = [[keras.Variable(array, trainable=False) for array in average] for average in zeros]
        self._update = _compiled(self._assign)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Update the averages, once an update of the weights."""
        step, before = updates_done(self.model), self._step
        if step <= before:  # Gradients were accumulated, or overflowed: the weights are what they were.
            return
        self._update([ops.convert_to_tensor((before / step) ** (power + 1.0), "float32") for power in self.powers])
        self._step = step
        if step // self.every > before // self.every:
            self._snapshot()

    def on_train_end(self, logs: Any = None) -> None:
        """Store the last snapshot."""
        if self._step:
            self._snapshot()

    def _assign(self, betas: list[Any]) -> None:
        for beta, average in zip(betas, self._averages, strict=True):
            for mean, weight in zip(average, self.model.trainable_variables, strict=True):
                value = ops.cast(weight, "float32")
                mean.assign(value + beta * (mean - value))

    def _snapshot(self) -> None:
        state = self.get_state()
        arrays = {
            f"{i}/{k:04d}": array for i, average in enumerate(state["averages"]) for k, array in enumerate(average)
        }
        facts = {"step": self._step, "powers": self.powers}
        with warning_if_unwritten(f"snapshot of step {self._step}"):
            write_checkpoint(self.folder / f"ema-{self._step:010d}.npz", TrainingState(arrays, facts))


def assign_ema(
    model: keras.Model, folder: str | os.PathLike[str], sigma_rel: float, *, step: int | None = None
) -> keras.Model:
    """Give `model` the average of relative standard deviation `sigma_rel`, computed from `PostHocEMA`'s snapshots.

    Args:
        model: of the trained network.
        folder: with the snapshots.
        sigma_rel: the length of the average, e.g. 0.05: most of its weight lies on the last 5 % or so of the training.
            The snapshots' own lengths and what lies between and around them can be had well.
        step: where the average ends; by default at the last snapshot.

    Returns:
        The model.
    """
    found = [(_NAME.fullmatch(path.name), path) for path in pathlib.Path(folder).glob("ema-*.npz")]
    paths = {int(name[1]): path for name, path in found if name}
    step = max(paths, default=None) if step is None else step
    paths = {number: path for number, path in sorted(paths.items()) if step is not None and number <= step}
    if step is None or not paths:
        raise FileNotFoundError(f"`folder`: expected snapshots of a PostHocEMA. Received: {folder}, which has none")
    powers = read_checkpoint(paths[min(paths)]).facts.get("powers")
    if not isinstance(powers, list) or not powers:
        raise DamagedCheckpointError(paths[min(paths)], f"expected the field `powers`, a list. Received: {powers!r}")
    steps, all_powers = np.repeat(list(paths), len(powers)), np.tile(powers, len(paths))
    coefficients = profile_coefficients(steps, all_powers, step, profile_power(sigma_rel)).reshape(len(paths), -1)
    sums = [np.zeros(variable.shape) for variable in model.trainable_variables]
    for path, shares in zip(paths.values(), coefficients, strict=True):
        arrays = read_checkpoint(path).arrays
        shapes = [list(getattr(arrays.get(f"0/{k:04d}"), "shape", [])) for k in range(len(sums))]
        if shapes != [list(total.shape) for total in sums] or len(arrays) != len(sums) * len(powers):
            raise ValueError(f"`folder`: expected snapshots of this model's weights. Received: {path}, of another's")
        for index, share in enumerate(shares):
            for k, total in enumerate(sums):
                total += share * arrays[f"{index}/{k:04d}"]
    for variable, total in zip(model.trainable_variables, sums, strict=True):
        variable.assign(total.astype(np.float32))
    return model


def _products(t_a: Any, power_a: Any, t_b: Any, power_b: Any) -> Any:
    """Equation (3), for either order of t_a and t_b."""
    later, earlier = np.maximum(t_a, t_b), np.minimum(t_a, t_b)
    exponent = np.where(t_a <= t_b, power_b, power_a)  # That of the later profile.
    return (power_a + 1) * (power_b + 1) / ((power_a + power_b + 1) * later) * (earlier / later) ** exponent


def _compiled(function: Any) -> Any:
    """As one graph on TensorFlow, where a hundred small operations a step would cost more than the step."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, autograph=False)
