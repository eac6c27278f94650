"""The bars that a model must reach: numbers of an evaluation beside them, in words."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

COLUMNS = ("", "model", "compared with", "difference", "bar", "")
"""The heading over lines of the table of bars."""


@dataclasses.dataclass(frozen=True)
class Check:
    """One line of the table of bars, in words; `reached` says whether `difference` satisfies `bar`."""

    what: str
    model: str
    compared_with: str
    difference: str
    bar: str
    reached: bool

    @property
    def row(self) -> tuple[str, ...]:
        """The line, for a table under `COLUMNS`."""
        verdict = "reached" if self.reached else "MISSED"
        return self.what, self.model, self.compared_with, self.difference, self.bar, verdict


@dataclasses.dataclass(frozen=True)
class Bars:
    """What a model must reach in the tasks of `half_and_half`.

    Attributes:
        prediction_gain: dB above repeating the last frame.
        interpolation_gain: dB above the linear blend.
        identity: the share of last predicted frames that show the clip's digit still, where the clips have labels.
        mean_gap: the largest distance of the generated pixels' mean from the data's, on the scale of [-1, 1].
        variance_gap: the largest distance of their variance from the data's, as a fraction of the data's.
    """

    prediction_gain: float = 9.0
    interpolation_gain: float = 6.0
    identity: float = 0.9
    mean_gap: float = 0.03
    variance_gap: float = 0.15

    def checks(self, tasks: Mapping[str, Mapping[str, Any]]) -> list[Check]:
        """Every number beside its bar; a number that is not finite misses it. `tasks` are those of a result."""
        prediction, interpolation, pixels = (tasks[n]["numbers"] for n in ("prediction", "interpolation", "generation"))
        mean = pixels["mean"] - pixels["data_mean"]
        variance = pixels["variance"] / pixels["data_variance"] - 1.0
        return [
            _gain("Prediction", prediction, self.prediction_gain, "repeating the last frame"),
            _gain("Interpolation", interpolation, self.interpolation_gain, "the linear blend"),
            *_identity(prediction, self.identity),
            Check(
                "Generated pixels, mean",
                f"{pixels['mean']:.3f}",
                f"{pixels['data_mean']:.3f} (data)",
                f"{mean:+.3f}",
                f"within ±{self.mean_gap}",
                abs(mean) <= self.mean_gap,
            ),
            Check(
                "Generated pixels, variance",
                f"{pixels['variance']:.3f}",
                f"{pixels['data_variance']:.3f} (data)",
                f"{variance:+.1%}",
                f"within ±{self.variance_gap:.0%}",
                abs(variance) <= self.variance_gap,
            ),
        ]


def _gain(task: str, numbers: Mapping[str, float], bar: float, baseline: str) -> Check:
    return Check(
        f"{task}, PSNR",
        f"{numbers['psnr']:.2f} dB",
        f"{numbers['psnr_baseline']:.2f} dB ({baseline})",
        f"{numbers['psnr_gain']:+.2f} dB",
        f"at least {bar:+.1f} dB",
        numbers["psnr_gain"] >= bar,
    )


def _identity(numbers: Mapping[str, float], bar: float) -> list[Check]:
    """The line of identity, where it was measured."""
    if "identity_last" not in numbers:
        return []
    ours, data = numbers["identity_last"], numbers["data_identity_last"]
    return [
        Check(
            "Prediction, last frame shows its digit",
            f"{ours:.0%}",
            f"{data:.0%} (true frames)",
            f"{ours - data:+.0%}",
            f"at least {bar:.0%} of the true frames'",
            ours >= bar * data,
        )
    ]
