"""What the layers share: each is saved as the arguments of its constructor."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import keras


class SavedLayer(keras.layers.Layer):
    """A layer that keeps every argument of its constructor as an attribute of that name."""

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as JSON has them."""
        parameters = inspect.signature(type(self).__init__).parameters.values()
        names = [each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name != "self"]
        return {**super().get_config(), **{name: _stored(getattr(self, name)) for name in names}}


def _stored(value: Any) -> Any:
    """A value, or the `config` of a schedule, a prediction, an initializer or a condition, of several by name too."""
    if isinstance(value, keras.initializers.Initializer):
        return keras.initializers.serialize(value)
    config = getattr(value, "config", value)
    return {name: _stored(each) for name, each in config.items()} if isinstance(config, Mapping) else config
