"""What every solver must do, whatever its formula: schedules × spacings × solvers × steps × predictions × tasks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from kvdiff.diffusion import NoiseSchedule, Prediction, StepTable, oracle, step_table
from kvdiff.diffusion.process.predictions import PREDICTIONS
from kvdiff.diffusion.process.schedules import SCHEDULES
from kvdiff.diffusion.process.spacing import SPACINGS
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.solvers.step_table import LearnedVarianceTable
from tests.diffusion.helpers import SHAPE, denoiser, final, gaussian, schedule

OPTIONS = {
    "ddpm": [{}, {"variance": "large"}, {"variance": "learned"}],
    "ddim": [{}, {"eta": 0.3}, {"eta": 1.0}],
    "edm": [{}, {"churn": 5.0}, {"churn": 40.0, "noise_scale": 1.003}],
    "dpmpp_2m_sde": [{}, {"eta": 0.5}],
    "dpmpp_3m_sde": [{}, {"eta": 0.5}],
    "deis": [{"order": k} for k in (1, 2, 3, 4)],
    "unipc": [{"order": k, "variant": v} for k in (1, 2, 3) for v in ("bh1", "bh2")],
}
EVERY = [(name, options) for name in SOLVERS for options in OPTIONS.get(name, [{}])]
FIRST_ORDER = [("ddim", {}), ("euler", {}), ("deis", {"order": 1})]


def adds_noise(solver: str, options: dict) -> bool:
    levels = dict(schedule=schedule("logsnr"), prediction=Prediction("v"), spacing="uniform_logsnr", num_steps=20)
    return bool(step_table(**levels, solver=solver, **options).std.any())


DETERMINISTIC = [(name, options) for name, options in EVERY if not adds_noise(name, options)]


@st.composite
def choices(draw) -> dict:
    """Any schedule, shifted or rescaled, any spacing, solver, prediction and number of steps."""
    num_timesteps = draw(st.integers(1, 60) | st.sampled_from([100, 1000]))
    return dict(
        schedule=draw(st.sampled_from(sorted(SCHEDULES))),
        num_timesteps=num_timesteps,
        zero_terminal_snr=draw(st.booleans()),
        shift=draw(st.just(0.0) | st.floats(-6.0, 6.0)),
        prediction=Prediction(draw(st.sampled_from(PREDICTIONS)), draw(st.floats(0.05, 2.0))),
        solver=draw(st.sampled_from(EVERY)),
        num_steps=draw(st.integers(1, num_timesteps) | st.just(num_timesteps)),
        spacing=draw(st.sampled_from(SPACINGS)),
    )


def table_of(choice: dict) -> StepTable | str:
    """The table, or the text of the refusal."""
    solver, options = choice["solver"]
    try:
        of = SCHEDULES[choice["schedule"]](choice["num_timesteps"])
        if choice["zero_terminal_snr"] and of.path == "vp" and of.num_timesteps > 1:
            of = of.with_zero_terminal_snr()
        of = of.shifted(choice["shift"]) if choice["shift"] else of
        num_steps, spacing = choice["num_steps"], choice["spacing"]
        return step_table(of, choice["prediction"], solver=solver, num_steps=num_steps, spacing=spacing, **options)
    except ValueError as error:
        return str(error)


@settings(max_examples=400, deadline=None)
@given(choices())
def test_every_combination_is_a_finite_table_or_a_refusal_with_advice(choice: dict) -> None:
    table = table_of(choice)
    if isinstance(table, str):
        assert "Use " in table and "Received" in table, table
        return
    assert table.sigma[-1] == 0 and table.std[-1] == 0  # StepTable proves the rest when it is made.
    state, history = table.init_std, (0.0,) * table.memory
    for i in range(table.num_steps):
        history = (denoiser(state, 1.0), *history[:-1])
        state = table.a[i, 0] * state + sum(table.b[i, k, 0] * history[k] for k in range(table.memory))
        state += table.std[i, 0]
    assert np.isclose(state, history[0], atol=1e-9)


def _ends_on_the_prediction(table: StepTable) -> bool:
    """Every solver here takes its last step to the clean clip with one prediction: the clip is D_i itself."""
    return bool(np.isclose(table.b[-1, 0, 0], 1.0) and not table.b[-1, 1:].any() and not table.a[-1].any())


@pytest.mark.parametrize(("solver", "options"), EVERY)
def test_the_last_step_returns_the_prediction(solver: str, options: dict) -> None:
    table = step_table(schedule("logsnr"), Prediction("v"), solver=solver, num_steps=7, spacing="karras", **options)
    assert _ends_on_the_prediction(table)


@pytest.mark.parametrize(("solver", "options"), EVERY)
def test_known_frames_stay_and_condition(solver: str, options: dict) -> None:
    """Prediction and interpolation land near the exact conditional distribution, mean and covariance."""
    if options.get("variance") == "learned" or solver == "consistency":  # It is for a network that predicts no mean.
        return
    data, prediction, clip = gaussian(), Prediction("v"), gaussian(1).mean
    for known in (np.array([True, False, False]), np.array([True, False, True])):
        table = step_table(
            schedule("logsnr"), prediction, solver=solver, num_steps=100, spacing="uniform_logsnr", **options
        )
        made = oracle.push_through(table.with_known(known), oracle.exact_network(data, prediction), SHAPE, clip)[-1]
        exact = data.conditional(known, clip)
        assert (made.mean[known] == clip[known]).all()
        assert np.abs(made.mean - exact.mean).max() < 0.02 and np.abs(made.covariance - exact.covariance).max() < 0.05


@pytest.mark.parametrize(("solver", "options"), DETERMINISTIC)
def test_generation_is_exact_in_the_limit(solver: str, options: dict) -> None:
    """The sampling equation carries N(0, I) to the data: sqrt(alpha² c + sigma²) along every eigenvector."""
    data, prediction = gaussian(), Prediction("v")
    table = step_table(
        schedule("logsnr"), prediction, solver=solver, num_steps=400, spacing="uniform_logsnr", **options
    )
    made = final(table, data, prediction)
    bound = 0.01 if (solver, options) in FIRST_ORDER else 5e-4
    assert np.abs(made.mean - data.mean).max() < bound and np.abs(made.covariance - data.covariance).max() < bound


@pytest.mark.parametrize(("solver", "options"), EVERY)
def test_every_prediction_gives_the_same_clips(solver: str, options: dict) -> None:
    if options.get("variance") == "learned":
        return
    data, made = gaussian(), []
    for kind in PREDICTIONS:
        table = step_table(
            schedule("karras"), Prediction(kind), solver=solver, num_steps=9, spacing="karras", **options
        )
        made.append(final(table, data, Prediction(kind)))
    for other in made[1:]:
        assert np.allclose(other.mean, made[0].mean, atol=1e-9)
        assert np.allclose(other.covariance, made[0].covariance, atol=1e-9)


@pytest.mark.parametrize(("solver", "options"), EVERY)
def test_the_path_does_not_matter(solver: str, options: dict) -> None:
    """One schedule of log-SNR on three paths: the same y = x/alpha at every level, from the same start."""
    made = []
    for path in ("vp", "flow", "ve"):
        of = NoiseSchedule.from_config(dict(name="logsnr", num_timesteps=50, logsnr_min=-6, logsnr_max=8, path=path))
        table = step_table(of, Prediction("v"), solver=solver, num_steps=8, spacing="uniform_logsnr", **options)
        y = np.concatenate([table.a * table.alpha[:-1] / table.alpha[1:], table.std / table.alpha[1:]], axis=1)
        if isinstance(table, LearnedVarianceTable):
            y[:, 1] *= np.exp(0.5 * table.log_var_min[:, 0])
        made.append((y, table.b[:, :, 0] / table.alpha[1:]))
    for other in made[1:]:
        if options.get("variance") != "large":  # beta is another variance on every path.
            assert np.allclose(other[0], made[0][0], atol=1e-10)
        assert np.allclose(other[1], made[0][1], atol=1e-10)


def test_names_are_the_functions_names() -> None:
    assert all(solver.__name__ == name for name, solver in SOLVERS.items())
    assert {"ddpm", "ddim", "euler", "heun", "edm", "dpm_2", "dpmpp_2m", "deis", "unipc"} <= set(SOLVERS)
