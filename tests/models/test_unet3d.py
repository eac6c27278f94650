import keras
import numpy as np
import pytest

from kvdiff.diffusion import AveragePool
from kvdiff.layers.attention import VideoAttention
from kvdiff.models.unet3d import UNet3D
from kvdiff.models.video_diffusion import VideoDiffusion


def randomised(model: keras.Model, seed: int = 0) -> keras.Model:
    """Random weights everywhere: the zero-initialised last layers would make any two outputs agree."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(0.0, 0.1, w.shape) for w in model.get_weights()])
    return model


def call(model, clip, label):
    return np.asarray(model({"noisy_clip": clip, "noise_label": label}))


@pytest.fixture(scope="module")
def denoiser():
    return randomised(UNet3D(2, widths=(12, 24), blocks=1, groups=4, attention=(None, "space_time")))


def test_takes_any_frame_count_and_size(denoiser, rng):
    for shape in [(2, 5, 8, 12, 2), (1, 1, 4, 4, 2)]:
        clip = rng.normal(size=shape).astype("float32")
        assert call(denoiser, clip, np.zeros(shape[:2], "float32")).shape == shape


def test_time_mixes_and_clips_do_not(denoiser, rng):
    clip, label = rng.normal(size=(2, 6, 8, 8, 2)).astype("float32"), np.full((2, 6), 0.5, "float32")
    moved = clip.copy()
    moved[0, 0] += 1.0
    difference = np.abs(call(denoiser, moved, label) - call(denoiser, clip, label)).max(axis=(2, 3, 4))
    assert (difference[0] > 1e-5).all()
    np.testing.assert_allclose(difference[1], 0.0, atol=1e-6)


def test_every_frame_is_told_its_own_noise(denoiser, rng):
    clip, label = rng.normal(size=(1, 4, 8, 8, 2)).astype("float32"), np.full((1, 4), 0.5, "float32")
    other = label.copy()
    other[0, 3] = 0.0
    assert np.abs(call(denoiser, clip, other) - call(denoiser, clip, label)).max() > 1e-4


def test_saves_and_loads(denoiser, rng, tmp_path):
    denoiser.save(tmp_path / "denoiser.keras")
    twin = keras.saving.load_model(tmp_path / "denoiser.keras")
    clip, label = rng.normal(size=(1, 3, 8, 8, 2)).astype("float32"), np.full((1, 3), 0.3, "float32")
    np.testing.assert_array_equal(call(twin, clip, label), call(denoiser, clip, label))


@pytest.mark.parametrize("factorised", [True, False])
def test_starts_by_predicting_nothing(rng, factorised):
    """The head starts at zero, so the first loss is the target's power whatever the input."""
    model = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=("time",), factorised=factorised)
    clip = rng.normal(size=(1, 2, 4, 4, 1)).astype("float32")
    assert np.abs(call(model, clip, np.zeros((1, 2), "float32"))).max() == 0.0


def test_mixed_precision_answers_in_float32(rng):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        model = randomised(UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,)))
    finally:
        keras.mixed_precision.set_global_policy("float32")
    output = call(model, rng.normal(size=(1, 2, 4, 4, 1)).astype("float32"), np.zeros((1, 2), "float32"))
    assert output.dtype == np.float32 and np.isfinite(output).all()


def test_clear_errors():
    with pytest.raises(ValueError, match=r"`attention`: expected one entry a level \(2\). Received"):
        UNet3D(1, widths=(12, 24), attention=(None,))
    with pytest.raises(ValueError, match="`widths`: expected a multiple of 12 where there is attention of 4 heads"):
        UNet3D(1, widths=(12, 30), groups=2)
    with pytest.raises(ValueError, match="`widths`: expected multiples of `groups`, 8. Received: 50"):
        UNet3D(1, widths=(50, 96))
    with pytest.raises(
        ValueError, match="`clip_shape`: expected a latent width divisible by 4, e.g. 4 or 8. Received: 5"
    ):
        VideoDiffusion((4, 8, 10, 1), UNet3D(1, widths=(12, 24), blocks=1, groups=4), codec=AveragePool(2))
    with pytest.raises(ValueError, match="`clip_shape`: expected the denoiser's 1 channels. Received: 3"):
        VideoDiffusion((4, 8, 8, 3), UNet3D(1, widths=(12, 24), blocks=1, groups=4))


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (dict(channels="x"), "`channels`: expected an integer"),
        (dict(out_channels=0), "`out_channels`: expected an integer"),
        (dict(widths=48), "`widths`: expected the channels of each level"),
        (dict(widths=()), "`widths`: expected the channels of each level"),
        (dict(widths=(48.0,)), "`widths`: expected an integer"),
        (dict(blocks=0), "`blocks`: expected an integer >= 1"),
        (dict(patch_size=0), "`patch_size`: expected an integer >= 1"),
        (dict(attention="time"), "`attention`: expected one entry a level"),
        (dict(attention=(None, "tim")), "`attention`: expected None, "),
        (dict(heads=0), "`heads`: expected an integer >= 1"),
        (dict(groups=0), "`groups`: expected an integer >= 1"),
        (dict(dropout=1.5), "`dropout`: expected a number"),
        (dict(known_per_side=0), "`known_per_side`: expected an integer >= 1"),
        (dict(motion_reach=-1), "`motion_reach`: expected an integer >= 0"),
        (dict(conditions=[1]), "`conditions`: expected {name: condition}"),
        (dict(conditions={"action": 5}), "`conditions`: expected {name: condition}"),
    ],
)
def test_an_argument_of_another_kind_is_refused_by_name(option, text):
    with pytest.raises((TypeError, ValueError), match=text):
        UNet3D(**option)


@pytest.mark.parametrize("widths", [(12,), (12, 24), (12, 12, 24)])
def test_attention_is_at_the_coarsest_level_unless_said(widths):
    net = UNet3D(1, widths=widths, blocks=1, groups=4)
    found = [layer.name for layer in net.layers if isinstance(layer, VideoAttention)]
    deepest = len(widths) - 1
    assert found == [f"encoder{deepest}_0_attention", f"decoder{deepest}_0_attention"]


def test_with_motion_starts_from_the_nearest_known_frames(rng):
    model = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), known_per_side=2, motion_reach=1)
    clip = rng.uniform(-1.0, 1.0, size=(1, 4, 4, 4, 1)).astype("float32")
    predicted = call(model, clip, np.array([[0.0, 0.0, 0.9, 0.9]], "float32"))
    np.testing.assert_allclose(predicted, clip[:, [0, 1, 1, 1]], atol=1e-6)


def test_with_motion_saves_and_loads(rng, tmp_path):
    options = dict(widths=(12,), blocks=1, groups=4, attention=(None,), known_per_side=2, motion_reach=1)
    model = VideoDiffusion((3, 4, 4, 1), randomised(UNet3D(1, **options)), prediction="x0")
    model.save(tmp_path / "model.keras")
    twin = keras.saving.load_model(tmp_path / "model.keras")
    past = rng.uniform(-1.0, 1.0, size=(1, 2, 4, 4, 1)).astype("float32")
    futures = [each.predict_frames(past, num_steps=2) for each in (model, twin)]
    np.testing.assert_array_equal(*futures)


def test_motion_is_for_clips_that_are_predicted_themselves():
    network = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), motion_reach=1)
    with pytest.raises(ValueError, match="`prediction`: expected the denoiser's, 'x0'. Received: 'v'"):
        VideoDiffusion((4, 8, 8, 1), network)
