"""A training that goes on, within one process: what is refused, and what a signal or a full disk does."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest

from kvdiff.training import ClipBatches, TrainingCheckpoint
from tests.training.trainings import BATCH, SHAPE, STEPS, clips, digest, make_model


def batches(**options):
    return ClipBatches(clips(), **{"batch_size": BATCH, "seed": 7, **options})


def fit(model, checkpoint, epochs, *callbacks):
    steps = checkpoint.batches.steps_per_epoch
    return model.fit(
        checkpoint.dataset(),
        steps_per_epoch=steps,
        epochs=epochs,
        callbacks=[*callbacks, checkpoint],
        verbose=0,
        shuffle=False,
    )


def everything(model):
    return digest([*model.variables, *model.optimizer.variables])


def at_step(step, action):
    """A callback that calls `action()` at the end of a training step, counted from 1 in this `fit`."""
    steps = iter(range(1, 1000))
    return keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: next(steps) == step and action())


@pytest.fixture(scope="module")
def half(tmp_path_factory):
    """A folder with the checkpoints of three epochs, and what the next three make of them."""
    folder = tmp_path_factory.mktemp("half")
    model, checkpoint = make_model(), TrainingCheckpoint(folder, batches())
    loss = fit(model, checkpoint, 3).history["loss"]
    copy = {path.name: path.read_bytes() for path in folder.glob("step-*")}
    return copy, loss, model, everything(model)


@pytest.fixture(scope="module")
def model(half):
    """The model of those epochs. Traced once: whatever it went through since, a checkpoint puts it back."""
    return half[2]


@pytest.fixture
def folder(half, tmp_path):
    """A copy of those checkpoints."""
    for name, content in half[0].items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_three_epochs_and_three_more_are_six(half, folder, tmp_path_factory):
    whole = make_model()
    loss = fit(whole, TrainingCheckpoint(tmp_path_factory.mktemp("whole"), batches()), 6).history["loss"]
    model, checkpoint = make_model(), TrainingCheckpoint(folder, batches())
    assert checkpoint.step == 3 * STEPS
    then = fit(model, checkpoint, 6)
    assert then.epoch == [3, 4, 5] and half[1] + then.history["loss"] == loss
    assert everything(model) == everything(whole)


def test_a_finished_training_is_not_trained_on(half, folder, model):
    fit(model, TrainingCheckpoint(folder, batches()), 3)
    assert everything(model) == half[3]  # The averaged weights.


def test_ctrl_c_saves_and_the_directory_is_free_again(folder, model):
    checkpoint = TrainingCheckpoint(folder, batches())
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(model, checkpoint, 9, at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT)))
    assert signal.getsignal(signal.SIGINT) is handler
    assert TrainingCheckpoint(folder, batches()).step == 3 * STEPS + 2


def test_an_epoch_that_goes_on_half_way_heeds_a_wish_to_stop(folder, model):
    stop = at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        fit(model, TrainingCheckpoint(folder, batches()), 9, stop)
    wish = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: setattr(model, "stop_training", epoch == 4))
    assert fit(model, TrainingCheckpoint(folder, batches()), 9, wish).epoch == [3, 4]
    assert fit(model, TrainingCheckpoint(folder, batches()), 9).epoch == []  # Stopped is stopped; more epochs go on.
    assert fit(model, TrainingCheckpoint(folder, batches()), 6).epoch == [5]


@pytest.mark.slow
def test_metrics_go_on_too(tmp_path):
    stop = at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    made = [make_model(metrics=["mae"]) for _ in range(3)]
    whole = fit(made[0], TrainingCheckpoint(tmp_path / "whole", batches()), 1).history
    with pytest.raises(KeyboardInterrupt):
        fit(made[1], TrainingCheckpoint(tmp_path / "cut", batches()), 1, stop)
    assert fit(made[2], TrainingCheckpoint(tmp_path / "cut", batches()), 1).history == whole and whole["mae"]


def test_a_full_disk_is_warned_of_and_the_last_step_must_be_saved(folder, model, monkeypatch):
    from kvdiff.training import checkpoint_file

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file, "_write", full)
    warning = pytest.warns(UserWarning, match="no checkpoint of step 20, training goes on: .*No space left")
    with warning, pytest.raises(OSError, match="No space left"):
        fit(model, TrainingCheckpoint(folder, batches(), every=20), 4)
    assert TrainingCheckpoint(folder, batches()).step == 3 * STEPS


def test_other_data_is_refused(folder):
    for options in (dict(seed=8), dict(batch_size=5)):
        with pytest.raises(ValueError, match="`batches`: expected those of .*step-0000000018"):
            TrainingCheckpoint(folder, batches(**options))
    changed = clips()
    changed[0, 0, 0, 0, 0] += 1.0
    with pytest.raises(ValueError, match="`batches`"):
        TrainingCheckpoint(folder, ClipBatches(changed, BATCH, seed=7))


def test_another_model_is_refused_and_another_optimizer_warned_of(folder):
    import kvdiff

    other = kvdiff.VideoDiffusion(SHAPE, make_model().denoiser, seed=4)
    other.compile(make_model().optimizer)
    with pytest.raises(ValueError, match="expected a checkpoint of this model and optimizer. Received: .* seed"):
        fit(other, TrainingCheckpoint(folder, batches()), 6)
    with pytest.raises(ValueError, match="optimizer/"):
        fit(make_model(keras.optimizers.SGD(0.1)), TrainingCheckpoint(folder, batches()), 6)
    inner = keras.optimizers.Adam(3e-2, beta_1=0.5, use_ema=True, ema_momentum=0.9)
    faster = make_model(keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=5))
    with pytest.warns(UserWarning, match="going on with another optimizer .*beta_1"):
        fit(faster, TrainingCheckpoint(folder, batches()), 3)


def test_a_fit_that_would_not_go_on_is_refused(folder, model):
    checkpoint = TrainingCheckpoint(folder, batches())
    with pytest.raises(ValueError, match="`x`: expected `checkpoint.dataset\\(\\)`, which begins at step 18"):
        model.fit(batches().dataset(), steps_per_epoch=STEPS, callbacks=[checkpoint], verbose=0, shuffle=False)
    with pytest.raises(ValueError, match=f"`steps_per_epoch`: expected {STEPS}.* Received: 5"):
        model.fit(checkpoint.dataset(), steps_per_epoch=5, callbacks=[checkpoint], verbose=0, shuffle=False)
    stopping = TrainingCheckpoint(folder, batches(), callbacks=[keras.callbacks.EarlyStopping()])
    with pytest.raises(ValueError, match="`callbacks`: expected callbacks that `fit` has too"):
        fit(model, stopping, 6)
    with pytest.raises(TypeError, match="`get_state` and `set_state`. Received: History"):
        TrainingCheckpoint(folder, batches(), callbacks=[keras.callbacks.History()])


def test_nothing_that_is_not_finite_is_saved(folder, model):
    poison = at_step(2, lambda: model.trainable_variables[0].assign(model.trainable_variables[0] * np.nan))
    with pytest.raises(FloatingPointError, match="step 20: model/0000 is not finite"):
        fit(model, TrainingCheckpoint(folder, batches(), every=2), 6, poison)
    assert TrainingCheckpoint(folder, batches()).step == 3 * STEPS


def test_a_training_may_be_begun_anew(folder):
    running = TrainingCheckpoint(folder, batches())
    with pytest.raises(RuntimeError, match="another one holds"):
        TrainingCheckpoint(folder, batches(), resume=False)
    assert list(folder.glob("step-*"))
    running.close()
    checkpoint = TrainingCheckpoint(folder, batches(), resume=False)
    assert checkpoint.step == 0 and not list(folder.glob("step-*"))


def test_only_the_first_of_several_workers_writes(folder, model):
    first = TrainingCheckpoint(folder, batches())
    second = TrainingCheckpoint(folder, batches(), writes=False)
    before = sorted(path.name for path in folder.iterdir())
    fit(model, second, 4)
    assert second.writes is False and sorted(path.name for path in folder.iterdir()) == before
    first.close()
