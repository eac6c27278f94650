"""Class labels: trained together, told or not, and guidance between the two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion

SHAPE = (2, 4, 4, 1)


def tiny(**arguments):
    denoiser = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), num_classes=2)
    generation = {"none": 1, "first": 0, "ends": 0, "random": 0}
    return VideoDiffusion(SHAPE, denoiser, prediction="x0", known_frames=generation, **arguments)


@pytest.fixture(scope="module")
def bright_and_dark():
    """Class 0 is dark, class 1 bright."""
    labels = np.arange(512) % 2
    clips = np.broadcast_to(np.where(labels, 0.6, -0.6)[:, None, None, None, None], (512, *SHAPE)).astype("float32")
    return clips, labels


@pytest.fixture(scope="module")
def trained(bright_and_dark):
    keras.utils.set_random_seed(0)
    model = tiny(label_dropout=0.3)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(*bright_and_dark, batch_size=32, epochs=6, verbose=0)
    return model


def test_the_label_decides(trained):
    """Conditioning accuracy: every clip has the brightness of its class."""
    sampling = dict(num_steps=5, seed=1)
    assert (trained.of_class(0).generate(8, **sampling).mean(axis=(1, 2, 3, 4)) < -0.3).all()
    assert (trained.of_class(1).generate(8, **sampling).mean(axis=(1, 2, 3, 4)) > 0.3).all()


def test_guidance_goes_from_untold_through_told_and_beyond(trained):
    sampling = dict(num_steps=5, seed=1)
    told = trained.of_class(1).generate(4, **sampling)
    np.testing.assert_allclose(trained.guided(1, 1.0).generate(4, **sampling), told, atol=1e-5)
    untold = trained.generate(4, **sampling)
    np.testing.assert_allclose(trained.guided(1, 0.0).generate(4, **sampling), untold, atol=1e-5)
    assert trained.guided(1, 3.0).generate(4, **sampling).mean() > told.mean()


@pytest.mark.parametrize("dropout", [0.0, 0.25, 1.0])
def test_the_share_of_untold_labels(dropout, bright_and_dark):
    model = tiny(label_dropout=dropout)
    clips, labels = bright_and_dark
    told = np.asarray(model.noised((tf.constant(clips), tf.constant(labels)), 0)[0]["class_id"])
    untold = told == 2
    assert abs(untold.mean() - dropout) <= 4 * (dropout * (1 - dropout) / 512) ** 0.5
    np.testing.assert_array_equal(told[~untold], labels[~untold])


def test_saves_and_loads(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    sampling = dict(num_steps=2, seed=3)
    np.testing.assert_array_equal(twin.of_class(1).generate(2, **sampling), trained.of_class(1).generate(2, **sampling))


def test_clear_errors(bright_and_dark):
    model = tiny()
    with pytest.raises(ValueError, match=r"expected \(clips, labels\), for the denoiser has 2 classes"):
        model.noised(tf.constant(bright_and_dark[0]), 0)
    with pytest.raises(ValueError, match="`class_id`: expected an integer from 0 to 1. Received: 2"):
        model.of_class(2)
    unlabelled = VideoDiffusion(SHAPE, UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,)))
    with pytest.raises(ValueError, match="`class_id`: expected None, for the denoiser has no classes. Received: 1"):
        unlabelled.of_class(1)


def test_a_model_of_classes_is_not_exported_yet(tmp_path):
    from kvdiff.export import export_onnx

    with pytest.raises(ValueError, match="class labels are not exported"):
        export_onnx(tiny(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
