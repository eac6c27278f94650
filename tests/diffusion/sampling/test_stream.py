"""A stream is the rollout of the same call, frame by frame: bit for bit, as lazily as it says, in bounded memory."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import (
    AveragePool,
    ClipSpec,
    DenoiserEngine,
    FrameTimes,
    FrameVectors,
    ModelSpec,
    OracleSampler,
    Prediction,
    Sampler,
    masks,
    plans,
    schedules,
)
from kvdiff.diffusion.sampling.constraints import Constraint, FrameTotals
from kvdiff.diffusion.sampling.stream import Stream
from kvdiff.diffusion.transforms import Autoencoder, Log1p, Padding
from tests.diffusion.helpers import gaussian
from tests.diffusion.sampling.test_missing import holed, sampler_of
from tests.diffusion.sampling.test_whole_loop import BATCH, FRAME, given, network, spec

LENGTH, KNOWN = 15, 3
PAST = np.random.default_rng(2).uniform(-1, 1, (2, KNOWN, 4, 6, 1)).astype(np.float32)
KEYS = np.random.default_rng(3).normal(size=(2, LENGTH, 2)).astype(np.float32)
GAME = {"push": FrameVectors(2)}


def denoise(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Mixes frames, and heeds what it is conditioned on."""
    told = 0.4 * inputs["push"].sum(axis=-1) if "push" in inputs else np.zeros(noisy_clip.shape[:2])
    told = told + (0.3 * np.sin(inputs["when"] - inputs["when"][:, :1]) if "when" in inputs else 0.0)
    out = (
        0.5 * noisy_clip
        + 0.3 * np.tanh(noisy_clip.mean(axis=1, keepdims=True))
        - 0.1 * noise_label[..., None, None, None]
    )
    return (out + told[..., None, None, None]).astype(np.float32)


def sampler(length: int = 6, engine: Any = None, **of: Any) -> Sampler:
    of = ModelSpec(ClipSpec(length, 4, 6, 1), schedules.cosine(50), Prediction(), **of)
    return Sampler(of, engine or DenoiserEngine(denoise))


def joined(stream: Stream) -> np.ndarray:
    return np.stack(list(stream), axis=-4)


def rolled(made: Sampler, past: np.ndarray, num_frames: int, **how: Any) -> np.ndarray:
    return made.rollout(num_frames, past, **how)[..., past.shape[1] :, :, :, :]


HOW: dict[str, dict[str, Any]] = {
    "autoregressive": {},
    "one at a time": {"at_a_time": 1},
    "four at a time, two of four clips together": {"at_a_time": 4, "batch_size": 3, "num_members": 2},
    "rolling": {"plan": "rolling", "num_steps": 10, "solver": "dpmpp_2m"},
    "far frames first": {"plan": "hierarchical"},
    "noisy known frames": {"known_noise": 0.2, "solver": "ddim", "eta": 0.5, "first_sample": 4},
    "heun": {"solver": "heun", "num_steps": 8},
    "towards known frames": {"history_guidance": 1.5},
}


@pytest.mark.parametrize("name", HOW)
@pytest.mark.parametrize("kind", ["pixels", "pooled", "units"])
def test_a_stream_is_the_rollout(kind: str, name: str) -> None:
    how = {"num_steps": 4, "seed": 5, **HOW[name]}
    of = {"pixels": {}, "pooled": {"codec": AveragePool(2)}, "units": {"values": Log1p(0.0, 60.0)}}[kind]
    made = sampler(conditions={**GAME, "when": FrameTimes()}, **of)
    past = 20.0 * (PAST + 1.0) if kind == "units" else PAST
    expected = rolled(made, past, LENGTH, conditions={"push": KEYS}, **how)
    np.testing.assert_array_equal(joined(made.stream(past, KEYS, **how)), expected)
    by_name = made.stream(past, num_frames=LENGTH, conditions={"push": KEYS}, **how)
    np.testing.assert_array_equal(joined(by_name), expected)
    keys = (KEYS[:, frame] for frame in range(LENGTH))
    if how.get("plan") is None:  # Others must know the end.
        np.testing.assert_array_equal(joined(made.stream(past, keys, **how)), expected)
    else:
        np.testing.assert_array_equal(joined(made.stream(past, keys, num_frames=LENGTH, **how)), expected)
    assert np.abs(expected - rolled(made, past, LENGTH, conditions={"push": -KEYS}, **how)).max() > 1e-3


@pytest.mark.parametrize("end", [4, 5, 6, 7, 8, 9, 11, 13])
def test_an_iterable_that_ends_anywhere_ends_the_video_as_a_rollout_of_that_length(end: int) -> None:
    made = sampler(conditions=GAME)
    stream = made.stream(PAST, iter(KEYS[0, :end]), num_steps=3)
    assert stream.num_frames is None
    expected = rolled(made, PAST, end, conditions={"push": KEYS[0, :end]}, num_steps=3)
    np.testing.assert_array_equal(joined(stream), expected)
    assert stream.num_frames == stream.frame == end and list(stream) == []


def test_without_a_past_and_without_an_end() -> None:
    made = sampler()
    stream = made.stream(num_clips=3, num_steps=3, seed=4)
    found = np.stack(list(itertools.islice(stream, 40)), axis=1)
    np.testing.assert_array_equal(found[:, :36], made.rollout(36, num_clips=3, num_steps=3, seed=4))
    assert found.shape[0] == 3 and stream.frame == 40


def test_a_value_is_asked_for_when_its_frame_is_to_be_generated() -> None:
    asked: list[int] = []

    def keys() -> Iterator[np.ndarray]:
        for frame in itertools.count():
            asked.append(frame)
            yield KEYS[0, frame]

    made = sampler(conditions=GAME)
    stream = made.stream(PAST, keys(), at_a_time=1, num_steps=2)
    assert asked == []
    for frame in range(KNOWN, 9):
        next(stream)
        assert asked == list(range(frame + 1)) and stream.frame == frame + 1
    asked.clear()
    next(made.stream(PAST, keys(), num_steps=2))
    assert asked == list(range(6))  # A window.


def test_it_keeps_what_the_next_window_needs() -> None:
    made = sampler(conditions=GAME, codec=Autoencoder(2, (4, 6, 1), 4, "0" * 16, reach=2, network=Neighbours()))
    most = 0
    stream = made.stream(PAST, itertools.repeat(np.ones(2)), at_a_time=2, num_steps=1, num_members=2)
    for _ in itertools.islice(stream, 60):
        (batch,) = stream._batches
        kept = [
            batch.strip.x.shape[1],
            batch.strip.history.shape[2],
            *(v.values.shape[1] for v in stream._values.values()),
        ]
        most = max(most, *kept)
    assert most <= 6 + 2


class Neighbours:
    """Two-by-two cells as four channels; a picture is of its latent and the two frames before and after it."""

    def encode(self, clip: np.ndarray, xp: Any = np) -> np.ndarray:
        batch, frames, height, width, _ = clip.shape
        cells = clip.reshape(batch, frames, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return cells.reshape(batch, frames, height // 2, width // 2, 4)

    def decode(self, latent: np.ndarray, xp: Any = np) -> np.ndarray:
        batch, frames, height, width, _ = latent.shape
        wide = np.pad(latent, ((0, 0), (2, 2), (0, 0), (0, 0), (0, 0)))
        mixed = 0.5 * latent + 0.125 * sum(wide[:, shift : shift + frames] for shift in (0, 1, 3, 4))
        cells = mixed.reshape(batch, frames, height, width, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return cells.reshape(batch, frames, 2 * height, 2 * width, 1)


@pytest.mark.parametrize("how", [{}, {"at_a_time": 1}, {"plan": "hierarchical"}])
def test_pictures_that_depend_on_their_neighbours_wait_for_them(how: dict[str, Any]) -> None:
    codec = Autoencoder(2, (4, 6, 1), 4, "0" * 16, reach=2, network=Neighbours())
    made = sampler(codec=codec, conditions={"when": FrameTimes()})
    expected = rolled(made, PAST, 25, num_steps=2, **how)
    np.testing.assert_allclose(joined(made.stream(PAST, num_frames=25, num_steps=2, **how)), expected, atol=1e-6)
    if "plan" not in how:
        endless = list(itertools.islice(made.stream(PAST, num_steps=2, **how), 12))
        np.testing.assert_allclose(np.stack(endless, axis=1), expected[:, :12], atol=1e-6)


def test_conditions_of_every_kind_are_those_of_the_rollout() -> None:
    """Of each clip its own, with noise on small clips, guided where the interval says."""
    made = Sampler(spec(), DenoiserEngine(network), np.float64)
    past = np.random.default_rng(1).uniform(-1, 1, (BATCH, 2, *FRAME)).astype(np.float32)
    how: dict[str, Any] = dict(
        num_steps=3,
        guidance=np.linspace(0.5, 3, BATCH),
        guidance_interval=(0.2, 0.9),
        guidance_rescale=0.4,
        augmentation=0.2,
        batch_size=2,
        conditions=given(11),
    )
    expected = rolled(made, past, 11, **how)
    np.testing.assert_array_equal(joined(made.stream(past, **how)), expected)
    pushes = iter(np.swapaxes(how["conditions"]["push"], 0, 1))
    how["conditions"] = {**how["conditions"], "push": pushes}
    np.testing.assert_array_equal(joined(made.stream(past, **how)), expected)


@pytest.mark.parametrize("frame", [(4, 6), (3, 5)])
def test_what_the_past_lacks_is_missing_in_every_frame(frame: tuple[int, int]) -> None:
    made = sampler_of(frame, codec=None if frame == (4, 6) else Padding(3, 5, 4))
    past = holed(frames=2, frame=frame)
    past[:, :, 0, 0] = np.nan
    expected = rolled(made, past, 9, num_steps=2, at_a_time=1)
    assert np.isnan(expected[:, -1]).any()
    np.testing.assert_array_equal(joined(made.stream(past, num_frames=9, num_steps=2, at_a_time=1)), expected)
    endless = made.stream(past, num_steps=2, at_a_time=1)
    np.testing.assert_array_equal(np.stack(list(itertools.islice(endless, 7)), axis=1), expected)


def test_constraints_of_a_known_length_are_imposed() -> None:
    exact = OracleSampler(gaussian(2), ClipSpec(3, 2, 1, 1), schedules.cosine(1000), Prediction())
    made = Sampler(
        ModelSpec(exact.spec.clip, exact.spec.schedule, exact.spec.prediction, exact.spec.values), exact.engine
    )
    past = np.full((1, 1, 2, 1, 1), 0.1, np.float32)
    target = np.linspace(-1, 1, 7)[None]
    target[0, 0] = np.nan
    asked = [Constraint(FrameTotals(), target)]
    expected = rolled(made, past, 7, num_steps=3, constraints=asked)
    np.testing.assert_array_equal(joined(made.stream(past, num_frames=7, num_steps=3, constraints=asked)), expected)


def test_a_models_own_defaults_are_those_of_its_rollouts() -> None:
    made = sampler(sampling={"rollout": {"at_a_time": 1, "num_steps": 3}, "predict": {"num_steps": 1}})
    np.testing.assert_array_equal(joined(made.stream(PAST, num_frames=8)), rolled(made, PAST, 8))
    one = plans.autoregressive(8, 6, overlap=2, known=KNOWN)
    expected = rolled(made, PAST, 8, plan=one)
    np.testing.assert_array_equal(joined(made.stream(PAST, plan=one)), expected)  # The plan says how many.


def test_progress_counts_network_calls_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    made = sampler()
    list(made.stream(PAST, num_frames=12, num_steps=4, batch_size=1, progress=lambda *now: seen.append(now)))
    calls = 2 * plans.autoregressive(12, 6, known=KNOWN).calls(4)
    assert seen == [(done, calls) for done in range(1, calls + 1)]


# Interrupted, and gone on.


@pytest.mark.parametrize("name", HOW)
def test_it_goes_on_from_its_state(name: str, tmp_path: Any) -> None:
    made = sampler(conditions={**GAME, "when": FrameTimes()}, codec=AveragePool(2))
    how = {"num_steps": 4, "conditions": {"push": KEYS}, **HOW[name]}
    expected = joined(made.stream(PAST, **how))
    for taken in (0, 1, 5, 8, LENGTH - KNOWN):
        stream = made.stream(PAST, **how)
        first = [next(stream) for _ in range(taken)]
        np.savez(tmp_path / "state.npz", **stream.state())
        rest = list(made.stream(PAST, **how).resumed(np.load(tmp_path / "state.npz")))
        np.testing.assert_array_equal(np.stack([*first, *rest], axis=-4), expected)


def test_an_endless_stream_goes_on_too() -> None:
    made = sampler(conditions=GAME)
    expected = rolled(made, PAST, LENGTH, conditions={"push": KEYS[0]}, num_steps=3)
    stream = made.stream(PAST, iter(KEYS[0]), num_steps=3)
    first = [next(stream) for _ in range(5)]
    rest = list(made.stream(PAST, iter(KEYS[0]), num_steps=3).resumed(stream.state()))
    np.testing.assert_array_equal(np.stack([*first, *rest], axis=1), expected)


def test_progress_goes_on_where_it_stood() -> None:
    made, seen = sampler(), []
    how: dict[str, Any] = dict(num_frames=12, num_steps=4, batch_size=1)
    stream = made.stream(PAST, **how)
    next(stream)
    resumed = made.stream(PAST, **how, progress=lambda *now: seen.append(now)).resumed(stream.state())
    list(resumed)
    calls = 2 * plans.autoregressive(12, 6, known=KNOWN).calls(4)
    assert seen == [(done, calls) for done in range(9, calls + 1)]


@dataclasses.dataclass
class Stopped:
    """An engine that is interrupted at some of its windows."""

    inner: DenoiserEngine
    at: set[int]
    windows: int = 0

    def run_window(self, *window: Any) -> Any:
        self.windows += 1
        if self.windows in self.at:
            raise KeyboardInterrupt
        return self.inner.run_window(*window)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_an_interrupted_window_is_run_again(at: int) -> None:
    expected = rolled(sampler(), PAST, 11, num_steps=3, batch_size=1)
    made = sampler(engine=Stopped(DenoiserEngine(denoise), {at}))
    stream, found = made.stream(PAST, num_frames=11, num_steps=3, batch_size=1), []
    with pytest.raises(KeyboardInterrupt):
        found.extend(stream)
    state = stream.state()
    for rest in (stream, sampler().stream(PAST, num_frames=11, num_steps=3, batch_size=1).resumed(state)):
        np.testing.assert_array_equal(np.stack([*found, *rest], axis=1), expected)


def test_a_state_of_another_call_is_refused() -> None:
    made = sampler()
    stream = made.stream(PAST, num_frames=30, num_steps=2)
    list(itertools.islice(stream, 20))
    state = stream.state()
    others = [
        made.stream(PAST[:1], num_frames=30, num_steps=2),
        made.stream(PAST, num_frames=9, num_steps=2),
        made.stream(PAST, num_frames=30, num_steps=2, batch_size=1),
    ]
    for other in others:
        with pytest.raises(ValueError, match="`state`: expected that of a stream of the same call"):
            other.resumed(state)
    with pytest.raises(ValueError, match="`state`: expected that of a stream"):
        made.stream(PAST, num_steps=2).resumed({"x": np.zeros(2)})
    with pytest.raises(TypeError, match="`state`: expected a dict of arrays by name"):
        made.stream(PAST, num_steps=2).resumed([1])  # type: ignore[arg-type]


# What is wrong is said before the first frame.

REFUSED = [
    (lambda s: s.stream(2 * PAST), ValueError, "`past`: expected values in"),
    (lambda s: s.stream(PAST, num_frames=3), ValueError, "`num_frames`: expected more than the 3 frames of `past`"),
    (lambda s: s.stream(PAST, num_frames=4.5), TypeError, "`num_frames`: expected an integer"),
    (lambda s: s.stream(num_clips=0), ValueError, "`num_clips`: "),
    (lambda s: s.stream(PAST, KEYS[:, :, :1]), ValueError, r"`conditions\['push'\]`: expected shape \[2, 15, 2\]"),
    (lambda s: s.stream(PAST, KEYS, num_frames=20), ValueError, r"`conditions\['push'\]`: expected shape \[2, 20, 2\]"),
    (lambda s: s.stream(PAST, KEYS[0, 0]), ValueError, r"`conditions\['push'\]`: expected an array of 2 or 3 axes"),
    (lambda s: s.stream(PAST, 5), ValueError, r"`conditions\['push'\]`: expected an array of 2 or 3 axes"),
    (lambda s: s.stream(PAST, "left"), TypeError, r"frame 0`: expected real numbers. Received: 'l'"),
    (lambda s: s.stream(PAST, KEYS, conditions={"push": KEYS}), ValueError, r"`actions`: expected no conditions\['pu"),
    (lambda s: s.stream(PAST, conditions={"pull": KEYS}), ValueError, "`conditions`: expected names among"),
    (lambda s: s.stream(PAST, conditions=[1]), TypeError, "`conditions`: expected a dict of arrays by name"),
    (
        lambda s: s.stream(PAST, iter(KEYS[0, :3])),
        ValueError,
        "`conditions`: expected values of more than the 3 of `past`",
    ),
    (
        lambda s: s.stream(PAST, iter([KEYS[0, 0, :1]])),
        ValueError,
        r"frame 0`: expected shape \[2\], or \[2, 2\] for each",
    ),
    (lambda s: s.stream(PAST, iter([[0.0, np.nan]])), ValueError, "frame 0`: expected finite numbers"),
    (lambda s: s.stream(PAST, plan="rolling"), ValueError, '`plan`: expected "autoregressive" where neither `num_fr'),
    (
        lambda s: s.stream(PAST, plan="hierarchical", num_frames=9),
        ValueError,
        "`plan`: expected windows of neighbouring",
    ),
    (lambda s: s.stream(PAST, plan="spiral", num_frames=9), ValueError, "`plan`: expected one of"),
    (lambda s: s.stream(PAST, at_a_time=6), ValueError, "`at_a_time`: "),
    (lambda s: s.stream(PAST, at_a_time=1, plan="autoregressive"), ValueError, "`at_a_time`: expected no `plan`"),
    (
        lambda s: s.stream(PAST, num_frames=9, plan="rolling", num_steps=3),
        ValueError,
        "`num_steps`: expected a multiple",
    ),
    (lambda s: s.stream(PAST, num_steps=0), ValueError, "`num_steps`: "),
    (lambda s: s.stream(PAST, seed=-1), ValueError, "`seed`: "),
    (lambda s: s.stream(PAST, known_noise=2.0), ValueError, "`known_noise`: "),
    (lambda s: s.stream(PAST, guidance=2.0), ValueError, "`guidance`: expected 1 where there is no condition"),
    (lambda s: s.stream(num_members=2), ValueError, "`num_members`: expected known frames or conditions"),
    (lambda s: s.stream(PAST, progress=print), ValueError, "`progress`: expected `num_frames` beside it"),
    (
        lambda s: s.stream(PAST, constraints=[1], num_frames=9),
        TypeError,
        "`constraints`: expected an engine whose network",
    ),
    (lambda s: s.stream(PAST, fill_missing=True), ValueError, "`fill_missing`: expected a stream without"),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSED)
def test_bad_input_is_named_before_the_first_frame(call: Any, error: type[Exception], message: str) -> None:
    def broken(*_: Any) -> np.ndarray:
        raise AssertionError("nothing is computed")

    made = sampler(conditions=GAME, engine=DenoiserEngine(broken))
    with pytest.raises(error, match=message):
        next(call(made))


def test_all_but_the_values_of_iterables_is_checked_at_once() -> None:
    made = sampler(conditions=GAME)
    for call, error, message in REFUSED:
        if "frame 0`" in message or "expected values of more" in message:
            call(made)
        else:
            with pytest.raises(error, match=message):
                call(made)


def test_an_iterable_that_ends_too_early_says_so_after_the_frames_that_it_led_to() -> None:
    stream, found = sampler(conditions=GAME).stream(PAST, iter(KEYS[0]), num_frames=20, num_steps=1), []
    with pytest.raises(
        ValueError, match=r"`conditions`: expected values of 20 frames from \['push'\]. Received: of 15"
    ):
        found.extend(stream)
    assert len(found) == 15 - KNOWN


def test_values_of_pixels_and_actions_without_a_place_are_refused() -> None:
    made = Sampler(spec(), DenoiserEngine(network))
    with pytest.raises(
        TypeError, match=r"`conditions\['small'\]`: expected an array of all frames, for a condition of"
    ):
        made.stream(conditions={"small": iter([1])})
    with pytest.raises(ValueError, match="`actions`: expected a model with one condition FrameVectors.*'none'|none"):
        sampler().stream(PAST, KEYS)
    with pytest.raises(ValueError, match="`augmentation`: expected `num_frames` beside it"):
        made.stream(augmentation=0.1)


def test_an_iterable_that_raises_leaves_the_stream_where_it_was() -> None:
    left = [KeyError("unplugged")]

    class Keys:
        frame = -1

        def __iter__(self) -> Keys:
            return self

        def __next__(self) -> np.ndarray:
            if self.frame == 6 and left:
                raise left.pop()
            self.frame += 1
            return KEYS[0, self.frame]

    made = sampler(conditions=GAME)
    stream, found = made.stream(PAST, Keys(), at_a_time=1, num_steps=2), []
    with pytest.raises(KeyError, match="unplugged"):
        found.extend(stream)
    assert len(found) == 7 - KNOWN
    found += itertools.islice(stream, 5)
    expected = rolled(made, PAST, 12, conditions={"push": KEYS[0, :12]}, at_a_time=1, num_steps=2)
    np.testing.assert_array_equal(np.stack(found, axis=1), expected)


def test_the_mask_of_known_frames_is_the_pasts() -> None:
    labels: list[np.ndarray] = []

    def noting(noisy_clip: np.ndarray, noise_label: np.ndarray, inputs: Any) -> np.ndarray:
        labels.append(noise_label)
        return denoise(noisy_clip, noise_label, {})

    next(sampler(engine=DenoiserEngine(noting)).stream(PAST, num_steps=1))
    np.testing.assert_array_equal(labels[0] == 0, np.tile(masks.first(6, KNOWN), (2, 1)))
