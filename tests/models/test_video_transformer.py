import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.diffusion.conditions import ClassLabel, FrameTimes, FrameVectors, LowResolution
from kvdiff.models.denoiser import DenoiserContract
from kvdiff.models.video_diffusion import VideoDiffusion
from kvdiff.models.video_transformer import VideoTransformer

TINY = dict(width=12, heads=2, blocks=2)
CONDITIONS = {"kind": ClassLabel(3), "push": FrameVectors(2), "when": FrameTimes(), "small": LowResolution(2)}
NEIGHBOURS = np.tile(np.arange(3, dtype="float32"), (2, 1))


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random weights everywhere: what starts at zero would make any two outputs agree."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.0, 0.2, w.shape) for w in model.get_weights()])
    return model


def call(model, clip, label, **conditions):
    return np.asarray(model({"noisy_clip": clip, "noise_label": label, **conditions}))


@pytest.fixture(scope="module")
def denoiser():
    return randomised(VideoTransformer(2, attention=("space", "time"), **TINY))


@pytest.fixture(scope="module")
def conditioned():
    return randomised(VideoTransformer(1, conditions=CONDITIONS, **TINY))


def ask(model, **changes):
    """The output at one noise level for two clips of 3×4×4, with some inputs changed."""
    rng = np.random.default_rng(2)
    inputs = {"kind": np.array([0, 2], "int32"), "push": rng.normal(size=(2, 3, 2)), "when": NEIGHBOURS}
    inputs |= {"small": rng.normal(size=(2, 3, 2, 2, 1)), "small_noise": np.zeros(2), "told": np.ones((2, 3))}
    inputs = {name: np.asarray(x, None if name == "kind" else "float32") for name, x in (inputs | changes).items()}
    clip = np.random.default_rng(1).normal(size=(2, 3, 4, 4, 1)).astype("float32")
    return call(model, clip, np.full((2, 3), 0.5, "float32"), **inputs)


def test_its_contract_is_what_it_was_made_with():
    arguments = dict(out_channels=6, patch_size=4, conditions=CONDITIONS, known_noise=0.2)
    plain, motion = (VideoTransformer(3, motion_reach=reach, **arguments, **TINY) for reach in (0, 1))
    assert DenoiserContract.of(plain) == DenoiserContract(CONDITIONS, 4, 3, 6, 0.2, None)
    assert DenoiserContract.of(motion).prediction == "x0"


@pytest.mark.parametrize("shape", [(2, 5, 8, 12, 2), (1, 1, 4, 2, 2), (1, 3, 2, 2, 2)])
def test_takes_any_frame_count_and_size(denoiser, rng, shape):
    clip = rng.normal(size=shape).astype("float32")
    output = call(denoiser, clip, np.full(shape[:2], 0.5, "float32"))
    assert output.shape == shape and np.isfinite(output).all()


def test_every_frame_sees_all_others_and_no_other_clip(denoiser, rng):
    clip, label = rng.normal(size=(2, 4, 4, 4, 2)).astype("float32"), np.full((2, 4), 0.5, "float32")
    moved = clip.copy()
    moved[0, 0] += 1.0
    difference = np.abs(call(denoiser, moved, label) - call(denoiser, clip, label)).max(axis=(2, 3, 4))
    assert (difference[0] > 1e-5).all()
    np.testing.assert_allclose(difference[1], 0.0, atol=1e-6)


def test_clips_in_another_order_give_outputs_in_that_order(denoiser, rng):
    clip, label = rng.normal(size=(3, 2, 4, 4, 2)).astype("float32"), rng.uniform(size=(3, 2)).astype("float32")
    order = [2, 0, 1]
    np.testing.assert_allclose(call(denoiser, clip[order], label[order]), call(denoiser, clip, label)[order], atol=1e-5)


def test_each_frame_has_a_noise_label_of_its_own(denoiser, rng):
    clip, label = rng.normal(size=(1, 3, 4, 4, 2)).astype("float32"), np.full((1, 3), 0.5, "float32")
    other = label.copy()
    other[0, 2] = 0.7
    assert np.abs(call(denoiser, clip, other) - call(denoiser, clip, label)).max() > 1e-4


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_starts_by_predicting_nothing_and_in_float32(policy, rng):
    keras.mixed_precision.set_global_policy(policy)
    try:
        model = VideoTransformer(1, **TINY)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    clip, label = rng.normal(size=(1, 2, 4, 4, 1)).astype("float32"), np.zeros((1, 2), "float32")
    output = call(model, clip, label)
    assert output.dtype == np.float32 and np.abs(output).max() == 0.0
    output = call(randomised(model), clip, label)
    assert output.dtype == np.float32 and np.isfinite(output).all() and np.abs(output).max() > 0.0


def test_with_motion_starts_from_the_nearest_known_frames(rng):
    model = VideoTransformer(1, known_per_side=2, motion_reach=1, **TINY)
    clip = rng.uniform(-1.0, 1.0, size=(1, 4, 4, 4, 1)).astype("float32")
    predicted = call(model, clip, np.array([[0.0, 0.0, 0.9, 0.9]], "float32"))
    np.testing.assert_allclose(predicted, clip[:, [0, 1, 1, 1]], atol=1e-6)


@pytest.mark.parametrize(("known_noise", "known"), [(0.0, False), (0.3, True)])
def test_frames_up_to_the_known_noise_are_known(known_noise, known, rng):
    model = VideoTransformer(1, known_noise=known_noise, motion_reach=1, **TINY)
    clip = rng.uniform(-1.0, 1.0, size=(1, 2, 4, 4, 1)).astype("float32")
    predicted = call(model, clip, np.array([[0.2, 0.9]], "float32"))
    np.testing.assert_allclose(predicted, clip[:, [0, 0]] if known else 0.0 * clip, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "column", "other"),
    [
        ("kind", 0, [1, 1]),
        ("push", 1, np.ones((2, 3, 2))),
        ("small", 2, np.ones((2, 3, 2, 2, 1))),
        ("small_noise", None, [0.3, 0.3]),
        ("when", None, 2.0 * NEIGHBOURS),
    ],
)
def test_conditions_count_where_they_are_present(conditioned, name, column, other):
    other = {name: np.asarray(other, "int32" if name == "kind" else "float32")}
    assert np.abs(ask(conditioned, **other) - ask(conditioned)).max() > 1e-4
    if column is not None:
        told = np.ones((2, 3))
        told[:, column] = 0.0
        np.testing.assert_array_equal(ask(conditioned, told=told, **other), ask(conditioned, told=told))


def test_only_differences_of_frame_times_count(conditioned):
    np.testing.assert_array_equal(ask(conditioned, when=NEIGHBOURS + 1000.0), ask(conditioned))


def test_every_weight_has_a_gradient_also_when_computed_twice(rng):
    """The same gradients with and without rematerialisation."""
    clip, label = rng.normal(size=(1, 2, 4, 4, 1)).astype("float32"), np.array([[0.0, 0.5]], "float32")
    found = []
    for remat in (False, True):
        model = randomised(VideoTransformer(1, motion_reach=1, remat=remat, **TINY))
        assert [layer.remat for layer in model.layers if hasattr(layer, "remat")] == [remat] * 2
        with tf.GradientTape() as tape:
            output = model({"noisy_clip": clip, "noise_label": label}, training=True)
            loss = tf.reduce_sum(tf.square(output - 1.0))
        found.append(tape.gradient(loss, [weight.value for weight in model.trainable_weights]))
    for weight, once, twice in zip(model.trainable_weights, *found, strict=True):
        assert np.abs(once).max() > 0, weight.path
        np.testing.assert_allclose(twice, once, rtol=1e-4, atol=1e-4 * np.abs(once).max())


def test_a_few_steps_lower_the_loss_and_the_model_loads_as_it_was(rng, tmp_path):
    denoiser = VideoTransformer(1, conditions={"kind": ClassLabel(2)}, dropout=0.1, motion_reach=1, **TINY)
    model = VideoDiffusion((3, 4, 4, 1), denoiser, prediction="x0")
    model.compile(keras.optimizers.Adam(1e-2))
    clips = np.tile(np.linspace(-0.9, 0.9, 32, dtype="float32")[:, None, None, None, None], (1, 3, 4, 4, 1))
    labels = np.arange(32) % 2
    before = model.evaluate(clips, labels, verbose=0, return_dict=True)["loss"]
    model.fit(clips, labels, batch_size=32, epochs=3, verbose=0)
    assert model.evaluate(clips, labels, verbose=0, return_dict=True)["loss"] < before
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    past = rng.uniform(-1.0, 1.0, size=(1, 2, 4, 4, 1)).astype("float32")
    sampling = dict(num_steps=2, conditions={"kind": 1})
    futures = [each.predict_frames(past, **sampling) for each in (model, twin)]
    np.testing.assert_array_equal(*futures)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (dict(channels="x"), "`channels`: expected an integer"),
        (dict(out_channels=0), "`out_channels`: expected an integer >= 1"),
        (dict(width=48.0), "`width`: expected an integer"),
        (dict(width=50), "`width`: expected a multiple of 8, at least 24, for 4 heads. Received: 50"),
        (dict(width=16), "`width`: expected a multiple of 8, at least 24, for 4 heads. Received: 16"),
        (dict(blocks=0), "`blocks`: expected an integer >= 1"),
        (dict(heads=0), "`heads`: expected an integer >= 1"),
        (dict(patch_size=0), "`patch_size`: expected an integer >= 1"),
        (dict(attention="tim"), "`attention`: expected one of"),
        (dict(attention=("space", None)), "`attention`: expected one of"),
        (dict(attention=()), "`attention`: expected .* 1 to 8 such"),
        (dict(attention=None), "`attention`: expected .* 1 to 8 such"),
        (dict(attention=["space"] * 3, blocks=2), "`attention`: expected .* 1 to 2 such"),
        (dict(dropout=1.5), "`dropout`: expected a number"),
        (dict(remat="yes"), "`remat`: expected True or False"),
        (dict(known_noise=-0.1), "`known_noise`: expected a number"),
        (dict(known_per_side=0), "`known_per_side`: expected an integer >= 1"),
        (dict(motion_reach=-1), "`motion_reach`: expected an integer >= 0"),
        (dict(conditions=[1]), "`conditions`: expected {name: condition}"),
        (dict(conditions={"told": ClassLabel(2)}), "`conditions`: expected names other than the denoiser's own"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(option, text):
    with pytest.raises((TypeError, ValueError), match=text):
        VideoTransformer(**option)
