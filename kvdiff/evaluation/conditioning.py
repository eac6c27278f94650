"""Is a condition used? Clips generated under their own condition against clips generated under others'."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count, check_mapping, check_words
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler


@dataclasses.dataclass(frozen=True, eq=False)
class ConditioningScore:
    """How near to the truth clips came under their own condition and under others'.

    Attributes:
        errors: float64 [clips, k], mean squared errors of the generated frames in [-1, 1]: in column 0 under the clip's
            own condition, in the others under those of k - 1 other clips.
    """

    errors: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of clips that came nearest to the truth under their own condition.

        Equals share the credit, so a model that ignores its condition has exactly `chance`.
        """
        nearest = self.errors == self.errors.min(axis=1, keepdims=True)
        return float((nearest[:, 0] / nearest.sum(axis=1)).mean())

    @property
    def chance(self) -> float:
        """The accuracy of a model that ignores its condition: 1 / k."""
        return 1.0 / self.errors.shape[1]

    @property
    def standard_error(self) -> float:
        """Of `accuracy` where it is at chance: what lies within two or three of it shows nothing."""
        return float(np.sqrt(self.chance * (1.0 - self.chance) / len(self.errors)))

    @property
    def config(self) -> dict[str, float]:
        """The numbers, JSON-able."""
        return {
            "accuracy": self.accuracy,
            "chance": self.chance,
            "standard_error": self.standard_error,
            "num_clips": len(self.errors),
        }


def conditioning_accuracy(
    sampler: Sampler,
    clips: np.ndarray,
    conditions: Mapping[str, Any],
    *,
    past: int = 0,
    others: int = 3,
    swapped: Collection[str] | None = None,
    seed: int = 0,
    **sampling: Any,
) -> ConditioningScore:
    """Whether a model uses its condition: `score.accuracy` against `score.chance`.

    Every clip is generated 1 + `others` times from the same past and the same noise, so the condition alone differs:
    under the clip's own, and under those of other clips, all different. Where a condition has a value a frame, known
    frames keep their own and the future alone is swapped.

    Args:
        sampler: of any runtime, e.g. `model.sampler`.
        clips: unseen clips, [clips, frames, height, width, channels] in [-1, 1], or uint8.
        conditions: the clips' own, by the sampler's names.
        past: how many first frames are known.
        others: conditions to compare with, k - 1.
        swapped: names of the conditions to take from other clips; by default all of `conditions`. The others stay.
        seed: of the noise and of the choice of other clips.
        **sampling: as in `Sampler.infill`.

    Raises:
        ValueError: some clip does not find `others` different conditions, or an argument is wrong.
    """
    clips = check_sampler("sampler", sampler).spec.checked("clips", clips)
    check_mapping("conditions", conditions, wanted="arrays")
    check_count("seed", seed, at_least=0)
    check_count("others", others)
    check_count("past", past, at_least=0, at_most=clips.shape[1] - 1)
    swapped = None if swapped is None else check_words("swapped", swapped)
    own = _checked(sampler, conditions, clips)
    names = list(own) if swapped is None else [check_choice("swapped", name, own) for name in swapped]
    kept = {name: past if sampler.spec.conditions[name].per_frame else 0 for name in names}
    known = np.arange(clips.shape[1]) < past
    errors = []
    for rows in (np.arange(len(clips)), *_rivals(own, kept, others, seed)):
        chosen = {name: _taken(value, rows, kept[name]) if name in kept else value for name, value in own.items()}
        made = sampler.infill(clips, known, conditions=chosen, seed=seed, **sampling)
        difference = np.asarray(made[:, past:], np.float64) - clips[:, past:]
        errors.append(np.square(difference).mean(axis=(1, 2, 3, 4)))
    return ConditioningScore(np.stack(errors, axis=1))


def _checked(sampler: Sampler, conditions: Mapping[str, Any], clips: np.ndarray) -> dict[str, np.ndarray]:
    """The conditions as arrays with one entry a clip."""
    batch, frames = clips.shape[:2]
    if not conditions:
        raise ValueError(f"`conditions`: expected at least one of {sorted(sampler.spec.conditions)}. Received: none")
    checked = {}
    for name, value in conditions.items():
        condition = sampler.spec.conditions[check_choice("conditions", name, sampler.spec.conditions)]
        checked[name] = condition.check(f"conditions[{name!r}]", value, batch, frames, clips.shape[2:])
    return checked


def _taken(value: np.ndarray, rows: np.ndarray, kept: int) -> np.ndarray:
    """The conditions of other clips, `rows`, but for the first `kept` frames."""
    return np.concatenate([value[:, :kept], value[rows, kept:]], axis=1) if kept else value[rows]


def _rivals(own: Mapping[str, np.ndarray], kept: Mapping[str, int], others: int, seed: int) -> np.ndarray:
    """For every clip `others` clips whose conditions differ from its own and among each other: int [others, clips]."""
    clips = len(next(iter(own.values())))
    whole = [(own[name][:, start:] if start else own[name]).reshape(clips, -1) for name, start in kept.items()]
    kinds = np.unique(np.concatenate(whole, axis=1), axis=0, return_inverse=True)[1].ravel()
    if kinds.max() < others:
        raise ValueError(
            f"`conditions`: expected at least {others + 1} different ones among the clips, for `others` = {others}. "
            f"Received: {kinds.max() + 1}"
        )
    draw = np.random.default_rng(seed)
    chosen = np.empty((others, clips), int)
    for clip in range(clips):
        order = draw.permutation(clips)
        _, first = np.unique(kinds[order], return_index=True)  # Where each kind comes first in a random order.
        candidates = order[np.sort(first)]
        chosen[:, clip] = candidates[kinds[candidates] != kinds[clip]][:others]
    return chosen
