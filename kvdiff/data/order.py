"""Which clip comes when, and which files are held out: pure functions of the seed, so any batch can be had again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from kvdiff.diffusion.process.noise import ORDER, WINDOW, uniform

BALANCES = ("videos", "classes")
"""What the clips of an epoch may be shared among evenly."""


def epoch_order(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """The samples of an epoch in their order, int64 [num_samples], each once."""
    return np.argsort(_numbers(seed, epoch, num_samples, ORDER), kind="stable")


def window_numbers(seed: int, epoch: int, num_samples: int) -> np.ndarray:
    """One uniform number in (0, 1) a sample, float64 [num_samples]: where in its video a random clip begins."""
    return _numbers(seed, epoch, num_samples, WINDOW).astype(np.float64)


def balanced(counts: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """As many clips of every group of videos as of any other, about as many in all, and one at least of each video.

    Args:
        counts: clips of each video, int64 [videos]; one without clips gets none.
        groups: the group of each, [videos].

    Returns:
        int64 [videos]; within a group in the proportion of `counts`.
    """
    result = np.zeros_like(counts)
    kinds = np.unique(groups[counts > 0])
    for kind in kinds:
        (members,) = np.nonzero((groups == kind) & (counts > 0))
        shares = counts[members] * (counts.sum() / (len(kinds) * counts[members].sum()))
        result[members] = np.maximum(np.rint(shares), 1)
    return result


def _numbers(seed: int, epoch: int, num_samples: int, stream: int) -> np.ndarray:
    return uniform(np, seed, epoch, np.arange(num_samples), 1, stream)[:, 0]


def held_out(names: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Which of the distinct `names` belong to the unseen share: bool [names].

    The names with the smallest hashes of (seed, name) do. So equal names stay together, and one more file moves hardly
    any other from one side to the other, whatever the order of the files.
    """
    hashes = {
        name: hashlib.blake2b(f"{seed}\0{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
        for name in set(names)
    }
    chosen = set(sorted(hashes, key=hashes.__getitem__)[: round(share * len(hashes))])
    return np.array([name in chosen for name in names], bool)
