"""Conditions: trained together, told or not, and guidance between the two."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.diffusion.conditions import ClassLabel, ClipVector, FrameTimes, FrameVectors, LowResolution
from kvdiff.diffusion.transforms import Linear, Pixels
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion

SHAPE = (2, 4, 4, 1)
CLASSES = {"brightness": ClassLabel(2)}
GENERATION = {"none": 1, "first": 0, "ends": 0, "random": 0}


def tiny(conditions=CLASSES, shape=SHAPE, **arguments):
    denoiser = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions=conditions)
    return VideoDiffusion(shape, denoiser, prediction="x0", known_frames=GENERATION, **arguments)


@pytest.fixture(scope="module")
def bright_and_dark():
    """Class 0 is dark, class 1 bright."""
    labels = np.arange(512) % 2
    clips = np.broadcast_to(np.where(labels, 0.6, -0.6)[:, None, None, None, None], (512, *SHAPE)).astype("float32")
    return clips, labels


@pytest.fixture(scope="module")
def trained(bright_and_dark):
    keras.utils.set_random_seed(0)
    model = tiny(condition_dropout=0.3)
    model.compile(keras.optimizers.Adam(1e-2))
    model.fit(*bright_and_dark, batch_size=32, epochs=6, verbose=0)
    return model


def of_class(model, label, num_clips=4, **sampling):
    return model.generate(num_clips, conditions={"brightness": label}, num_steps=5, seed=1, **sampling)


def test_the_label_decides_for_each_clip(trained):
    """Conditioning accuracy: every clip has the brightness of its class."""
    labels = np.array([0, 1, 1, 0, 1, 0, 0, 1])
    bright = of_class(trained, labels, 8).mean(axis=(1, 2, 3, 4))
    assert (np.abs(bright - np.where(labels, 0.6, -0.6)) < 0.3).all()
    np.testing.assert_allclose(
        of_class(trained, 1, 8)[labels == 1], of_class(trained, labels, 8)[labels == 1], atol=1e-6
    )


def test_guidance_goes_from_untold_through_told_and_beyond(trained):
    told, untold = of_class(trained, 1), trained.generate(4, num_steps=5, seed=1)
    np.testing.assert_allclose(of_class(trained, 1, guidance=0.0), untold, atol=1e-5)
    assert of_class(trained, 1, guidance=3.0).mean() > told.mean()
    each = of_class(trained, 1, guidance=[1.0, 0.0, 3.0, 1.0])
    np.testing.assert_allclose(each[0], told[0], atol=1e-5)
    np.testing.assert_allclose(each[1], untold[1], atol=1e-5)
    np.testing.assert_allclose(each[2], of_class(trained, 1, guidance=3.0)[2], atol=1e-5)


def test_guidance_acts_inside_its_interval_alone(trained):
    told = of_class(trained, 1)
    np.testing.assert_array_equal(of_class(trained, 1, guidance=3.0, guidance_interval=(0.0, 0.001)), told)
    assert (of_class(trained, 1, guidance=3.0, guidance_interval=(0.0, 0.5)) != told).any()


@pytest.mark.parametrize("dropout", [0.0, 0.25, 1.0])
def test_the_share_of_untold_labels(dropout, bright_and_dark):
    model = tiny(condition_dropout=dropout)
    clips, labels = bright_and_dark
    inputs = model.noised((tf.constant(clips), tf.constant(labels)), 0)[0]
    untold = 1.0 - np.asarray(inputs["told"])[:, 0]
    assert abs(untold.mean() - dropout) <= 4 * (dropout * (1 - dropout) / 512) ** 0.5
    np.testing.assert_array_equal(inputs["brightness"], labels)


def test_an_untold_value_changes_nothing_and_a_told_one_does(trained):
    clip, label = np.ones((3, *SHAPE), np.float32), np.full((3, 2), 0.5, np.float32)
    asked = {"brightness": np.array([0, 1, 1], np.int32), "told": np.float32([[0], [0], [1]])}
    out = np.asarray(trained.sampler.engine.denoise(clip, label, asked))
    np.testing.assert_array_equal(out[0], out[1])
    assert np.abs(out[2] - out[1]).max() > 0.01


def test_saves_and_loads(trained, tmp_path):
    trained.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    assert twin.spec.conditions == CLASSES
    np.testing.assert_array_equal(of_class(twin, [0, 1, 1, 0]), of_class(trained, [0, 1, 1, 0]))


@pytest.fixture(scope="module")
def every_kind():
    """A model that is told everything at once, its weights random."""
    keras.utils.set_random_seed(0)
    conditions = {
        "text": ClipVector(3),
        "action": FrameVectors(2),
        "when": FrameTimes(),
        "small": LowResolution(2, max_noise=0.4),
    }
    model = tiny(conditions, (3, 4, 4, 1))
    rng = np.random.default_rng(0)
    for weight in model.denoiser.trainable_variables:  # Some start at zero, and would hide what reaches them.
        weight.assign(0.3 * rng.normal(size=weight.shape))
    return model


def asked(model, **changes):
    """The denoiser's answer at one noise level, with some inputs changed."""
    clips = np.random.default_rng(1).uniform(-1, 1, size=(2, 3, 4, 4, 1)).astype(np.float32)
    rng = np.random.default_rng(2)
    inputs = {
        "text": rng.normal(size=(2, 3)),
        "action": rng.normal(size=(2, 3, 2)),
        "when": np.tile([0.0, 1.0, 2.0], (2, 1)),
        "small": rng.uniform(-1, 1, size=(2, 3, 2, 2, 1)),
        "small_noise": np.zeros(2),
        "told": np.ones((2, 3)),
    }
    inputs = {name: np.float32(value) for name, value in {**inputs, **changes}.items()}
    return np.asarray(model.sampler.engine.denoise(clips, np.float32([[0.5, 0.5, 0.0]] * 2), inputs))


@pytest.mark.parametrize(
    ("name", "column"), [("text", 0), ("action", 1), ("small", 2), ("small_noise", None), ("when", None)]
)
def test_every_kind_of_condition_reaches_the_answer(every_kind, name, column):
    shape = {"text": (2, 3), "action": (2, 3, 2), "small": (2, 3, 2, 2, 1), "small_noise": (2,), "when": (2, 3)}[name]
    other = {name: 0.1 + 0.7 * np.arange(np.prod(shape)).reshape(shape) % 0.9}
    if name == "when":
        other = {name: np.array([[0.0, 3.0, 9.0]] * 2)}
    assert np.abs(asked(every_kind, **other) - asked(every_kind)).max() > 1e-4
    if column is not None:  # Untold, it counts for nothing.
        told = np.ones((2, 3))
        told[:, column] = 0
        np.testing.assert_array_equal(asked(every_kind, told=told, **other), asked(every_kind, told=told))


def test_frame_times_count_by_their_differences(every_kind):
    later = asked(every_kind, when=np.tile([5.0, 6.0, 7.0], (2, 1)))
    np.testing.assert_allclose(later, asked(every_kind), atol=1e-6)


def test_training_makes_the_small_clip_itself(every_kind):
    clips = np.random.default_rng(3).uniform(-1, 1, size=(400, 3, 4, 4, 1)).astype(np.float32)
    told = {"text": np.zeros((400, 3), np.float32), "action": np.zeros((400, 3, 2), np.float32)}
    inputs = every_kind.noised((tf.constant(clips), told), 0)[0]
    level, small = np.asarray(inputs["small_noise"]), np.asarray(inputs["small"])
    assert 0.35 < level.max() <= 0.4 and 0 <= level.min() < 0.05
    means = clips.reshape(400, 3, 2, 2, 2, 2, 1).mean(axis=(3, 5))
    angle = (np.pi / 2 * level)[:, None, None, None, None]
    noise = (small - np.cos(angle) * means) / np.sin(angle)
    assert abs(noise.mean()) < 0.05 and abs(noise.std() - 1) < 0.05
    np.testing.assert_array_equal(np.asarray(inputs["when"]), np.tile([0, 1, 2], (400, 1)))


def test_small_clips_of_the_data_are_in_the_clips_numbers():
    """uint8 pixels, or mm/h: as the network will see them when it samples."""
    rng = np.random.default_rng(4)
    conditions = {"small": LowResolution(2, max_noise=0.0)}
    for values, given in (
        (Pixels(), rng.integers(0, 256, (3, 2, 2, 2, 1)).astype(np.uint8)),
        (Linear(0.0, 40.0), rng.uniform(0, 40, (3, 2, 2, 2, 1)).astype(np.float32)),
    ):
        model = tiny(conditions, values=values)
        clips = np.zeros((3, *SHAPE), given.dtype)
        small = model.noised((tf.constant(clips), {"small": tf.constant(given)}), 0)[0]["small"]
        np.testing.assert_allclose(small, values.encode(given), atol=1e-6)


def test_each_condition_is_withheld_alone_and_all_together(every_kind):
    clips = tf.zeros((4000, 3, 4, 4, 1))
    told = {"text": tf.zeros((4000, 3)), "action": tf.zeros((4000, 3, 2))}
    given = np.asarray(every_kind.noised((clips, told), 0)[0]["told"])
    p = every_kind.noising.condition_dropout
    expected = {0: p + (1 - p) * p**3, 3: (1 - p) ** 4}
    for count, share in expected.items():
        assert abs((given.sum(axis=1) == count).mean() - share) < 0.03


def test_clear_errors(bright_and_dark, every_kind):
    model, clips = tiny(), tf.constant(bright_and_dark[0])
    with pytest.raises(ValueError, match=r"expected \(clips, \{name: array\}\) with .*brightness.* Received: none"):
        model.noised(clips, 0)
    with pytest.raises(ValueError, match="expected conditions among .*brightness.* Received: .*'colour'"):
        model.noised((clips, {"brightness": bright_and_dark[1], "colour": bright_and_dark[1]}), 0)
    with pytest.raises(ValueError, match=r"`conditions\['brightness'\]`: expected class labels from 0 to 1. Received"):
        of_class(model, 2)
    with pytest.raises(TypeError, match="expected class labels from 0 to 1. Received: dtype float64"):
        of_class(model, 0.5)
    with pytest.raises(ValueError, match="`conditions`: expected names among .*brightness.* Received: .*'label'"):
        model.generate(1, conditions={"label": 1})
    with pytest.raises(ValueError, match="`guidance`: expected 1 where there is no condition"):
        model.generate(1, guidance=2.0)
    with pytest.raises(ValueError, match="`guidance`: expected a number, or one for each of the 2 clips"):
        of_class(model, 1, 2, guidance=[1.0, 2.0, 3.0])
    with pytest.raises(
        ValueError, match=r"`conditions\['action'\]`: expected shape \[1, 3, 2\].* Received: \[1, 4, 2\]"
    ):
        every_kind.generate(1, conditions={"action": np.zeros((1, 4, 2))})
    with pytest.raises(ValueError, match="`augmentation`: expected a number in .*0.4.* Received: 0.5"):
        every_kind.generate(1, augmentation=0.5)
    with pytest.raises(ValueError, match="a height divisible by 4, e.g. 4 or 8. Received: 6"):
        VideoDiffusion(
            (2, 6, 6, 1),
            UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions={"s": LowResolution(4)}),
        )


def test_outside_its_interval_guidance_doubles_no_batch_of_the_network(trained, monkeypatch):
    """The rows of every call that the network itself sees, in the compiled loop run eagerly."""
    engine, rows = trained.sampler.engine, []
    network = engine._denoiser

    def counted(inputs, training):
        rows.append(len(inputs["told"]))
        return network(inputs, training=training)

    monkeypatch.setattr(engine, "_denoiser", counted)
    tf.config.run_functions_eagerly(True)
    try:
        of_class(trained, 1, 3, guidance=3.0, guidance_interval=(0.0, 0.5), solver="ddim")
    finally:
        tf.config.run_functions_eagerly(False)
    labels = trained.forward_diffusion.schedule.levels(np.array([999, 799, 599, 399, 199]))
    acts = np.arctan2(labels.sigma, labels.alpha)[:-1] <= 0.25 * np.pi
    assert 0 < acts.sum() < 5
    assert rows == [6 if guided else 3 for guided in acts]
