"""Parity with diffusers. Its tables are float32; where it allows, ours take their place, so that formulae compare."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction, schedules, solvers, spacing
from kvdiff.diffusion.process.levels import on_path
from kvdiff.diffusion.transforms.clamps import clamp_to
from tests.diffusion.helpers import run_oracle

from .mixture import DATA, NOISE, X, difference

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install diffusers")

EPS = Prediction("eps")
LINEAR = schedules.linear(1000)
PREDICTION_TYPES = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def tensor(x) -> torch.Tensor:
    return torch.from_numpy(np.asarray(x, np.float64))


def raw_output(kind: str, x: np.ndarray, alpha: float, sigma: float) -> torch.Tensor:
    """The optimal network's answer, by definition."""
    x_0 = DATA.denoise(x, alpha, sigma)
    eps = (x - alpha * x_0) / sigma
    return tensor({"eps": eps, "x0": x_0, "v": alpha * eps - sigma * x_0, "flow": eps - x_0}[kind])


def with_our_alphas(scheduler, schedule):
    """The float32 tables replaced by ours."""
    scheduler.alphas_cumprod, scheduler.betas = tensor(schedule.alphas_cumprod), tensor(schedule.betas)
    scheduler.alphas = 1.0 - scheduler.betas
    return scheduler


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (schedules.linear(), dict(beta_schedule="linear")),
        (schedules.scaled_linear(), dict(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)),
        (schedules.cosine(), dict(beta_schedule="squaredcos_cap_v2")),
    ],
)
def test_schedules(ours, theirs) -> None:
    scheduler = diffusers.DDPMScheduler(**theirs)
    assert difference(scheduler.alphas_cumprod, ours.alphas_cumprod) < 2e-6  # A thousand float32 products.
    assert difference(scheduler.betas, ours.betas) < 3e-7


def test_zero_terminal_snr() -> None:
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, rescale_betas_zero_snr=True
    )
    ours = schedules.scaled_linear().with_zero_terminal_snr()
    assert difference(scheduler.alphas_cumprod, ours.alphas_cumprod) < 2e-6
    assert ours.alphas_cumprod[-1] == 0.0 == scheduler.alphas_cumprod[-1].item()


@pytest.mark.parametrize("kind", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("num_steps", [7, 10, 50, 999, 1000])
def test_spacings(kind: str, num_steps: int) -> None:
    scheduler = diffusers.DDIMScheduler(timestep_spacing=kind, steps_offset=0)
    scheduler.set_timesteps(num_steps)
    assert scheduler.timesteps.tolist() == spacing.timesteps(1000, num_steps, kind).tolist()


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [False, True])
def test_ddpm(monkeypatch, kind: str, variance: str, clip: bool) -> None:
    """Trap: `fixed_large_log` gives NaN; `fixed_large` is beta."""
    from diffusers.schedulers import scheduling_ddpm

    scheduler = with_our_alphas(
        diffusers.DDPMScheduler(
            variance_type=f"fixed_{variance}",
            clip_sample=clip,
            prediction_type=PREDICTION_TYPES[kind],
            timestep_spacing="linspace",
        ),
        LINEAR,
    )
    scheduler.set_timesteps(30)
    draws = iter(NOISE)
    monkeypatch.setattr(scheduling_ddpm, "randn_tensor", lambda *_, **__: tensor(next(draws)))
    x = X
    for t in scheduler.timesteps:
        out = raw_output(kind, x, LINEAR.alpha[t], LINEAR.sigma[t])
        x = scheduler.step(out, t, tensor(x)).prev_sample.numpy()
    levels = spacing.sampling_levels(LINEAR, 30, "linspace")
    table = solvers.ddpm(levels, Prediction(kind), variance=variance)
    ours = run_oracle(table, DATA, X, NOISE, clamp_to((-1.0, 1.0) if clip else None))[-1]
    # fixed_small is floored at 1e-20, which shows nowhere; their variance loses digits by 1 - alphas_cumprod.
    assert difference(x, ours) < 1e-11


@pytest.mark.parametrize("kind", PREDICTION_TYPES)
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("clip", [False, True])
def test_ddim(kind: str, eta: float, clip: bool) -> None:
    """Traps: `linspace` steps back by T // N; use_clipped_model_output redoes the noise from the clamped x_0."""
    scheduler = with_our_alphas(
        diffusers.DDIMScheduler(
            clip_sample=clip, set_alpha_to_one=True, steps_offset=0, prediction_type=PREDICTION_TYPES[kind]
        ),
        LINEAR,
    )
    scheduler.set_timesteps(20)
    x = X
    for i, t in enumerate(scheduler.timesteps):
        out = raw_output(kind, x, LINEAR.alpha[t], LINEAR.sigma[t])
        step = scheduler.step(
            out, t, tensor(x), eta=eta, use_clipped_model_output=True, variance_noise=tensor(NOISE[i]) if eta else None
        )
        x = step.prev_sample.numpy()
    levels = spacing.sampling_levels(LINEAR, 20, "leading")
    table = solvers.ddim(levels, Prediction(kind), eta=eta)
    ours = run_oracle(table, DATA, X, NOISE, clamp_to((-1.0, 1.0) if clip else None))[-1]
    assert difference(x, ours) < 1e-11


def test_ddim_linspace_is_the_peers_error() -> None:
    """Documented, not matched: its previous timestep is t - T // N, which is not the next one of the list."""
    scheduler = with_our_alphas(diffusers.DDIMScheduler(clip_sample=False, timestep_spacing="linspace"), LINEAR)
    scheduler.set_timesteps(20)
    x = X
    for t in scheduler.timesteps:
        x = scheduler.step(raw_output("eps", x, LINEAR.alpha[t], LINEAR.sigma[t]), t, tensor(x)).prev_sample.numpy()
    ours = run_oracle(solvers.ddim(spacing.sampling_levels(LINEAR, 20, "linspace"), EPS), DATA, X)[-1]
    assert difference(x, ours) > 1e-3


def shared_grid(scheduler, num_steps: int, ends: str) -> NoiseLevels:
    """Their sigmas in float64, put back into them, and the same levels for us: closed with the clean clip."""
    scheduler.set_timesteps(num_steps)
    sigmas = scheduler.sigmas.double()
    scheduler.sigmas = sigmas
    s = sigmas.numpy() if ends == "zero" else np.append(sigmas.numpy(), 0.0)
    return NoiseLevels(*on_path("vp", np.ones_like(s), s))


def multistep(scheduler, levels: NoiseLevels, noise=None) -> np.ndarray:
    x = X
    for i, t in enumerate(scheduler.timesteps):
        given = {} if noise is None else {"variance_noise": tensor(noise[i])}
        out = raw_output("eps", x, levels.alpha[i], levels.sigma[i])
        x = scheduler.step(out, t, tensor(x), **given).prev_sample.numpy()
    return x


@pytest.mark.parametrize(
    ("grid", "ends"),
    [({}, "zero"), ({}, "sigma_min"), ({"use_karras_sigmas": True}, "zero"), ({"use_lu_lambdas": True}, "zero")],
)
@pytest.mark.parametrize(
    ("order", "solver_type", "solver"),
    [(1, "midpoint", solvers.ddim), (2, "midpoint", solvers.dpmpp_2m), (3, "heun", solvers.dpmpp_3m)],
)
def test_dpm_solver(grid: dict, ends: str, order: int, solver_type: str, solver) -> None:
    """Traps: with order 3 its second step follows solver_type, and "heun" is k-diffusion's and ours; grids of its own
    end on the same sigma twice with "sigma_min".
    """
    scheduler = diffusers.DPMSolverMultistepScheduler(
        solver_order=order, solver_type=solver_type, final_sigmas_type=ends, lower_order_final=False, **grid
    )
    levels = shared_grid(scheduler, 12, ends)
    ours = run_oracle(solver(levels, EPS), DATA, X)
    assert difference(multistep(scheduler, levels), ours[12]) < 1e-6


def test_sde_dpm_solver() -> None:
    scheduler = diffusers.DPMSolverMultistepScheduler(
        solver_order=2, algorithm_type="sde-dpmsolver++", lower_order_final=False, final_sigmas_type="sigma_min"
    )
    levels = shared_grid(scheduler, 12, "sigma_min")
    ours = run_oracle(solvers.dpmpp_2m_sde(levels, EPS), DATA, X, NOISE)
    assert difference(multistep(scheduler, levels, NOISE), ours[12]) < 1e-6


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc(variant: str, order: int) -> None:
    """Trap: it fails where torch's default dtype is float64."""
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=order, solver_type=variant, lower_order_final=False, final_sigmas_type="sigma_min"
    )
    levels = shared_grid(scheduler, 12, "sigma_min")
    ours = run_oracle(solvers.unipc(levels, EPS, order=order, variant=variant), DATA, X)
    assert difference(multistep(scheduler, levels), ours[12]) < 1e-6


@pytest.mark.parametrize("order", [1, 3])
def test_sa_solvers_predictor_without_noise_is_deis(order: int) -> None:
    """One update at a time, for its corrector cannot be left out. Trap: its order 2 adds a correction of its own."""
    scheduler = diffusers.SASolverScheduler(predictor_order=order, tau_func=lambda t: 0.0)
    levels = shared_grid(scheduler, 12, "sigma_min")
    table = solvers.deis(levels, EPS, order=order)
    for i in range(order - 1, 11):
        scheduler._step_index, scheduler.model_outputs = i, [tensor(d) for d in NOISE[:order][::-1]]
        made = scheduler.stochastic_adams_bashforth_update(
            None, sample=tensor(X), noise=tensor(0 * X), order=order, tau=torch.zeros(1, dtype=torch.float64)
        )
        ours = table.a[i] * X + sum(table.b[i, k] * NOISE[k] for k in range(order))
        assert difference(made, ours) < 1e-6


@pytest.mark.parametrize("grid", [{}, {"use_karras_sigmas": True}])
@pytest.mark.parametrize(("name", "solver"), [("Euler", solvers.euler), ("Heun", solvers.heun)])
def test_euler_and_heun(name: str, solver, grid: dict) -> None:
    """In y = x/alpha. Heun makes 2 N - 1 calls, and lists its timesteps so. Trap: EDM ones start at sqrt(80² + 1)."""
    scheduler = getattr(diffusers, f"{name}DiscreteScheduler")(**grid)
    scheduler.set_timesteps(12)
    sigmas = scheduler.sigmas.double()
    scheduler.sigmas = sigmas
    grid_sigmas = sigmas.numpy() if name == "Euler" else np.append(sigmas.numpy()[0::2], 0.0)
    levels = NoiseLevels(np.ones_like(grid_sigmas), grid_sigmas)
    start = x = levels.sigma[0] * X
    for i, t in enumerate(scheduler.timesteps):
        sigma = sigmas[i].item()
        x = scheduler.step(raw_output("eps", x, 1.0, sigma), t, tensor(x)).prev_sample.double().numpy()
    table = solver(levels, EPS)
    assert len(scheduler.timesteps) == table.num_steps
    assert difference(x, run_oracle(table, DATA, start)[-1]) < 1e-6


def test_flow_euler() -> None:
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(12)
    t = scheduler.sigmas.double().numpy()
    levels, x = NoiseLevels(1.0 - t, t), X
    for i, timestep in enumerate(scheduler.timesteps):
        x = scheduler.step(raw_output("flow", x, 1.0 - t[i], t[i]), timestep, tensor(x)).prev_sample.double().numpy()
    assert difference(x, run_oracle(solvers.euler(levels, Prediction("flow")), DATA, X)[-1]) < 1e-6
