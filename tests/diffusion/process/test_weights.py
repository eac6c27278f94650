from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion import Prediction
from kvdiff.diffusion.process.weights import WEIGHTS, loss_weights
from kvdiff.diffusion.solvers.bound_table import BoundTable
from tests.diffusion.helpers import predictions_for, schedule

ALL = ("linear", "cosine", "sigmoid", "karras", "flow")


def on_x0(name: str, of, kind: str, **options) -> np.ndarray:
    """The weight of |D - x_0|², which no longer depends on what is predicted."""
    prediction = Prediction(kind)
    return loss_weights(of, prediction, name, **options) / prediction.preconditioning(of.alpha, of.sigma).c_out ** 2


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("weight", sorted(set(WEIGHTS) - {"simple"}))
def test_weights_are_those_of_the_papers_whatever_is_predicted(name: str, weight: str) -> None:
    of = schedule(name, 100)
    snr = (of.alpha / of.sigma) ** 2
    s = of.sigma / np.maximum(of.alpha, 1e-300)
    expected = {
        "snr": snr,
        "min_snr": np.minimum(snr, 5.0),
        "edm": snr + 4.0 if name == "flow" else (s**2 + 0.25) / (s * 0.5) ** 2,
        "variational": 0.5 * (np.append(2 * snr[0], snr[:-1]) - snr),
    }[weight]
    for kind in predictions_for(of):
        assert np.allclose(on_x0(weight, of, kind), expected, rtol=1e-9)


def test_special_cases() -> None:
    of = schedule("cosine", 100)
    assert (loss_weights(of, Prediction("v")) == 1.0).all()
    assert np.allclose(loss_weights(of, Prediction("eps"), "snr"), 1.0)
    assert np.allclose(loss_weights(of, Prediction("edm", 0.3), "edm"), 1.0)
    assert np.allclose(on_x0("min_snr", of, "x0", gamma=2.0), np.minimum(of.snr, 2.0))
    assert np.allclose(on_x0("min_snr", of, "x0", gamma=0.01), np.minimum(of.snr, 0.01))
    # v's own mean square is (SNR + 1) |D - x_0|².
    assert np.allclose(on_x0("simple", of, "v"), of.snr + 1.0)


def test_variational_weight_is_the_bounds() -> None:
    """b² / (2 variance), the small one: Kingma et al. 2021, eq. 13 to 15, from the sampler's own table."""
    for name in ("linear", "cosine", "karras"):
        of = schedule(name, 60)
        table = BoundTable.of(of)
        expected = table.b**2 / (2 * np.exp(table.log_var_min))
        assert np.allclose(on_x0("variational", of, "x0")[1:], expected[1:], rtol=1e-8)


@pytest.mark.parametrize("weight", sorted(WEIGHTS))
def test_weights_are_finite_down_to_pure_noise(weight: str) -> None:
    for of in (schedule("flow", 10), schedule("cosine", 10).with_zero_terminal_snr(), schedule("flow", 1)):
        made = loss_weights(of, Prediction("v"), weight)
        assert made.shape == (of.num_timesteps,) and np.isfinite(made).all() and (made >= 0).all()


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="`name`: expected one of .*Received: 'none'"):
        loss_weights(schedule("cosine", 5), Prediction("v"), "none")
    with pytest.raises(ValueError, match="`gamma`: .*Received: 0.0"):
        loss_weights(schedule("cosine", 5), Prediction("v"), "min_snr", gamma=0.0)
