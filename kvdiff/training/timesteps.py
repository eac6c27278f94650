"""Which timesteps training draws, as variables, so that they may change between epochs without a new trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.process.timestep_sampling import TimestepDistribution, by_loss, timestep_distribution, uniform


class TimestepDraw:
    """Draws timesteps from uniform numbers, and says by what to weigh their losses.

    Not saved with the model: the distribution follows from the configuration, or is measured anew.

    Args:
        schedule: the noise levels of training.
        choice: `{"name": "uniform"}` or another name of `timestep_distribution`, with its options.
    """

    def __init__(self, schedule: NoiseSchedule, choice: Mapping[str, Any]) -> None:
        distribution = timestep_distribution(schedule, **choice)
        # A chosen distribution means to change the loss; one found by importance sampling means not to.
        self._edges = keras.Variable(distribution.edges, trainable=False, dtype="float32", name="timestep_edges")
        weights = np.ones(schedule.num_timesteps)
        self._importance = keras.Variable(weights, trainable=False, dtype="float32", name="timestep_importance")

    @property
    def variables(self) -> list[keras.Variable]:
        """What a training that goes on must find unchanged."""
        return [self._edges, self._importance]

    def __call__(self, uniform_number: Any) -> Any:
        """Timesteps, int32 [batch], from uniform numbers in (0, 1), float32 of any shape."""
        flat = ops.searchsorted(self._edges.value, ops.reshape(uniform_number, (-1,)), side="right")
        return ops.reshape(flat, ops.shape(uniform_number))

    def importance(self, timestep: Any) -> Any:
        """What to multiply the losses of `timestep` with, float32 of its shape."""
        return ops.take(self._importance.value, timestep)

    def assign(self, distribution: TimestepDistribution) -> None:
        """Draw from `distribution` from now on, without changing the mean of the loss."""
        self._edges.assign(distribution.edges)
        self._importance.assign(distribution.importance_weights)


class ImportanceSampling(keras.callbacks.Callback):
    """Draws timesteps in proportion to the root mean square of their losses (Nichol & Dhariwal 2021, section 3.3).

    The losses are measured on the same `clips` before every epoch, at `num_levels` timesteps, and interpolated between
    them; the first epoch draws uniformly, since an untrained network's losses say nothing. For weights that vary much
    with the timestep, such as "variational".

    Args:
        clips: clips to measure on, [batch, *clip_shape].
        num_levels: how many timesteps to measure.

    Raises:
        RuntimeError: Keras computes without TensorFlow, whose compiled step alone sees the distribution change.
    """

    def __init__(self, clips: np.ndarray, num_levels: int = 32) -> None:
        super().__init__()
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(f"ImportanceSampling: expected Keras on TensorFlow. Received: {keras.backend.backend()}")
        if np.ndim(clips) != 5:
            raise ValueError(f"`clips`: expected [batch, *clip_shape]. Received: shape {list(np.shape(clips))}")
        self.clips = clips
        self.num_levels = check_count("num_levels", num_levels)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Measure and assign."""
        draw, total = self.model.timestep_draw, self.model.forward_diffusion.schedule.num_timesteps
        draw.assign(uniform(total))
        if epoch > 0:
            levels = np.unique(np.linspace(0, total - 1, self.num_levels).round().astype(int))
            moments = [np.mean(self._losses(int(t), epoch) ** 2) for t in levels]
            draw.assign(by_loss(np.interp(np.arange(total), levels, moments)))

    def _losses(self, timestep: int, epoch: int) -> np.ndarray:
        """Each clip's weighted loss at one timestep, float64 [batch]."""
        timesteps = ops.full((len(self.clips),), timestep, dtype="int32")
        inputs, target, weight = self.model.noised(ops.convert_to_tensor(self.clips), epoch, timesteps)
        output = self.model(inputs, training=False)
        loss = keras.losses.get(self.model.loss)
        per_pixel = loss.call if isinstance(loss, keras.losses.Loss) else loss
        weighted = ops.convert_to_numpy(per_pixel(target, output) * weight)
        return weighted.reshape(len(self.clips), -1).mean(axis=1).astype(np.float64)
