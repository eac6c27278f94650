"""Larger and smoother video in stages: a base model, then models that raise its resolution or its frame rate.

    cascade = Cascade(base, Spatial(twice_as_large, augmentation=0.1), Temporal(twice_as_fast, factor=2))
    clips = cascade.generate(4)

Each stage is a sampler of any runtime (Ho et al. 2021, arXiv:2106.15282; Ho et al. 2022, arXiv:2210.02303). That the
stages fit is checked on construction.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from kvdiff.diffusion.checks import check_can, check_count, check_mapping, check_real
from kvdiff.diffusion.conditions.condition import names_of
from kvdiff.diffusion.conditions.kinds import LowResolution
from kvdiff.diffusion.process.clip_spec import ClipSpec
from kvdiff.diffusion.sampling.members import Members
from kvdiff.diffusion.sampling.sampler import Sampler, check_sampler
from kvdiff.diffusion.transforms.codec import reduced

_BASE_ONLY = ("conditions", "guidance", "plan", "at_a_time", "known_noise", "history_guidance", "num_members")
"""The keywords of a call that say something of one model: of what it knows, of its own windows, and of members."""


class Stage(Protocol):
    """What follows the base model in a `Cascade`."""

    def enlarged(self, spec: ClipSpec) -> ClipSpec:
        """The clips that this stage generates from clips of `spec`; raises where it does not take them."""
        ...

    def run(self, clips: np.ndarray, sampling: Mapping[str, Any]) -> np.ndarray:
        """Clips in, larger or longer clips out."""
        ...


@dataclasses.dataclass(frozen=True)
class Spatial:
    """Makes clips larger, with a model of one `LowResolution` condition.

    Attributes:
        sampler: its sampler; of its training, the frames may be fewer than the clips': then it rolls along them.
        augmentation: the noise label at which it sees the small clips. A little hides their flaws, which its
            training never saw; at most the condition's `max_noise`.
        sampling: its own keywords of `infill`, e.g. `{"num_steps": 10}`.
    """

    sampler: Sampler
    augmentation: float = 0.1
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sampler("sampler", self.sampler)
        check_mapping("sampling", self.sampling, wanted="keywords")
        check_real("augmentation", self.augmentation, above=0.0, below=self.condition[1].max_noise, closed=True)

    @property
    def condition(self) -> tuple[str, LowResolution]:
        """The name and the condition of the small clip."""
        conditions = self.sampler.spec.conditions
        names = names_of(conditions, LowResolution)
        if len(names) != 1:
            raise ValueError(
                "`sampler`: expected one of a denoiser with one LowResolution condition. "
                f"Received: conditions {sorted(conditions)}"
            )
        return names[0], conditions[names[0]]  # type: ignore[return-value]

    def enlarged(self, spec: ClipSpec) -> ClipSpec:
        """The clips that this stage generates; raises where the small clips are not a scale-th of its model's."""
        scale, large = self.condition[1].scale, self.sampler.spec.clip
        expected = (large.height // scale, large.width // scale, large.channels)
        if spec.frame_shape != expected:
            raise ValueError(
                f"Cascade: expected frames of {list(expected)} for a model that generates {list(large.frame_shape)} of "
                f"them, {scale} times larger. Received: frames of {list(spec.frame_shape)}"
            )
        return dataclasses.replace(large, num_frames=spec.num_frames)

    def run(self, clips: np.ndarray, sampling: Mapping[str, Any]) -> np.ndarray:
        """[batch, frames, …] -> [batch, frames, scale · height, scale · width, channels]."""
        keywords = {
            **sampling,
            **self.sampling,
            "conditions": {self.condition[0]: clips},
            "augmentation": self.augmentation,
        }
        batch, frames = clips.shape[:2]
        if frames <= self.sampler.spec.clip.num_frames:
            return self.sampler.generate(batch, num_frames=frames, **keywords)
        return self.sampler.rollout(frames, num_clips=batch, **keywords)


@dataclasses.dataclass(frozen=True)
class Temporal:
    """Raises the frame rate, with a model trained on frames far apart as known: `known_frames=Every(…)`.

    Attributes:
        sampler: its sampler.
        factor: by how much; n frames become (n - 1) · factor + 1.
        sampling: its own keywords of `infill`.
    """

    sampler: Sampler
    factor: int = 2
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_sampler("sampler", self.sampler)
        check_mapping("sampling", self.sampling, wanted="keywords")
        check_count("factor", self.factor, at_least=2, at_most=self.sampler.spec.clip.num_frames - 1)

    def enlarged(self, spec: ClipSpec) -> ClipSpec:
        """The clips that this stage generates; raises where frames are of another shape, or only one."""
        expected = self.sampler.spec.clip.frame_shape
        if spec.frame_shape != expected:
            raise ValueError(
                f"Cascade: expected frames of {list(expected)} for a model that raises their rate. "
                f"Received: frames of {list(spec.frame_shape)}"
            )
        check_count("num_frames", spec.num_frames, at_least=2)
        return dataclasses.replace(spec, num_frames=(spec.num_frames - 1) * self.factor + 1)

    def run(self, clips: np.ndarray, sampling: Mapping[str, Any]) -> np.ndarray:
        """[batch, n, …] -> [batch, (n - 1) · factor + 1, …]."""
        return self.sampler.increase_frame_rate(clips, self.factor, **{**sampling, **self.sampling})


class Cascade:
    """A base sampler and the stages that enlarge what it generates.

    Args:
        base: generates the small clips.
        *stages: `Spatial` and `Temporal`, in their order.

    Raises:
        ValueError: a stage that does not fit the one before it.
    """

    def __init__(self, base: Sampler, *stages: Stage) -> None:
        self.base, self.stages = check_sampler("base", base), stages
        for stage in stages:
            check_can("stages", stage, "stages, Spatial or Temporal", "enlarged", "run")
        self.clip_spec = self._enlarged(base.spec.clip)

    def _enlarged(self, spec: ClipSpec) -> ClipSpec:
        for stage in self.stages:
            spec = stage.enlarged(spec)
        return spec

    def generate(self, num_clips: int = 1, *, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """New clips: float32 [num_clips, frames, height, width, channels] of `clip_spec`.

        Args:
            num_clips: how many.
            num_frames: frames of the base's clips; by default its training length.
            **sampling: keywords of `Sampler.infill` for every stage; a stage's own take precedence. `conditions`,
                `guidance`, `history_guidance`, `plan`, `at_a_time` and `known_noise` are the base's alone.
        """
        self._refuse_members(sampling)
        base_only = self._base_only(sampling)
        return self._run(self.base.generate(num_clips, num_frames=num_frames, **base_only, **sampling), sampling)

    def predict_frames(self, past: np.ndarray, num_frames: int | None = None, **sampling: Any) -> np.ndarray:
        """What follows `past`, which the base sees in its own size.

        Args:
            past: clips as large as the cascade's, [batch, frames, height, width, channels].
            num_frames: how many frames the base generates; by default what fills a clip of its training length.
            **sampling: as in `generate`, and `num_members`.

        Returns:
            The base's prediction enlarged by all stages; a frame rate is raised between the predicted frames. With
            `num_members` [members, batch, frames, …].
        """
        past = self.base.spec.values.checked("past", past, self.clip_spec.frame_shape)
        base_only = self._base_only(sampling)
        small = reduced(past, self.clip_spec.height // self.base.spec.clip.height)
        count = base_only.pop("num_members", None)
        if count is None:
            return self._run(self.base.predict_frames(small, num_frames, **base_only, **sampling), sampling)
        members = Members(len(past), count, sampling.pop("first_member", 0), sampling.get("first_sample", 0))
        made = []
        for number in range(members.first_member, members.first_member + count):  # By number in every stage.
            of_member = {**sampling, "first_member": number}
            made.append(self._run(self.base.predict_frames(small, num_frames, **base_only, **of_member), of_member))
        return np.stack(made)

    @staticmethod
    def _base_only(sampling: dict[str, Any]) -> dict[str, Any]:
        """Take out of `sampling` what is the base's alone."""
        return {name: sampling.pop(name) for name in _BASE_ONLY if name in sampling}

    @staticmethod
    def _refuse_members(sampling: Mapping[str, Any]) -> None:
        if (count := sampling.get("num_members")) is not None:
            raise ValueError(f"`num_members`: expected with `predict_frames` alone. Received: {count}")

    def _run(self, clips: np.ndarray, sampling: Mapping[str, Any]) -> np.ndarray:
        self._enlarged(dataclasses.replace(self.base.spec.clip, num_frames=clips.shape[1]))
        return self.run(clips, **sampling)

    def run(self, clips: np.ndarray, **sampling: Any) -> np.ndarray:
        """Enlarge small clips by all stages."""
        self._refuse_members(sampling)
        for stage in self.stages:
            clips = stage.run(clips, sampling)
        return clips

    @property
    def scales(self) -> Sequence[tuple[int, int, int]]:
        """(frames, height, width) after the base and after every stage."""
        specs = [self.base.spec.clip]
        for stage in self.stages:
            specs.append(stage.enlarged(specs[-1]))
        return [(spec.num_frames, spec.height, spec.width) for spec in specs]
