"""Averages of any length from snapshots of two, against the averages themselves."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from kvdiff.training import PostHocEMA, assign_ema
from kvdiff.training.checkpoint_file import DamagedCheckpointError, TrainingState, write_checkpoint
from kvdiff.training.posthoc_ema import profile_coefficients, profile_power
from tests.training.trainings import BATCH, STEPS, clips, make_model


def profile(step, power, taus):
    """Equation (1), as numbers."""
    return (power + 1) * taus**power / step ** (power + 1) * (taus <= step)


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.1, 0.25])
def test_the_power_has_the_relative_deviation_asked_for(sigma_rel):
    taus = np.linspace(0, 1, 200_001)
    weights = profile(1.0, profile_power(sigma_rel), taus)
    weights /= weights.sum()
    mean = (weights * taus).sum()
    assert np.sqrt((weights * (taus - mean) ** 2).sum()) == pytest.approx(sigma_rel, rel=1e-3)


def test_the_papers_powers():
    assert profile_power(0.05) == pytest.approx(16.97, abs=0.01)
    assert profile_power(0.10) == pytest.approx(6.94, abs=0.01)


def test_coefficients_are_the_nearest_mixture_of_profiles():
    steps, powers = np.repeat([250.0, 500.0, 1000.0], 2), np.tile([16.97, 6.94], 3)
    found = profile_coefficients(steps, powers, 1000, 10.0)
    taus = (np.arange(200_000) + 0.5) / 200
    columns = np.stack([profile(t, p, taus) for t, p in zip(steps, powers, strict=True)], axis=1)
    error = columns @ found - profile(1000.0, 10.0, taus)
    assert found.sum() == pytest.approx(1.0, abs=1e-9)
    # Of all mixtures of sum 1: no exchange of one snapshot for another makes the error smaller.
    exchanges = (columns[:, 1:] - columns[:, :1]) / 200
    np.testing.assert_allclose(error @ exchanges, 0.0, atol=1e-6 * np.abs(columns).max())
    exact = profile_coefficients(steps, powers, 500, 6.94)
    np.testing.assert_allclose(exact, [0, 0, 0, 1, 0, 0], atol=1e-6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of snapshots, the model, and its weights after every step."""
    folder, model, weights = tmp_path_factory.mktemp("ema"), make_model(keras.optimizers.SGD(0.3)), []
    keep = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: weights.append([v.numpy().copy() for v in model.trainable_variables])
    )
    from kvdiff.training import ClipBatches

    data = ClipBatches(clips(), BATCH).dataset()
    ema = PostHocEMA(folder, every=20)
    model.fit(data, steps_per_epoch=STEPS, epochs=40, callbacks=[keep, ema], verbose=0, shuffle=False)
    return folder, model, weights


def average(weights, power):
    """The average by its definition: one update after the other."""
    mean = weights[0]
    for t, values in enumerate(weights[1:], start=2):
        beta = (1 - 1 / t) ** (power + 1)
        mean = [beta * m + (1 - beta) * v for m, v in zip(mean, values, strict=True)]
    return mean


@pytest.mark.parametrize(("sigma_rel", "tolerance"), [(0.05, 1e-5), (0.10, 1e-5), (0.07, 0.02), (0.15, 0.05)])
def test_any_length_is_had_after_training(trained, sigma_rel, tolerance):
    folder, model, weights = trained
    assert len(weights) == 240 and len(list(folder.iterdir())) == 12
    assign_ema(model, folder, sigma_rel)
    expected = average(weights, profile_power(sigma_rel))
    moved = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(expected, weights[-1], strict=True)))
    found = [v.numpy() for v in model.trainable_variables]
    error = np.sqrt(sum(np.sum((a - b) ** 2) for a, b in zip(found, expected, strict=True)))
    assert moved > 0 and error < tolerance * moved + 1e-6


def test_an_average_may_end_earlier(trained):
    folder, model, weights = trained
    assign_ema(model, folder, 0.10, step=120)
    for variable, expected in zip(model.trainable_variables, average(weights[:120], profile_power(0.10)), strict=True):
        np.testing.assert_allclose(variable.numpy(), expected, atol=1e-6)


def test_what_is_not_there_is_said(trained, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected snapshots of a PostHocEMA"):
        assign_ema(trained[1], tmp_path, 0.05)
    with pytest.raises(ValueError, match="`sigma_rel`"):
        PostHocEMA(tmp_path, every=1, sigma_rels=(0.05, 0.4))


def test_snapshots_of_something_else_are_refused_by_name(tmp_path):
    model = make_model(keras.optimizers.SGD(0.3))
    (tmp_path / "ema-old.npz").write_bytes(b"")  # Not a snapshot's name.
    with pytest.raises(FileNotFoundError, match="`folder`: expected snapshots"):
        assign_ema(model, tmp_path, 0.1)
    path = tmp_path / "ema-0000000001.npz"
    write_checkpoint(path, TrainingState({}, {"step": 1}))
    with pytest.raises(DamagedCheckpointError, match="expected the field `powers`"):
        assign_ema(model, tmp_path, 0.1)
    write_checkpoint(path, TrainingState({"0/0000": np.zeros(3)}, {"step": 1, "powers": [16.97]}))
    with pytest.raises(ValueError, match="expected snapshots of this model's weights"):
        assign_ema(model, tmp_path, 0.1)


def test_a_snapshot_that_cannot_be_written_is_warned_of(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kvdiff.training.posthoc_ema.write_checkpoint", full)
    model = make_model(keras.optimizers.SGD(0.3))
    with pytest.warns(UserWarning, match="no snapshot of step 7, training goes on"):
        model.fit(clips(), batch_size=BATCH, verbose=0, callbacks=[PostHocEMA(tmp_path, every=100)])
    assert int(model.optimizer.iterations) == 7
