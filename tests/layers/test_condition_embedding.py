import keras
import numpy as np
import pytest

from kvdiff.diffusion.conditions import ClassLabel, FrameTimes, FrameVectors
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.models.denoiser import DenoiserContract
from kvdiff.models.unet3d import UNet3D

CONDITIONS = {"digit": ClassLabel(3), "action": FrameVectors(2), "when": FrameTimes()}
INPUTS = {
    "digit": np.int32([2, 0]),
    "action": np.float32([[[1, 0]] * 4, [[0, 1]] * 4]),
    "when": np.float32([[0, 1, 2, 3]] * 2),
}


def without_mixing(layer, *inputs):
    """The layer's answer with its last dense layer set to zero."""
    layer(*inputs)
    layer.joint.kernel.assign(0.0 * layer.joint.kernel)
    return np.asarray(layer(*inputs))


def test_each_told_condition_adds_its_own_vector():
    layer = ConditionEmbedding(CONDITIONS)
    out = without_mixing(layer, np.zeros((2, 4, 6), np.float32), {**INPUTS, "told": np.float32([[1, 1], [0, 0]])})
    digit, action = (np.asarray(layer._maps[name]) for name in ("digit", "action"))
    np.testing.assert_allclose(out[0] - out[1], np.broadcast_to(digit[2] + action[0], (4, 6)), atol=1e-6)
    when = out[1] - out[1, :1]  # The untold vectors are 0 at first; what is left depends on time.
    assert np.abs(when[1:]).max() > 1e-3


def test_untold_conditions_have_a_vector_of_their_own():
    layer = ConditionEmbedding({"digit": ClassLabel(3)})
    asked = np.zeros((2, 1, 6), np.float32), {"digit": INPUTS["digit"], "told": np.float32([[1], [0]])}
    before = without_mixing(layer, *asked)
    layer._untold["digit"].assign(np.arange(6))
    after = np.asarray(layer(*asked))
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(after[1, 0], np.arange(6), atol=1e-6)


def test_config_rebuilds_it_and_the_denoiser_knows_its_conditions():
    layer = ConditionEmbedding.from_config(ConditionEmbedding(CONDITIONS).get_config())
    assert layer.conditions == CONDITIONS
    net = UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions=CONDITIONS)
    assert DenoiserContract.of(net).conditions == CONDITIONS
    assert list(net.input) == ["noisy_clip", "noise_label", *CONDITIONS, "told"]


def test_it_stays_float32():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = ConditionEmbedding({"digit": ClassLabel(3)})
        out = layer(np.zeros((2, 1, 6), np.float32), {"digit": INPUTS["digit"], "told": np.ones((2, 1), np.float32)})
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(out.dtype) == "float32"


@pytest.mark.parametrize("name", ["noisy_clip", "noise_label", "told"])
def test_the_denoisers_own_names_are_refused(name):
    with pytest.raises(ValueError, match="`conditions`: expected names other than the denoiser's own"):
        UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), conditions={name: ClassLabel(2)})
