"""A rollout that is handed out frame by frame, while it is generated.

    stream = model.stream(past, keys())              # keys() yields an action a frame, when it is asked for
    for frame in stream:
        show(frame)

A window of the plan is run when the frames before it have been taken. What later windows need is kept, and no more: of
the plan "autoregressive" a window of frames, however long the video. Noise is that of `rollout`, so frame k is too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count, check_mapping
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.sampling.call import Call, Strip, conditioning_of
from kvdiff.diffusion.sampling.engine import Draws, Engine
from kvdiff.diffusion.sampling.frame_values import array_length, frame_values, with_blank
from kvdiff.diffusion.sampling.latents import encoded
from kvdiff.diffusion.sampling.missing import fill_repeats, without_missing
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.tasks import masks
from kvdiff.diffusion.tasks.plan import Plan, Window, network_calls
from kvdiff.diffusion.tasks.plans import Onward, plan_for


@dataclasses.dataclass(eq=False)
class _Batch:
    """Clips that go through the network together."""

    rows: np.ndarray
    draws: Draws
    strip: Strip


class Stream(Iterator[np.ndarray]):
    """The generated frames of a video, one after the other: float32 [batch, height, width, channels] each.

    With `num_members` [members, batch, height, width, channels]. `Sampler.stream` makes it and says what it takes.

    Attributes:
        frame: the number of the frame that comes next, in the whole video.
        num_frames: of the whole video; None while nobody knows.
    """

    def __init__(
        self, spec: ModelSpec, engine: Engine, past: np.ndarray, num_frames: int | None, sampling: Mapping[str, Any]
    ) -> None:
        sampling = dict(sampling)
        plan, at_a_time = sampling.pop("plan", None), sampling.pop("at_a_time", None)
        given, known = sampling.pop("conditions"), past.shape[1]
        lengths = [array_length(spec, name, value) for name, value in given.items()]
        lengths = [num_frames, *lengths, plan.num_frames if isinstance(plan, Plan) else None]
        num_frames = next((length for length in lengths if length is not None), None)
        if num_frames is not None and check_count("num_frames", num_frames) <= known:
            raise ValueError(f"`num_frames`: expected more than the {known} frames of `past`. Received: {num_frames}")
        self._spec, self._engine, self.num_frames = spec, engine, num_frames
        self._values = frame_values(spec, given, past, num_frames)
        self._fixed = {name: value for name, value in given.items() if name not in self._values}
        self._plan = _plan(spec, plan, at_a_time, known, num_frames)
        self._call = self._checked_call(sampling, past)
        self._calls_done = 0
        self._batches = self._first_batches(past)
        self._first_seen = self._plan.first_seen if isinstance(self._plan, Plan) else np.zeros(0, int)
        self._windows, self.frame = 0, known
        self._finished, self._ahead = known, set[int]()  # All frames before that number, and these after it.
        self._ready: list[np.ndarray] = []

    def __next__(self) -> np.ndarray:
        while not self._ready:
            window = self._next_window()
            if window is not None:
                self._run(window)
            self._decode()
            if window is None and not self._ready:
                raise StopIteration
        self.frame += 1
        return self._call.members.shaped(self._ready.pop(0))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of a frame."""
        members = self._call.members
        return (*([] if members.number is None else [members.number]), members.clips, *self._spec.clip.frame_shape)

    def state(self) -> dict[str, np.ndarray]:
        """Where the stream stands, as arrays that `numpy.savez` keeps: `resumed` goes on from there."""
        numbers = {"windows": self._windows, "frame": self.frame, "finished": self._finished}
        state = {name: np.array(number) for name, number in numbers.items()}
        state["ahead"] = np.array(sorted(self._ahead), int)
        state["ready"] = np.array(self._ready)
        for index, batch in enumerate(self._batches):
            for field in dataclasses.fields(Strip):
                state[f"{field.name}_{index}"] = np.array(getattr(batch.strip, field.name))
        return state

    def resumed(self, state: Mapping[str, np.ndarray]) -> Stream:
        """This stream, gone on to where one of the same call stood.

        What an iterable says of the frames before is asked for again, so it begins as it did.

        Raises:
            ValueError: a state of another call.
        """
        check_mapping("state", state, wanted="arrays")
        ours = self.state()
        same = set(state) == set(ours) and all(
            np.asarray(state[name]).dtype == kept.dtype and _without_frames(state[name]) == _without_frames(kept)
            for name, kept in ours.items()
            if name.startswith("x_") or not kept.ndim
        )
        plan = self._plan.windows[: int(state["windows"])] if same and isinstance(self._plan, Plan) else []
        if not same or (isinstance(self._plan, Plan) and len(plan) != state["windows"]):
            raise ValueError(
                f"`state`: expected that of a stream of the same call, with {sorted(ours)}. Received: {sorted(state)}"
                f"{', but of other clips' if set(state) == set(ours) else ''}"
            )
        self._windows, self.frame, self._finished = (int(state[name]) for name in ("windows", "frame", "finished"))
        self._ahead, self._ready = set(state["ahead"].tolist()), list(state["ready"])
        if plan:
            self._calls_done = len(self._batches) * network_calls(plan, self._call.table.num_steps)
        for index, batch in enumerate(self._batches):
            kept = {field.name: state[f"{field.name}_{index}"] for field in dataclasses.fields(Strip)}
            numbers: dict[str, Any] = {name: int(each) if each.ndim == 0 else each for name, each in kept.items()}
            batch.strip = Strip(**numbers)
        return self

    # Before the first frame.

    def _checked_call(self, sampling: Mapping[str, Any], past: np.ndarray) -> Call:
        """The keywords, checked with what is known of the conditions so far."""
        video, known = with_blank(past)
        frames = np.arange(video.shape[1])
        template = {
            name: values.of(frames) if values.end > frames[-1] else values.condition.default(len(frames), shape)
            for name, values in self._values.items()
            for shape in [values.frame_shape]
        }
        call = Call.of(self._spec, {**sampling, "conditions": {**self._fixed, **template}}, video, known)
        asked = call.asked
        if fill_repeats(asked.fill_missing):
            raise ValueError("`fill_missing`: expected a stream without; `infill` fills what the past lacks before it")
        by_end = {
            "progress": asked.progress,
            "augmentation": asked.augmentation or None,
            "constraints": asked.constraints,
        }
        name = next((name for name, value in by_end.items() if value is not None), None)
        if self.num_frames is None and name is not None:
            raise ValueError(f"`{name}`: expected `num_frames` beside it, or an array a frame. Received: neither")
        return call

    def _first_batches(self, past: np.ndarray) -> list[_Batch]:
        """The past as the network sees it, and what belongs to its clips."""
        spec, call, (_, known) = self._spec, self._call, with_blank(past)
        parts, total = list(call.members.batches(call.asked.batch_size)), 0
        if isinstance(self._plan, Plan):
            total = len(parts) * network_calls(self._plan.windows, call.table.num_steps)
        shape = np.broadcast_to(np.float32(0.0), (len(past), self.num_frames or 0, *past.shape[2:]))
        windows = len(self._plan.windows) if isinstance(self._plan, Plan) else 2  # Nobody knows how many.
        imposed = call.imposed(self._engine, shape, known, windows)
        self._engine = call.guided(self._engine, known, windows)

        def report(rows: int) -> None:
            self._calls_done += rows
            if call.asked.progress is not None:
                call.asked.progress(self._calls_done, total)

        batches = []
        for rows, samples in parts:
            own = None if imposed is None else imposed.rows(rows)
            draws = Draws(call.asked.seed, samples, 0, (), call.conditioning, spec.bounds, report, own)
            x = encoded(spec, past[rows], known[rows, :-1]).astype(past.dtype)
            batches.append(_Batch(rows, draws, call.strip(x, known[rows, :-1])))
        return batches

    # Window after window.

    def _next_window(self) -> Window | None:
        """The next window, once all that conditions it has been asked for; None after the last."""
        if isinstance(self._plan, Plan):
            if self._windows == len(self._plan.windows):
                return None
            window = self._plan.windows[self._windows]
        elif self.num_frames is not None:  # The iterables ended here.
            return None
        else:
            window = self._plan.after(self._finished)
        there = min([values.until(window.end) for values in self._values.values()], default=window.end)
        if there >= window.end:
            return window
        if self.num_frames is not None or (not self._windows and there <= self._finished):
            names, frames = sorted(self._values), self.num_frames or f"more than the {self._finished} of `past`"
            raise ValueError(f"`conditions`: expected values of {frames} frames from {names}. Received: of {there}")
        self.num_frames = there
        return self._plan.after(self._finished, there) if there > self._finished else None  # type: ignore[union-attr]

    def _run(self, window: Window) -> None:
        """Run a window over every batch, and forget what no later one needs."""
        asked, frames = self._call.asked, window.frames
        conditioning = self._conditioning(frames)
        for batch in self._batches:
            if batch.strip.windows > self._windows:  # Before an interruption.
                continue
            batch.strip.extend(window.end)
            own = conditioning.rows(batch.rows).with_noise(asked.seed, batch.draws.samples, frames, self.num_frames)
            imposed = None if batch.draws.imposed is None else batch.draws.imposed.frames(frames)
            draws = dataclasses.replace(batch.draws, conditioning=own, imposed=imposed, frames=frames)
            self._call.run_window(self._engine, window, batch.strip, draws)
        self._windows += 1
        self._ahead |= set(frames[window.stop == window.parts].tolist())
        while self._finished in self._ahead:
            self._finished += 1
        self._ahead = {frame for frame in self._ahead if frame > self._finished}

    def _conditioning(self, frames: np.ndarray) -> Conditioning:
        """Of the frames with these numbers."""
        given = {**self._fixed, **{name: values.of(frames) for name, values in self._values.items()}}
        batch = self._call.members.clips
        return conditioning_of(self._spec, self._call.asked, given, batch, len(frames))

    def _decode(self) -> None:
        """Make pictures of the frames that are finished, and whose neighbours are where a picture depends on them."""
        reach = getattr(self._spec.codec, "reach", 0)
        begin, end = self.frame + len(self._ready), self._finished
        end -= reach if end != self.num_frames else 0
        if end > begin:
            parts = [self._pictures(batch, begin, end, reach) for batch in self._batches]
            self._ready += list(np.swapaxes(np.concatenate(parts), 0, 1))
            begin = end
        if isinstance(self._plan, Onward):
            seen = self._finished - (self._plan.window - 1)
        else:
            seen = int(self._first_seen[self._windows])
        before = max(min(seen, begin - reach), self._batches[0].strip.first)
        for batch in self._batches:
            batch.strip.drop(before)
        for values in self._values.values():
            values.drop(before)

    def _pictures(self, batch: _Batch, begin: int, end: int, reach: int) -> np.ndarray:
        """The frames from `begin` to before `end` of a batch, [batch, frames, height, width, channels]."""
        x, first = batch.strip.x, batch.strip.first
        low, high = max(begin - reach, first), min(end + reach, self._finished)
        made = np.asarray(self._spec.decode(x[:, low - first : high - first]))[:, begin - low : end - low]
        if self._spec.missing is not None:
            told = self._conditioning(np.arange(begin, end)).rows(batch.rows)
            made = without_missing(self._spec, made, told.inputs)
        return made.astype(np.result_type(made.dtype, x.dtype))


def _without_frames(kept: np.ndarray) -> tuple[int, ...]:
    """The shape of an array [batch, frames, …] but for its frames."""
    return (*np.shape(kept)[:1], *np.shape(kept)[2:])


def _plan(spec: ModelSpec, plan: Any, at_a_time: int | None, known: int, num_frames: int | None) -> Plan | Onward:
    """The plan of a rollout; where nobody knows how many frames it will have, one window after the other."""
    length = spec.clip.num_frames
    plan = "autoregressive" if plan is None and at_a_time is None else plan
    if num_frames is not None:
        times = any(condition.tells_time for condition in spec.conditions.values())
        return plan_for(plan, at_a_time, masks.first(num_frames, known), length, gaps=times)
    if plan not in (None, "autoregressive"):
        wanted = '"autoregressive" where neither `num_frames` nor an array says how many frames there will be'
        raise ValueError(f"`plan`: expected {wanted}. Received: {plan!r}")
    if plan is not None and at_a_time is not None:
        raise ValueError(f"`at_a_time`: expected no `plan` beside it. Received: {at_a_time} and a plan")
    return Onward.of(length, at_a_time=at_a_time)
