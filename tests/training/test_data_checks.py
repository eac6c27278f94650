"""Data that is none to train on is refused by name, whatever holds it; weights that data has are heeded."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.diffusion.conditions import ClassLabel, ClipVector, TokenIds
from kvdiff.training.data_checks import by_sample, check_range, single_input
from tests.training.trainings import BATCH, clips, digest, make_model, tiny_denoiser

WEIGHTS = np.linspace(0.0, 2.0, len(clips()))


class Batches(keras.utils.PyDataset):
    def __init__(self, *arrays):
        super().__init__()
        self.arrays = arrays

    def __len__(self):
        return 6

    def __getitem__(self, index):
        batch = tuple(array[BATCH * index : BATCH * (index + 1)] for array in self.arrays)
        return batch if len(batch) > 1 else batch[0]


def as_tf_data(*arrays):
    import tensorflow as tf

    return tf.data.Dataset.from_tensor_slices(arrays if len(arrays) > 1 else arrays[0]).batch(BATCH)


HOLDERS = {"array": lambda *arrays: arrays[0], "tf.data": as_tf_data, "PyDataset": Batches}
BAD = {
    "0 … 255": (lambda x: 127.5 * (x + 1), ValueError, r"step 1: clips: .*\[-1, 1\].* maximum \[.*, 25\d"),
    "mm/h": (lambda x: 40 * np.maximum(x, 0), ValueError, r"step 1: clips: .*\[-?0, 3\d"),
    "NaN": (lambda x: np.where(x > 0.99, np.nan, x), ValueError, "no NaN or infinity.*nan, nan"),
    "infinity": (lambda x: np.where(x > 0.99, np.inf, x), ValueError, "no NaN or infinity"),
    "uint16": (lambda x: (1000 * (x + 1)).astype(np.uint16), TypeError, "floats in .-1, 1. or uint8.*uint16"),
    "int64": (lambda x: (127 * (x + 1)).astype(np.int64), TypeError, "floats in .-1, 1. or uint8.*int64"),
}


@pytest.fixture(scope="module")
def model():
    """One without hidden state, so that a loss comes out the same again."""
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    x = keras.layers.Dense(6, activation="tanh")(clip)
    network = keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(1)(x))
    model = kvdiff.VideoDiffusion(clips().shape[1:], network, seed=3)
    model.compile(keras.optimizers.SGD(0.0))
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.fixture(scope="module")
def conditional():
    return of_conditions({"kind": ClassLabel(3)})


def fit(model, data, **options):
    options = {"batch_size": BATCH, **options} if hasattr(data, "shape") else options
    model.optimizer.iterations.assign(0)  # The same noise every time.
    return model.fit(data, verbose=0, shuffle=False, **options).history["loss"][0]


@pytest.mark.parametrize(
    ("holder", "kind"), [*(("array", kind) for kind in BAD), ("tf.data", "0 … 255"), ("PyDataset", "NaN")]
)
def test_what_is_no_clip_is_refused_before_an_update(model, holder, kind):
    make, error, text = BAD[kind]
    model.optimizer.iterations.assign(0)
    before = digest([*model.variables, *model.optimizer.variables])
    with pytest.raises(error, match=text):
        fit(model, HOLDERS[holder](make(clips())))
    if kind not in ("NaN", "infinity"):  # Those are not in the first batch.
        assert digest([*model.variables, *model.optimizer.variables]) == before


@pytest.mark.parametrize("holder", HOLDERS)
def test_validation_data_is_looked_at_too(model, holder):
    with pytest.raises(ValueError, match="evaluation: clips: expected values in"):
        fit(model, clips()[:4], validation_data=HOLDERS[holder](255 * clips()))


@pytest.mark.parametrize("options", [dict(jit_compile=True), dict(micro_batches=2), dict(steps_per_execution=3)])
def test_however_a_step_is_compiled(options):
    model = make_model(keras.optimizers.SGD(0.0), **options)
    with pytest.raises(ValueError, match="clips: expected values in .-1, 1."):
        fit(model, 255 * clips())


@pytest.mark.slow
def test_on_two_replicas(run_python):
    printed = run_python(
        "from tests.training.devices import two_cpus\n"
        "from tests.training.trainings import clips, make_model\n"
        "strategy = two_cpus()\n"
        "import tensorflow as tf\n"
        "with strategy.scope():\n    model = make_model()\n"
        "try:\n    model.fit(tf.data.Dataset.from_tensor_slices(255 * clips()).batch(8), verbose=0, shuffle=False)\n"
        "except ValueError as error:\n    print(error)"
    )
    assert "training step 1: clips: expected values in [-1, 1]" in printed


def test_good_data_passes(model):
    pixels = np.random.default_rng(0).integers(0, 256, clips().shape, dtype=np.uint8)
    for data in (pixels, clips().astype(np.float64), clips().astype(np.float16), 1.00005 * np.sign(clips())):
        inputs, *_ = model.noised(data, 0)
        assert np.isfinite(inputs["noisy_clip"]).all()


def test_the_range_is_that_of_the_models_values():
    from kvdiff.diffusion.transforms.values import Linear, Unbounded

    counts = (1000 * (clips() + 1)).astype(np.uint16)
    model = kvdiff.VideoDiffusion(clips().shape[1:], tiny_denoiser(), values=Linear(0.0, 2000.0))
    assert np.isfinite(model.noised(counts, 0)[0]["noisy_clip"]).all()
    with pytest.raises(ValueError, match="clips: expected values in .0, 2000., no NaN"):
        model.noised(counts * 2, 0)
    model = kvdiff.VideoDiffusion(clips().shape[1:], tiny_denoiser(), values=Unbounded())
    model.noised(40 * clips(), 0)
    with pytest.raises(ValueError, match="clips: expected values in .-inf, inf., no NaN"):
        model.noised(np.where(clips() > 0.9, np.nan, clips()), 0)


def test_conditions_are_looked_at():
    conditional = of_conditions({"speed": ClipVector(2)})
    speed = np.zeros((len(clips()), 2), np.float32)
    conditional.noised((clips(), speed), 0)
    speed[3, 1] = np.nan
    for given in (speed, {"speed": speed}):
        with pytest.raises(ValueError, match="condition speed: expected values in .-inf, inf., no NaN"):
            conditional.noised((clips(), given), 0)
        with pytest.raises(ValueError, match="condition speed: expected values in .-inf, inf., no NaN"):
            conditional.check_batch((clips(), given))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_numbers_of_no_class_or_word_are_refused(conditional, wrong):
    words = of_conditions({"text": TokenIds(2, 3)}, attention=("space",))
    for model, name, given in (
        (conditional, "kind", np.zeros(len(clips()), np.int32)),
        (words, "text", np.zeros((len(clips()), 2), np.int64)),
    ):
        model.check_batch((clips(), given))
        given[-1] = wrong
        expected = rf"condition {name}: expected values in .0, 2., no NaN.* Received: minimum, maximum \[.*{wrong}"
        with pytest.raises(ValueError, match=expected):
            model.check_batch((clips(), given))
        with pytest.raises(ValueError, match=f"training step .*{expected}.* Nothing was changed by this batch.$"):
            model.fit(clips(), given, batch_size=len(given), verbose=0)


def of_conditions(conditions, attention=(None,)):
    options = dict(attention=attention, conditions=conditions)
    net = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, patch_size=1, **options)
    model = kvdiff.VideoDiffusion(clips().shape[1:], net, seed=3)
    model.compile(keras.optimizers.SGD(0.0))
    return model


# Weights and labels.


@pytest.mark.parametrize("holder", HOLDERS)
def test_sample_weights_are_heeded(model, conditional, holder):
    ones, zeros = np.ones(len(clips())), np.zeros(len(clips()))

    def loss(weights):
        if holder == "array":
            return fit(model, clips(), sample_weight=weights)
        if holder == "tf.data":
            return fit(model, as_tf_data(clips(), {}, weights))
        return fit(conditional, Batches(clips(), labels, weights))

    labels = np.zeros(len(clips()), np.int32)
    assert loss(zeros) == 0.0 and loss(2 * ones) == pytest.approx(2 * loss(ones), rel=1e-5) and loss(ones) > 0


def test_a_weight_counts_in_the_gradient_and_in_validation(model):
    x, zeros = clips(), np.zeros(len(clips()))
    assert model.evaluate(x, sample_weight=zeros, verbose=0) == 0.0
    history = model.fit(x, verbose=0, validation_data=(x, None, zeros)).history
    assert history["val_loss"] == [0.0] and history["loss"][0] > 0
    model.optimizer.learning_rate.assign(1.0)
    before = digest(model.trainable_variables)
    assert model.train_on_batch(x[:4], None, zeros[:4]) == 0.0
    assert digest(model.trainable_variables) == before
    model.optimizer.learning_rate.assign(0.0)


def test_the_weighted_loss_is_the_mean_of_each_clips_loss_times_its_weight(model):
    each = [model.evaluate(clip[None], sample_weight=np.ones(1), verbose=0) for clip in clips()[:1]]
    first = model.evaluate(clips()[:4], sample_weight=np.array([1.0, 0, 0, 0]), batch_size=4, verbose=0)
    assert first == pytest.approx(each[0] / 4, rel=1e-5)


def test_frames_may_have_weights_of_their_own():
    frames = np.array([[1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(by_sample(frames, 2))[:, :, 0, 0], frames)
    with pytest.raises(ValueError, match=r"`sample_weight`: expected .batch. or .batch, frames.. Received: shape"):
        by_sample(np.ones((2, 3, 4)), 2)
    with pytest.raises(ValueError, match="sample_weight: expected values in .0, inf."):
        by_sample(np.array([1.0, -1.0]), 2)


def test_class_weights_are_those_of_the_labels():
    x, labels, weight = clips(), np.arange(len(clips())) % 3, {0: 0.0, 1: 2.0}  # And 1 for the rest.
    for y in (labels, labels[:, None], {"kind": labels}):
        (_, kept, weights), *rest = single_input(x, y, None, weight)
        assert kept is y and rest == [None, None, None]
        np.testing.assert_array_equal(weights, np.array([0.0, 2.0, 1.0])[labels])
    with pytest.raises(ValueError, match="`class_weight`: expected `y` with one integer label a clip"):
        single_input(x, None, None, weight)
    with pytest.raises(ValueError, match="`sample_weight`, `class_weight`: expected one of them"):
        single_input(x, labels, WEIGHTS, weight)
    assert single_input(x, labels, None) == (x, labels, None, None)


def test_class_weights_count(conditional):
    labels = np.zeros(8, int)
    assert fit(conditional, clips()[:8], y=labels, class_weight={0: 0.0}) == 0.0


def test_labels_of_an_unconditional_model_are_said_to_be_unused():
    model = make_model(keras.optimizers.SGD(0.0))
    with pytest.warns(UserWarning, match="labels or conditions are not trained on"):
        fit(model, clips(), y=np.zeros(len(clips()), int))


def test_a_margin_is_left_for_rounding():
    check_range("x", np.array([-1.00005, 1.00005]), -1.0, 1.0)
    with pytest.raises(ValueError, match="x: expected"):
        check_range("x", np.array([1.001]), -1.0, 1.0)


def test_a_distilled_student_is_given_clips_too():
    teacher = kvdiff.VideoDiffusion(clips().shape[1:], tiny_denoiser(), seed=3)
    stage = kvdiff.training.ProgressiveDistillation(teacher, 2)
    stage.compile(keras.optimizers.SGD(0.0))
    with pytest.raises(ValueError, match="training step 1: clips: expected values in"):
        fit(stage, 255 * clips())
    assert fit(stage, clips(), sample_weight=np.zeros(len(clips()))) == 0.0
