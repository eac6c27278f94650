"""What trainings of a student from a trained model have in common: a copy of it that learns, and one that is asked."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.checks import check_real
from kvdiff.diffusion.conditions.conditioning import Conditioning, guided_output
from kvdiff.training.fused_adam import FusedAdam
from kvdiff.training.trainer import DiffusionTrainer


class StudentTrainer(DiffusionTrainer):
    """Trains a student that begins as its teacher; subclasses say for what, in `noised`.

    The student's clips, conditions, known frames, noise and loss weight are those of the teacher's own training.

    Args:
        teacher: a trained `VideoDiffusion`, unchanged by this; not one that learned its variance.
        guidance: the weight at which the teacher is guided.

    Attributes:
        teacher, student: a copy each of the model; the teacher's is frozen.
    """

    def __init__(self, teacher: keras.Model, *, guidance: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False  # As in `VideoDiffusion`: noise labels are told apart in float32 alone.
        if not hasattr(teacher, "forward_diffusion"):
            raise TypeError(f"`teacher`: expected a VideoDiffusion. Received: {teacher!r}")
        if teacher.forward_diffusion.learned_variance:
            raise ValueError("`teacher`: expected a model that learned no variance. Received: learned_variance=True")
        if not teacher.trainable:
            raise ValueError(
                "`teacher`: expected a trainable model, for the student begins as it. Received: a frozen one"
            )
        self.guidance = check_real("guidance", guidance, above=0.0, below=np.inf, closed=True)
        if self.guidance != 1.0 and not teacher.spec.conditions:
            raise ValueError(f"`guidance`: expected 1, for `teacher` knows no conditions. Received: {guidance}")
        self.teacher, self.student = _copy(teacher), _copy(teacher)
        self.teacher.trainable = False
        self.seed = teacher.seed

    def compile(self, optimizer: Any = None, loss: Any = "mse", **kwargs: Any) -> None:
        """As `VideoDiffusion.compile`, with a smaller step by default: the student is nearly right to begin with."""
        if optimizer is None:
            optimizer = FusedAdam(3e-4, use_ema=True, ema_momentum=0.99)
        super().compile(optimizer=optimizer, loss=loss, **kwargs)

    def call(self, inputs: dict[str, Any], training: bool | None = None) -> Any:
        """The student's raw output F."""
        return self.student(inputs, training=training)

    def blank_batch(self) -> Any:
        """That of the student."""
        return self.student.blank_batch()

    def check_batch(self, data: Any) -> None:
        """As the student does."""
        self.student.check_batch(data)

    def in_data(self, inputs: Any, output: Any) -> Any:
        """As of the student."""
        return self.student.in_data(inputs, output)

    def teacher_output(self, inputs: dict[str, Any]) -> Any:
        """The teacher's F, float32, guided for clips that have conditions."""
        others = {name: value for name, value in inputs.items() if name not in ("noisy_clip", "noise_label")}
        clip, label = inputs["noisy_clip"], inputs["noise_label"]
        weight = None if self.guidance == 1.0 else ops.full((ops.shape(clip)[0],), self.guidance)
        conditioning = Conditioning(self.teacher.spec.conditions, others, weight)

        def ask(noisy_clip: Any, noise_label: Any, others: Any) -> Any:
            return self.teacher({"noisy_clip": noisy_clip, "noise_label": noise_label, **others}, training=False)

        return ops.cast(guided_output(ops, ask, clip, label, conditioning), "float32")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        teacher = keras.saving.serialize_keras_object(self.student)  # The same but for being frozen.
        return {**super().get_config(), "teacher": teacher, "guidance": self.guidance}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StudentTrainer:
        """Rebuild from `get_config`."""
        return cls(**{**config, "teacher": keras.saving.deserialize_keras_object(config["teacher"])})


def _copy(model: keras.Model) -> keras.Model:
    """The same network with weights of its own, not compiled."""
    twin = type(model).from_config(model.get_config())
    twin.set_weights(model.get_weights())
    return twin
