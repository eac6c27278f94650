"""A preset as a folder: KerasHub's files, the digests that tie them together, and where the ones that ship lie."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import importlib.util
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.checks import built_from, check_kind, check_mapping, optional, received
from kvdiff.models.preset_card import PresetCard
from kvdiff.models.preset_hub import HUB, fetched
from kvdiff.runtime.manifest import file_record
from kvdiff.system.environment import versions

CONFIG, WEIGHTS, METADATA, README = "config.json", "model.weights.h5", "metadata.json", "README.md"
"""The files of a preset, under KerasHub's names."""
_FORMAT, _FORMAT_VERSION = "kvdiff-preset", 1
_MOST_BYTES = 2**26  # Of the files that are JSON.
_PACKAGE = "kvdiff_presets"  # The distribution keras-video-diffusion-presets.
_CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / "saved_models"  # Whose folder is what it is built from.


@dataclasses.dataclass(frozen=True)
class Preset:
    """Trained weights with their card, in a folder whose files are those that its `metadata.json` lists.

    Attributes:
        name: the folder's.
        folder: where it lies.
        card: what it says of itself.
        num_weights: how many numbers the weights are.
        digest: SHA-256 of `metadata.json`, which has those of the other files: 64 hexadecimal digits for all of it.
        files: size and SHA-256 of each, by name.
    """

    name: str
    folder: pathlib.Path
    card: PresetCard
    num_weights: int
    digest: str
    files: Mapping[str, Mapping[str, Any]] = dataclasses.field(repr=False)

    def check_files(self) -> None:
        """Raise ValueError unless every file is there, and is the one that was saved."""
        for name, expected in self.files.items():
            path = self.folder / name
            if not path.is_file():
                raise ValueError(f"`preset`: expected {name} in {self.folder}. Received: no such file")
            size = path.stat().st_size
            found = file_record(path) if size == expected["bytes"] else {"bytes": size}
            if found != expected:
                raise ValueError(
                    f"`preset`: expected {path} as it was saved, {dict(expected)}. Received: another file, {found}"
                )


def presets() -> dict[str, Preset]:
    """The presets that ship, by name; no network is asked.

    ```python
    for name, preset in kvdiff.presets().items():
        print(name, preset.num_weights, preset.card.summary)
    ```

    `pip install "keras-video-diffusion[demo]"` brings them, in the package keras-video-diffusion-presets; a checkout
    has them in `saved_models`.
    """
    found: dict[str, Preset] = {}
    for place in _places():
        for path in sorted(place.glob(f"*/{METADATA}")):
            found.setdefault(path.parent.name, read_preset(path.parent))
    return found


def found_preset(preset: str | os.PathLike[str], digest: str | None = None) -> Preset:
    """A preset by its name, by its folder, or on a hub; its files are those that its metadata lists.

    Args:
        preset: a name of `presets()`, a folder, or "hf://owner/repository@commit".
        digest: what `Preset.digest` must be.

    Raises:
        TypeError, ValueError: a name, folder, commit or digest that is none, or files that have changed.
        ImportError: a hub without the package for it.
        OSError: the hub cannot be reached, or has no such files.
    """
    if not isinstance(preset, (str, os.PathLike)):
        raise TypeError(f"`preset`: expected a name, a folder or hf://owner/repository@commit. Received: {preset!r}")
    optional(check_kind, "digest", digest, str, "64 hexadecimal digits")
    if str(preset).startswith(HUB):
        folder = fetched(str(preset), METADATA)
        found = _with_digest(read_preset(folder), digest)
        fetched(str(preset), *found.files)  # Not before: what is not wanted is not downloaded.
    else:
        found = _with_digest(_at_hand(preset), digest)
    found.check_files()
    return found


def is_preset(folder: pathlib.Path) -> bool:
    """Whether a folder has the files of a preset, whatever is in them."""
    return all((folder / name).is_file() for name in (CONFIG, WEIGHTS, METADATA))


def read_preset(folder: pathlib.Path) -> Preset:
    """What a folder's `metadata.json` says.

    Raises:
        ValueError: there is none, or it is not one of a preset.
    """
    path = folder / METADATA
    if not path.is_file():
        raise ValueError(f"`preset`: expected a folder with {METADATA}, as `save_to_preset` writes. Received: {folder}")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"`preset`: expected at most {_MOST_BYTES} bytes. Received: {path}, which is larger")
    content = path.read_bytes()
    try:
        metadata = check_mapping("metadata", json.loads(content))
        kind = metadata.get("format"), metadata.get("format_version")
        if kind != (_FORMAT, _FORMAT_VERSION):
            raise ValueError(f"expected {_FORMAT} version {_FORMAT_VERSION}, not {kind[0]} version {kind[1]}")
        files = check_mapping("files", metadata["files"], Mapping, "sizes and digests")
        if set(files) != {CONFIG, WEIGHTS} or any(set(record) != {"bytes", "sha256"} for record in files.values()):
            raise ValueError(
                f"`files`: expected bytes and sha256 of {CONFIG} and {WEIGHTS}. Received: {received(files)}"
            )
        card = built_from("card", metadata["card"], PresetCard)
        count = int(metadata["parameter_count"])
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"`preset`: expected the metadata of a preset. Received: {path} ({error})") from error
    return Preset(folder.resolve().name, folder, card, count, hashlib.sha256(content).hexdigest(), files)


def metadata_of(folder: pathlib.Path, card: PresetCard, num_weights: int) -> str:
    """The content of `metadata.json` for a folder that has configuration and weights: KerasHub's fields and more."""
    made = versions(["keras"])
    metadata = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        **{f"{name}_version": made[name] for name in ("keras", "kvdiff")},
        "parameter_count": num_weights,
        "date_saved": datetime.datetime.now().strftime("%Y-%m-%d@%H:%M:%S"),
        "card": card.config,
        "files": {name: file_record(folder / name) for name in (CONFIG, WEIGHTS)},
    }
    return json.dumps(metadata, indent=2, ensure_ascii=False) + "\n"


def _places() -> list[pathlib.Path]:
    """The folders of presets that ship: a checkout's, and those of the package that has them."""
    spec = importlib.util.find_spec(_PACKAGE)
    installed = [pathlib.Path(place) for place in (spec and spec.submodule_search_locations) or ()]
    return [*([_CHECKOUT] if (_CHECKOUT / "pyproject.toml").is_file() else []), *installed]


def _at_hand(preset: str | os.PathLike[str]) -> Preset:
    """A preset on this machine: one that ships by its name, as in KerasHub, before a folder called so."""
    shipped = presets() if isinstance(preset, str) else {}
    if preset in shipped:
        return shipped[str(preset)]
    folder = pathlib.Path(preset)
    if folder.is_dir():
        return read_preset(folder)
    names = str(sorted(shipped)) if shipped else 'none here; pip install "keras-video-diffusion[demo]" brings some'
    raise ValueError(
        f"`preset`: expected the name of one that ships ({names}), the folder of one, or "
        f"{HUB}owner/repository@commit. Received: {str(preset)!r}"
    )


def _with_digest(found: Preset, digest: str | None) -> Preset:
    if digest is not None and found.digest != digest.lower():
        raise ValueError(f"`digest`: expected that of {found.folder}, {found.digest}. Received: {digest!r}")
    return found
