"""What a checkpoint says besides its arrays, and what of it has to be as it was for a training to go on."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

from kvdiff.training.checkpoint_file import DamagedCheckpointError

_FIELDS: dict[str, type | tuple[type, ...]] = {
    "step": int,
    "epoch": int,
    "batch": int,
    "ended": (int, type(None)),
    "data": dict,
    "model": dict,
    "optimizer": dict,
    "arithmetic": dict,
    "callbacks": list,
}
"""Of every checkpoint; later ones also have "network", "averages" and "loss"."""
_TIMES = "file_times"
"""The entry of `batches.config` that may change without other content."""


def check_facts(path: pathlib.Path, facts: Any) -> None:
    """Raise DamagedCheckpointError unless all fields are there, of their types, and the step is the file's."""
    facts = facts if isinstance(facts, Mapping) else {}
    if missing := [name for name in _FIELDS if name not in facts]:
        raise DamagedCheckpointError(path, f"expected the fields {', '.join(_FIELDS)}. Received: none of {missing}")
    for name, kind in _FIELDS.items():
        if not isinstance(facts[name], kind) or isinstance(facts[name], bool):
            raise DamagedCheckpointError(path, f"expected another kind of `{name}`. Received: {facts[name]!r}")
    if not all(isinstance(entry, dict) and {"class", "state"} <= set(entry) for entry in facts["callbacks"]):
        raise DamagedCheckpointError(path, "expected `callbacks` with `class` and `state` each. Received: another")
    number = re.search(r"step-(\d+)", path.name)
    if number and int(number[1]) != facts["step"]:
        raise DamagedCheckpointError(path, f"expected the step of its name. Received: `step` {facts['step']}")


def check_place(path: pathlib.Path, facts: Mapping[str, Any], steps_per_epoch: int) -> None:
    """Raise DamagedCheckpointError where step, epoch and batch contradict each other."""
    step, epoch, batch = facts["step"], facts["epoch"], facts["batch"]
    if min(epoch, batch) < 0 or batch >= steps_per_epoch or step != epoch * steps_per_epoch + batch:
        raise DamagedCheckpointError(
            path,
            f"expected step = {steps_per_epoch} epoch + batch. Received: step {step}, epoch {epoch}, batch {batch}",
        )


def check_data(path: pathlib.Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Raise ValueError where the batches are others than those of a checkpoint; returns what to warn of.

    What an earlier version did not save is not compared.
    """
    changed = differences(
        "", {**saved, _TIMES: None}, {**{name: now.get(name) for name in saved}, _TIMES: None}, strict=True
    )
    if changed:
        before, after = (", ".join(f"{name}={_at(side, name)!r}" for name in changed) for side in (saved, now))
        hint = "; sha256 tells other files or labels" if any("sha256" in name for name in changed) else ""
        raise ValueError(f"`batches`: expected those of {path}, with {before}. Received: {after}{hint}")
    if _TIMES in saved and saved[_TIMES] != now.get(_TIMES):
        return ["the files were written anew since, with the same sizes and, where compared, the same bytes"]
    return []


def comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """A model's configuration without its name, which counts up in a process, and without its network."""
    return {name: value for name, value in json.loads(json.dumps(config)).items() if name not in ("name", "denoiser")}


def network_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings in which two serialized models' denoisers differ, names of layers aside."""
    networks = (side["config"].get("denoiser", {}) for side in (before, now))
    return differences("denoiser", *map(_numbered, networks))


def differences(path: str, before: Any, now: Any, *, strict: bool = False) -> list[str]:
    """The names of entries in which two configurations differ; entries of one alone count if `strict`."""
    if isinstance(before, dict) and isinstance(now, dict):
        names = [n for n in {**before, **now} if n not in ("name", "shared_object_id")]
        names = [n for n in names if strict or (n in before and n in now)]
        pairs = [(f"{path}.{n}", before.get(n), now.get(n)) for n in names]
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = [(f"{path}.{index}", *pair) for index, pair in enumerate(zip(before, now, strict=True))]
    else:
        return [] if before == now else [path.lstrip(".") or "all of it"]
    return [found for pair in pairs for found in differences(*pair, strict=strict)]


def _at(config: Any, path: str) -> Any:
    for name in path.split("."):
        config = config[int(name)] if isinstance(config, list) else (config or {}).get(name)
    return config


def _numbered(network: Any) -> Any:
    """A serialized network whose layers are named by their order, for Keras numbers them through in a process."""
    numbers: dict[str, str] = {}

    def find(value: Any) -> None:
        if isinstance(value, dict) and isinstance(value.get("name"), str):
            numbers.setdefault(value["name"], f"layer {len(numbers)}")
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            find(item)

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: rename(item) for key, item in value.items()}
        if isinstance(value, list):
            return [rename(item) for item in value]
        return numbers.get(value, value) if isinstance(value, str) else value

    find(network)
    return rename(network)
