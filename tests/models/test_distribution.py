"""`tf.distribute`, on two logical CPUs: in a process of its own, because devices are set before TensorFlow starts."""

import subprocess
import sys

import pytest

PROGRAM = """
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import kvdiff

SHAPE = (3, 4, 4, 1)
clips = np.random.default_rng(0).uniform(-1, 1, (16, *SHAPE)).astype("float32")


def make():
    keras.utils.set_random_seed(0)
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, heads=2, attention=("time",))
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, seed=4)
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.9))
    return model


def trained(strategy):
    with strategy.scope():
        model = make()
    data = tf.data.Dataset.from_tensor_slices(clips).batch(8)
    model.fit(data, epochs=2, verbose=0)
    return model


mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
one, two = trained(tf.distribute.get_strategy()), trained(mirrored)
difference = max(np.abs(a - b).max() for a, b in zip(one.get_weights(), two.get_weights(), strict=True))
moved = max(np.abs(a - b).max() for a, b in zip(one.get_weights(), make().get_weights(), strict=True))


@tf.function
def noises():
    return mirrored.run(lambda: two.noised(tf.zeros((8, *SHAPE)), 0)[0]["noisy_clip"])


first, second = (t.numpy().ravel() for t in mirrored.experimental_local_results(noises()))
whole = one.noised(tf.zeros((16, *SHAPE)), 0)[0]["noisy_clip"].numpy().ravel()
joined = np.abs(np.concatenate([first, second]) - whole).max()
print("RESULT", difference, moved, np.corrcoef(first, second)[0, 1], joined)
"""


@pytest.fixture(scope="module")
def result():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return dict(zip(("difference", "moved", "correlation", "split"), map(float, line.split()[1:]), strict=True))


def test_two_times_four_equals_one_times_eight(result):
    assert result["moved"] > 1e-3  # There was training to compare.
    assert result["difference"] < 1e-6


def test_replicas_draw_different_noise(result):
    assert abs(result["correlation"]) < 5 / (8 * 48) ** 0.5


def test_the_global_batch_has_one_noise_however_it_is_split(result):
    assert result["split"] == 0.0
