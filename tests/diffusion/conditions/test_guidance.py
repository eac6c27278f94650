"""Guidance against its formulae, clip by clip and number by number."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import ClassLabel
from kvdiff.diffusion.conditions.conditioning import Conditioning, guided_output
from kvdiff.diffusion.conditions.guidance import guided, rescaled
from tests.diffusion.sampling.slow_loop import deviation

RNG = np.random.default_rng(2)
MAIN, GUIDE = RNG.normal(size=(2, 3, 2, 3, 3, 1)) * np.array([1.0, 2.0, 0.3])[:, None, None, None, None] + 0.4
WEIGHTS = np.array([3.0, 0.5, 1.0])


def test_guided_goes_from_the_guide_through_the_main_denoiser() -> None:
    assert [float(guided(5.0, 2.0, weight)) for weight in (0.0, 1.0, 2.0, 0.5)] == [2.0, 5.0, 8.0, 3.5]


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_rescaling_undoes_its_share_of_each_clips_gain(share: float) -> None:
    pushed = guided(MAIN, GUIDE, WEIGHTS[:, None, None, None, None])
    made = rescaled(np, pushed, MAIN, share)
    for before, main, after in zip(pushed, MAIN, made, strict=True):
        wanted = (1 - share) * deviation(before) + share * deviation(main)
        assert deviation(after) == pytest.approx(wanted, rel=1e-12)
        np.testing.assert_allclose(after / deviation(after), before / deviation(before), rtol=1e-12)


def test_a_clip_of_one_colour_has_no_gain_to_undo() -> None:
    flat = np.full((1, 2, 2, 2, 1), 0.7)
    assert np.isfinite(rescaled(np, flat, MAIN[:1], 1.0)).all()


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_each_clip_is_guided_by_its_own_weight_away_from_itself_without_conditions(share: float) -> None:
    """The condition's clip is `MAIN` where it is present and `GUIDE` where it is not."""
    seen = []

    def denoise(noisy_clip, noise_label, inputs):
        seen.append((noisy_clip, noise_label, inputs))
        told = inputs["told"][:, 0]
        return np.where(told[:, None, None, None, None], MAIN[inputs["kind"]], GUIDE[inputs["kind"]])

    clip, label = RNG.normal(size=MAIN.shape), RNG.uniform(size=(3, 2))
    inputs = {"kind": np.array([2, 0, 1]), "told": np.ones((3, 1), np.float32)}
    of = Conditioning({"kind": ClassLabel(3)}, inputs, WEIGHTS.astype(np.float32), rescale=share)
    made = guided_output(np, denoise, clip, label, of)
    for place, kind in enumerate([2, 0, 1]):
        pushed = GUIDE[kind] + WEIGHTS[place] * (MAIN[kind] - GUIDE[kind])
        wanted = (1 - share) * deviation(pushed) + share * deviation(MAIN[kind])
        np.testing.assert_allclose(made[place], pushed * wanted / deviation(pushed), rtol=1e-6)
    ((noisy, labels, both),) = seen  # One call, both halves.
    assert (noisy == np.concatenate([clip, clip])).all() and (labels == np.concatenate([label, label])).all()
    assert both["kind"].tolist() == [2, 0, 1, 2, 0, 1] and both["told"].ravel().tolist() == [1, 1, 1, 0, 0, 0]


def test_without_a_weight_there_is_one_call_of_one_half() -> None:
    of = Conditioning({"kind": ClassLabel(3)}, {"kind": np.arange(3), "told": np.ones((3, 1), np.float32)})
    made = guided_output(np, lambda clip, label, inputs: clip + inputs["kind"][:, None, None, None, None], MAIN, 0, of)
    np.testing.assert_array_equal(made, MAIN + np.arange(3)[:, None, None, None, None])
