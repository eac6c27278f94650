"""The peer's network without the peer: its weights' names and shapes, and its answers, from a committed file.

The file is written by `python -m tests.peers.video_diffusion_pytorch`, which has PyTorch; weights and inputs are made
anew from their names here and there, so it holds answers alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from kvdiff.diffusion import schedules
from kvdiff.diffusion.process import noise
from kvdiff.diffusion.process.predictions import noise_label

FILE = Path(__file__).with_name("peer_network.npz")
TIMESTEPS = (37, 812)
# The second level has more channels than two heads have features, and than a frame has pixels there; the first less.
WIDTH, MULTIPLIERS, HEADS, CHANNELS = 24, (1, 3), 2, 2


@dataclasses.dataclass(frozen=True)
class Case:
    """A network, and one call of it on a batch of two.

    Attributes:
        condition: the size of the vector that it is told; None for a network that is told nothing.
        told: whether this call tells it.
        frames, height, width: of the clips.
    """

    condition: int | None
    told: bool
    frames: int
    height: int
    width: int


CASES = {
    "plain": Case(None, False, 5, 8, 12),
    "long": Case(None, False, 37, 4, 2),
    "told": Case(6, True, 4, 8, 12),
    "untold": Case(6, False, 4, 8, 12),
}


def normal(name: str, *shape: int) -> np.ndarray:
    """Standard normal numbers that depend on the name alone: float32."""
    seed = zlib.crc32(name.encode())
    return noise.normal(np, seed, 0, np.array([0]), math.prod(shape), noise.EPS).reshape(shape)


def inputs(case: Case) -> dict[str, np.ndarray]:
    """Clips [2, frames, height, width, channels] and the vectors to tell [2, size]."""
    found = {"noisy_clip": normal("noisy_clip", 2, case.frames, case.height, case.width, CHANNELS)}
    return found if case.condition is None else {**found, "vector": normal("vector", 2, case.condition)}


def our_inputs(case: Case) -> dict[str, np.ndarray]:
    """The same as `FactorisedUNet3D` takes them."""
    given, schedule = inputs(case), schedules.cosine()
    labels = noise_label(schedule.alpha, schedule.sigma)[list(TIMESTEPS)].astype(np.float32)
    given["noise_label"] = np.repeat(labels[:, None], case.frames, axis=1)
    return given if case.condition is None else {**given, "told": np.full((2, 1), case.told, np.float32)}


def weights(shapes: dict[str, list[int]]) -> dict[str, np.ndarray]:
    """Weights by the peer's names, of a size that keeps features near 1."""
    return {name: _weight(name, shape) for name, shape in shapes.items() if not name.endswith("rotary_emb.freqs")}


def _weight(name: str, shape: list[int]) -> np.ndarray:
    values = normal(name, *shape)
    if name.endswith("gamma"):
        return 1.0 + 0.2 * values
    if name.endswith("weight") and "relative" not in name:
        return values / np.float32(math.sqrt(math.prod(shape[1:])))
    return values if name in ("null_cond_emb", "time_rel_pos_bias.relative_attention_bias.weight") else 0.1 * values


def shapes(case: Case) -> dict[str, list[int]]:
    """The shapes of the peer's weights by its names."""
    with np.load(FILE) as content:
        return json.loads(str(content[f"shapes_{case.condition}"]))


def answer(name: str) -> np.ndarray:
    """What the peer answers to a case: float32 [2, frames, height, width, channels]."""
    with np.load(FILE) as content:
        return content[name]


def write(answers: dict[str, np.ndarray], shapes: dict[int | None, dict[str, Any]]) -> None:
    """Write the file: answers by case, shapes by the size of the vector."""
    texts = {f"shapes_{size}": np.array(json.dumps(found)) for size, found in shapes.items()}
    np.savez_compressed(FILE, **answers, **texts)
