"""Progressive distillation: a student whose one step lands where two of its teacher's do, again and again.

Salimans & Ho 2022, arXiv:2202.00512. Two rows of DDIM's table are one row of the same form (equation (7) of
`kvdiff.diffusion`), with a weighted mean of the teacher's two predictions in place of D:

    a_2 (a_1 x + b_1 D_1) + b_2 D_2  =  a x + b (share D_1 + (1 - share) D_2),    share = a_2 b_1 / (a_2 b_1 + b_2)

so the student's target (Algorithm 2's x-tilde) never divides a difference of noisy clips by a small step.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.process.noise import TIMESTEP, uniform
from kvdiff.diffusion.process.spacing import timesteps
from kvdiff.diffusion.solvers.by_name import step_table
from kvdiff.diffusion.solvers.rows import Row
from kvdiff.diffusion.solvers.step_table import step
from kvdiff.diffusion.transforms.clamps import clamp_to
from kvdiff.training.replicas import sample_numbers
from kvdiff.training.student import StudentTrainer


@keras.saving.register_keras_serializable(package="kvdiff")
class ProgressiveDistillation(StudentTrainer):
    """Trains a student of `num_steps` DDIM steps from a teacher of twice as many (arXiv:2202.00512, Algorithm 2).

    ```python
    stage = kvdiff.training.ProgressiveDistillation(model, num_steps=8)
    stage.compile()
    stage.fit(clips, epochs=10)
    stage.student.generate(4, **stage.sampling)      # num_steps=8, solver="ddim", spacing="trailing"
    stage.student.save("eight_steps.keras")          # a VideoDiffusion like any other
    ```

    The student begins as the teacher. Its clips, conditions, known frames, noise and loss weight are those of the
    teacher's own training, so it predicts and interpolates as well as it generates; known frames stay clean in the
    teacher's steps. All frames of a clip share a noise level, so what `independent_noise` and `known_noise` taught is
    not taught again. Predict "v" or "x0": the loss of "eps" weighs the noisiest step next to nothing.

    Args:
        teacher: a trained `VideoDiffusion`, unchanged by this; not one that learned its variance, which DDIM has no use
            for.
        num_steps: of the student, at most half of the timesteps.
        guidance: the weight at which the teacher is guided, which the student then needs no more (Meng et al. 2023,
            arXiv:2210.03142, for one weight); clips without conditions are not.

    Attributes:
        teacher, student: a copy each of the model; the teacher's is frozen.
        sampling: the keywords with which the student samples on the grid that it is trained on.
    """

    def __init__(self, teacher: keras.Model, num_steps: int, *, guidance: float = 1.0, **kwargs: Any) -> None:
        super().__init__(teacher, guidance=guidance, **kwargs)
        total = teacher.forward_diffusion.schedule.num_timesteps
        self.num_steps = check_count("num_steps", num_steps, at_most=total // 2)
        self.sampling = {"num_steps": self.num_steps, "solver": "ddim", "spacing": "trailing"}
        self._timesteps = timesteps(total, self.num_steps).astype(np.int32)
        self._pair, self._share = _pairs_of_rows(teacher, self.num_steps)
        self.built = True

    def noised(self, data: Any, training_step: Any, *, samples: Any = None) -> tuple[dict[str, Any], Any, Any]:
        """As `VideoDiffusion.noised`, at the student's noise levels, with what the teacher makes of it as the target.

        Known frames have target 0 and weight 0.
        """
        batch = ops.shape(keras.tree.flatten(data)[0])[0]
        samples = sample_numbers(batch) if samples is None else samples
        drawn = uniform(ops, self.seed, training_step, samples, 1, TIMESTEP)[:, 0]
        index = ops.cast(ops.floor(self.num_steps * drawn), "int32")
        timestep = ops.take(ops.convert_to_tensor(self._timesteps), index)
        inputs, _, weight = self.student.noised(data, training_step, timestep, samples=samples)
        return inputs, self._target(inputs, index), weight

    def _target(self, inputs: dict[str, Any], index: Any) -> Any:
        """What the student's F should be at row `index`, int [batch], of its table: of the noisy clip's shape."""
        known = ops.equal(inputs["noise_label"], 0.0)
        at = 2 * index[:, None] + ops.cast(known, index.dtype)
        first, second = (_gathered(row, at) for row in self._pair)
        start = inputs["noisy_clip"] / first.c_in
        x, (predicted,) = self._teacher_step(first, start, inputs)
        _, (predicted_later,) = self._teacher_step(second, x, inputs)
        share = _spread(self._share, at)
        predicted = share * predicted + (1.0 - share) * predicted_later
        known = known[:, :, None, None, None]
        return ops.where(known, 0.0, (predicted - first.c_skip * start) / ops.where(known, 1.0, first.c_out))

    def _teacher_step(self, row: Row, x: Any, inputs: dict[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """The teacher's next x, and its predicted x_0."""
        asked = {**inputs, "noisy_clip": row.c_in * x, "noise_label": row.c_noise[:, :, 0, 0, 0]}
        out = self.teacher_output(asked)
        return step(row, x, out, (0.0,), 0.0, clamp_to(self.teacher.spec.bounds, ops), ops.exp)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "num_steps": self.num_steps}


def distillation_stages(
    teacher: keras.Model, num_steps: Sequence[int] = (8, 4, 2), *, guidance: float = 1.0
) -> Iterator[ProgressiveDistillation]:
    """One `ProgressiveDistillation` after the other, each student the next one's teacher: train each as it comes.

    ```python
    for stage in kvdiff.training.distillation_stages(model, (8, 4, 2)):
        stage.compile()
        stage.fit(clips, epochs=10)
        stage.student.save(f"{stage.num_steps}_steps.keras")
    ```

    Args:
        teacher: as in `ProgressiveDistillation`.
        num_steps: of the students, each half of the one before. The first learns from the teacher's DDIM at twice as
            many, so that should be as good as the teacher gets.
        guidance: of the first stage; later teachers have it within them.
    """
    num_steps = [check_count("num_steps", count) for count in num_steps]
    if not num_steps or any(2 * after != before for before, after in itertools.pairwise(num_steps)):
        raise ValueError(f"`num_steps`: expected numbers that halve, such as (8, 4, 2). Received: {num_steps}")
    for count in num_steps:
        stage = ProgressiveDistillation(teacher, count, guidance=guidance)
        yield stage
        teacher, guidance = stage.student, 1.0


def _pairs_of_rows(teacher: keras.Model, num_steps: int) -> tuple[list[Row], np.ndarray]:
    """The teacher's two rows for every step of the student, and the first one's share in the student's D.

    Rows' fields are [num_steps, 2, 1, 1, 1] and the share is [num_steps, 2]: for a generated frame, and a known one.
    """
    schedule, prediction = teacher.forward_diffusion.schedule, teacher.forward_diffusion.prediction
    table = step_table(schedule, prediction, solver="ddim", num_steps=2 * num_steps, spacing="trailing")
    first = 2 * np.arange(num_steps)[:, None]
    held = np.full_like(first, table.num_steps)
    pair = table.for_frames(np.concatenate([first, held], axis=1), np.concatenate([first + 2, held], axis=1))
    of_first, of_second = pair.a[1] * pair.b[0, 0], pair.b[1, 0]
    total = of_first + of_second
    return list(pair.rows()), np.divide(of_first, total, out=np.ones_like(total), where=total != 0).astype(np.float32)


def _gathered(row: Row, at: Any) -> Row:
    """The row of every frame: fields [batch, frames, 1, 1, 1] from [num_steps, 2, 1, 1, 1], flat indices `at`."""
    fields = {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}
    spread = {name: _spread(column, at) for name, column in fields.items() if name != "b"}
    return type(row)(**spread, b=[_spread(column, at) for column in fields["b"]])


def _spread(column: np.ndarray, at: Any) -> Any:
    return ops.take(ops.convert_to_tensor(column.ravel()), at)[:, :, None, None, None]
