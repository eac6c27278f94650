"""How far back a multistep solver may look: predictions at lambda = -inf or steps to lambda = inf fit no polynomial."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.process.levels import NoiseLevels


class Steps:
    """The steps of `levels` in lambda = log(alpha/sigma).

    Attributes:
        half_logsnr: lambda, float64 [num_steps + 1].
        h: its steps, float64 [num_steps]; the last is infinite, and the first where sampling starts in pure noise.
    """

    def __init__(self, levels: NoiseLevels) -> None:
        self.half_logsnr = levels.half_logsnr
        self.h = np.diff(self.half_logsnr)

    def usable(self, i: int, order: int) -> int:
        """How many of the latest predictions row i may use, 1 … order; the step to the clean clip uses one."""
        if not np.isfinite(self.h[i]):
            return 1
        finite = np.isfinite(self.half_logsnr[max(0, i - order + 1) : i + 1])
        return int(finite.sum())

    def nodes(self, i: int, count: int) -> np.ndarray:
        """lambda of the `count` latest predictions relative to row i's, newest first: 0, -h_{i-1}, and so on."""
        return self.half_logsnr[i - np.arange(count)] - self.half_logsnr[i]
