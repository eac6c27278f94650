"""What the protocol measured, and the bars it is held to: numbers and words, no clips."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["Bars", "GenerationScore", "TaskReport", "TaskScore"]


@dataclasses.dataclass(frozen=True)
class Bars:
    """What a model must reach.

    Attributes:
        prediction_gain: dB above repeating the last frame.
        interpolation_gain: dB above the linear blend.
        mean_gap: the largest distance of the generated pixels' mean from the data's, on the scale of [-1, 1].
        variance_gap: the largest distance of their variance from the data's, as a fraction of the data's.
    """

    prediction_gain: float = 6.0
    interpolation_gain: float = 3.0
    mean_gap: float = 0.03
    variance_gap: float = 0.15


@dataclasses.dataclass(frozen=True)
class TaskScore:
    """How a task went, in dB; curves have one value for each made frame, in order.

    Attributes:
        model, baseline: PSNR, mean over clips.
        model_per_frame, baseline_per_frame: PSNR of each made frame, mean over clips.
    """

    model: float
    baseline: float
    model_per_frame: tuple[float, ...]
    baseline_per_frame: tuple[float, ...]

    @property
    def gain(self) -> float:
        """dB above the baseline."""
        return self.model - self.baseline


@dataclasses.dataclass(frozen=True)
class GenerationScore:
    """Mean and variance over all pixels of all clips, generated and true, on the scale of [-1, 1]."""

    mean: float
    variance: float
    data_mean: float
    data_variance: float

    @property
    def mean_gap(self) -> float:
        """Generated minus true mean."""
        return self.mean - self.data_mean

    @property
    def variance_gap(self) -> float:
        """Generated over true variance, minus 1."""
        return self.variance / self.data_variance - 1.0


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """The result of the protocol: numbers alone."""

    num_clips: int
    num_steps: int
    seed: int
    prediction: TaskScore
    interpolation: TaskScore
    generation: GenerationScore

    def misses(self, bars: Bars = Bars()) -> list[str]:
        """In words, every bar that was missed; a number that is not finite misses."""
        checks = [
            ("prediction", self.prediction.gain, bars.prediction_gain, "repeating the last frame"),
            ("interpolation", self.interpolation.gain, bars.interpolation_gain, "the linear blend"),
        ]
        missed = [
            f"{task} gains {gain:+.2f} dB over {baseline}; the bar is {bar:+.2f} dB"
            for task, gain, bar, baseline in checks
            if not gain >= bar
        ]
        made = self.generation
        if not abs(made.mean_gap) <= bars.mean_gap:
            missed.append(f"generated pixels' mean is off by {made.mean_gap:+.3f}; the bar is {bars.mean_gap}")
        if not abs(made.variance_gap) <= bars.variance_gap:
            missed.append(
                f"generated pixels' variance is off by {made.variance_gap:+.1%}; the bar is {bars.variance_gap:.0%}"
            )
        return missed

    def passes(self, bars: Bars = Bars()) -> bool:
        """Whether every bar was reached."""
        return not self.misses(bars)

    @property
    def config(self) -> dict[str, Any]:
        """The numbers, JSON-able, with the gains worked out."""
        return {
            **dataclasses.asdict(self),
            "prediction": {**dataclasses.asdict(self.prediction), "gain": self.prediction.gain},
            "interpolation": {**dataclasses.asdict(self.interpolation), "gain": self.interpolation.gain},
        }
