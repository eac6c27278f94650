"""Damage done to artefacts, for the tests of every format."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kvdiff.runtime import ArtefactError
from kvdiff.runtime.manifest import manifest_path


def assert_damage_is_refused(file: Path, folder: Path, load: Callable[[Path], object], flips: int = 200) -> None:
    """Flip single bytes of a copy of the model file and of its manifest, and cut both off: each must be refused."""
    rng = np.random.default_rng(5)
    copies = [Path(shutil.copy(path, folder)) for path in (file, manifest_path(file))]
    load(copies[0])
    for damaged in copies:
        payload = damaged.read_bytes()
        for position, flip in zip(rng.integers(0, len(payload), flips), rng.integers(1, 256, flips), strict=True):
            changed = bytearray(payload)
            changed[position] ^= int(flip)
            if not same_json(damaged, bytes(changed), payload):
                assert_refused(damaged, bytes(changed), copies[0], load)
        for length in (0, 1, *rng.integers(2, len(payload) - 2, 8), len(payload) - 2):
            assert_refused(damaged, payload[:length], copies[0], load)
        damaged.write_bytes(payload)
    load(copies[0])


def same_json(path: Path, changed: bytes, payload: bytes) -> bool:
    """Whether a manifest still says the same, e.g. 1E-05 for 1e-05, which is no damage."""
    if path.suffix != ".json":
        return False
    try:
        return bool(json.loads(changed) == json.loads(payload))
    except ValueError:
        return False


def assert_refused(damaged: Path, content: bytes, file: Path, load: Callable[[Path], object]) -> None:
    damaged.write_bytes(content)
    before = {path.name for path in file.parent.iterdir()}
    with pytest.raises(ArtefactError, match="expected a model exported by kvdiff. Received: "):
        load(file)
    assert {path.name for path in file.parent.iterdir()} == before
