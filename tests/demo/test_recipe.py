"""The recipe's data, and a training that is killed and goes on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from kvdiff.demo.recipe import RECIPE, held_out_clips

PROGRAM = """
import dataclasses, pathlib, sys
import numpy as np
from kvdiff.demo import recipe as r
import kvdiff
class Tiny(r.Settings):
    def denoiser(self, frame_shape, **options):
        return kvdiff.UNet3D(frame_shape[-1], widths=(24,), blocks=1, attention=("time",))
settings = Tiny(widths=(24,), batch_size=4, warmup_steps=5)
tiny = dataclasses.replace(
    r.RECIPE, num_clips=24, num_frames=2, size=8, settings=settings, epochs=4, steps_per_epoch=5
)
model = r.build_model(tiny)
history = r.train(model, tiny, pathlib.Path(sys.argv[1]))
np.savez(sys.argv[1] + "/weights.npz", *model.get_weights(), loss=history["loss"])
"""


def start(directory):
    environment = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(directory)], env=environment, stdout=subprocess.DEVNULL)


@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_weights(tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert start(whole).wait(600) == 0

    running = start(cut)
    while not list(cut.glob("backup/step-*.npz")):
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    assert not (cut / "weights.npz").exists()
    assert start(cut).wait(600) == 0

    first, second = (np.load(run / "weights.npz") for run in (whole, cut))
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
    assert len(first["loss"]) == 4


def test_held_out_clips_share_no_digit_with_training():
    from sklearn.datasets import load_digits

    from kvdiff.data.moving_digits import NUM_TRAIN_DIGITS, moving_digits

    clips = held_out_clips(16)
    assert clips.shape == (16, 8, 32, 32, 1) and clips.dtype == np.uint8
    np.testing.assert_array_equal(clips, held_out_clips(16))
    # A still digit in the middle of a frame of its own size is the image itself.
    still = dict(num_frames=1, size=8, min_speed=1.0, max_speed=1.0)
    images = np.round(load_digits().images / 16 * 255)
    parts = {"train": slice(NUM_TRAIN_DIGITS), "validation": slice(NUM_TRAIN_DIGITS, 1500), "test": slice(1500, None)}
    for split, part in parts.items():
        ours, others = images[part], np.delete(images, np.arange(len(images))[part], axis=0)
        for clip in moving_digits(20, split=split, **still)[:, 0, :, :, 0]:
            assert (np.abs(ours - clip).max(axis=(1, 2)) <= 1).any()
            assert not (np.abs(others - clip).max(axis=(1, 2)) <= 1).any()


def test_the_config_says_everything():
    assert set(RECIPE.config) == {field.name for field in dataclasses.fields(RECIPE)}
