"""A training that goes on, within one process: what is refused, and what a signal or a full disk does."""

from __future__ import annotations

import os
import signal

import keras
import numpy as np
import pytest

from kvdiff.training import ClipBatches, TrainingCheckpoint
from kvdiff.training.checkpoint_file import TrainingState, read_checkpoint, write_checkpoint
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


def test_a_full_disk_is_warned_of_to_the_last_step_and_the_training_ends_well(half, folder, model, monkeypatch):
    from kvdiff.training import checkpoint_file

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file, "_write", full)
    with pytest.warns(UserWarning, match="no checkpoint of step") as caught:
        assert fit(model, TrainingCheckpoint(folder, batches(), every=20), 4).epoch == [3]
    texts = [str(warning.message) for warning in caught]
    assert "no checkpoint of step 20, training goes on: [Errno 28] No space left on device" in texts
    assert any(text.startswith("no checkpoint of step 24") for text in texts)
    assert [path.name for path in folder.glob("step-*")] == ["step-0000000018.npz"]  # Older ones have made room.
    assert TrainingCheckpoint(folder, batches()).step == 3 * STEPS and everything(model) != half[3]


def test_a_full_disk_is_an_error_where_a_signal_would_lose_the_steps(folder, model, monkeypatch):
    from kvdiff.training import checkpoint_file

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        fit(model, TrainingCheckpoint(folder, batches()), 9, at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT)))


def test_other_data_is_refused(folder):
    for options, text in ((dict(seed=8), "seed=7. Received: seed=8"), (dict(batch_size=5), "batch_size=4, steps_per_")):
        with pytest.raises(ValueError, match=f"`batches`: expected those of .*step-0000000018.npz, with {text}"):
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
    with pytest.warns(UserWarning, match="going on with another optimizer .*beta_1"):
        fit(make_model(adam(3e-2, beta_1=0.5)), TrainingCheckpoint(folder, batches()), 3)


def adam(rate, **options):
    """The optimizer of these trainings, with some options of its own."""
    inner = keras.optimizers.Adam(rate, use_ema=True, ema_momentum=0.9, **options)
    return keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=5)


def test_another_network_of_equal_shapes_is_refused(folder):
    import kvdiff

    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    x = keras.layers.Dropout(0.2)(keras.layers.Dense(6, activation="relu")(clip))  # In place of tanh.
    network = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(1)(x))
    other = kvdiff.VideoDiffusion(SHAPE, network, seed=3)
    other.compile(adam(3e-2))
    with pytest.raises(ValueError, match=r"Received: one with another denoiser.config.layers.\d+.config.activation"):
        fit(other, TrainingCheckpoint(folder, batches()), 6)


def test_names_of_layers_that_count_up_make_no_other_network(folder):
    for _ in range(3):
        keras.layers.Dense(1), keras.Model()
    fit(make_model(), TrainingCheckpoint(folder, batches()), 3)


def test_a_changed_learning_rate_is_applied_and_an_unchanged_one_goes_on_as_it_was(folder, model):
    slower = make_model(adam(1e-3))
    with pytest.warns(UserWarning, match="going on with another optimizer .*learning_rate"):
        fit(slower, TrainingCheckpoint(folder, batches()), 3)
    assert float(slower.optimizer.learning_rate) == pytest.approx(1e-3)
    reduce = at_step(1, lambda: model.optimizer.inner_optimizer.learning_rate.assign(2e-3))
    fit(model, TrainingCheckpoint(folder, batches()), 4, reduce)
    again = make_model()
    fit(again, TrainingCheckpoint(folder, batches()), 4)
    assert float(again.optimizer.learning_rate) == pytest.approx(2e-3)  # As a callback had it.
    model.optimizer.inner_optimizer.learning_rate.assign(3e-2)


def test_another_loss_is_warned_of(folder):
    other = make_model(loss="mae")
    with pytest.warns(UserWarning, match="going on with another loss"):
        fit(other, TrainingCheckpoint(folder, batches()), 3)


def rewritten(folder, change):
    """The newest checkpoint, with other facts under the seal of their own."""
    path = sorted(folder.glob("step-*.npz"))[-1]
    state = read_checkpoint(path)
    facts = {**state.facts}
    change(facts)
    write_checkpoint(path, TrainingState(state.arrays, facts))


FIELDS = ("step", "epoch", "batch", "ended", "data", "model", "optimizer", "arithmetic", "callbacks")


@pytest.mark.parametrize("field", FIELDS)
def test_a_checkpoint_without_a_field_is_passed_over_by_name(folder, field):
    rewritten(folder, lambda facts: facts.pop(field))
    with pytest.warns(UserWarning, match=f"passed over a damaged checkpoint, .*step-0000000018.*none of .'{field}'."):
        assert TrainingCheckpoint(folder, batches()).step == 2 * STEPS


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        (dict(step=17), "expected the step of its name. Received: `step` 17"),
        (dict(epoch=2), "expected step = 6 epoch . batch. Received: step 18, epoch 2, batch 0"),
        (dict(epoch=2, batch=6), "Received: step 18, epoch 2, batch 6"),
        (dict(epoch=4, batch=-6), "Received: step 18, epoch 4, batch -6"),
        (dict(epoch="3"), "expected another kind of `epoch`. Received: '3'"),
        (dict(step=True), "expected another kind of `step`. Received: True"),
        (dict(callbacks=[5]), "expected `callbacks` with `class` and `state`"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_is_passed_over(folder, facts, text):
    rewritten(folder, lambda found: found.update(facts))
    with pytest.warns(UserWarning, match=text):
        assert TrainingCheckpoint(folder, batches()).step == 2 * STEPS


def test_a_checkpoint_of_an_earlier_version_goes_on(half, folder, model):
    def forget(facts):
        for name in ("network", "averages", "loss"):
            del facts[name]
        seed, weight = (facts["model"][name] for name in ("seed", "loss_weight"))
        facts["model"] = {"clip_shape": list(SHAPE), "known_noise": 0.0, "seed": seed, "loss_weight": weight}

    rewritten(folder, forget)
    fit(model, TrainingCheckpoint(folder, batches()), 3)
    assert everything(model) == half[3]


def test_a_callback_that_stops_in_mid_epoch_is_an_interruption(half, folder, model, capsys):
    wish = at_step(2, lambda: setattr(model, "stop_training", True))
    assert fit(model, TrainingCheckpoint(folder, batches()), 5, wish).epoch == [3]
    assert "Stopped after step 20, in mid-epoch; run again to go on from it." in capsys.readouterr().err
    assert int(model.optimizer.iterations) == TrainingCheckpoint(folder, batches()).step == 3 * STEPS + 2
    assert fit(model, TrainingCheckpoint(folder, batches()), 4).epoch == [3]
    stopped = everything(model)
    undisturbed = folder.parent / "undisturbed"
    undisturbed.mkdir()
    for name, content in half[0].items():
        (undisturbed / name).write_bytes(content)
    fit(model, TrainingCheckpoint(undisturbed, batches()), 4)
    assert everything(model) == stopped


def test_a_wish_to_stop_that_comes_after_the_checkpoints_turn_counts_too(folder, model):
    checkpoint = TrainingCheckpoint(folder, batches())
    wish = at_step(2, lambda: setattr(model, "stop_training", True))
    options = dict(steps_per_epoch=STEPS, epochs=5, verbose=0, shuffle=False)
    model.fit(checkpoint.dataset(), callbacks=[checkpoint, wish], **options)
    assert TrainingCheckpoint(folder, batches()).step == 3 * STEPS + 2


def test_that_nothing_is_left_to_train_is_said(folder, model, capsys):
    fit(model, TrainingCheckpoint(folder, batches()), 3)
    assert "Nothing is left to train after step 18: all epochs are done; more than 3 epochs go on" in (
        capsys.readouterr().err
    )


def test_what_is_no_data_or_no_list_is_refused(tmp_path):
    with pytest.raises(TypeError, match="`batches`: expected a ClipBatches.* Received: int, without config"):
        TrainingCheckpoint(tmp_path, 5)
    with pytest.raises(TypeError, match="`callbacks`: expected a list"):
        TrainingCheckpoint(tmp_path, batches(), callbacks=5)
    with pytest.raises(ValueError, match="`clips`: expected arrays with one length, not 0"):
        ClipBatches(None, 4)


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
