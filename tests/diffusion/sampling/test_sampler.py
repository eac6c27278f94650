from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Prediction, Sampler, masks, plans, step_table
from kvdiff.diffusion.process.noise import video_noise
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.sampler import with_defaults
from kvdiff.diffusion.solvers.by_name import DEFAULT_SOLVER
from kvdiff.diffusion.solvers.step_table import step
from kvdiff.diffusion.transforms.clamps import clamp_to
from tests.diffusion.helpers import network_sampler

SPEC = ClipSpec(6, 4, 5, 2)
RNG = np.random.default_rng(5)
CLIPS = RNG.uniform(-1, 1, size=(5, 6, 4, 5, 2)).astype(np.float32)


class Network:
    """A fixed, frame-mixing network that remembers its inputs."""

    def __init__(self) -> None:
        self.calls: list[tuple[np.ndarray, np.ndarray]] = []

    def __call__(self, noisy_clip, noise_label, inputs=None):
        self.calls.append((np.array(noisy_clip), np.array(noise_label)))
        return (
            0.5 * noisy_clip
            + 0.3 * np.tanh(noisy_clip.mean(axis=1, keepdims=True))
            - 0.1 * noise_label[:, :, None, None, None]
        )


def Recorder() -> Sampler:
    return network_sampler(Network(), SPEC, cosine(50))


def test_infill_is_the_table_applied_row_by_row() -> None:
    sampler, known = Recorder(), masks.first(6, 2)
    made = sampler.infill(CLIPS[:2], known, num_steps=3, solver="ddpm", seed=7, first_sample=3)
    table = step_table(cosine(50), Prediction("v"), solver="ddpm", num_steps=3).with_known(known)
    samples = np.array([3, 4])
    shape = (6, 4, 5, 2)
    x = np.where(known[:, None, None, None], CLIPS[:2], video_noise(7, 0, samples, shape))
    history = (np.zeros_like(x),)
    for i, row in enumerate(table.rows()):
        label = np.broadcast_to(row.c_noise[..., 0, 0, 0], (2, 6))
        out = Network()(row.c_in * x, label)
        x, history = step(row, x, out, history, video_noise(7, i + 1, samples, shape), clamp_to((-1.0, 1.0)))
    assert (made == x).all()


def test_labels_say_which_frames_are_clean() -> None:
    sampler, known = Recorder(), masks.ends(6, 1, 2)
    sampler.infill(CLIPS[:1], known, num_steps=4)
    of = cosine(50)
    assert len(sampler.engine.denoise.calls) == 4
    for noisy, label in sampler.engine.denoise.calls:
        assert noisy.dtype == label.dtype == np.float32 and label.shape == (1, 6)
        assert (label[0, known] == 0).all() and (noisy[0, known] == CLIPS[0, known]).all()
    expected = np.arctan2(of.sigma[49], of.alpha[49]) * 2 / np.pi
    assert np.allclose(sampler.engine.denoise.calls[0][1][0, ~known], expected)


@pytest.mark.parametrize("solver", ["ddim", "ddpm"])
def test_known_frames_come_back_bit_identical(solver: str) -> None:
    each = RNG.random((5, 6)) < 0.5
    each[:, 0] = False
    clips = CLIPS.copy()
    clips[:, :, 0, 0] = -0.0  # Adding 0 would make it +0.0, so bits are compared.
    for known in (masks.first(6, 3), masks.ends(6, 2, 1), each):
        made = Recorder().infill(clips, known, num_steps=5, solver=solver, batch_size=2)
        mask = np.broadcast_to(known, (5, 6))
        assert made[mask].tobytes() == clips[mask].tobytes()
        assert not (made[~mask] == clips[~mask]).any()
        assert made.dtype == np.float32 and np.abs(made).max() <= 1.0


def test_unknown_frames_may_hold_anything() -> None:
    known = masks.first(6, 2)
    other = np.where(known[:, None, None, None], CLIPS, -CLIPS)
    assert (Recorder().infill(CLIPS, known, num_steps=3) == Recorder().infill(other, known, num_steps=3)).all()


@pytest.mark.parametrize("solver", ["ddim", "ddpm"])
def test_the_same_seed_gives_the_same_video_in_any_batch(solver: str) -> None:
    sampling = dict(num_steps=4, solver=solver, seed=2**63 + 5)
    whole = Recorder().generate(5, **sampling)
    for batch_size in (1, 2, 4):
        assert (Recorder().generate(5, batch_size=batch_size, **sampling) == whole).all()
    assert (Recorder().generate(2, first_sample=3, **sampling) == whole[3:]).all()
    assert (Recorder().generate(5, **{**sampling, "seed": 6}) != whole).any(axis=(1, 2, 3, 4)).all()
    assert (whole[0] != whole[1]).any()


def test_the_verbs_are_masks() -> None:
    sampler = Recorder()
    assert (sampler.generate(2, num_steps=3) == sampler.infill(0 * CLIPS[:2], masks.none(6), num_steps=3)).all()
    future = sampler.predict_frames(CLIPS[:2, :2], num_steps=3)
    assert (future == sampler.infill(CLIPS[:2], masks.first(6, 2), num_steps=3)[:, 2:]).all()
    between = sampler.interpolate(CLIPS[:2, :2], CLIPS[:2, 5:], num_steps=3)
    assert (between == sampler.infill(CLIPS[:2], masks.ends(6, 2, 1), num_steps=3)[:, 2:5]).all()


def test_the_verbs_make_any_number_of_frames() -> None:
    sampler = Recorder()
    assert sampler.generate(2, num_frames=9, num_steps=2).shape == (2, 9, 4, 5, 2)
    assert sampler.predict_frames(CLIPS, 7, num_steps=2).shape == (5, 7, 4, 5, 2)
    assert sampler.interpolate(CLIPS, CLIPS[:, :1], 2, num_steps=2).shape == (5, 2, 4, 5, 2)


def test_by_default_the_training_length_is_filled_to_the_last_frame() -> None:
    assert Recorder().predict_frames(CLIPS[:, :5], num_steps=1).shape[1] == 1
    assert Recorder().interpolate(CLIPS[:, :2], CLIPS[:, :3], num_steps=1).shape[1] == 1


def test_defaults() -> None:
    sampler = Recorder()
    made = sampler.generate()
    assert len(sampler.engine.denoise.calls) == 20
    assert (made == Recorder().generate(1, num_steps=20, solver="dpmpp_2m_sde", spacing="trailing", seed=0)).all()


def test_pixels_are_scaled() -> None:
    pixels = np.round((CLIPS + 1) * 127.5).astype(np.uint8)
    scaled = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    known = masks.first(6, 2)
    assert (Recorder().infill(pixels, known, num_steps=2) == Recorder().infill(scaled, known, num_steps=2)).all()


def test_progress_counts_network_calls_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    Recorder().generate(5, num_steps=3, batch_size=2, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 9) for i in range(1, 10)]


def test_the_clamp_is_a_choice() -> None:
    def bright(noisy_clip, noise_label, inputs=None):
        return 0 * noisy_clip - 3.0

    made = [
        network_sampler(bright, SPEC, cosine(50), clamp=clamp).generate(1, num_steps=1) for clamp in (None, lambda x: x)
    ]
    assert made[0].max() == 1.0 and made[1].max() > 2.0


def test_init_std_scales_the_start() -> None:
    sampler, wide = Recorder(), Recorder()
    sampler.generate(1, num_steps=1)
    wide.generate(1, num_steps=1, init_std=2.0)
    assert np.allclose(wide.engine.denoise.calls[0][0], 2 * sampler.engine.denoise.calls[0][0])


def test_step_table_defaults_and_options() -> None:
    of = cosine(50)
    assert step_table(of, Prediction("v")).num_steps == 20
    assert (step_table(of, Prediction("v"), solver="ddim", num_steps=2, eta=1.0).std[0] > 0).all()
    assert step_table(of, Prediction("v"), num_steps=2, spacing=[30, 4]).alpha[0] == of.alpha[30]
    with pytest.raises(ValueError, match="`init_std`: expected a number in .0.0, inf.. Received: 0.0"):
        step_table(of, Prediction("v"), init_std=0.0)


OWN = {"num_steps": 7, "solver": "ddim", "spacing": "leading", "eta": 0.5, "known_noise": 0.1, "guidance": 2.0}


@pytest.mark.parametrize(
    ("asked", "lost"),
    [
        ({}, set()),
        ({"seed": 3, "eta": 1.0, "num_steps": 2}, set()),
        ({"solver": "ddim"}, set()),
        ({"plan": None}, {"plan", "at_a_time"}),
        ({"at_a_time": 2}, {"plan", "at_a_time"}),
        ({"solver": "ddpm"}, {"solver", "spacing", "eta"}),
        ({"solver": "ddpm", "plan": "rolling"}, {"plan", "at_a_time", "solver", "spacing", "eta"}),
    ],
)
@pytest.mark.parametrize("plan", [{}, {"plan": "hierarchical"}, {"at_a_time": 1}], ids=str)
def test_a_models_own_defaults_go_together(plan: dict, asked: dict, lost: set) -> None:
    """A plan goes with nothing but itself, a solver with its spacing and options; the rest stays whatever is asked."""
    kept = {name: value for name, value in {**OWN, **plan}.items() if name not in lost}
    assert with_defaults({**OWN, **plan}, asked) == {**kept, **asked}


def test_the_solver_of_a_call_that_names_none_is_the_default() -> None:
    own = {"num_steps": 2, "spacing": "leading"}
    assert with_defaults(own, {"solver": DEFAULT_SOLVER}) == {**own, "solver": DEFAULT_SOLVER}
    assert with_defaults(own, {"solver": "heun"}) == {"num_steps": 2, "solver": "heun"}


@pytest.mark.parametrize("task", ["generate", "predict", "interpolate", "infill", "rollout", "frame_rate"])
def test_every_task_has_defaults_of_its_own(task: str) -> None:
    """The number of calls tells whose were taken: the asked task's, of all that the mask would also fit."""
    calls = dict(
        zip(("generate", "predict", "interpolate", "infill", "rollout", "frame_rate"), range(1, 7), strict=True)
    )
    sampler = Recorder()
    own = {name: {"num_steps": count} for name, count in calls.items()}
    sampler = dataclasses.replace(sampler, spec=dataclasses.replace(sampler.spec, sampling=own))
    verbs = {
        "generate": lambda: sampler.generate(),
        "predict": lambda: sampler.predict_frames(CLIPS[:1, :2]),
        "interpolate": lambda: sampler.interpolate(CLIPS[:1, :2], CLIPS[:1, :1]),
        "infill": lambda: sampler.infill(CLIPS[:1], masks.last(6, 2)),
        "rollout": lambda: sampler.rollout(6, CLIPS[:1, :2]),
        "frame_rate": lambda: sampler.increase_frame_rate(CLIPS[:1, :3], 2),
    }
    verbs[task]()
    assert len(sampler.engine.denoise.calls) == calls[task]


def test_a_rollout_goes_by_windows_unless_a_plan_says_otherwise() -> None:
    """Frames in a call of the network: the training length, and all of them where other verbs have no plan."""
    frames = []
    for run in (
        lambda s: s.rollout(8, CLIPS[:1, :2], num_steps=1),
        lambda s: s.predict_frames(CLIPS[:1, :2], 6, num_steps=1),
        lambda s: s.increase_frame_rate(CLIPS[:1, :5], 2, num_steps=1),
        lambda s: s.increase_frame_rate(CLIPS[:1, :5], 2, num_steps=1, plan=plans.whole(masks.every(9, 2))),
    ):
        sampler = Recorder()
        run(sampler)
        frames.append([clip.shape[1] for clip, _ in sampler.engine.denoise.calls])
    assert frames == [[6, 6], [8], [5, 5], [9]]


def test_the_last_sample_has_a_number_of_32_bits() -> None:
    made = Recorder().generate(2, first_sample=2**32 - 2, num_steps=1, seed=2**64 - 1)
    assert (made[1] == Recorder().generate(1, first_sample=2**32 - 1, num_steps=1, seed=2**64 - 1)).all()
    with pytest.raises(
        ValueError, match="`first_sample`: expected an integer from 0 to 4294967294. Received: 4294967295"
    ):
        Recorder().generate(2, first_sample=2**32 - 1, num_steps=1)


def test_config_tells_everything_but_the_network() -> None:
    config = Recorder().spec.config
    assert ClipSpec(**config["clip"]) == SPEC
    assert config["schedule"]["name"] == "cosine" and config["prediction"]["name"] == "v"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.generate(0), ValueError, "`num_clips`.*Received: 0"),
        (lambda s: s.generate(1, num_frames=0), ValueError, "`num_frames`.*Received: 0"),
        (
            lambda s: s.generate(1, num_steps=51),
            ValueError,
            "`num_steps`: expected an integer from 1 to 50. Received: 51",
        ),
        (lambda s: s.generate(1, solver="heum"), ValueError, "`solver`: expected one of .*ddim.*Received: 'heum'"),
        (lambda s: s.generate(1, spacing="wide"), ValueError, "`spacing`: .*Received: 'wide'"),
        (
            lambda s: s.generate(1, steps=3),
            TypeError,
            "solver 'dpmpp_2m_sde': expected options among .*Received: .'steps'",
        ),
        (lambda s: s.generate(1, solver="ddim", eta=2), ValueError, "`eta`: .*Received: 2"),
        (lambda s: s.generate(1, seed=2**64), ValueError, "`seed`: .*Received: 18446744073709551616"),
        (lambda s: s.generate(1, seed=-1), ValueError, "`seed`: .*Received: -1"),
        (lambda s: s.generate(1, batch_size=0), ValueError, "`batch_size`: .*Received: 0"),
        (lambda s: s.generate(1, first_sample=-1), ValueError, "`first_sample`: .*Received: -1"),
        (lambda s: s.predict_frames(CLIPS), ValueError, "`past`: expected fewer than 6 frames.*Received: 6 frames"),
        (lambda s: s.predict_frames(CLIPS[:, :2], 0), ValueError, "`num_frames`.*Received: 0"),
        (lambda s: s.predict_frames(CLIPS[0]), ValueError, "`past`: expected shape .batch, frames, 4, 5, 2.*Received"),
        (lambda s: s.predict_frames(CLIPS * np.nan), ValueError, "`past`: expected values in .*Received: minimum nan"),
        (lambda s: s.interpolate(CLIPS, CLIPS), ValueError, "`before`, `after`: .*Received: 6 . 6"),
        (
            lambda s: s.interpolate(CLIPS[:2, :1], CLIPS[:3, :1]),
            ValueError,
            "`after`: expected the batch of .*2. Received: 3",
        ),
        (lambda s: s.interpolate(CLIPS, CLIPS[..., :1]), ValueError, "`after`: expected shape.*Received"),
        (lambda s: s.interpolate(CLIPS[:, :1], CLIPS[:, :1], -1), ValueError, "`num_frames`.*Received: -1"),
        (lambda s: s.infill(CLIPS, masks.first(6, 6)), ValueError, "`known`: .*Received: all frames known"),
        (lambda s: s.infill(CLIPS, np.ones(6)), TypeError, "`known`: expected booleans.*Received: dtype float64"),
        (lambda s: s.rollout(0), ValueError, "`num_frames`: expected an integer >= 1. Received: 0"),
        (lambda s: s.rollout(8.5), TypeError, "`num_frames`: expected an integer >= 1. Received: 8.5"),
        (lambda s: s.rollout(8, num_clips=0), ValueError, "`num_clips`: .*Received: 0"),
        (lambda s: s.rollout(2, CLIPS[:, :2]), ValueError, "`num_frames`: .*the 2 frames of `past`. Received: 2"),
        (lambda s: s.rollout(8, 2 * CLIPS), ValueError, "`past`: expected values in"),
        (lambda s: s.increase_frame_rate(CLIPS, 2.5), TypeError, "`factor`: .* from 2 to 5. Received: 2.5"),
        (lambda s: s.increase_frame_rate(CLIPS, 6), ValueError, "`factor`: .* from 2 to 5. Received: 6"),
        (lambda s: s.increase_frame_rate(CLIPS[:, :1], 2), ValueError, "`frames of `clip``: .*Received: 1"),
        (lambda s: s.increase_frame_rate(2 * CLIPS, 2), ValueError, "`clip`: expected values in"),
        (lambda s: s.infill(2 * CLIPS, masks.first(6, 2)), ValueError, "`clip`: expected values in"),
        (lambda s: s.interpolate(CLIPS[:, :1], 2 * CLIPS[:, :1]), ValueError, "`after`: expected values in"),
        (lambda s: s.interpolate(2 * CLIPS[:, :1], CLIPS[:, :1]), ValueError, "`before`: expected values in"),
        (lambda s: ClipSpec(6, 4, 0, 1), ValueError, "`width`: .*Received: 0"),
    ],
)
def test_bad_input_is_named(call, error, message: str) -> None:
    with pytest.raises(error, match=message):
        call(Recorder())
