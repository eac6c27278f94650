from __future__ import annotations

import math

import numpy as np
import pytest

from kvdiff.diffusion import ClipSpec, NoiseSchedule, Prediction, oracle
from kvdiff.diffusion.sampling.bound import bits_per_dim, discretized_bits, divergence, prior_divergence
from kvdiff.diffusion.solvers.bound_table import BoundTable
from tests.diffusion.helpers import SHAPE, gaussian, schedule, wrapped

PIXELS = np.arange(256) / 127.5 - 1.0


def normal_kl(mean_q, var_q, mean_p, var_p) -> float:
    return 0.5 * (math.log(var_p / var_q) + (var_q + (mean_q - mean_p) ** 2) / var_p - 1.0)


def textbook_posterior(betas: np.ndarray, t: int) -> tuple[float, float, float]:
    """(weight of x_0, weight of x_t, variance) of q(x_{t-1} | x_t, x_0): Ho et al. 2020, eq. 7."""
    bar = np.cumprod(1 - betas)
    before = bar[t - 1] if t > 0 else 1.0
    on_x0 = np.sqrt(before) * betas[t] / (1 - bar[t])
    on_xt = np.sqrt(1 - betas[t]) * (1 - before) / (1 - bar[t])
    return on_x0, on_xt, betas[t] * (1 - before) / (1 - bar[t])


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_terms_are_divergences_of_the_textbooks_gaussians(name: str) -> None:
    of, x_0, x_t, predicted = schedule(name, 50), 0.3, -0.4, 0.1
    table = BoundTable.of(of)
    for t in (1, 2, 30, 49):
        on_x0, on_xt, small = textbook_posterior(of.betas, t)
        assert np.isclose(np.exp(table.log_var_min[t]), small) and np.isclose(np.exp(table.log_var_max[t]), of.betas[t])
        for log_var in (
            table.log_var_min[t],
            table.log_var_max[t],
            0.3 * table.log_var_min[t] + 0.7 * table.log_var_max[t],
        ):
            expected = normal_kl(on_x0 * x_0 + on_xt * x_t, small, on_x0 * predicted + on_xt * x_t, np.exp(log_var))
            made = divergence(x_0 - predicted, log_var, b=table.b[t], log_var_min=table.log_var_min[t])
            assert np.isclose(made, expected, rtol=1e-9, atol=1e-12)
    assert np.isclose(table.b[0], 1.0)
    assert np.isclose(table.log_var_min[0], table.log_var_min[1]) and np.isclose(
        np.exp(table.log_var_max[0]), of.betas[0]
    )


def test_prior_term() -> None:
    assert np.isclose(prior_divergence(0.5, 0.2, 0.9, 1.3), normal_kl(0.1, 0.81, 0.0, 1.69))
    assert prior_divergence(0.5, 0.0, 1.0, 1.0) == 0.0


@pytest.mark.parametrize("name", ["linear", "cosine", "flow"])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_gaussian_data_meets_its_closed_form(name: str, variance: str) -> None:
    """The sum of expected terms against -ELBO from the joint covariances of both whole chains: 1e-9."""
    c = 0.2
    of = (
        schedule(name, 25)
        if name != "flow"
        else NoiseSchedule.from_config(dict(name="logsnr", num_timesteps=25, path="flow"))
    )
    num, table = of.num_timesteps, BoundTable.of(of)
    log_var = np.where(
        np.arange(num) == 0, table.log_var_min, getattr(table, f"log_var_{'min' if variance == 'small' else 'max'}")
    )
    squared_error = c * of.sigma**2 / (of.alpha**2 * c + of.sigma**2)
    total = prior_divergence(np.sqrt(c), of.alpha[-1], of.sigma[-1], 1.0)  # Quadratic in x_0: its mean over the data.
    total += divergence(np.sqrt(squared_error), log_var, b=table.b, log_var_min=table.log_var_min)[1:].sum()
    total += 0.5 * (np.log(2 * np.pi) + log_var[0] + squared_error[0] / np.exp(log_var[0]))

    # q: x_t = ratio x_{t-1} + noise. p: x_{t-1} = (a + b gain) x_t + noise. Index 0 is the clip, t + 1 is timestep t.
    alpha, sigma = np.append(1.0, of.alpha), np.append(0.0, of.sigma)
    q = np.array(
        [
            [
                alpha[i] * alpha[j] * c + sigma[min(i, j)] ** 2 * alpha[max(i, j)] / alpha[min(i, j)]
                for j in range(num + 1)
            ]
            for i in range(num + 1)
        ]
    )
    p, gain = np.zeros((num + 1, num + 1)), alpha * c / (alpha**2 * c + sigma**2)
    p[num, num] = 1.0
    for i in range(num, 0, -1):
        a = (alpha[i - 1] - table.b[i - 1]) / alpha[i]
        move = a + table.b[i - 1] * gain[i]
        p[i - 1, i:] = p[i:, i - 1] = move * p[i, i:]
        p[i - 1, i - 1] = move**2 * p[i, i] + np.exp(log_var[i - 1])
    given = q[1:, 1:] - np.outer(q[1:, 0], q[0, 1:]) / q[0, 0]
    cross_entropy = 0.5 * (np.linalg.slogdet(2 * np.pi * p)[1] + np.trace(np.linalg.solve(p, q)))
    entropy = 0.5 * (np.linalg.slogdet(2 * np.pi * given)[1] + num)
    assert np.isclose(total, cross_entropy - entropy, rtol=0, atol=1e-9)
    assert total > 0.5 * np.log(2 * np.pi * np.e * c)  # The data's entropy.


def test_discretized_mass_is_a_distribution() -> None:
    for mean, std in ((0.2, 0.01), (-1.1, 0.3), (0.0, 5.0)):
        assert np.isclose((2.0 ** -discretized_bits(PIXELS, mean, std)).sum(), 1.0, rtol=1e-12)
    edges = [math.erf((PIXELS[100] - 0.1 + side / 255) / 0.2 / math.sqrt(2)) for side in (1, -1)]
    assert np.isclose(discretized_bits(PIXELS[100], 0.1, 0.2), -np.log2(0.5 * (edges[0] - edges[1])))
    assert np.isclose((2.0 ** -discretized_bits(np.linspace(-1, 1, 16), 0.3, 0.2, levels=16)).sum(), 1.0)


def test_discretized_bits_do_not_cancel_in_either_tail() -> None:
    far = discretized_bits(np.array([0.5, -0.5]), 0.0, 0.05)
    assert np.isclose(far[0], far[1], rtol=1e-12) and 60 < far[0] < 80
    assert np.isclose(discretized_bits(np.array(1.0), -1.0, 1e-3), 300 * np.log2(10))


def quantised_gaussian(count: int) -> tuple[np.ndarray, float]:
    """Pixels of N(0, 0.3²) rounded to 256 levels, evenly through the distribution, and the entropy in bits."""
    cdf = [0.5 * math.erfc(-edge / 0.3 / math.sqrt(2)) for edge in (PIXELS[:-1] + PIXELS[1:]) / 2]
    mass = np.diff([0.0, *cdf, 1.0])
    clips = PIXELS[np.searchsorted(np.cumsum(mass), (np.arange(count) + 0.5) / count)]
    return clips.astype(np.float32).reshape(-1, 1, 1, 1, 1), -(mass * np.log2(mass)).sum()


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_published_bits_per_dim_of_a_quantised_gaussian(name: str) -> None:
    """improved-diffusion's method with the exact eps: above the entropy for every T, and tighter as T grows."""
    clips, entropy = quantised_gaussian(2048)
    assert np.isclose(entropy, 7.3002, atol=1e-4)
    data = oracle.GaussianClips(np.zeros((1, 1, 1, 1)), np.full((1, 1), 0.09))
    for variance, lengths in (("small", (50, 200, 1000)), ("large", (25, 1000))):
        totals = []
        for num in lengths:
            sampler = oracle.OracleSampler(data, ClipSpec(1, 1, 1, 1), schedule(name, num), Prediction("eps"))
            made = bits_per_dim(sampler, clips, variance=variance)
            assert made.terms.shape == (num, 2048, 1) and np.isclose(
                made.per_timestep.sum() + made.prior.mean(), made.total
            )
            totals.append(made.total)
        assert totals[-1] > entropy and (np.diff(totals) < 0).all()


def test_prior_term_is_of_the_last_timestep_in_bits() -> None:
    of, clips = schedule("cosine", 6), np.linspace(-1, 1, 6, dtype=np.float32).reshape(1, *SHAPE)
    made = bits_per_dim(oracle.OracleSampler(gaussian(), ClipSpec(*SHAPE), of, Prediction("v")), clips)
    expected = prior_divergence(clips, of.alpha[-1], of.sigma[-1], 1.0).reshape(3, 2).mean(axis=1) / np.log(2)
    assert np.allclose(made.prior, expected[None], rtol=1e-6)


def test_bits_of_the_future_given_the_past() -> None:
    """Known frames count nothing, cost nothing, and make the rest cheaper; the model of the rest alone agrees."""
    data, known = gaussian(), np.array([True, False, False])
    clip = np.clip(gaussian(3).mean, -1, 1)[None].astype(np.float32)
    samplers = [
        oracle.OracleSampler(of, ClipSpec(*SHAPE), schedule("cosine", 40), Prediction("v"))
        for of in (data, data.conditional(known, clip[0]))
    ]
    given, conditional = (bits_per_dim(sampler, clip, known, seed=3) for sampler in samplers)
    assert np.isnan(given.per_frame[0, 0]) and np.isnan(given.prior[0, 0]) and np.isnan(given.terms[:, 0, 0]).all()
    assert np.isclose(given.total, np.mean(given.per_frame[0, 1:])) and np.isfinite(given.per_timestep).all()
    assert np.allclose(given.terms[:, :, 1:], conditional.terms[:, :, 1:], rtol=1e-6)
    alone = bits_per_dim(samplers[0], clip, seed=3)
    assert np.isfinite(alone.per_frame).all() and not np.isclose(alone.per_frame[0, 1], given.per_frame[0, 1])

    tied = np.full((6, 6), 0.2) + 0.002 * np.eye(6)  # Frames nearly equal: the past tells the future.
    sampler = oracle.OracleSampler(
        oracle.GaussianClips(np.zeros(SHAPE), tied), ClipSpec(*SHAPE), schedule("cosine", 100), Prediction("v")
    )
    same = np.full((1, *SHAPE), 0.4, np.float32)
    assert bits_per_dim(sampler, same, known).total < bits_per_dim(sampler, same).total - 0.3


def test_learned_variance_reads_the_extra_channels() -> None:
    """A network whose extra channels say -1 is the small variance, and 1 the forward step's."""

    share = -1.0

    def with_share(inner, noisy_clip, noise_label, inputs):
        raw = inner(noisy_clip, noise_label, inputs)
        return np.concatenate([raw, np.full_like(raw, share)], axis=-1)

    shape = (3, 1, 1, 2)  # Two channels: F has the first two, the variance the others.
    data = oracle.GaussianClips(gaussian().mean.reshape(shape), gaussian().covariance)
    of = (data, ClipSpec(*shape), schedule("cosine", 20), Prediction("v"))
    clip, plain = np.zeros((1, *shape), np.float32), oracle.OracleSampler(*of)
    learned = wrapped(plain, with_share)
    assert np.allclose(bits_per_dim(learned, clip, variance="learned").terms, bits_per_dim(plain, clip).terms)
    assert np.allclose(bits_per_dim(learned, clip).terms, bits_per_dim(plain, clip).terms)  # The channels are there.
    share = 1.0
    made, large = bits_per_dim(learned, clip, variance="learned"), bits_per_dim(plain, clip, variance="large")
    assert np.allclose(made.terms[1:], large.terms[1:])
    assert not np.isclose(made.terms[0], large.terms[0]).any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda s, c: bits_per_dim(s, c, variance="tiny"), ValueError, "`variance`: .*Received: 'tiny'"),
        (lambda s, c: bits_per_dim(s, c[0]), ValueError, "`clips`: expected shape.*Received"),
        (lambda s, c: bits_per_dim(s, c, np.ones(3, bool)), ValueError, "`known`: .*Received: all frames known"),
        (lambda s, c: discretized_bits(c, 0.0, 1.0, levels=1), ValueError, "`levels`: .*Received: 1"),
    ],
)
def test_bad_input_is_named(call, error, message: str) -> None:
    sampler = oracle.OracleSampler(gaussian(), ClipSpec(*SHAPE), schedule("cosine", 5), Prediction("v"))
    with pytest.raises(error, match=message):
        call(sampler, np.zeros((1, *SHAPE), np.float32))


def test_bound_table_has_a_row_for_every_timestep_even_one() -> None:
    assert BoundTable.of(schedule("cosine", 1)).b.shape == (1,)
    assert np.isfinite(BoundTable.of(schedule("cosine", 1)).log_var_min).all()
