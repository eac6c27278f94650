"""Validation by the tasks, between epochs."""

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.evaluation.evaluation import evaluate
from kvdiff.evaluation.monitor import TaskMonitor
from kvdiff.evaluation.protocols import protocol_for
from kvdiff.evaluation.real import RealClips
from tests.training.trainings import tiny_denoiser


def test_figures_of_the_tasks_are_in_the_logs_and_later_callbacks_see_them():
    clips = np.random.default_rng(0).integers(0, 256, (4, 4, 8, 8, 1), dtype=np.uint8)
    model = kvdiff.VideoDiffusion((4, 8, 8, 1), tiny_denoiser())
    model.compile(keras.optimizers.SGD(0.0))
    real = RealClips(clips, labels=np.array([1, 1, 2, 2]))
    monitor = TaskMonitor(real, classifier=lambda frames: np.ones(len(frames), int), every=2, num_steps=2)
    name = "val_prediction_psnr_aligned"
    stop = keras.callbacks.EarlyStopping(name, mode="max", patience=1)
    history = model.fit(clips, epochs=6, verbose=0, callbacks=[monitor, stop]).history
    assert len(history["loss"]) == 4 and len(history[name]) == 2  # Nothing is learnt, so it stops.
    expected = evaluate(model.sampler, protocol_for(clips), RealClips(clips), num_steps=2).tasks
    assert history[name][0] == pytest.approx(expected["prediction"]["numbers"]["psnr_aligned"], rel=1e-6)
    assert history["val_interpolation_sharpness_ratio"][0] > 0
    assert history["val_prediction_identity_last"] == [0.5, 0.5] and "val_generation_spread_ratio" in history


def test_refuses_what_are_no_clips():
    with pytest.raises(ValueError, match="`truth`: expected uint8"):
        TaskMonitor(np.zeros((4, 4, 8, 8, 1)))
