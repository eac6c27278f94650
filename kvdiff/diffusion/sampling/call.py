"""One call of a verb: its keywords checked, then window after window of its plan run through an engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_can, check_count, check_real, optional
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.process.noise import CONTEXT
from kvdiff.diffusion.sampling.constraints import Imposed
from kvdiff.diffusion.sampling.engine import Draws, Engine, check_finite
from kvdiff.diffusion.sampling.history_guidance import HistoryEngine, check_history_guidance
from kvdiff.diffusion.sampling.keywords import Keywords
from kvdiff.diffusion.sampling.latents import codec_calls, decoded, encoded, watched
from kvdiff.diffusion.sampling.members import Members
from kvdiff.diffusion.sampling.missing import fill_repeats, hidden, kept_numbers, pinned, with_mask, without_missing
from kvdiff.diffusion.solvers.by_name import step_table
from kvdiff.diffusion.solvers.rows import KnownLevel
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.spec import MAX_KNOWN_NOISE, ModelSpec
from kvdiff.diffusion.tasks.plan import Window, network_calls

_PIXELS = (..., None, None, None)


@dataclasses.dataclass(frozen=True, eq=False)
class Call:
    """What a call asks for, checked before anything is computed.

    Attributes:
        spec: of the model.
        asked: the keywords that do not choose the table.
        table: the steps of a window.
        level: the noise of known frames.
        conditioning: what the whole video is conditioned on.
        members: which samples of each clip.
        given: the frames that the user knows, bool [batch, frames].
    """

    spec: ModelSpec
    asked: Keywords
    table: StepTable
    level: KnownLevel
    conditioning: Conditioning
    members: Members
    given: np.ndarray

    @classmethod
    def of(cls, spec: ModelSpec, sampling: Mapping[str, Any], video: np.ndarray, given: np.ndarray) -> Call:
        """The call with the keywords `sampling`, documented by `Sampler.infill`, but for those of its plan.

        Of `video`, the frames `given`, bool [batch, frames], are known.
        """
        asked, of_table = Keywords.split(sampling)
        check_count("batch_size", asked.batch_size)
        optional(check_can, "progress", asked.progress, "a function of (done, total)")
        check_count("seed", asked.seed, at_least=0, at_most=2**64 - 1)
        check_history_guidance(spec, asked.history_guidance)
        members = Members(len(video), asked.num_members, asked.first_member, asked.first_sample)
        table = step_table(spec.schedule, spec.prediction, **of_table)
        most = MAX_KNOWN_NOISE if spec.known_noise is None else spec.known_noise
        noise = check_real("known_noise", asked.known_noise, above=0.0, below=most, closed=True)
        conditions = with_mask(spec, asked.conditions, video, None if asked.fill_missing else given)
        conditioning = conditioning_of(spec, asked, conditions, *video.shape[:2])
        level = KnownLevel.of(spec.schedule, spec.prediction, noise)
        return cls(spec, asked, table, level, conditioning, members, given)

    def run(self, engine: Engine, video: np.ndarray, known: np.ndarray, windows: Sequence[Window]) -> np.ndarray:
        """Run `windows` over a video, [batch, frames, height, width, channels], `batch_size` clips at a time.

        Frames that are `known`, bool [batch, frames], are clean from the beginning. What the user knows comes back as
        it is. With members [members, batch, frames, …].
        """
        imposed = self.imposed(engine, video, known, len(windows))
        engine = self.guided(engine, known, len(windows))
        batches, repeats = list(self.members.batches(self.asked.batch_size)), fill_repeats(self.asked.fill_missing)
        total, done = len(batches) * network_calls(windows, self.table.num_steps) * max(repeats, 1), 0
        total += sum(codec_calls(self.spec, known[rows]) for rows, _ in batches)

        def report(rows: int) -> None:
            nonlocal done
            done += rows
            if self.asked.progress is not None:
                self.asked.progress(done, total)

        chunks, spec = [], watched(self.spec, report)
        for rows, samples in batches:
            conditioning = self.conditioning.rows(rows).with_noise(self.asked.seed, samples)
            own = None if imposed is None else imposed.rows(rows)
            draws = Draws(self.asked.seed, samples, 0, video.shape[1:], conditioning, self.spec.bounds, report, own)
            x = encoded(spec, video[rows], known[rows]).astype(video.dtype)
            kept = kept_numbers(video[rows], self.given[rows], fill=bool(repeats))
            filling = pinned(engine, spec, kept & ~known[rows][_PIXELS], x, repeats) if repeats else engine
            strip = self.strip(x, known[rows])
            for window in windows:
                self.run_window(filling, window.of_clips(rows), strip, draws.of_frames(window.frames))
            made = without_missing(spec, decoded(spec, x, known[rows]), conditioning.inputs)
            chunks.append(np.where(kept, video[rows], made))
        return self.members.shaped(np.concatenate(chunks))

    def imposed(self, engine: Engine, video: np.ndarray, known: np.ndarray, num_windows: int) -> Imposed | None:
        """The constraints, where there are some; refuses what the clips or the engine cannot have."""
        asked = self.asked
        if asked.num_members is not None and not known.any() and not asked.conditions:
            raise ValueError(
                "`num_members`: expected known frames or conditions, which the members share. Received: neither; "
                "`num_clips` says how many clips to generate from noise alone"
            )
        if asked.constraints is None:
            return None
        if not getattr(engine, "imposes_constraints", False):
            raise TypeError(
                "`constraints`: expected an engine whose network has a gradient, as Keras' has on TensorFlow. "
                f"Received: {type(engine).__name__}"
            )
        return Imposed.of(self.spec, asked.constraints, asked.constraint_iterations, video, num_windows)

    def guided(self, engine: Engine, known: np.ndarray, num_windows: int) -> Engine:
        """`engine`, pushed towards known frames where that is asked for."""
        weight = self.asked.history_guidance
        if weight == 1.0:
            return engine
        if not known.any() and num_windows == 1:
            raise ValueError(f"`history_guidance`: expected 1 where no frame is known. Received: {weight}")
        if self.asked.constraints is not None:
            raise ValueError(f"`constraints`: expected no `history_guidance` beside them. Received: {weight}")
        return HistoryEngine(engine, self.spec, weight, self.level)

    def strip(self, x: np.ndarray, known: np.ndarray) -> Strip:
        """The frames of a batch before its first window; those that are `known`, bool [batch, frames], are clean."""
        return Strip(x, np.zeros((self.table.memory, *x.shape), x.dtype), known.copy())

    def run_window(self, engine: Engine, window: Window, strip: Strip, draws: Draws) -> None:
        """Run one window over the frames of a batch; `draws` are those of the window's frames.

        Noise is numbered along the run: a window's first draw starts its new frames, one more belongs to each row.
        """
        table, level, x, history = self.table, self.level, strip.x, strip.history
        at = window.frames - strip.first
        here = dataclasses.replace(draws, first=strip.draw, clip_shape=(len(at), *x.shape[2:]))
        starts = ~strip.begun[:, at]
        x[:, at] = np.where(starts[_PIXELS], np.float32(table.init_std) * here(0), x[:, at])
        start, stop = window.rows(table.num_steps)
        of_window, noisy = table.for_frames(start, stop, level), x[:, at]
        if level.sigma:
            finished = np.broadcast_to(start == table.num_steps, starts.shape)[_PIXELS]
            context = level.alpha * noisy + level.sigma * here(0, stream=CONTEXT)
            noisy = np.where(finished, context, noisy).astype(x.dtype)
        cleaner, remembered = engine.run_window(of_window, noisy, history[:, :, at], here)
        check_finite(cleaner, f"frames {window.frames[0]} to {window.frames[-1]}")
        moves = np.broadcast_to(window.moves, starts.shape)[_PIXELS]
        x[:, at] = np.where(moves, cleaner, x[:, at])  # The rows keep known pixels but for the sign of a zero.
        finished = np.broadcast_to(stop, starts.shape) == table.num_steps
        x[:, at] = hidden(self.spec, x[:, at], here.conditioning.inputs, finished)
        history[:, :, at] = np.where(moves, remembered, history[:, :, at])  # A frame that waits learns nothing.
        strip.begun[:, at] = True
        strip.draw += 1 + of_window.num_steps
        strip.windows += 1


def conditioning_of(
    spec: ModelSpec, asked: Keywords, conditions: Mapping[str, Any] | None, batch: int, frames: int
) -> Conditioning:
    """What clips of so many frames are conditioned on, checked, as the network sees it."""
    conditioning = Conditioning.of(
        spec.conditions,
        conditions,
        (batch, frames, *spec.condition_frame),
        values=spec.values,
        guidance=asked.guidance,
        guidance_interval=asked.guidance_interval,
        guidance_rescale=asked.guidance_rescale,
        augmentation=asked.augmentation,
    )
    return dataclasses.replace(conditioning, inputs=spec.padded(np, conditioning.inputs))


@dataclasses.dataclass(eq=False)
class Strip:
    """The frames of a batch of clips between two windows: they wait on the host.

    Attributes:
        x: as the network sees them, [batch, frames, height, width, channels].
        history: the predictions of x_0 that the solver remembers, [memory, *x.shape].
        begun: bool [batch, frames], those that are no blanks any more.
        first: the number of the first of them in the video.
        draw: the number of the next draw of noise.
        windows: how many were run.
    """

    x: np.ndarray
    history: np.ndarray
    begun: np.ndarray
    first: int = 0
    draw: int = 0
    windows: int = 0

    def extend(self, end: int) -> None:
        """Append blank frames up to the one before that number, where there are fewer."""
        more = max(end - self.first - self.x.shape[1], 0)
        self.x, self.history, self.begun = (
            np.concatenate([kept, np.zeros((*kept.shape[:axis], more, *kept.shape[axis + 1 :]), kept.dtype)], axis=axis)
            for kept, axis in ((self.x, 1), (self.history, 2), (self.begun, 1))
        )

    def drop(self, before: int) -> None:
        """Forget the frames before that number."""
        cut = before - self.first
        self.x, self.history, self.begun = self.x[:, cut:], self.history[:, :, cut:], self.begun[:, cut:]
        self.first = before
