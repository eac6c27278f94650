"""Parity with k-diffusion (pip install --no-deps k-diffusion torchdiffeq torchsde), whose clips are y = x/alpha."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kvdiff.diffusion import NoiseLevels, Prediction, schedules, solvers
from kvdiff.diffusion.process.spacing import karras
from tests.diffusion.helpers import run_oracle

from .mixture import DATA, NOISE, X, difference

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
for module in ("torchdiffeq", "torchsde", "scipy", "tqdm"):
    pytest.importorskip(module, reason=f"k-diffusion needs it: pip install {module}")
SPEC = importlib.util.find_spec("k_diffusion")
if SPEC is None:
    pytest.skip("needs k-diffusion: pip install --no-deps k-diffusion", allow_module_level=True)

SIGMAS = karras(schedules.karras(1000, 0.02, 30.0), 12).sigma
LEVELS = NoiseLevels(np.ones_like(SIGMAS), SIGMAS)
EDM = Prediction("edm")
START = SIGMAS[0] * X


@pytest.fixture(scope="module")
def sampling() -> Iterator[types.ModuleType]:
    """`k_diffusion.sampling` alone: the package's own __init__ imports its training, with CLIP and wandb."""
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(Path(SPEC.origin).parent)]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    package.utils = utils
    stubs = {"k_diffusion": package, "k_diffusion.utils": utils}
    with pytest.MonkeyPatch.context() as patch:
        for name, stub in stubs.items():
            patch.setitem(sys.modules, name, stub)
        yield importlib.import_module("k_diffusion.sampling")
        sys.modules.pop("k_diffusion.sampling")


def theirs(function, **options) -> np.ndarray:
    def model(x, sigma):
        return torch.from_numpy(DATA.denoise(x.numpy(), 1.0, float(sigma[0])))

    return function(model, torch.from_numpy(START), torch.from_numpy(SIGMAS), disable=True, **options).numpy()


def given_noise(sequence):
    """A noise_sampler that hands out `sequence` in order."""
    rest = iter(sequence)
    return lambda sigma, sigma_next: torch.from_numpy(next(rest))


@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("sample_euler", solvers.euler),
        ("sample_heun", solvers.heun),
        ("sample_dpm_2", solvers.dpm_2),
        ("sample_dpmpp_2m", solvers.dpmpp_2m),
    ],
)
def test_deterministic(sampling, name: str, solver) -> None:
    ours = run_oracle(solver(LEVELS, EDM), DATA, START)[-1]
    assert difference(theirs(getattr(sampling, name)), ours) < 1e-12


@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    ("name", "solver"),
    [
        ("sample_euler_ancestral", solvers.ddim),
        ("sample_dpmpp_2m_sde", solvers.dpmpp_2m_sde),
        ("sample_dpmpp_3m_sde", solvers.dpmpp_3m_sde),
    ],
)
def test_stochastic(sampling, name: str, solver, eta: float) -> None:
    ours = run_oracle(solver(LEVELS, EDM, eta=eta), DATA, START, NOISE)[-1]
    assert difference(theirs(getattr(sampling, name), eta=eta, noise_sampler=given_noise(NOISE)), ours) < 1e-12


@pytest.mark.parametrize("churn", [3.0, 40.0])
def test_edm_with_churn(sampling, monkeypatch, churn: float) -> None:
    """They raise the first level after the start; our start holds that noise already. They draw noise every step."""
    options = dict(churn=churn, churn_min=0.1, churn_max=50.0, noise_scale=1.007)
    draws = iter(NOISE)
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.from_numpy(next(draws)))
    made = theirs(sampling.sample_heun, s_churn=churn, s_tmin=0.1, s_tmax=50.0, s_noise=1.007)

    table = solvers.edm(LEVELS, EDM, **options)
    rise = np.sqrt(table.sigma[0] ** 2 - SIGMAS[0] ** 2)
    noise = [0.0 * X] * table.num_steps
    noise[1::2] = NOISE[1 : 1 + len(noise[1::2])]
    ours = run_oracle(table, DATA, START + 1.007 * rise * NOISE[0], noise)[-1]
    assert difference(made, ours) < 1e-12
    assert np.isclose(table.init_std, np.hypot(SIGMAS[0], 1.007 * rise))


def test_karras_sigmas(sampling) -> None:
    made = sampling.get_sigmas_karras(12, 0.02, 30.0).double().numpy()
    assert np.allclose(made, SIGMAS, rtol=1e-5)  # Theirs are float32.
