"""Values of training data, looked at in every batch: what is no clip is refused before the network sees it."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from kvdiff.diffusion.transforms.values import Values
from kvdiff.training.replicas import updates_done

FIRST_BATCHES = 8
"""How many batches of a `fit` are looked at where a graph has no assertions: with XLA, and on other backends."""

_MARGIN = 1e-4  # Of half the range: what rounding may add, as samplers allow it.
_MARK = "expected values in"
_ADVICE = (
    "Scale the data, or say with `values` what its numbers are, e.g. values=kvdiff.diffusion.fitted('linear', clips); "
    "fill what is missing, or train a denoiser of the condition Observed(), with NaN for it"
)
_UNIT = (0.2, 5.0)  # Standard deviations of x_0 that a schedule for unit variance still suits.
_FOUND = re.compile(r"\[([^\[\]]*: expected values in \[[^\]]*\], no NaN[^\]]*?)\] \[([^\]]*)\] \[([^\]]*)\]")


def in_range(name: str, values: Any, low: float = -np.inf, high: float = np.inf) -> Any:
    """`values`, of any shape, once it is certain that they lie in [low, high] and none is NaN or infinite.

    In a TensorFlow graph the check is part of every step, at the cost of three passes over the values; see
    `naming_the_batch`. XLA leaves it out, and so does a graph of another backend.

    Raises:
        ValueError: at once where the values are there already.
    """
    if keras.backend.backend() != "tensorflow":
        return values
    import tensorflow as tf

    values = tf.convert_to_tensor(values)
    if tf.executing_eagerly():
        check_range(name, values, low, high)
        return values
    margin = _margin(low, high) if values.dtype.is_floating else 0.0
    smallest, largest = (tf.cast(reduce(values), "float32") for reduce in (tf.reduce_min, tf.reduce_max))
    finite = tf.reduce_all(tf.math.is_finite(values)) if values.dtype.is_floating else True
    fits = finite & (smallest >= low - margin) & (largest <= high + margin)
    fits |= tf.equal(tf.size(values), 0)  # A replica may have none.
    nan = tf.where(finite, 0.0, np.nan)  # A minimum may pass over NaN.
    smallest, largest = smallest + nan, largest + nan
    with tf.control_dependencies([tf.debugging.Assert(fits, [_expected(name, low, high), smallest, largest])]):
        return tf.identity(values)


def check_range(name: str, values: Any, low: float = -np.inf, high: float = np.inf) -> None:
    """Raise ValueError unless `values`, which are there already, lie in [low, high], none NaN or infinite."""
    array = ops.convert_to_numpy(values)
    margin = _margin(low, high) if array.dtype.kind not in "bui" else 0.0
    array = array.astype(np.float32)
    if array.size and not (np.isfinite(array).all() and low - margin <= array.min() and array.max() <= high + margin):
        raise ValueError(f"{_expected(name, low, high)} [{array.min():g}, {array.max():g}].{_advice(name)}")


def in_limits(values: Values, clips: Any) -> Any:
    """`clips`, floats, once it is certain that each channel is in the limits of its values; see `in_range`."""
    limits = _limits(values, clips.shape[-1])
    if len(set(limits)) == 1:
        return in_range("clips", clips, *limits[0])
    parts = [in_range(f"clips, channel {i}", clips[..., i : i + 1], *ends) for i, ends in enumerate(limits)]
    return ops.concatenate(parts, axis=-1)


def check_limits(values: Values, clips: Any) -> None:
    """Raise ValueError unless every channel of `clips`, which are there already, is in the limits of its values."""
    limits = _limits(values, clips.shape[-1])
    for index, ends in enumerate(limits):
        name = "clips" if len(set(limits)) == 1 else f"clips, channel {index}"
        check_range(name, clips[..., index : index + 1], *ends)


def _limits(values: Values, channels: int) -> list[tuple[float, float]]:
    """The numbers that each channel may have: any, where what is outside of its limits is clamped."""
    return [(-np.inf, np.inf) if one.clamps else one.limits for one in values.by_channel(channels)]


def note_scale(values: Values, clips: Any) -> None:
    """Warn of clips whose values have no bounds and whose x_0 is far from unit variance, for it trains to nothing."""
    if values.bounds is not None:
        return
    spread = float(np.nanstd(values.encode(np.array(ops.convert_to_numpy(clips)))))
    if not _UNIT[0] <= spread <= _UNIT[1]:
        warnings.warn(
            f"clips: expected x_0 of about unit variance with values {values.name!r}. Received: a standard deviation "
            f"of {spread:.3g} in the first batch. Say what the numbers are, e.g. "
            "values=kvdiff.diffusion.fitted('standardised', clips)",
            stacklevel=2,
        )


@contextlib.contextmanager
def naming_the_batch(model: keras.Model, what: str = "training step") -> Iterator[None]:
    """Turn an error of `in_range` in a graph into a `ValueError` that says which step's data it was."""
    try:
        yield
    except Exception as error:
        found = _FOUND.search(str(error)) if _MARK in str(error) else None
        if found is None:
            raise
        expected, smallest, largest = found.groups()
        where = f"{what} {updates_done(model) + 1}" if what == "training step" else what
        raise ValueError(
            f"{where}: {expected} [{smallest}, {largest}]. Nothing was changed by this batch.{_advice(expected)}"
        ) from None


def _margin(low: float, high: float) -> float:
    return _MARGIN * (high - low) / 2 if np.isfinite(high - low) else 0.0


def _advice(name: str) -> str:
    """What to do about clips; a condition's own error says it all."""
    return f" {_ADVICE}" if name.startswith("clips") else ""


def _expected(name: str, low: float, high: float) -> str:
    return f"{name}: {_MARK} [{low:g}, {high:g}], no NaN or infinity. Received: minimum, maximum"


def by_sample(weight: Any, batch: Any) -> Any:
    """Keras' `sample_weight` as a factor of the loss, float32 [batch or 1, frames or 1, 1, 1].

    Args:
        weight: None, [batch], [batch, 1] or [batch, frames]; or one such array for every condition, all the same, as
            Keras makes of one.
        batch: the number of samples.
    """
    if isinstance(weight, Mapping):
        weight = next(iter(weight.values()), None)
    if weight is None:
        return ops.ones((1, 1, 1, 1))
    if len(ops.shape(weight)) > 2:
        raise ValueError(
            f"`sample_weight`: expected [batch] or [batch, frames]. Received: shape {list(ops.shape(weight))}"
        )
    weight = in_range("sample_weight", ops.cast(weight, "float32"), low=0.0)
    return ops.reshape(weight, (batch, -1, 1, 1))


def single_input(x: Any, y: Any, sample_weight: Any, class_weight: Any = None) -> tuple[Any, Any, Any, Any]:
    """(x, y, sample_weight, class_weight) for Keras, all in x: it drops weights where there is no y.

    Data sets and generators hold their weights themselves, and stay as they are.
    """
    if (sample_weight is None and class_weight is None) or not hasattr(x, "shape"):
        return x, y, sample_weight, class_weight
    if class_weight is not None:
        if sample_weight is not None:
            raise ValueError("`sample_weight`, `class_weight`: expected one of them. Received: both")
        sample_weight = _class_weights(y, class_weight)
    return (x, {} if y is None else y, np.asarray(sample_weight)), None, None, None


def _class_weights(labels: Any, class_weight: Mapping[int, float]) -> np.ndarray:
    """The weight of every sample by its label, float32 [batch]; 1 for labels without one."""
    if isinstance(labels, Mapping) and len(labels) == 1:
        labels = next(iter(labels.values()))
    labels = None if labels is None or isinstance(labels, Mapping) else np.asarray(labels)
    if labels is None or not np.issubdtype(labels.dtype, np.integer) or labels.size != len(labels):
        raise ValueError("`class_weight`: expected `y` with one integer label a clip. Received: something else")
    return np.array([class_weight.get(int(label), 1.0) for label in labels.ravel()], np.float32)
