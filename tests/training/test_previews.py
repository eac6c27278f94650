"""Previews and monitors: what they show, and that they disturb nothing."""

from __future__ import annotations

import sys
import types

import keras
import numpy as np
import pytest

pytest.importorskip("av")

from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.media import read_clip
from kvdiff.training import ClipBatches, Previews, SampleMonitor
from kvdiff.training.previews import nearest_distances, pairwise_distances
from tests.training.trainings import BATCH, SHAPE, STEPS, clips, digest, make_model


def fit(epochs, *callbacks):
    model = make_model(keras.optimizers.Adam(3e-2, use_ema=True, ema_momentum=0.9))
    history = model.fit(
        ClipBatches(clips(), BATCH).dataset(),
        steps_per_epoch=STEPS,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
        shuffle=False,
    )
    return model, history.history


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    """A training with every watcher, and one without."""
    folder = tmp_path_factory.mktemp("previews")
    sampling = dict(num_steps=2)
    shown = Previews(
        folder / "gifs", every=2, num_clips=3, past=clips()[:2, :2], tensorboard=folder / "board", scale=2, **sampling
    )
    monitor = SampleMonitor(clips()[:20], clips()[20:], num_clips=4, **sampling)
    return folder, *fit(4, shown, monitor), fit(4)[0]


def test_watching_changes_no_bit(watched):
    _, model, _, alone = watched
    state = [[*m.variables, *m.optimizer.variables] for m in (model, alone)]
    assert digest(state[0]) == digest(state[1])


def test_a_gif_with_a_row_of_samples_and_a_row_of_predictions(watched):
    gifs = sorted((watched[0] / "gifs").iterdir())
    assert [path.name for path in gifs] == ["epoch-0002.gif", "epoch-0004.gif"]
    side, gap = 2 * SHAPE[1], 2
    sheet = read_clip(gifs[-1])
    assert sheet.shape[:3] == (SHAPE[0], 2 * (side + gap) + gap, 3 * (side + gap) + gap)
    made = watched[1].generate(3, num_steps=2, seed=0)  # Now it has the averaged weights.
    panel = sheet[:, gap : gap + side : 2, gap : gap + side : 2, :1]
    np.testing.assert_allclose(panel, 127.5 * (made[0] + 1), atol=4)  # A GIF has 256 colours.


def test_tensorboard_gets_the_same_gif(watched):
    import tensorflow as tf

    (path,) = (watched[0] / "board").iterdir()
    events = [tf.compat.v1.Event.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(path))]
    (step, value), *_ = [(e.step, v) for e in events for v in e.summary.value if e.step == 4]
    width, height, gif = value.tensor.string_val
    assert (value.tag, value.metadata.plugin_data.plugin_name, step) == ("previews", "images", 4)
    assert gif == (watched[0] / "gifs" / "epoch-0004.gif").read_bytes() and (width, height) == (b"32", b"22")


def test_the_monitors_are_in_the_logs(watched):
    history = watched[2]
    made = watched[1].generate(4, num_steps=2, seed=0).reshape(4, -1)
    train, held_out = clips()[:20].reshape(20, -1), clips()[20:].reshape(6, -1)
    assert history["diversity"][-1] == pytest.approx(pairwise_distances(made) / pairwise_distances(train), rel=1e-5)
    expected = nearest_distances(made, train).mean() / nearest_distances(held_out, train).mean()
    assert history["nearest"][-1] == pytest.approx(expected, rel=1e-5)


def test_distances_are_what_they_say(rng):
    a, b = rng.normal(size=(7, 5)), rng.normal(size=(4, 5))
    squares = [np.sum((a[i] - a[j]) ** 2) for i in range(7) for j in range(7) if i != j]
    assert pairwise_distances(a) == pytest.approx(np.sqrt(np.mean(squares)))
    np.testing.assert_allclose(nearest_distances(a, b), [min(np.linalg.norm(x - y) for y in b) for x in a])


def monitored(made):
    """What the monitor says of a model that generates `made`."""
    monitor = SampleMonitor(clips()[:20], clips()[20:])
    model = keras.Model()
    model.generate, model.optimizer = lambda count, **sampling: made, None
    monitor.set_model(model)
    logs = {}
    monitor.on_epoch_end(0, logs)
    return logs


def test_copies_and_collapse_are_told_from_new_clips():
    copies, fresh = monitored(clips()[:16]), monitored(np.random.default_rng(5).uniform(-1, 1, (16, *SHAPE)))
    collapsed = monitored(np.repeat(clips()[20:21], 16, axis=0))
    assert copies["nearest"] == 0.0 and copies["diversity"] > 0.8
    assert collapsed["diversity"] < 1e-6 and collapsed["nearest"] > 0.8
    assert fresh["nearest"] == pytest.approx(1.0, abs=0.1) and fresh["diversity"] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("library", ["av", "PIL", "PIL.Image"])
def test_what_a_preview_needs_is_missed_before_the_training(tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match="keras-video-diffusion.media."):
        Previews(tmp_path / "gifs", tensorboard=tmp_path / "board")


def test_a_preview_that_cannot_be_written_is_warned_of(tmp_path, monkeypatch):
    model = keras.Model()
    model.generate, model.optimizer = lambda count, **sampling: clips()[:count], None
    model.spec = types.SimpleNamespace(values=PIXELS)
    (tmp_path / "file").write_bytes(b"")
    shown = Previews(tmp_path / "file" / "gifs", num_clips=2, tensorboard=tmp_path / "file" / "board")
    shown.set_model(model)
    with pytest.warns(UserWarning, match="of epoch 1.*, training goes on") as caught:
        shown.on_epoch_end(0)
    assert sorted(str(warning.message).split(",")[0] for warning in caught) == [
        "no preview of epoch 1",
        "no preview of epoch 1 in TensorBoard",
    ]
