import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.diffusion import KnownFrames
from kvdiff.layers.noise_embedding import NoiseEmbedding
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion

SHAPE = (4, 8, 8, 1)


def tiny(*, known_noise: float = 0.0, **arguments) -> VideoDiffusion:
    small = dict(widths=(12,), blocks=1, groups=4, attention=("space_time",), heads=2)
    return VideoDiffusion(SHAPE, UNet3D(1, known_noise=known_noise, **small), known_noise=known_noise, **arguments)


@pytest.fixture(scope="module")
def clips():
    return np.random.default_rng(1).uniform(-1, 1, (16, *SHAPE)).astype("float32")


@pytest.fixture(scope="module")
def trained(clips):
    keras.utils.set_random_seed(0)
    model = tiny()
    model.compile(keras.optimizers.Adam(1e-2, use_ema=True, ema_momentum=0.5))
    model.fit(clips, batch_size=8, epochs=3, verbose=0)
    return model


# What a training step is made of.


def test_known_frames_are_clean_labelled_so_and_outside_the_loss(clips):
    model = tiny(known_frames=KnownFrames(none=0, first=1, ends=0, random=0), seed=3)
    inputs, _, weight = model.noised(tf.constant(clips), 5)
    known = np.asarray(inputs["noise_label"]) == 0.0
    assert known[:, 0].all() and not known[:, -1].any()
    np.testing.assert_array_equal(np.asarray(inputs["noisy_clip"])[known], clips[known])
    assert (np.abs(np.asarray(inputs["noisy_clip"]) - clips).max(axis=(2, 3, 4))[~known] > 0).all()
    weight = np.asarray(weight)[:, :, 0, 0]
    assert (weight[known] == 0).all()
    np.testing.assert_allclose(weight.sum(axis=1), SHAPE[0], rtol=1e-6)  # Every clip counts the same.


def test_noise_is_a_function_of_seed_step_and_sample(clips):
    def noisy(seed, step, batch):
        model = tiny(known_frames=KnownFrames(none=1, first=0, ends=0, random=0), seed=seed)
        return np.asarray(model.noised(tf.constant(batch), step)[0]["noisy_clip"])

    first = noisy(0, 1, clips)
    np.testing.assert_array_equal(noisy(0, 1, clips), first)
    np.testing.assert_array_equal(noisy(0, 1, clips[:3]), first[:3])
    for other in (noisy(1, 1, clips), noisy(0, 2, clips)):
        assert np.abs(other - first).max() > 0.5
    same = noisy(0, 1, np.zeros_like(clips))
    assert np.abs(same[0] - same[1]).max() > 0.01  # Samples of one batch differ.


def test_uint8_pixels_are_scaled(clips):
    pixels = np.round((clips + 1.0) * 127.5).astype(np.uint8)
    model = tiny(known_frames=KnownFrames(none=0, first=0, ends=1, random=0))
    from_pixels = model.noised(tf.constant(pixels), 0)[0]["noisy_clip"]
    from_floats = model.noised(tf.constant(pixels / np.float32(127.5) - 1.0, tf.float32), 0)[0]["noisy_clip"]
    np.testing.assert_allclose(from_pixels, from_floats, atol=1e-6)


def test_wrong_clips_are_named():
    with pytest.raises(
        ValueError, match=r"expected clips of shape \[batch, 4, 8, 8, 1\], or images .* Received: \[2, 5, 8, 8, 1\]"
    ):
        tiny().noised(tf.zeros((2, 5, 8, 8, 1)), 0)


@pytest.mark.parametrize(("loss", "of_one"), [(None, 1.0), ("mae", 1.0), ("huber", 0.5)])
def test_a_perfect_denoiser_has_no_loss(clips, loss, of_one):
    model = tiny()
    inputs, target, weight = model.noised(tf.constant(clips), 0)
    model.compile(loss=loss)
    assert float(model.compute_loss(inputs, target, target, weight)) == 0.0
    off = target + 1.0 * tf.cast(inputs["noise_label"] > 0, tf.float32)[:, :, None, None, None]
    assert float(model.compute_loss(inputs, target, off, weight)) == pytest.approx(of_one, rel=1e-5)


def test_learns_a_constant_clip():
    """One clip repeated: the loss falls far below its start, which is the target's power."""
    keras.utils.set_random_seed(1)
    model = tiny(prediction="x0")
    model.compile(keras.optimizers.Adam(1e-2))
    clip = np.tile(np.linspace(-1, 1, 64, dtype="float32").reshape(1, 1, 8, 8, 1), (64, 4, 1, 1, 1))
    losses = model.fit(clip, batch_size=8, epochs=6, verbose=0).history["loss"]
    assert losses[-1] < 0.3 * losses[0]


def test_ema_weights_are_in_the_model_after_fit(clips):
    """With momentum 1 the average never leaves its first value, the weights after one step, whatever came later."""

    def weights_after(steps, **ema):
        keras.utils.set_random_seed(0)
        model = tiny()
        model.compile(keras.optimizers.SGD(0.1, **ema))
        model.fit(clips[: 8 * steps], batch_size=8, verbose=0, shuffle=False)
        return np.concatenate([w.ravel() for w in model.get_weights()])

    averaged = weights_after(2, use_ema=True, ema_momentum=1.0)
    np.testing.assert_allclose(averaged, weights_after(1), atol=1e-6)
    assert np.abs(averaged - weights_after(2)).max() > 1e-4


# Sampling.


def test_the_three_verbs(trained, clips):
    assert trained.generate(3, num_steps=2).shape == (3, *SHAPE)
    assert trained.predict_frames(clips[:2, :1], num_steps=2).shape == (2, 3, 8, 8, 1)
    assert trained.predict_frames(clips[:2, :2], 5, num_steps=2).shape == (2, 5, 8, 8, 1)
    assert trained.interpolate(clips[:2, :1], clips[:2, -1:], num_steps=2).shape == (2, 2, 8, 8, 1)
    for video in (trained.generate(1, num_steps=2), trained.predict_frames(clips[:1, :1], num_steps=2)):
        assert np.abs(video).max() <= 1.0


@pytest.mark.parametrize("solver", ["ddim", "ddpm"])
def test_known_frames_come_back_bit_identical(trained, clips, solver):
    known = np.array([[True, False, False, True], [False, True, False, False]])
    video = trained.infill(clips[:2], known, num_steps=3, solver=solver)
    np.testing.assert_array_equal(video[known], clips[:2][known])
    assert (np.abs(video - clips[:2]).max(axis=(2, 3, 4))[~known] > 0).all()


def test_same_seed_same_video_in_any_batch(trained):
    together = trained.generate(3, num_steps=3, solver="ddpm", seed=5)
    alone = trained.generate(1, num_steps=3, solver="ddpm", seed=5, first_sample=2)
    np.testing.assert_allclose(together[2:], alone, atol=1e-5)
    chunked = trained.generate(3, num_steps=3, solver="ddpm", seed=5, batch_size=2)
    np.testing.assert_allclose(together, chunked, atol=1e-5)
    assert np.abs(trained.generate(3, num_steps=3, seed=6) - trained.generate(3, num_steps=3, seed=5)).max() > 0.1


def test_the_past_changes_the_future(trained, clips):
    future = trained.predict_frames(clips[:1, :2], num_steps=4)
    other = trained.predict_frames(clips[1:2, :2], num_steps=4)
    assert np.abs(future - other).max() > 1e-3


def test_sampling_reads_the_weights_of_the_day(trained):
    model = tiny()
    before = model.generate(1, num_steps=2)
    model.set_weights(trained.get_weights())
    assert np.abs(model.generate(1, num_steps=2) - before).max() > 1e-3


# Saving.


def test_saves_and_loads_everything(trained, clips, tmp_path):
    trained.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(twin, VideoDiffusion)
    assert {**twin.get_config(), "denoiser": None} == {**trained.get_config(), "denoiser": None}
    sampling = dict(num_steps=3, solver="ddpm", seed=2)
    np.testing.assert_array_equal(twin.generate(2, **sampling), trained.generate(2, **sampling))
    assert int(twin.optimizer.iterations) == int(trained.optimizer.iterations)
    twin.fit(clips, batch_size=8, epochs=1, verbose=0)


def test_default_model_compiles_with_defaults():
    model = VideoDiffusion((2, 8, 8, 3))
    model.compile()
    assert model.optimizer.use_ema and model.denoiser.count_params() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(prediction="noise"), "`prediction`: expected one of .* Received: 'noise'"),
        (dict(schedule={"name": "square"}), "expected a `name` among .* Received: 'square'"),
        (dict(known_frames={"first": -1.0}), "`first`: expected a number in .* Received: -1.0"),
    ],
)
def test_clear_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        tiny(**arguments)


# Precision.


def test_mixed_precision_trains_and_keeps_every_noise_label_apart(clips, monkeypatch):
    seen = []
    embed = NoiseEmbedding.call
    monkeypatch.setattr(NoiseEmbedding, "call", lambda self, label: seen.append(label) or embed(self, label))
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = tiny()
        labels = np.linspace(0, 1, 1000, dtype="float32").reshape(250, 4)
        seen.clear()
        model({"noisy_clip": np.zeros((250, *SHAPE), "float32"), "noise_label": labels})
        assert len(np.unique(np.asarray(seen[-1]))) == 1000
        model.compile()
        assert np.isfinite(model.fit(clips, batch_size=8, verbose=0).history["loss"][0])
        assert model.generate(1, num_steps=2).dtype == np.float32
    finally:
        keras.mixed_precision.set_global_policy("float32")


# Objectives.


def test_the_loss_weight_follows_the_timestep(clips):
    from kvdiff.diffusion.process.weights import loss_weights

    plain, weighted = tiny(), tiny(loss_weight={"name": "min_snr", "gamma": 3.0})
    schedule, prediction = plain.forward_diffusion.schedule, plain.forward_diffusion.prediction
    timestep = np.arange(0, 960, 60, dtype="int32")
    ours, ones = (np.asarray(model.noised(clips, 0, timestep)[2]).sum(axis=(1, 2, 3)) for model in (weighted, plain))
    expected = loss_weights(schedule, prediction, "min_snr", gamma=3.0)[timestep]
    np.testing.assert_allclose(ours / ones, expected, rtol=1e-5)


def test_learns_and_samples_with_a_learned_variance(clips):
    denoiser = UNet3D(1, out_channels=2, widths=(12,), blocks=1, groups=4, attention=(None,))
    model = VideoDiffusion(SHAPE, denoiser, learned_variance=True)
    model.compile(keras.optimizers.Adam(1e-3))
    model.fit(clips, batch_size=8, epochs=1, verbose=0)
    assert np.isfinite(model.evaluate(clips, verbose=0))
    learned = model.generate(1, num_steps=4, solver="ddpm", variance="learned")
    small = model.generate(1, num_steps=4, solver="ddpm", variance="small")
    assert learned.shape == small.shape == (1, *SHAPE) and np.abs(learned - small).max() > 1e-3
    assert model.generate(1, num_steps=2, solver="ddim").shape == (1, *SHAPE)


def test_a_learned_variance_needs_its_channels_and_its_loss():
    with pytest.raises(ValueError, match="`denoiser`: expected 2 output channels. Received: 1"):
        tiny(learned_variance=True)
    with pytest.raises(ValueError, match="`loss`: expected a HybridLoss.* Received: 'mse'"):
        VideoDiffusion((2, 8, 8, 1), learned_variance=True).compile(loss="mse")


def test_bits_per_dim_of_a_keras_model(trained, clips):
    from kvdiff.diffusion.sampling.bound import bits_per_dim

    short = VideoDiffusion(SHAPE, trained.denoiser, schedule={"name": "cosine", "num_timesteps": 10})
    pixels = np.round((clips[:2] + 1.0) * 127.5).astype(np.uint8)
    bits = bits_per_dim(short.sampler, pixels, np.array([True, False, False, False]))
    assert np.isnan(bits.per_frame[:, 0]).all() and 0 < bits.total < 40


# Per-frame noise, noisy context, images among clips.


def labels_of(model, clips, step=0):
    return np.asarray(model.noised(tf.constant(clips), step)[0]["noise_label"])


def test_independent_noise_gives_every_frame_a_level_of_its_own():
    many = np.zeros((400, *SHAPE), np.float32)
    mixed = labels_of(tiny(independent_noise=0.5), many)
    own = np.array([len(set(row[row > 0])) > 1 for row in mixed if (row > 0).sum() > 1])
    assert abs(own.mean() - 0.5) < 0.1
    generation = KnownFrames(none=1, first=0, ends=0, random=0)
    label = labels_of(tiny(independent_noise=1.0, known_frames=generation), many)
    assert np.abs(np.corrcoef(label.T) - np.eye(4)).max() < 0.2
    shared = labels_of(tiny(known_frames=generation), many)
    assert (shared == shared[:, :1]).all()
    assert abs(np.sort(label.ravel())[::4] - np.sort(shared[:, 0])).max() < 0.1  # The levels are drawn as ever.


def test_known_noise_is_shown_told_and_outside_the_loss(clips):
    model = tiny(known_noise=0.3, known_frames=KnownFrames(none=0, first=1, ends=0, random=0))
    many = np.repeat(clips, 40, axis=0)
    inputs, _, weight = model.noised(tf.constant(many), 0)
    known, label = np.asarray(weight)[:, :, 0, 0] == 0, np.asarray(inputs["noise_label"])
    assert (label[known] <= 0.3).all() and 0.28 < label[known].max()
    of_first = label[:, 0]
    assert abs((of_first == 0).mean() - 0.5) < 0.08  # Clean in every second clip.
    error = np.asarray(inputs["noisy_clip"])[:, 0] - np.cos(np.pi / 2 * of_first)[:, None, None, None] * many[:, 0]
    noisy = of_first > 0.05
    scaled = error[noisy] / np.sin(np.pi / 2 * of_first[noisy])[:, None, None, None]
    assert (
        abs(scaled.std() - 1) < 0.05
        and (np.asarray(inputs["noisy_clip"])[:, 0][of_first == 0] == many[:, 0][of_first == 0]).all()
    )


def test_images_are_clips_of_one_frame(clips):
    keras.utils.set_random_seed(0)
    model = tiny()
    model.compile(keras.optimizers.SGD(0.1))
    videos, images = (
        tf.data.Dataset.from_tensor_slices(clips).batch(4),
        tf.data.Dataset.from_tensor_slices(clips[:, :1]).batch(8),
    )
    mixed = tf.data.Dataset.sample_from_datasets([videos.repeat(), images.repeat()], [0.5, 0.5], seed=0)
    assert mixed.element_spec.shape[1] is None
    before = [np.array(weight) for weight in model.trainable_variables]
    history = model.fit(mixed, steps_per_epoch=6, epochs=1, verbose=0)
    assert np.isfinite(history.history["loss"]).all()
    assert any((np.array(weight) != old).any() for weight, old in zip(model.trainable_variables, before, strict=True))
    inputs, target, weight = model.noised(tf.constant(clips[:, :1]), 0)
    assert inputs["noisy_clip"].shape == target.shape == (16, 1, 8, 8, 1)
    assert (np.asarray(inputs["noise_label"]) > 0).all() and (np.asarray(weight) == 1).all()  # No image is known.
    assert model.generate(2, num_frames=1, num_steps=2).shape == (2, 1, 8, 8, 1)


def test_time_mixes_and_the_order_of_frames_matters():
    model = tiny()
    rng = np.random.default_rng(0)
    for weight in model.trainable_variables:  # Some start at zero, and would hide what reaches them.
        weight.assign(0.2 * rng.normal(size=weight.shape))
    clip, label = rng.normal(size=(1, *SHAPE)).astype(np.float32), np.full((1, 4), 0.5, np.float32)

    def answer(clip):
        return np.asarray(model.sampler.engine.denoise(clip, label))[0]

    for j in range(4):
        changed = clip.copy()
        changed[:, j] += 0.5
        change = np.abs(answer(changed) - answer(clip)).max(axis=(1, 2, 3))
        assert (change > 1e-4).all(), f"frame {j} reaches {change}"
    order = [2, 0, 3, 1]
    assert np.abs(answer(clip[:, order]) - answer(clip)[order]).max() > 1e-3
