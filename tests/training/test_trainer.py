import keras
import pytest

from tests.training.devices import make


@pytest.fixture(scope="module")
def model():
    return make()


def test_keras_accumulation_is_refused_with_what_to_use(model):
    for wrap in (lambda o: o, keras.optimizers.LossScaleOptimizer):
        optimizer = wrap(keras.optimizers.Adam(gradient_accumulation_steps=4))
        with pytest.raises(ValueError, match="use `compile.…, micro_batches=…."):
            model.compile(optimizer)


def test_a_loss_that_depends_on_how_a_batch_is_spread_is_refused(model):
    with pytest.raises(ValueError, match="`loss`: expected the reduction .* Received: 'sum'"):
        model.compile("adam", keras.losses.MeanSquaredError(reduction="sum"))


def test_micro_batches_are_checked_and_saved(model):
    with pytest.raises(ValueError, match="`micro_batches`: expected an integer >= 1. Received: 0"):
        model.compile(micro_batches=0)
    model.compile(micro_batches=3)
    twin = make()
    twin.compile_from_config(model.get_compile_config())
    assert twin.micro_batches == 3


def test_a_float16_network_gets_a_loss_scale():
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = make()
    finally:
        keras.mixed_precision.set_global_policy("float32")
    half.dtype_policy = "float32"  # As a network of another policy than the model's.
    half.compile("sgd")
    assert isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
    half.compile("sgd", auto_scale_loss=False)
    assert not isinstance(half.optimizer, keras.optimizers.LossScaleOptimizer)
