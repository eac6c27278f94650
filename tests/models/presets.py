"""Small presets for tests: folders as `save_to_preset` writes them, with content that no network has."""

from __future__ import annotations

import json
from pathlib import Path

from kvdiff.models.preset_card import PresetCard
from kvdiff.models.preset_folder import CONFIG, METADATA, WEIGHTS, metadata_of

CARD = PresetCard(summary="Digits.", license="Apache-2.0")


def a_preset(folder: Path, config: str = "{}", weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    (folder / CONFIG).write_text(config)
    (folder / WEIGHTS).write_bytes(weights)
    return sealed(folder)


def sealed(folder: Path, **changes: object) -> Path:
    """`folder` with metadata for the files that it has now, with changes."""
    metadata = json.loads(metadata_of(folder, CARD, 7))
    (folder / METADATA).write_text(json.dumps({**metadata, **changes}))
    return folder
