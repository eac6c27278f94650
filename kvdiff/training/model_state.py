"""A model in training as arrays and facts, and back again: what `TrainingCheckpoint` writes and reads."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kvdiff.training.averaging import averages
from kvdiff.training.callback_state import get_state, pack, set_state, unpack
from kvdiff.training.checkpoint_facts import comparable, differences, network_differences
from kvdiff.training.checkpoint_file import TrainingState
from kvdiff.training.environment import arithmetic


def described(model: keras.Model) -> dict[str, Any]:
    """What decides the training besides data, weights and callbacks, as it is chosen at the beginning; JSON-able."""
    whole = keras.saving.serialize_keras_object(model)
    loss = keras.saving.serialize_keras_object(keras.losses.get(model.loss))
    facts = {
        "model": comparable(model.get_config()),
        "network": {name: whole[name] for name in ("module", "class_name", "config", "registered_name")},
        "optimizer": keras.saving.serialize_keras_object(model.optimizer),
        "loss": loss,
        "arithmetic": arithmetic(),
    }
    return json.loads(json.dumps(facts))


def gathered(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], facts: Mapping[str, Any]
) -> TrainingState:
    """All variables of a model in training, its raw weights among them, and what `callbacks` remember.

    Raises:
        FloatingPointError: a weight is not finite.
    """
    variables = _variables(model)
    names = {id(variable): name for name, variable in variables.items()}
    raw = model._raw_weights.values() if hasattr(model, "_raw_weights") else {}  # Those it lacks between epochs.
    arrays = {name: raw.get(id(v), keras.ops.convert_to_numpy(v)) for name, v in variables.items()}
    bad = [name for name, array in arrays.items() if name.startswith("model/") and not _is_finite(array)]
    if bad:
        raise FloatingPointError(f"training step {facts['step']}: {bad[0]} is not finite; not saved")
    states = [pack(get_state(callback), arrays, f"callback/{i}") for i, callback in enumerate(callbacks)]
    remembered = [{"class": type(c).__name__, "state": s} for c, s in zip(callbacks, states, strict=True)]
    means = [names[id(variable)] for variable in averages(model.optimizer)]
    return TrainingState(arrays, {**facts, "averages": means, "callbacks": remembered})


def check_same(
    where: Any, state: TrainingState, model: keras.Model, callbacks: Sequence[Any], now: Mapping[str, Any]
) -> None:
    """Refuse the state of another model with ValueError; warn of what changes the rest of the training.

    Args:
        where: the checkpoints' folder, for the error.
        state: of the training to go on with.
        model, callbacks: to go on.
        now: the model `described`.
    """
    facts, variables = state.facts, _variables(model)
    expected = {name: (list(v.shape), keras.backend.standardize_dtype(v.dtype)) for name, v in variables.items()}
    saved = {name: (list(a.shape), a.dtype.name) for name, a in state.arrays.items() if not name.startswith("callback")}
    changed = [name for name in {**expected, **saved} if expected.get(name) != saved.get(name)]
    changed += differences("", facts["model"], now["model"])
    if "network" in facts:  # Earlier versions did not save it.
        changed += network_differences(facts["network"], now["network"])
    if [entry["class"] for entry in facts["callbacks"]] != [type(c).__name__ for c in callbacks]:
        changed.append("callbacks")
    if changed:
        raise ValueError(
            f"{where}: expected a checkpoint of this model and optimizer. "
            f"Received: one with another {', '.join(changed[:5])}"
        )
    for what in ("optimizer", "loss", "arithmetic"):
        if names := differences("", facts.get(what, now[what]), now[what], strict=True):
            text = f"going on with another {what} ({', '.join(names)}): the rest of the training may differ"
            warnings.warn(text, stacklevel=2)


def put_back(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], state: TrainingState, now: Mapping[str, Any]
) -> None:
    """Give a model and its callbacks the state of a training; a learning rate that was chosen anew stays."""
    chosen_rate = _chosen_rate(model.optimizer, state.facts["optimizer"], now["optimizer"])
    for name, variable in _variables(model).items():
        if variable is not chosen_rate:
            variable.assign(state.arrays[name])
    for callback, entry in zip(callbacks, state.facts["callbacks"], strict=True):
        set_state(callback, unpack(entry["state"], state.arrays))


def _variables(model: keras.Model) -> dict[str, Any]:
    """Every variable by a name that is the same in each run."""
    owners = {"model": model.variables, "optimizer": model.optimizer.variables, "metric": model.metrics_variables}
    if hasattr(model, "timestep_draw"):
        owners["timestep_draw"] = model.timestep_draw.variables
    return {f"{who}/{i:04d}": variable for who, owned in owners.items() for i, variable in enumerate(owned)}


def _chosen_rate(optimizer: Any, before: Mapping[str, Any], now: Mapping[str, Any]) -> Any:
    """The learning rate's variable, where the optimizer was created with another rate than that of the checkpoint."""
    rates = [_config(serialized).get("learning_rate") for serialized in (before, now)]
    if rates[0] == rates[1] or not isinstance(rates[1], float):  # A schedule is no variable.
        return None
    return getattr(getattr(optimizer, "inner_optimizer", optimizer), "_learning_rate", None)


def _config(optimizer: Mapping[str, Any]) -> Mapping[str, Any]:
    """The configuration of a serialized optimizer, or of the one inside a serialized LossScaleOptimizer."""
    config = optimizer.get("config", {})
    return _config(config["inner_optimizer"]) if isinstance(config.get("inner_optimizer"), dict) else config


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind not in "fV" or bool(np.isfinite(array.astype(np.float32)).all())
