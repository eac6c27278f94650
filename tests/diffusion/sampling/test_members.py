"""Members of an ensemble: the same by number however many are asked for; refused where nothing is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, Sampler, masks
from kvdiff.diffusion.conditions import ClassLabel
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.diffusion.sampling.cascade import Cascade
from kvdiff.diffusion.sampling.members import MAX_MEMBERS, MEMBER_STRIDE
from tests.diffusion.helpers import network_sampler

SPEC = ClipSpec(6, 4, 5, 2)
CLIPS = np.random.default_rng(0).uniform(-1, 1, (3, 6, 4, 5, 2)).astype(np.float32)
HOW: dict[str, Any] = dict(num_steps=3, solver="ddpm", seed=9)


def mixing(noisy_clip, noise_label, inputs=None):
    """Frames see each other; clips of a batch do not."""
    told = 0.0 if not inputs else 0.1 * inputs["kind"][:, None, None, None, None]
    return 0.5 * noisy_clip + 0.3 * np.tanh(noisy_clip.mean(axis=1, keepdims=True)) + told


def sampler(**conditions: Any) -> Sampler:
    return network_sampler(mixing, SPEC, cosine(50), "v", conditions)


VERBS = {
    "predict_frames": lambda s, **how: s.predict_frames(CLIPS[:, :2], **how),
    "interpolate": lambda s, **how: s.interpolate(CLIPS[:, :2], CLIPS[:, 4:], 2, **how),
    "infill": lambda s, **how: s.infill(CLIPS, masks.first(6, 3), **how),
    "increase_frame_rate": lambda s, **how: s.increase_frame_rate(CLIPS, 2, **how),
    "rollout": lambda s, **how: s.rollout(9, CLIPS[:, :2], **how),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_member_is_the_same_however_many_are_asked_for(verb: str) -> None:
    call = VERBS[verb]
    alone = call(sampler(), **HOW)
    several = call(sampler(), num_members=5, **HOW)
    assert several.shape == (5, *alone.shape)
    assert (several[0] == alone).all()  # Member 0 is what a call without members generates, bit for bit.
    assert (call(sampler(), num_members=1, **HOW) == several[:1]).all()
    assert (call(sampler(), num_members=2, first_member=3, **HOW) == several[3:]).all()
    assert (call(sampler(), first_member=4, **HOW) == several[4]).all()
    for batch_size in (1, 2, 4):
        assert (call(sampler(), num_members=5, batch_size=batch_size, **HOW) == several).all()
    new = (several != several[:1]).any(axis=(0, 1, 3, 4, 5))
    assert new.any() and all((several[i] != several[j]).any() for i in range(5) for j in range(i))


def test_a_member_is_an_addition_to_the_number_of_the_sample() -> None:
    several = sampler().predict_frames(CLIPS[:, :2], num_members=3, first_sample=7, **HOW)
    for member in range(3):
        own = sampler().predict_frames(CLIPS[:, :2], first_sample=7 + member * MEMBER_STRIDE, **HOW)
        assert (several[member] == own).all()


def test_known_frames_and_conditions_are_shared_by_the_members() -> None:
    known = np.zeros((3, 6), bool)
    known[:, :2] = known[1, 5] = True
    of = sampler(kind=ClassLabel(4))
    told = {"kind": np.array([0, 1, 3])}
    several = of.infill(CLIPS, known, conditions=told, guidance=np.array([1.0, 2.0, 3.0]), num_members=2, **HOW)
    assert (several[:, known] == CLIPS[known]).all()
    for clip in range(3):
        how = dict(conditions={"kind": told["kind"][clip]}, guidance=clip + 1.0, first_sample=clip, num_members=2)
        own = of.infill(CLIPS[clip : clip + 1], known[clip], **how, **HOW)
        np.testing.assert_allclose(several[:, clip : clip + 1], own, atol=1e-6)
    assert of.generate(3, conditions=told, num_members=2, **HOW).shape == (2, *CLIPS.shape)


def test_progress_counts_the_members_batches() -> None:
    seen: list[tuple[int, int]] = []
    sampler().predict_frames(CLIPS[:, :2], num_members=3, batch_size=4, progress=lambda *step: seen.append(step), **HOW)
    assert seen == [(i + 1, 9) for i in range(9)]


def test_a_cascade_has_members_of_its_own() -> None:
    cascade = Cascade(sampler())
    several = cascade.predict_frames(CLIPS[:, :2], num_members=3, **HOW)
    assert (several == sampler().predict_frames(CLIPS[:, :2], num_members=3, **HOW)).all()
    for call in (lambda: cascade.generate(2, num_members=3), lambda: cascade.run(CLIPS, num_members=3)):
        with pytest.raises(ValueError, match="`num_members`: expected with `predict_frames` alone. Received: 3"):
            call()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s: s.generate(2, num_members=2), ValueError, "`num_members`: expected known frames or cond.*neither"),
        (lambda s: s.rollout(8, num_members=2), ValueError, "`num_members`: expected known frames or cond.*neither"),
        (lambda s: s.predict_frames(CLIPS[:, :2], num_members=0), ValueError, "`num_members`: .*1 to 1024.*: 0"),
        (lambda s: s.predict_frames(CLIPS[:, :2], num_members=1025), ValueError, "`num_members`: .*Received: 1025"),
        (lambda s: s.predict_frames(CLIPS[:, :2], num_members=2.0), TypeError, "`num_members`: .*Received: 2.0"),
        (lambda s: s.predict_frames(CLIPS[:, :2], num_members=True), TypeError, "`num_members`: .*Received: True"),
        (lambda s: s.predict_frames(CLIPS[:, :2], first_member=-1), ValueError, "`first_member`: .*Received: -1"),
        (
            lambda s: s.predict_frames(CLIPS[:, :2], num_members=2, first_member=MAX_MEMBERS - 1),
            ValueError,
            "`num_members`: expected an integer from 1 to 1. Received: 2",
        ),
        (
            lambda s: s.predict_frames(CLIPS[:, :2], num_members=2, first_sample=MEMBER_STRIDE),
            ValueError,
            "`first_sample`: .* to 4194301. Received: 4194304",
        ),
    ],
)
def test_what_cannot_be_is_named(call, error, message: str) -> None:
    with pytest.raises(error, match=message):
        call(sampler())
