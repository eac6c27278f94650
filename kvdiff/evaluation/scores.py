"""What the protocol measured, and the bars it is held to: numbers and words, no clips."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["Bars", "Check", "GenerationScore", "TaskReport", "TaskScore"]


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
class Check:
    """One line of the table of numbers, in words; `reached` says whether `difference` satisfies `bar`."""

    what: str
    model: str
    compared_with: str
    difference: str
    bar: str
    reached: bool

    @property
    def words(self) -> str:
        """The line as a sentence."""
        return f"{self.what}: {self.model} against {self.compared_with}, {self.difference}; the bar is {self.bar}"


@dataclasses.dataclass(frozen=True)
class TaskReport:
    """The result of the protocol: numbers alone."""

    num_clips: int
    num_steps: int
    seed: int
    prediction: TaskScore
    interpolation: TaskScore
    generation: GenerationScore

    def checks(self, bars: Bars | None = None) -> list[Check]:
        """Every number beside its bar; a number that is not finite misses it."""
        bars = bars or Bars()
        mean, variance = self.generation.mean_gap, self.generation.variance_gap
        return [
            _gain_check("Prediction", self.prediction, bars.prediction_gain, "repeating the last frame"),
            _gain_check("Interpolation", self.interpolation, bars.interpolation_gain, "the linear blend"),
            Check(
                "Generated pixels, mean",
                f"{self.generation.mean:.3f}",
                f"{self.generation.data_mean:.3f} (data)",
                f"{mean:+.3f}",
                f"within ±{bars.mean_gap}",
                abs(mean) <= bars.mean_gap,
            ),
            Check(
                "Generated pixels, variance",
                f"{self.generation.variance:.3f}",
                f"{self.generation.data_variance:.3f} (data)",
                f"{variance:+.1%}",
                f"within ±{bars.variance_gap:.0%}",
                abs(variance) <= bars.variance_gap,
            ),
        ]

    def misses(self, bars: Bars | None = None) -> list[str]:
        """In words, every bar that was missed."""
        return [check.words for check in self.checks(bars) if not check.reached]

    def passes(self, bars: Bars | None = None) -> bool:
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


def _gain_check(task: str, score: TaskScore, bar: float, baseline: str) -> Check:
    return Check(
        f"{task}, PSNR",
        f"{score.model:.2f} dB",
        f"{score.baseline:.2f} dB ({baseline})",
        f"{score.gain:+.2f} dB",
        f"at least {bar:+.1f} dB",
        score.gain >= bar,
    )
