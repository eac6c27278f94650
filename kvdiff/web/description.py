"""What a page knows of a model besides its graphs, as JSON: clips, controls, tasks, step tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_mapping
from kvdiff.diffusion.conditions.condition import CONDITION_MASK, Condition, optional_names
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, DEFAULT_SOLVER
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.web.tables import Tables
from kvdiff.web.windows import ORDERS, TASKS, cases

FORMAT_VERSION = 1
_UNBOUNDED = (-2.5, 2.5)
"""What is drawn black and white of values without bounds, which have about unit variance."""
_CURVE = 65
_MOST_SLIDERS = 16


@dataclasses.dataclass(frozen=True)
class Actions:
    """The actions that a player has: by their names the values of a condition that has one a frame.

    Attributes:
        values: by name, a vector or a class; e.g. `{"left": [1, 0], "right": [0, 1]}`.
        keys: by name, the key as browsers call it, e.g. `{"left": "ArrowLeft"}`; by default arrows for names such as
            "left" and "forward", else 1, 2, 3, …
        condition: the condition's name, where a model has several a frame.
    """

    values: Mapping[str, Any]
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    condition: str | None = None

    @classmethod
    def of(cls, given: Any) -> Actions | None:
        """`given` itself, or from a dictionary: that of a JSON file, or values by name."""
        if given is None or isinstance(given, Actions):
            return given
        check_mapping("actions", given)
        if "values" not in given:
            return cls(given)
        known = {field.name for field in dataclasses.fields(cls)}
        if unknown := sorted(set(given) - known):
            raise ValueError(f"`actions`: expected {sorted(known)}. Received: {unknown}")
        return cls(**given)


def described(
    spec: ModelSpec,
    *,
    name: str,
    run: str,
    actions: Actions | Mapping[str, Any] | None = None,
    examples: Sequence[Mapping[str, Any]] = (),
    engine: str = "browser",
) -> tuple[dict[str, Any], bytes]:
    """The page's `spec.json` and `tables.bin`.

    Args:
        spec: of the model.
        name: of the page.
        run: what the commands that the page shows open.
        actions: those of `play`, or their dictionary.
        examples: what there is to say of each example clip.
        engine: "browser", or "server" where a server samples.

    Raises:
        ValueError, TypeError: actions that are not the model's.
    """
    tables = Tables()
    tasks = {task: _task(spec, task, tables) for task in TASKS}
    content = {
        "formatVersion": FORMAT_VERSION,
        "name": name,
        "run": run,
        "engine": engine,
        "clip": spec.clip.config,
        "latent": spec.latent.config,
        "values": _values(spec),
        "coded": spec.codec is not None or spec.values != PIXELS,
        "conditions": [_condition(spec, each) for each in spec.conditions],
        "optional": optional_names(spec.conditions),
        "mask": CONDITION_MASK,
        "actions": _actions(spec, Actions.of(actions)),
        "orders": {each: dict(keywords) for each, keywords in ORDERS.items()},
        "tasks": {task: each for task, each in tasks.items() if each["cases"]},
        "known": tables.known,
        "examples": list(examples),
    }
    return content, tables.content


def _task(spec: ModelSpec, task: str, tables: Tables) -> dict[str, Any]:
    """What a page offers of a task, and the model's own defaults for it."""
    own = dict(spec.sampling.get(task, {}))
    interval = own.get("guidance_interval", (0.0, 1.0))
    # Said in every command: a page samples with clean known frames, and without guidance towards them.
    fixed = {"known_noise": 0.0} if own.get("known_noise") else {}
    fixed |= {"history_guidance": 1.0} if own.get("history_guidance", 1.0) != 1.0 else {}
    return {
        "own": {
            "solver": own.get("solver", DEFAULT_SOLVER),
            "steps": own.get("num_steps", DEFAULT_NUM_STEPS),
            "guidance": float(np.mean(own.get("guidance", 1.0))),
            "interval": list(interval),
            "rescale": own.get("guidance_rescale", 0.0),
        },
        "fixed": fixed,
        "tables": tables.of_task(spec, task),
        "cases": cases(spec, task),
    }


def _values(spec: ModelSpec) -> dict[str, Any]:
    """How numbers are drawn: for each channel those from black to white, and what stands on the colour bar."""
    low, high = spec.values.bounds or _UNBOUNDED
    points = 2 if spec.values == PIXELS else _CURVE
    at = np.linspace(low, high, points, dtype=np.float32)
    numbers = np.asarray(spec.values.decode(np.tile(at[:, None], (1, spec.clip.channels))))
    ticks = numbers[:: (points - 1) // 4, 0].tolist() if points > 2 else []
    return {
        "name": spec.values.name,
        "unit": getattr(spec.values, "unit", "") or "",
        "curves": numbers.T.tolist(),
        "ticks": [{"label": f"{number:.4g}"} for number in ticks],
    }


def _condition(spec: ModelSpec, name: str) -> dict[str, Any]:
    """A condition as a control: classes, sliders, or neither."""
    condition = spec.conditions[name]
    frames, frame_shape = spec.clip.num_frames, spec.latent.frame_shape
    shape = list(condition.shape(frames, frame_shape))
    return {
        "name": name,
        "kind": condition.name,
        "dtype": condition.dtype,
        "shape": shape[1:] if condition.per_frame else shape,
        "perFrame": condition.per_frame,
        "always": condition.is_always_present,
        "control": _control(condition, shape),
        "classes": _classes(condition),
        "noise": condition.has_noise,
        "default": condition.default(frames, frame_shape).tolist() if condition.is_always_present else None,
    }


def _classes(condition: Any) -> int:
    """How many classes a condition chooses among; 0 of one that is no choice."""
    return getattr(condition, "num_classes", 0)


def _control(condition: Condition, shape: Sequence[int]) -> str:
    """What sets it: "classes", "sliders", "times", or "none": a page leaves it out."""
    size = math.prod(shape[1:] if condition.per_frame else shape)
    if condition.tells_time:
        return "times"
    if condition.dtype == "int32" and _classes(condition) and size == 1:
        return "classes"
    is_vector = condition.dtype == "float32" and not condition.pixel_scale and not condition.num_tokens
    return "sliders" if is_vector and size <= _MOST_SLIDERS else "none"


def _actions(spec: ModelSpec, given: Actions | None) -> dict[str, Any] | None:
    """The condition that a player sets frame by frame, and its values by name; None for a model of no actions."""
    playable = [
        name
        for name, each in spec.conditions.items()
        if each.per_frame and _control(each, each.shape(1, spec.latent.frame_shape)) in ("classes", "sliders")
    ]
    if given is None and len(playable) != 1:
        return None
    name = (given and given.condition) or (playable[0] if len(playable) == 1 else "")
    if name not in playable:
        raise ValueError(
            f"`actions`: expected the `condition` that they are values of, one of {playable or 'none'}. "
            f"Received: {name or 'no name'}"
        )
    condition, frame_shape = spec.conditions[name], spec.latent.frame_shape
    values = dict(_one_each(condition, condition.shape(1, frame_shape)) if given is None else given.values)
    if not values:
        raise ValueError("`actions`: expected at least one. Received: none")
    listed = []
    for number, (action, value) in enumerate(values.items()):
        one = check_array(f"actions[{action!r}]", value)[None]
        checked = condition.check(f"actions[{action!r}]", one, 1, 1, frame_shape)
        key = dict(given.keys if given else {}).get(action) or _key(action, number)
        listed.append({"name": str(action), "value": checked[0, 0].tolist(), "key": key})
    return {"condition": name, "values": listed}


def _one_each(condition: Condition, shape: Sequence[int]) -> dict[str, Any]:
    """Every class, or one vector for each of its numbers."""
    if classes := _classes(condition):
        return {f"{number}": number for number in range(min(classes, 9))}
    return {f"{number + 1}": row for number, row in enumerate(np.eye(int(shape[-1]), dtype=np.float32)[:9].tolist())}


_ARROWS = {
    "left": "ArrowLeft",
    "right": "ArrowRight",
    "up": "ArrowUp",
    "forward": "ArrowUp",
    "down": "ArrowDown",
    "back": "ArrowDown",
}


def _key(action: str, number: int) -> str:
    """The key of an action that has none: an arrow for a name that says where, else its number."""
    for word, key in _ARROWS.items():
        if word in action.lower().split():
            return key
    return "Space" if action.lower() in ("stay", "none", "wait") else str(number + 1)
