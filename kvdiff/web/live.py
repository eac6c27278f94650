"""One window of video at a time, for a page whose server samples: what is asked is checked, and stops when unwanted."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_choice, check_count, check_flag, check_mapping, check_real
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.sampling.engine import Draws, check_finite
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.web.tables import table_of
from kvdiff.web.windows import TASKS

_HEAD = 4  # Bytes that say how long the JSON before the numbers is.
_MOST_DRAWS = 2**31


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a page may ask a server for.

    Attributes:
        frames: the most frames of a window; by default four clips.
        steps: the most steps of a window.
        waiting: how many requests may wait for the one that is sampled.
        seconds: how long one may take to send its request.
    """

    frames: int | None = None
    steps: int = 100
    waiting: int = 8
    seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.frames is not None:
            check_count("frames", self.frames)
        check_count("steps", self.steps)
        check_count("waiting", self.waiting, at_least=0)
        check_real("seconds", self.seconds, above=0.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Asked:
    """A window that was asked for, checked.

    Attributes:
        table: of all its steps.
        start: the known frames, float32 [1, frames, height, width, channels] as the network sees them.
        is_new: bool [frames], those to generate.
        seed, draw: whose noise it is, and the number of the window's first draw.
        conditioning: of its frames.
        quiet: whether only the end is sent.
    """

    table: StepTable
    start: np.ndarray
    is_new: np.ndarray
    seed: int
    draw: int
    conditioning: Conditioning
    quiet: bool


@dataclasses.dataclass(frozen=True, eq=False)
class LiveSampler:
    """Samples windows for a page, one network call after the other.

    Attributes:
        sampler: of the model.
        limits: of what may be asked.
    """

    sampler: Sampler
    limits: Limits = Limits()

    @property
    def most_frames(self) -> int:
        """Of a window."""
        return self.limits.frames or 4 * self.sampler.spec.clip.num_frames

    @property
    def most_bytes(self) -> int:
        """Of a request: its numbers, and conditions as JSON."""
        spec = self.sampler.spec
        sizes = [int(np.prod(clip.frame_shape)) for clip in (spec.clip, spec.latent)]
        return self.most_frames * 4 * max(sizes) + 2**20

    def asked(self, body: bytes) -> Asked:
        """The window that a request asks for.

        Raises:
            ValueError, TypeError, KeyError: a request that is malformed, beyond the limits or not the model's.
        """
        head, numbers = split(body)
        spec = self.sampler.spec
        task, solver = check_choice("task", head["task"], TASKS), check_choice("solver", head["solver"], SOLVERS)
        steps = check_count("steps", int(head["steps"]), at_most=self.limits.steps)
        new = check_array("isNew", head["isNew"])
        if new.dtype != np.bool_ or new.ndim != 1 or not new.any() or len(new) > self.most_frames:
            raise ValueError(
                f"`isNew`: expected up to {self.most_frames} of true and false, one true. Received: others"
            )
        shape = (1, len(new), *spec.latent.frame_shape)
        own = spec.sampling.get(task, {})
        weight = check_real("guidance", head["guidance"])
        given = {name: _value(value) for name, value in check_mapping("conditions", head["conditions"]).items()}
        conditioning = Conditioning.of(
            spec.conditions,
            given,
            shape,
            values=spec.values,
            guidance=weight if given else 1.0,
            guidance_interval=own.get("guidance_interval", (0.0, 1.0)),
            guidance_rescale=own.get("guidance_rescale", 0.0),
        )
        return Asked(
            table=table_of(spec, task, solver, steps),
            start=_array(numbers, shape),
            is_new=new,
            seed=check_count("seed", int(head["seed"]), at_least=0, at_most=2**64 - 1),
            draw=check_count("draw", head["draw"], at_least=0, at_most=_MOST_DRAWS),
            conditioning=conditioning,
            quiet=check_flag("quiet", head["quiet"]),
        )

    def run(self, asked: Asked) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of users and x, [1, frames, …], after every call; of a quiet request after the last."""
        spec, table, steps = self.sampler.spec, asked.table, asked.table.num_steps
        draws = Draws(
            asked.seed, np.zeros(1, int), asked.draw, asked.start.shape[1:], asked.conditioning, spec.bounds, _none
        )
        pixels = asked.is_new[:, None, None, None]
        x = np.where(pixels, np.float32(table.init_std) * draws(0), asked.start).astype(np.float32)
        history = np.zeros((table.memory, *x.shape), np.float32)
        stride = steps if asked.quiet else 1
        for begin in range(0, steps, stride):
            start, stop = (np.where(asked.is_new, row, steps) for row in (begin, begin + stride))
            here = dataclasses.replace(draws, first=asked.draw + begin)
            x, history = self.sampler.engine.run_window(table.for_frames(start, stop), x, history, here)
            check_finite(x, f"network call {begin + stride} of {steps}")
            yield np.asarray(spec.decode(x), np.float32), x

    def encoded(self, body: bytes) -> np.ndarray:
        """The frames of a request as the network sees them.

        Raises:
            ValueError, TypeError, KeyError: a request that is malformed or beyond the limits.
        """
        head, numbers = split(body)
        frames = check_count("frames", head["frames"], at_most=16 * self.most_frames)
        clip = _array(numbers, (1, frames, *self.sampler.spec.clip.frame_shape))
        return np.asarray(self.sampler.spec.encode(clip), np.float32)


def split(body: bytes) -> tuple[Mapping[str, Any], bytes]:
    """The JSON of a request and the bytes after it."""
    length = int.from_bytes(body[:_HEAD], "little")
    head = json.loads(body[_HEAD : _HEAD + length]) if len(body) >= _HEAD + length else None
    return check_mapping("request", head), body[_HEAD + length :]


def _array(numbers: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """float32 numbers of that shape."""
    if len(numbers) != 4 * np.prod(shape):
        raise ValueError(f"request: expected {4 * int(np.prod(shape))} bytes of numbers. Received: {len(numbers)}")
    array = np.frombuffer(numbers, "<f4").reshape(shape).astype(np.float32)
    if not np.isfinite(array).all():
        raise ValueError("request: expected finite numbers. Received: NaN or infinity")
    return array


def _value(value: Any) -> np.ndarray:
    """A condition as a page sends it: `{"shape", "data"}`."""
    return check_array("condition", check_mapping("condition", value)["data"]).reshape(value["shape"])


def _none(_: int) -> None:
    """No report: whoever waits sees every call."""
