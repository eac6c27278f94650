"""The Keras samplers: `ClipSampler` with the network call and the table's row compiled into one graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.conditioning import Conditioning, answer
from kvdiff.diffusion.conditions.kinds import Condition
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.process.noise import video_noise
from kvdiff.diffusion.process.predictions import Prediction
from kvdiff.diffusion.process.schedules import NoiseSchedule
from kvdiff.diffusion.sampling.sampler import ClipSampler
from kvdiff.diffusion.solvers.rows import HeldLevel, Row
from kvdiff.diffusion.solvers.step_table import StepTable, step
from kvdiff.diffusion.tasks.plan import Window

__all__ = ["KerasSampler", "ReconstructionSampler"]


class KerasSampler(ClipSampler):
    """Samples with a Keras denoiser; the clip stays on the device between steps.

    Args:
        denoiser: a Keras model of `{"noisy_clip", "noise_label"}`, as `UNet3D` makes.
        clip_spec, schedule, prediction: what the denoiser was trained for.
        clamp: what keeps the predicted x_0 in range, on tensors; by default a clamp to [-1, 1].
        conditions: what the denoiser may be told besides known frames, by name.
    """

    xp = ops

    def __init__(
        self,
        denoiser: keras.Model,
        clip_spec: ClipSpec,
        schedule: NoiseSchedule,
        prediction: Prediction,
        *,
        clamp: Callable[[Any], Any] | None = None,
        conditions: Mapping[str, Condition] | None = None,
    ) -> None:
        super().__init__(clip_spec, schedule, prediction, clamp or (lambda x: ops.clip(x, -1.0, 1.0)), conditions)
        self._denoiser = denoiser
        self._compiled_call = compiled(self._call)
        self._compiled_step = compiled(self._tensor_step)

    def denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> Any:
        """The network's raw output, float32."""
        tensors = {name: ops.convert_to_tensor(value) for name, value in (inputs or {}).items()}
        return self._compiled_call(ops.convert_to_tensor(noisy_clip), ops.convert_to_tensor(noise_label), tensors)

    def _call(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any]) -> Any:
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label, **inputs}
        return ops.cast(self._denoiser(inputs, training=False), "float32")

    def _advance(
        self, row: Row, x: Any, history: tuple[Any, ...], noise: np.ndarray, told: Conditioning
    ) -> tuple[Any, tuple[Any, ...]]:
        noise = ops.convert_to_tensor(np.broadcast_to(noise, x.shape))
        question = (told.inputs, told.guidance, told.rescale)  # A tuple, for what `spread` says of objects.
        return self._compiled_step(type(row), spread(row, x.shape), x, history, noise, question)

    def _tensor_step(
        self,
        row_type: type[Row],
        columns: dict[str, Any],
        x: Any,
        history: tuple[Any, ...],
        noise: Any,
        question: tuple[dict[str, Any], Any, float],
    ) -> Any:
        row, (inputs, guidance, rescale) = row_type(**columns), question
        told = Conditioning(self.conditions, inputs, guidance, rescale=rescale)
        out = answer(ops, self._call, row.c_in * x, row.c_noise[:, :, 0, 0, 0], told)
        return step(row, x, out, history, noise, self.clamp, ops.exp)

    def _to_device(self, array: np.ndarray) -> Any:
        return ops.convert_to_tensor(array)

    def _to_host(self, array: Any) -> np.ndarray:
        return ops.convert_to_numpy(array)


class ReconstructionSampler(KerasSampler):
    """Imposes known frames on a model that was trained without any, by reconstruction guidance. TensorFlow only.

    Known frames carry noise like the others, drawn anew in each row (the replacement method); and because that alone
    does not make the other frames agree with them, the predicted x_0 of the unknown frames descends the known frames'
    error (Ho et al. 2022, arXiv:2204.03458, eq. 7):

        D_unknown <- D_unknown - (weight alpha_t / 2) d|x_0 - D|²_known / d x_t

    A model of this package knows clean frames from training and does better without.

    Args:
        denoiser, clip_spec, schedule, prediction: as for `KerasSampler`.
        weight: w_r, at least 0; 0 is the replacement method, the paper uses 2 and more.
    """

    def __init__(
        self,
        denoiser: keras.Model,
        clip_spec: ClipSpec,
        schedule: NoiseSchedule,
        prediction: Prediction,
        *,
        weight: float = 2.0,
    ) -> None:
        super().__init__(denoiser, clip_spec, schedule, prediction)
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError("ReconstructionSampler: expected the TensorFlow backend, for its gradient.")
        self.weight = check_real("weight", weight, above=0.0, below=np.inf, closed=True)
        self._compiled_guided_step = compiled(self._guided_step)

    def _run(
        self,
        table: StepTable,
        windows: Sequence[Window],
        video: np.ndarray,
        known: np.ndarray,
        seed: int,
        samples: np.ndarray,
        told: Conditioning,
        held: HeldLevel,
        report: Callable[[int], None],
    ) -> np.ndarray:
        """As in `ClipSampler`, with every frame on the row's noise level."""
        if len(windows) > 1 or told.inputs or held.sigma:
            raise ValueError(
                "ReconstructionSampler: expected one window, no conditions and clean known frames. Received: "
                f"{len(windows)} windows, conditions {list(told.inputs)}, known frames at sigma {held.sigma:.2g}"
            )

        def noise(index: int) -> Any:
            return ops.convert_to_tensor(video_noise(seed, index, samples, video.shape[1:]))

        given = known[:, :, None, None, None]
        x, history = table.init_std * noise(0), tuple(ops.zeros(video.shape) for _ in range(table.memory))
        for index, row in enumerate(table.rows()):
            level = [np.float32(column[index, 0]) for column in (table.alpha, table.sigma)]
            x = ops.where(given, level[0] * video + level[1] * noise(index), x)
            state = (level[0], x, history, noise(index + 1), video, given)
            x, history = self._compiled_guided_step(type(row), spread(row, x.shape), *state)
            report(1)
        return np.where(given, video, self._to_host(x))

    def _guided_step(
        self,
        row_type: type[Row],
        columns: dict[str, Any],
        alpha: Any,
        x: Any,
        history: tuple[Any, ...],
        noise: Any,
        clip: Any,
        held: Any,
    ) -> Any:
        import tensorflow as tf

        row = row_type(**columns)
        with tf.GradientTape() as tape:
            tape.watch(x)
            out = self._call(row.c_in * x, row.c_noise[:, :, 0, 0, 0], {})
            raw = out[..., : x.shape[-1]]
            error = ops.where(held, clip - (row.c_skip * x + row.c_out * raw), 0.0)
            squared = ops.sum(ops.square(error))
        descent = ops.where(held, 0.0, 0.5 * self.weight * alpha * tape.gradient(squared, x))
        # D = c_skip x + c_out F, so a descent of D is one of F over c_out.
        return step(row, x, raw - descent / row.c_out, history, noise, self.clamp, ops.exp)


def spread(row: Row, clip_shape: tuple[int, ...]) -> dict[str, Any]:
    """The fields of `row` as tensors [batch, frames, 1, 1, 1]: one graph serves every task and solver of one memory.

    A dictionary, because a compiled function would take each row object for a new constant and trace anew.
    """

    def tensor(column: np.ndarray) -> Any:
        return ops.convert_to_tensor(np.broadcast_to(column, (*column.shape[:-5], *clip_shape[:2], 1, 1, 1)))

    return {field.name: tensor(getattr(row, field.name)) for field in dataclasses.fields(row)}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile on TensorFlow; variables are read at call time, so training on is seen. Others run it as it is."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, reduce_retracing=True, autograph=False)
