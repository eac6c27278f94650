from __future__ import annotations

import json

import numpy as np
import pytest

from kvdiff.diffusion import NoiseSchedule, schedules
from kvdiff.diffusion.process.schedules import SCHEDULES

NAMES = sorted(SCHEDULES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("num_timesteps", [1, 2, 3, 50, 1000])
def test_schedule_has_falling_snr_and_lies_on_a_path(name: str, num_timesteps: int) -> None:
    if name in ("linear", "scaled_linear") and num_timesteps < 10:  # beta * 1000 / T would pass 1.
        with pytest.raises(ValueError, match="Use at least"):
            SCHEDULES[name](num_timesteps)
        return
    schedule = SCHEDULES[name](num_timesteps)
    assert schedule.num_timesteps == num_timesteps
    assert (np.diff(schedule.logsnr) < 0).all()
    if num_timesteps > 1:  # A single level of pure noise lies on two paths.
        assert schedule.path == {"karras": "ve", "flow": "flow"}.get(name, "vp")


@pytest.mark.parametrize("name", NAMES)
def test_config_rebuilds_the_same_schedule_through_json(name: str) -> None:
    schedule = SCHEDULES[name](60).shifted(-1.5)
    if schedule.path == "vp":
        schedule = SCHEDULES[name](60).with_zero_terminal_snr().shifted(-1.5)
    rebuilt = NoiseSchedule.from_config(json.loads(json.dumps(schedule.config)))
    assert (rebuilt.alpha == schedule.alpha).all() and (rebuilt.sigma == schedule.sigma).all()
    assert rebuilt.config == schedule.config


def test_a_config_of_a_name_alone_is_the_plain_schedule() -> None:
    for name in NAMES:
        assert (NoiseSchedule.from_config({"name": name}).sigma == SCHEDULES[name]().sigma).all()


def test_forward_chain_equals_closed_form() -> None:
    """Push mean and variance through q(x_t | x_{t-1}) one step at a time: equation (2) composes to (1)."""
    for name in ("linear", "scaled_linear", "cosine", "sigmoid"):
        schedule = SCHEDULES[name](1000)
        mean, variance = 1.0, 0.0
        for t, beta in enumerate(schedule.betas):
            mean, variance = np.sqrt(1.0 - beta) * mean, (1.0 - beta) * variance + beta
            assert abs(mean - schedule.alpha[t]) < 1e-12 and abs(variance - schedule.sigma[t] ** 2) < 1e-12
    betas = np.array([1e-4, 0.3, 0.02, 0.9])
    assert np.allclose(NoiseSchedule.from_betas(betas).betas, betas, atol=1e-15, rtol=0)


def test_linear_is_the_published_schedule_at_1000_timesteps() -> None:
    schedule = schedules.linear()
    assert np.allclose(schedule.betas, np.linspace(1e-4, 0.02, 1000), rtol=1e-10)
    assert np.allclose(schedule.alphas_cumprod, np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)), rtol=1e-12)


@pytest.mark.parametrize("name", ["linear", "scaled_linear"])
def test_linear_schedules_keep_their_total_noise_at_every_length(name: str) -> None:
    ends = [SCHEDULES[name](n).logsnr[-1] for n in (100, 1000, 4000)]
    assert max(ends) - min(ends) < 1.5
    assert ends[0] < -5.0  # Unscaled, 100 timesteps would end near 0.5.


def test_scaled_linear_is_linear_in_the_root() -> None:
    assert np.allclose(
        np.sqrt(schedules.scaled_linear().betas), np.linspace(0.00085**0.5, 0.012**0.5, 1000), rtol=1e-10
    )


def test_cosine_follows_its_formula_until_beta_is_cut() -> None:
    schedule = schedules.cosine(1000)
    t = np.arange(1, 1001) / 1000
    curve = np.cos((t + 0.008) / 1.008 * np.pi / 2) ** 2 / np.cos(0.008 / 1.008 * np.pi / 2) ** 2
    assert np.allclose(schedule.alphas_cumprod[:990], curve[:990], rtol=1e-9)
    assert np.isclose(schedule.betas[-1], 0.999)


def test_sigmoid_follows_its_formula_until_beta_is_cut() -> None:
    schedule = schedules.sigmoid(200, start=-2.0, end=4.0, tau=0.7)
    curve = 1 / (1 + np.exp((np.arange(201) / 200 * 6.0 - 2.0) / 0.7))
    curve = (curve - curve[-1]) / (curve[0] - curve[-1])
    assert np.allclose(schedule.alphas_cumprod[:199], curve[1:200], rtol=1e-9)
    assert np.isclose(schedule.betas[-1], 0.999)


def test_karras_has_evenly_spaced_roots_between_its_ends() -> None:
    schedule = schedules.karras(18, sigma_min=0.002, sigma_max=80, rho=7)
    assert np.allclose(schedule.sigma[[0, -1]], [0.002, 80])
    assert np.allclose(np.diff(schedule.sigma ** (1 / 7), 2), 0, atol=1e-12)
    assert schedules.karras(1).sigma == 80.0  # A single level is the one that sampling starts from.


def test_logsnr_is_linear_on_every_path() -> None:
    for path in ("vp", "flow", "ve"):
        schedule = schedules.logsnr(7, logsnr_min=-6, logsnr_max=12, path=path)
        assert np.allclose(schedule.logsnr, np.linspace(12, -6, 7))
        assert schedule.path == path
    assert np.isclose(schedules.logsnr(1).logsnr[0], -15)


def test_flow_ends_in_pure_noise() -> None:
    schedule = schedules.flow(4)
    assert np.allclose(schedule.sigma, [0.25, 0.5, 0.75, 1.0]) and schedule.alpha[-1] == 0.0


def test_zero_terminal_snr_keeps_the_first_level_and_is_affine_in_alpha() -> None:
    base = schedules.scaled_linear(1000)
    schedule = base.with_zero_terminal_snr()
    assert schedule.alpha[-1] == 0.0 and schedule.sigma[-1] == 1.0
    assert np.isclose(schedule.alpha[0], base.alpha[0], rtol=1e-14)
    assert np.allclose(np.polyfit(base.alpha, schedule.alpha, 1)[0] * np.diff(base.alpha), np.diff(schedule.alpha))
    assert schedule.path == "vp" and schedule.logsnr[-1] == -np.inf
    assert schedules.cosine(2).with_zero_terminal_snr().alpha[-1] == 0.0


@pytest.mark.parametrize("name", NAMES)
def test_shift_adds_to_logsnr_and_stays_on_the_path(name: str) -> None:
    schedule = SCHEDULES[name](100)
    shifted = schedule.shifted(-2.5)
    finite = np.isfinite(schedule.logsnr)
    assert np.allclose(shifted.logsnr[finite], schedule.logsnr[finite] - 2.5)
    assert shifted.path == schedule.path
    assert schedule.shifted(1.0).shifted(-3.5).config == shifted.config


def test_flow_shift_is_the_published_map_of_time() -> None:
    m = 3.0
    t = schedules.flow(10).sigma
    shifted = schedules.flow(10).shifted(-2 * np.log(m))
    assert np.allclose(shifted.sigma, m * t / (1 + (m - 1) * t), atol=1e-15)


def test_levels_are_those_of_the_timesteps_then_clean() -> None:
    schedule = schedules.cosine(10)
    levels = schedule.levels(np.array([9, 4, 0]))
    assert (levels.alpha == [schedule.alpha[9], schedule.alpha[4], schedule.alpha[0], 1.0]).all()
    assert (levels.sigma == [schedule.sigma[9], schedule.sigma[4], schedule.sigma[0], 0.0]).all()


def test_levels_between_the_trained_ones_lie_on_the_path() -> None:
    for name in NAMES:
        schedule = SCHEDULES[name](50)
        wanted = np.linspace(-3.0, 3.0, 5)
        levels = schedule.levels_at(wanted)
        assert np.allclose(2 * levels.half_logsnr[:-1], wanted)
        on_grid = schedule.levels_at(schedule.logsnr[[40, 10]])
        assert np.allclose(on_grid.alpha[:2], schedule.alpha[[40, 10]])
        assert np.allclose(on_grid.sigma[:2], schedule.sigma[[40, 10]])


def test_labels_lead_back_to_the_levels() -> None:
    from kvdiff.diffusion.process.levels import noise_label

    for name in NAMES:
        schedule = SCHEDULES[name](50)
        alpha, sigma = schedule.level_of_label(noise_label(schedule.alpha, schedule.sigma))
        assert np.allclose(alpha, schedule.alpha, atol=1e-12) and np.allclose(sigma, schedule.sigma, rtol=1e-9)


@pytest.mark.parametrize("beta", [1e-8, 0.999999])
def test_extreme_betas_are_exact(beta: float) -> None:
    schedule = NoiseSchedule.from_betas(np.full(3, beta))
    assert np.allclose(schedule.alphas_cumprod, (1 - beta) ** np.arange(1, 4), rtol=1e-9)
    assert np.allclose(schedule.sigma[0] ** 2, beta, rtol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoiseSchedule.from_config({"name": "cubic"}), "expected a `name` among .*Received: 'cubic'"),
        (lambda: NoiseSchedule.from_config({"name": "flow", "tau": 2}), "expected arguments among .*Received: .'tau'."),
        (lambda: NoiseSchedule.from_betas([0.5, 1.0]), "`betas`.*inside .0, 1.*Received"),
        (lambda: NoiseSchedule.from_betas(np.zeros((2, 2)) + 0.1), "`betas` .num_timesteps.*Received"),
        (lambda: NoiseSchedule([1.0, 0.5], [0.1]), "of one shape .*Received"),
        (lambda: NoiseSchedule([0.9, np.nan], [0.1, 0.2]), "finite `alpha`.*Received"),
        (lambda: NoiseSchedule([0.9, -0.1], [0.1, 0.2]), "`alpha` >= 0.*Received"),
        (lambda: NoiseSchedule([1.0], [0.0]), "`sigma` > 0 .*Received.*larger first beta"),
        (lambda: NoiseSchedule([0.5, 0.9], [0.5, 0.1]), "grow with the timestep.*Received"),
        (lambda: NoiseSchedule([0.5, 0.5], [0.6, 0.6]), "grow with the timestep.*Received"),
        (lambda: schedules.linear(20), "Received: 1.0 at num_timesteps=20. Use at least 21"),
        (lambda: schedules.linear(10), "Received.*num_timesteps=10. Use at least 21"),
        (lambda: schedules.linear(beta_end=1.0), "`beta_end`.*Received: 1.0"),
        (lambda: schedules.linear(beta_start=0.0), "`beta_start`.*Received: 0.0"),
        (lambda: schedules.cosine(0), "`num_timesteps`: expected an integer from 1 to 1000000. Received: 0"),
        (lambda: schedules.cosine(offset=1.0), "`offset`.*Received: 1.0"),
        (lambda: schedules.cosine(max_beta=1.0), "`max_beta`.*Received: 1.0"),
        (lambda: schedules.sigmoid(end=-4.0), "`end`.*Received: -4.0"),
        (lambda: schedules.sigmoid(tau=0.0), "`tau`.*Received: 0.0"),
        (lambda: schedules.karras(sigma_min=90.0), "`sigma_max`.*Received: 80.0"),
        (lambda: schedules.karras(rho=0.0), "`rho`.*Received: 0.0"),
        (lambda: schedules.logsnr(path="up"), "`path`.*Received: 'up'"),
        (lambda: schedules.logsnr(logsnr_max=-15.0), "`logsnr_max`.*Received: -15.0"),
        (lambda: schedules.karras().with_zero_terminal_snr(), "variance-preserving.*Received: path 've'"),
        (lambda: schedules.cosine(1).with_zero_terminal_snr(), "at least 2.*Received"),
        (lambda: schedules.cosine().shifted(1.0).with_zero_terminal_snr(), "before it is shifted. Received"),
        (lambda: schedules.cosine().shifted(np.nan), "`logsnr_shift`.*Received: nan"),
        (lambda: schedules.cosine(5).levels(np.array([5, 1])), "inside 0 … 4. Received"),
        (lambda: schedules.cosine(5).levels(np.array([1, -1])), "inside 0 … 4. Received"),
        (lambda: schedules.cosine(5).levels(np.array([1, 1])), "falling strictly.*Received"),
        (lambda: schedules.cosine(5).levels(np.array([1.0])), "integer `timesteps`.*Received"),
        (lambda: schedules.cosine(5).levels(np.array([], int)), "integer `timesteps`.*Received"),
        (lambda: schedules.cosine(5).levels_at([-np.inf, 1.0]), "finite `logsnr`.*Received"),
        (lambda: NoiseSchedule([0.5, 0.4], [0.6, 0.7]).path, "to go between them. Received"),
    ],
)
def test_bad_input_is_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=f"(?s){message}"):
        make()
