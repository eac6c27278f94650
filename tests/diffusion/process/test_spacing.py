from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import schedules, spacing
from tests.diffusion.helpers import FINITE_START, schedule


def test_published_timesteps() -> None:
    assert spacing.timesteps(1000, 4, "leading").tolist() == [750, 500, 250, 0]
    assert spacing.timesteps(1000, 4, "trailing").tolist() == [999, 749, 499, 249]
    assert spacing.timesteps(1000, 5, "linspace").tolist() == [999, 749, 500, 250, 0]
    assert spacing.timesteps(10, 3, "leading").tolist() == [6, 3, 0]
    assert spacing.timesteps(10, 3, "trailing").tolist() == [9, 6, 2]


@pytest.mark.parametrize("name", spacing.TIMESTEP_SPACINGS)
def test_every_count_gives_strictly_falling_timesteps(name: str) -> None:
    for num_timesteps in range(1, 41):
        for num_steps in range(1, num_timesteps + 1):
            steps = spacing.timesteps(num_timesteps, num_steps, name)
            assert len(steps) == num_steps and (np.diff(steps) < 0).all()
            assert 0 <= steps[-1] and steps[0] < num_timesteps
            if name != "leading":
                assert steps[0] == num_timesteps - 1
            if name != "trailing" and (num_steps > 1 or name == "leading"):
                assert steps[-1] == 0
        assert (spacing.timesteps(num_timesteps, num_timesteps, name) == np.arange(num_timesteps)[::-1]).all()


@pytest.mark.parametrize("name", FINITE_START)
def test_levels_between_timesteps_run_from_end_to_end(name: str) -> None:
    of = schedule(name)
    for kind in ("uniform_logsnr", "karras"):
        levels = spacing.sampling_levels(of, 9, kind)
        assert np.allclose(2 * levels.half_logsnr[[0, -2]], of.logsnr[[-1, 0]])
        assert len(levels.alpha) == 10
        one = spacing.sampling_levels(of, 1, kind)
        assert np.isclose(2 * one.half_logsnr[0], of.logsnr[-1])


def test_uniform_logsnr_and_karras_are_evenly_spaced_in_their_own_variable() -> None:
    of = schedules.cosine(1000)
    assert np.allclose(np.diff(spacing.uniform_logsnr(of, 12).half_logsnr[:-1], 2), 0, atol=1e-10)
    levels = spacing.karras(of, 12, rho=5.0)
    ratio = levels.sigma[:-1] / levels.alpha[:-1]
    assert np.allclose(np.diff(ratio ** (1 / 5), 2), 0, atol=1e-10)
    # Karras spacing of EDM's own schedule visits EDM's sigmas.
    assert np.allclose(spacing.karras(schedules.karras(64), 64).sigma[:-1], schedules.karras(64).sigma[::-1])


def test_custom_timesteps() -> None:
    of = schedules.cosine(100)
    assert (spacing.sampling_levels(of, 3, [99, 10, 3]).alpha[:-1] == of.alpha[[99, 10, 3]]).all()
    with pytest.raises(ValueError, match="= 20 timesteps, integers. Received: dtype int64, shape .3."):
        spacing.sampling_levels(of, 20, [99, 10, 3])
    with pytest.raises(ValueError, match="falling strictly"):
        spacing.sampling_levels(of, 2, [10, 99])


@pytest.mark.parametrize("kind", ["uniform_logsnr", "karras"])
def test_spacing_in_logsnr_refuses_a_start_in_pure_noise(kind: str) -> None:
    with pytest.raises(ValueError, match=f"spacing '{kind}'.*Received: alpha = 0.*Use spacing 'trailing'"):
        spacing.sampling_levels(schedules.flow(100), 5, kind)


@pytest.mark.parametrize(
    ("num_steps", "kind", "error", "message"),
    [
        (0, "trailing", ValueError, "`num_steps`: expected an integer from 1 to 100. Received: 0"),
        (101, "karras", ValueError, "`num_steps`: expected an integer from 1 to 100. Received: 101"),
        (2.5, "trailing", TypeError, "`num_steps`.*Received: 2.5"),
        (True, "trailing", TypeError, "`num_steps`.*Received: True"),
        (5, "even", ValueError, "`spacing`: expected one of .*Received: 'even'"),
    ],
)
def test_bad_input_is_named(num_steps, kind, error, message: str) -> None:
    with pytest.raises(error, match=message):
        spacing.sampling_levels(schedules.cosine(100), num_steps, kind)
    if kind != "karras":
        with pytest.raises(error, match=message):
            spacing.timesteps(100, num_steps, kind)
