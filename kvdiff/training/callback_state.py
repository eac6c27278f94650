"""What a callback remembers between epochs, so that a resumed training goes on with it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

_ARRAY = "__array__"
_MEMORY = ("best", "best_epoch", "best_weights", "cooldown_counter", "stopped_epoch", "wait")
"""What Keras' callbacks count with. Not all attributes: the sign of `min_delta` is turned once in every `fit`."""


def get_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """What `callback.get_state()` returns, or the memory of Keras' `EarlyStopping`, `ReduceLROnPlateau` and the like.

    Raises:
        TypeError: a callback that has neither.
    """
    if hasattr(callback, "get_state"):
        return callback.get_state()
    state = {name: value for name, value in vars(callback).items() if name in _MEMORY}
    if not state:
        name = type(callback).__name__
        raise TypeError(f"`callbacks`: expected callbacks with `get_state` and `set_state`. Received: {name}")
    return state


def set_state(callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
    """Put back what `get_state` returned."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
    else:
        vars(callback).update(state)


def pack(value: Any, arrays: dict[str, np.ndarray], name: str) -> Any:
    """`value` as JSON, with its arrays moved to `arrays` under names that begin with `name`."""
    if isinstance(value, dict):
        return {key: pack(item, arrays, f"{name}/{key}") for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(item, arrays, f"{name}/{index}") for index, item in enumerate(value)]
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {_ARRAY: name}
    return value.item() if isinstance(value, np.number) else value


def unpack(value: Any, arrays: Any) -> Any:
    """What `pack` received, tuples as lists."""
    if isinstance(value, dict):
        if set(value) == {_ARRAY}:
            return arrays[value[_ARRAY]]
        return {key: unpack(item, arrays) for key, item in value.items()}
    return [unpack(item, arrays) for item in value] if isinstance(value, list) else value
