"""The same numbers as Keras' own Adam, in one operation a variable."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kvdiff.training.fused_adam import FusedAdam
from tests.training.devices import outcome

SHAPES = [(6, 4), (4,), ()]
GRADIENTS = [
    [10.0 ** (step % 5 - 2) * np.random.default_rng(step).normal(size=shape).astype(np.float32) for shape in SHAPES]
    for step in range(20)
]
# Whole in float32, where 1 - 0.999 is off by 1e-5 of itself: we and Keras subtract in places of our own.
WHOLE = dict(beta_1=0.875, beta_2=0.9375, epsilon=2.0**-20)
OPTIONS = {
    "plain": {},
    "other moments": dict(beta_1=0.5, beta_2=0.75, epsilon=2.0**-10),
    "weight decay": dict(weight_decay=0.1),
    "clipped": dict(clipnorm=0.1),
    "clipped together": dict(global_clipnorm=0.1),
    "averaged": dict(use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=7),
    "amsgrad": dict(amsgrad=True),
}


def both(learning_rate=0.02, **options):
    """Ours and Keras'."""
    return [kind(learning_rate, **WHOLE | options) for kind in (FusedAdam, keras.optimizers.Adam)]


def variables():
    values = [np.linspace(-1, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape) for shape in SHAPES]
    return [keras.Variable(value, name=f"v{value.ndim}") for value in values]


def after_steps(optimizer, gradients=GRADIENTS):
    """The variables, then the optimizer's own, after `gradients` in a graph."""
    trained = variables()
    optimizer.build(trained)
    step = tf.function(lambda gradients: optimizer.apply(gradients, trained))
    for given in gradients:
        step([tf.constant(gradient) for gradient in given])
    return [np.asarray(v) for v in (*trained, *optimizer.variables)]


def assert_same(found, expected, share=1e-6):
    assert np.abs(expected[0] - np.linspace(-1, 1, 24).reshape(6, 4)).max() > 0.05  # There was training to compare.
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=share * max(np.abs(other).max(), 1.0))


@pytest.mark.parametrize("what", OPTIONS)
def test_equals_adam(what):
    assert_same(*(after_steps(optimizer) for optimizer in both(**OPTIONS[what])))


def test_equals_adam_but_for_rounding_where_numbers_are_not_whole():
    assert_same(*(after_steps(kind(0.02)) for kind in (FusedAdam, keras.optimizers.Adam)), share=2e-5)


def test_equals_adam_with_a_learning_rate_that_changes():
    rate = keras.optimizers.schedules.CosineDecay(0.05, 15)
    assert_same(*(after_steps(optimizer) for optimizer in both(rate)))


def test_gradients_of_looked_up_rows_count_as_the_whole_tables():
    """Of an embedding. Keras' own Adam squares the gradients of a row that was looked up twice before it adds them."""
    ends = []
    for optimizer, whole in zip(both(0.2), (lambda gradient: gradient, tf.convert_to_tensor), strict=True):
        table = variables()[0]
        optimizer.build([table])
        for rows in ([0, 2, 2], [1], [5, 0]):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(tf.gather(table.value, rows) ** 2)
            (gradient,) = tape.gradient(loss, [table.value])
            assert isinstance(gradient, tf.IndexedSlices)
            optimizer.apply([whole(gradient)], [table])
        ends.append([np.asarray(v) for v in (table, *optimizer.variables)])
    assert_same(*ends)


@pytest.mark.parametrize(("amsgrad", "count"), [(False, 3), (True, 0)])
def test_a_variables_update_is_one_operation(amsgrad, count):
    trained, optimizer = variables(), FusedAdam(0.02, amsgrad=amsgrad)
    optimizer.build(trained)
    graph = tf.function(lambda: optimizer.apply([tf.ones(shape) for shape in SHAPES], trained)).get_concrete_function()
    names = [operation.type for operation in graph.graph.get_operations()]
    assert names.count("ResourceApplyAdam") == count


def test_equals_adam_under_a_loss_scale_and_after_an_overflow():
    overflow = [np.full(shape, np.inf, np.float32) for shape in SHAPES]
    gradients = [GRADIENTS[1], overflow, *GRADIENTS[2:]]
    scaled = (
        keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=8.0, dynamic_growth_steps=5)
        for optimizer in both()
    )
    assert_same(*(after_steps(optimizer, gradients) for optimizer in scaled))


def test_a_saved_model_goes_on_with_the_same_moments(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 8, 3)).astype(np.float32)

    def trained(model, steps):
        for _ in range(steps):
            model.train_on_batch(x, y)
        return model

    def fresh():
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
        model.compile(FusedAdam(0.05), "mse")
        return model

    trained(fresh(), 3).save(tmp_path / "model.keras")
    resumed = keras.saving.load_model(tmp_path / "model.keras")
    assert type(resumed.optimizer) is FusedAdam and int(resumed.optimizer.iterations) == 3
    for one, other in zip(trained(resumed, 3).get_weights(), trained(fresh(), 6).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


REPLICAS = """
import json, keras, numpy as np, tensorflow as tf
from kvdiff.training.fused_adam import FusedAdam
from tests.training.devices import largest_difference, two_cpus

two = two_cpus()
gradients = np.random.default_rng(0).normal(size=(5, 2, 4))


def ends(kind, strategy, given):
    with strategy.scope():
        variable, optimizer = keras.Variable(np.ones(4), dtype="float64"), kind(0.1, beta_1=0.875, beta_2=0.9375)
        optimizer.build([variable])

    @tf.function
    def step(both):
        def on_replica():
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            optimizer.apply([both[number]], [variable])
        strategy.run(on_replica)

    for both in given:
        step(tf.constant(both))
    return [np.asarray(copy) for v in (variable, *optimizer.variables[2:])
            for copy in strategy.experimental_local_results(v.value)]


one = tf.distribute.get_strategy()
summed = gradients.sum(axis=1, keepdims=True)
expected = ends(keras.optimizers.Adam, one, summed)
found = ends(FusedAdam, two, gradients)
print("RESULT", json.dumps(dict(
    copies=len(found),
    difference=largest_difference(found, [v for v in expected for _ in range(2)]),
    moved=float(np.abs(expected[0] - 1.0).max()),
)))
"""


def test_two_replicas_are_one():
    """Each has its copy of variable and moments, and all are those of one device with the summed gradient."""
    found = outcome(REPLICAS)
    assert found["moved"] > 0.1 and found["copies"] == 6
    assert found["difference"] < 1e-10
