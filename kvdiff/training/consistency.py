"""Consistency tuning: a student whose one call leads from any noise level to where the teacher's many calls lead.

Easy consistency tuning (Geng et al. 2024, arXiv:2406.14548). The student's prediction f(x_t) of x_0 learns to be that
at a level r with less noise, f(x_r), of which it knows more, down to the clean clip, where f is x_0 itself:

    x_r  =  alpha_r D + sigma_r (x_t - alpha_t D) / sigma_t          a step of DDIM, equation (11) of `kvdiff.diffusion`
    f(x_t)  is to be  f(x_r),  held fixed

With D = x_0 of the data, x_r is the data with the same noise, and no teacher is asked. With D the teacher's prediction,
guided if you like, it is consistency distillation (Song et al. 2023, arXiv:2303.01469, Algorithm 2). Both have the same
solution where f is linear in x_t, such as on Gaussian data, since x_r is linear in D and the best D is the mean of x_0.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.diffusion.process.noise import TIMESTEP, uniform
from kvdiff.diffusion.transforms.clamps import clamp_to
from kvdiff.training.replicas import sample_numbers
from kvdiff.training.student import StudentTrainer

JUMPS = ("data", "teacher")


@keras.saving.register_keras_serializable(package="kvdiff")
class ConsistencyTuning(StudentTrainer):
    """Trains a student that samples in 1 to 4 calls, whatever their noise levels, from a trained model.

    ```python
    tuning = kvdiff.training.ConsistencyTuning(model)
    tuning.compile()
    tuning.fit(clips, epochs=10)
    tuning.student.generate(4, **tuning.sampling)      # num_steps=2, solver="consistency", spacing="trailing"
    tuning.student.save("student.keras")               # a VideoDiffusion like any other
    ```

    Levels t and r first lie far apart, and then draw nearer: r is half of t, counted in timesteps, and after each
    `halve_every` updates the gap is half as large, down to one timestep. Noise is a function of (seed, step, sample):
    a tuning that was cut off goes on bit for bit. Known frames, conditions and loss weight are those of the teacher's
    own training; known frames are clean. All frames of a clip share a noise level, so what `independent_noise` and
    `known_noise` taught is not taught again. Predict "v": the loss of "eps" weighs the noisiest levels next to
    nothing, and they are most of what a student of few calls has. "x0" is refused: with little noise "v" begins at the
    clip itself, and the levels above learn from that; nothing holds a prediction of x_0 there, and a student of the
    `moving_digits` preset collapsed to one blur within 1,200 updates. Needs Keras on TensorFlow.

    Args:
        teacher: a trained `VideoDiffusion`, unchanged by this; not one that learned its variance or predicts "x0".
        halve_every: updates between two halvings of the gap.
        jump: where x_r comes from: "data", or "teacher", which costs one of its calls (two with guidance) in each
            update; by default "data" without guidance.
        guidance: the weight at which the teacher is guided, which the student then needs no more (for one weight, as in
            Meng et al. 2023, arXiv:2210.03142); clips without conditions are not.

    Attributes:
        teacher, student: a copy each of the model; the teacher's is frozen.
        sampling: keywords with which the student samples, for 2 calls; `num_steps` may be any.
    """

    def __init__(
        self,
        teacher: keras.Model,
        *,
        halve_every: int = 500,
        jump: str | None = None,
        guidance: float = 1.0,
        **kwargs: Any,
    ) -> None:
        if keras.backend.backend() != "tensorflow":  # Elsewhere a traced step would keep the student's first weights.
            raise RuntimeError(f"ConsistencyTuning: expected Keras on TensorFlow. Received: {keras.backend.backend()}")
        super().__init__(teacher, guidance=guidance, **kwargs)
        if teacher.forward_diffusion.prediction.name == "x0":
            raise ValueError("`teacher`: expected one that predicts v, eps, flow or edm. Received: one of x0")
        self.halve_every = check_count("halve_every", halve_every)
        default = "data" if self.guidance == 1.0 else "teacher"
        self.jump = check_choice("jump", default if jump is None else jump, JUMPS)
        if self.guidance != 1.0 and self.jump == "data":
            raise ValueError(f"`jump`: expected 'teacher', whom `guidance` = {guidance} guides. Received: 'data'")
        self.sampling = {"num_steps": 2, "solver": "consistency", "spacing": "trailing"}
        self._levels = _levels(teacher)
        self.built = True

    def noised(self, data: Any, training_step: Any, *, samples: Any = None) -> tuple[dict[str, Any], Any, Any]:
        """As `VideoDiffusion.noised`, with what the student itself makes of the clip with less noise as the target.

        Known frames have target 0 and weight 0.
        """
        batch = ops.shape(keras.tree.flatten(data)[0])[0]
        samples = sample_numbers(batch) if samples is None else samples
        timestep = self.student.timestep_draw(uniform(ops, self.seed, training_step, samples, 1, TIMESTEP))[:, 0]
        inputs, clean_target, weight = self.student.noised(data, training_step, timestep, samples=samples)
        target = self._target(inputs, clean_target, timestep, self._less_noisy(timestep, training_step))
        return inputs, target, weight

    def _less_noisy(self, timestep: Any, training_step: Any) -> Any:
        """r of each clip, int [batch]: a timestep, or -1, the clean clip."""
        halvings = 1 + ops.cast(training_step, "int32") // self.halve_every
        gap = 0.5 ** ops.cast(halvings, "float32")
        position = ops.cast(timestep, "float32") + 1.0  # 0 is clean.
        return ops.cast(position - ops.ceil(position * gap), "int32") - 1

    def _target(self, inputs: dict[str, Any], clean_target: Any, timestep: Any, less: Any) -> Any:
        """What the student's F should be: that whose x_0 is f(x_r). `clean_target` is that whose x_0 is the data's."""
        known = ops.equal(inputs["noise_label"], 0.0)
        at, to = (ops.where(known, -1, level[:, None]) for level in (timestep, less))
        t, r = (ops.take(ops.convert_to_tensor(self._levels), level + 1, axis=0) for level in (at, to))
        t, r = ({name: each[..., k] for k, name in enumerate(_COLUMNS)} for each in (t, r))
        clamp = clamp_to(self.teacher.spec.bounds, ops)
        x = inputs["noisy_clip"] / _pixelwise(t["c_in"])
        out = clean_target if self.jump == "data" else self.teacher_output(inputs)
        clean = _pixelwise(t["c_skip"]) * x + _pixelwise(t["c_out"]) * out
        clean = clean if self.jump == "data" else clamp(clean)
        share = r["sigma"] / ops.where(known, 1.0, t["sigma"])
        nearer = _pixelwise(r["alpha"] - share * t["alpha"]) * clean + _pixelwise(share) * x
        asked = {**inputs, "noisy_clip": _pixelwise(r["c_in"]) * nearer, "noise_label": r["c_noise"]}
        out = ops.cast(self.student(asked, training=False), "float32")
        found = clamp(_pixelwise(r["c_skip"]) * nearer + _pixelwise(r["c_out"]) * out)
        found = ops.where(ops.equal(less, -1)[:, None, None, None, None], clean, found)
        known = known[:, :, None, None, None]
        raw = (found - _pixelwise(t["c_skip"]) * x) / ops.where(known, 1.0, _pixelwise(t["c_out"]))
        return ops.where(known, 0.0, raw)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "halve_every": self.halve_every, "jump": self.jump}


_COLUMNS = ("alpha", "sigma", "c_in", "c_noise", "c_skip", "c_out")


def _levels(teacher: keras.Model) -> np.ndarray:
    """`_COLUMNS` of the clean clip, then of every timestep: float32 [num_timesteps + 1, columns].

    The clean row is that of a known frame: what the network is told is the clip itself, whatever it predicts.
    """
    schedule = teacher.forward_diffusion.schedule
    row = teacher.forward_diffusion.prediction.preconditioning(schedule.alpha, schedule.sigma)
    columns = (schedule.alpha, schedule.sigma, row.c_in, row.c_noise, row.c_skip, row.c_out)
    clean = (1.0, 0.0, 1.0, 0.0, 1.0, 0.0)
    return np.concatenate([[clean], np.stack(columns, axis=-1)]).astype(np.float32)


def _pixelwise(column: Any) -> Any:
    return column[:, :, None, None, None]
