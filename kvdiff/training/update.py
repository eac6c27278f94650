"""One training step in TensorFlow: the gradient of the whole global batch first, and then one update.

Keras' own step gives the optimizer what one replica computed, so it clips them, looks for an overflow and
counts accumulation steps before it knows the others'. Here the optimizer sees only the sum over all samples, however
they were spread over replicas and over parts of a batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from kvdiff.layers.sample_dropout import dropout_keys
from kvdiff.training.replicas import sum_over_replicas


def mean_gradients(model: keras.Model, batch: tuple[Any, ...], parts: int) -> list[Any]:
    """The gradients of the (scaled) mean loss over the global batch, dense, one for each trainable variable.

    Args:
        model: a compiled model, whose metrics are updated.
        batch: this replica's inputs, target, loss weight and sample numbers; samples on axis 0, of which there may be
            none.
        parts: how many parts to compute the batch in, one after the other.
    """
    count = tf.shape(batch[1])[0]
    (total,) = sum_over_replicas([tf.cast(count, tf.float32)])
    summed = _summed(model, total)
    return sum_over_replicas(summed(batch) if parts == 1 else _in_parts(model, summed, batch, count, parts))


def _in_parts(
    model: keras.Model, summed: Callable[[Any], list[Any]], batch: tuple[Any, ...], count: Any, parts: int
) -> list[Any]:
    """The sum of what `summed` makes of the parts, in a loop that holds the activations of one part at a time."""
    size = -(-count // parts)

    def add_part(index: Any, sums: Sequence[Any]) -> tuple[Any, list[Any]]:
        part = tf.nest.map_structure(lambda tensor: tensor[index * size : (index + 1) * size], batch)
        return index + 1, [tf.ensure_shape(a + b, a.shape) for a, b in zip(sums, summed(part), strict=True)]

    start = (tf.constant(0), [tf.zeros(v.shape, v.dtype) for v in model.trainable_variables])
    return list(tf.while_loop(lambda index, _: index < parts, add_part, start, parallel_iterations=1)[1])


def _summed(model: keras.Model, total: Any) -> Callable[[Any], list[Any]]:
    """The function from samples to the gradients of the sum of their losses over `total`, the global batch's size.

    The loss is divided in place of its gradients, each of which would be read and written once more. With XLA, on one
    device all of the step is compiled; among replicas only what each computes alone.
    """

    def summed(batch: tuple[Any, ...]) -> list[Any]:
        inputs, target, weight, samples = batch
        share = tf.cast(tf.shape(target)[0], tf.float32) / total
        # TensorFlow's own variables: of Keras' it cannot make the zeros of one that the loss does not depend on.
        variables, zero = [v.value for v in model.trainable_variables], tf.UnconnectedGradients.ZERO
        with dropout_keys(model.seed, model.optimizer.iterations, samples):
            with tf.GradientTape() as tape:
                loss = model.weighted_loss(inputs, target, weight)
                scaled = model.optimizer.scale_loss(loss * tf.cast(share, loss.dtype))
            gradients = tape.gradient(scaled, variables, unconnected_gradients=zero)
        return [tf.convert_to_tensor(gradient) for gradient in gradients]

    compiled = model.jit_compile and tf.distribute.get_strategy().num_replicas_in_sync > 1
    return tf.function(summed, jit_compile=True) if compiled else summed


def leave_reduction_to_us(optimizer: Any) -> None:
    """Keep a Keras optimizer from summing over replicas what `mean_gradients` has summed."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # Of a LossScaleOptimizer.
    inner._all_reduce_sum_gradients = list


def distributed_function(model: keras.Model, step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """What `fit` and `evaluate` call under `tf.distribute` to run `steps_per_execution` steps.

    Keras' own fails there with several steps and with several machines. The logs are the metrics over all replicas.
    """
    strategy, num_steps = model.distribute_strategy, model.steps_per_execution

    def execute(iterator: Any) -> tuple[Any, Any]:
        done = tf.constant(0)
        for _ in tf.range(num_steps):
            batch = iterator.get_next_as_optional()
            if not batch.has_value():
                break
            strategy.run(step, args=(batch.get_value(),))
            done += 1
        return done, model.get_metrics_result()

    if not model.run_eagerly:
        execute = tf.function(execute, reduce_retracing=True)

    def function(iterator: Any) -> Any:
        if not isinstance(iterator, (tf.data.Iterator, tf.distribute.DistributedIterator)):
            raise TypeError("train_on_batch and test_on_batch: not under tf.distribute; use `fit` or `evaluate`")
        done, logs = execute(iterator)
        if not int(done):
            raise StopIteration
        return logs

    return function
