"""Keras on JAX, without TensorFlow: trains and samples as TensorFlow does, and exports through it."""

from __future__ import annotations

import os
import pathlib
import subprocess

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel
from kvdiff.training import ClipBatches, ImportanceSampling
from kvdiff.training.budget import Annealed
from tests.backends import work

ROOT = pathlib.Path(__file__).parents[2]
# Where `make test-jax` installs JAX.
JAX = pathlib.Path(os.environ.get("KVDIFF_PYTHON_JAX", ROOT / ".venv-jax" / "bin" / "python"))

needs_jax = [pytest.mark.jax, pytest.mark.skipif(not JAX.exists(), reason="needs .venv-jax: make test-jax")]


def starting_models() -> dict[str, keras.Model]:
    """One of each kind, with what the recipes use: x_0, motion, known frames, a label; a latent."""
    tiny = dict(widths=(8, 12), blocks=1, groups=4)
    label = {"kind": ClassLabel(3)}
    unet = kvdiff.UNet3D(1, **tiny, patch_size=2, known_per_side=2, motion_reach=2, conditions=label)
    transformer = kvdiff.VideoTransformer(1, width=12, heads=2, blocks=2, patch_size=4, conditions=label)
    autoencoder = stirred(kvdiff.VideoAutoencoder(1, factor=2, latent_channels=2, widths=(8,), blocks=1))
    return {
        "unet": kvdiff.VideoDiffusion(work.SHAPE, unet, prediction="x0", condition_dropout=0.5, seed=1),
        "transformer": kvdiff.VideoDiffusion(work.SHAPE, transformer, seed=1),
        "autoencoder": autoencoder,
        "latent": kvdiff.VideoDiffusion(work.SHAPE, kvdiff.UNet3D(2, **tiny), codec=autoencoder, seed=1),
    }


def stirred(model: keras.Model) -> keras.Model:
    """With weights that are nowhere zero: what starts at zero would hide what comes before it."""
    rng = np.random.default_rng(1)
    for variable in model.trainable_variables:
        variable.assign_add(rng.normal(0.0, 0.05, variable.shape))
    return model


NAMES = ["unet", "transformer", "autoencoder", "latent"]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder with what both backends made of the same models."""
    folder = tmp_path_factory.mktemp("backends")
    keras.utils.set_random_seed(0)
    for name, model in starting_models().items():
        stirred(model).save(folder / f"{name}.start.keras")
    work.main(folder)
    environment = {**os.environ, "KERAS_BACKEND": "jax", "PYTHONPATH": str(ROOT)}
    subprocess.run([JAX, "-m", "tests.backends.work", folder], env=environment, cwd=ROOT, check=True, timeout=1200)
    return folder


def both(folder: pathlib.Path, name: str) -> list[dict[str, np.ndarray]]:
    return [dict(np.load(folder / f"{name}.{backend}.npz")) for backend in ("tensorflow", "jax")]


@pytest.mark.parametrize("name", NAMES)
class TestOnJAX:
    pytestmark = needs_jax

    def test_five_steps_are_those_of_tensorflow(self, answers: pathlib.Path, name: str) -> None:
        expected, found = both(answers, name)
        for what in ("losses", "evaluated", "weights"):
            np.testing.assert_allclose(found[what], expected[what], atol=1e-4, err_msg=what)
        assert len(set(expected["losses"])) == work.STEPS

    def test_samples_are_those_of_tensorflow(self, answers: pathlib.Path, name: str) -> None:
        expected, found = both(answers, name)
        for what in {"generate", "predict", "interpolate", "rollout"} & set(expected):
            np.testing.assert_allclose(found[what], expected[what], atol=1e-4, err_msg=what)
            assert np.std(expected[what]) > 0.01

    def test_each_opens_what_the_other_saved(self, answers: pathlib.Path, name: str) -> None:
        of_jax, own = (work.opened(answers / f"{name}.{backend}.keras", True) for backend in ("jax", "tensorflow"))
        np.testing.assert_allclose(work.weights(of_jax), work.weights(own), atol=1e-4)
        assert int(of_jax.optimizer.iterations) == work.STEPS


class TestJAXAlone:
    pytestmark = needs_jax

    def test_a_training_that_was_cut_off_goes_on_exactly(self, answers: pathlib.Path) -> None:
        for found in both(answers, "unet"):
            np.testing.assert_array_equal(found["resumed"], found["whole"])

    def test_what_was_trained_on_jax_is_exported_by_tensorflow(
        self, answers: pathlib.Path, tmp_path: pathlib.Path
    ) -> None:
        model = kvdiff.load_model(answers / "unet.jax.keras")
        kvdiff.export.export_onnx(model, tmp_path)
        _, labels = work.data()
        sampler = kvdiff.runtime.open_sampler(tmp_path)
        exported = sampler.generate(
            2, num_steps=4, seed=5, batch_size=2, conditions={"kind": labels["kind"][:2]}, guidance=2.0
        )
        np.testing.assert_allclose(exported, both(answers, "unet")[1]["generate"], atol=1e-4)


def test_batches_without_tensorflow_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    clips, labels = work.data()
    batches = ClipBatches((clips, labels["kind"]), 8, seed=2)
    expected = [[array.numpy() for array in batch] for batch in batches.dataset(1).take(4)]
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    for one, other in zip(expected, batches.dataset(1), strict=False):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_needs_tensorflow_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    model = kvdiff.VideoDiffusion(work.SHAPE, kvdiff.UNet3D(1, widths=(8,), blocks=1, groups=4, attention=(None,)))
    model.compile()
    rate = Annealed(1e-3)
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(RuntimeError, match="fit: expected Keras on TensorFlow or JAX. Received: torch"):
        model.fit(work.data()[0])
    with pytest.raises(RuntimeError, match=r"Annealed.steps: expected Keras on TensorFlow. Received: torch"):
        rate.steps = 10
    with pytest.raises(RuntimeError, match="ImportanceSampling: expected Keras on TensorFlow. Received: torch"):
        ImportanceSampling(work.data()[0])
