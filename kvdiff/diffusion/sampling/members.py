"""Members of an ensemble: several samples of each clip, reproducible by their numbers.

A member is an addition to the number of the sample: member m of sample s has the noise of sample s + m 2²². So member 0
is the clip that a call without members generates, and member m is the same however many others are asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from kvdiff.diffusion.checks import check_count

MEMBER_STRIDE = 2**22
"""Between the sample numbers of a clip's members: how many clips may have members under one seed."""
MAX_MEMBERS = 2**32 // MEMBER_STRIDE


@dataclasses.dataclass(frozen=True)
class Members:
    """Which samples a call generates: of every clip one, or `number` members.

    Attributes:
        clips: how many clips there are.
        number: of members; None for one sample a clip, without an axis for members.
        first_member: the number of the first.
        first_sample: the number of the first clip.
    """

    clips: int
    number: int | None = None
    first_member: int = 0
    first_sample: int = 0

    def __post_init__(self) -> None:
        check_count("first_member", self.first_member, at_least=0, at_most=MAX_MEMBERS - 1)
        if self.number is not None:
            check_count("num_members", self.number, at_most=MAX_MEMBERS - self.first_member)
        alone = self.number is None and not self.first_member
        most = (2**32 if alone else MEMBER_STRIDE) - self.clips
        check_count("first_sample", self.first_sample, at_least=0, at_most=most)

    @property
    def total(self) -> int:
        """How many clips are generated in all."""
        return self.clips * (self.number or 1)

    def batches(self, batch_size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Which clips go through the network together, member by member: (their indices, their sample numbers)."""
        for start in range(0, self.total, batch_size):
            member, clip = np.divmod(np.arange(start, min(start + batch_size, self.total)), self.clips)
            yield clip, self.first_sample + clip + MEMBER_STRIDE * (self.first_member + member)

    def shaped(self, video: np.ndarray) -> np.ndarray:
        """Generated clips [total, …] as [members, clips, …], or as they are where there is no axis for members."""
        return video if self.number is None else video.reshape(self.number, self.clips, *video.shape[1:])
