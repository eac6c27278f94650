"""What is exported in a folder, and the sampler that runs it."""

from __future__ import annotations

import os
import pathlib

from kvdiff.diffusion.sampling.sampler import ClipSampler
from kvdiff.runtime import litert, ort, ort_sampler, saved_model
from kvdiff.runtime.manifest import ArtefactError, artefact_kind, manifest_path

__all__ = ["find_artefacts", "open_sampler"]

_SAMPLERS: dict[str, type[ClipSampler]] = {
    ort.KIND: ort.OrtSampler,
    ort_sampler.KIND: ort_sampler.FusedOrtSampler,
    litert.KIND: litert.LiteRtSampler,
    saved_model.KIND: saved_model.SavedModelSampler,
}


def find_artefacts(run: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The exported files in the folder `run`, and the newest version of each SavedModel, by name."""
    run, suffix = pathlib.Path(run), ".manifest.json"
    files = [path.with_name(path.name.removesuffix(suffix)) for path in run.glob(f"*{suffix}")]
    newest = [saved_model.newest_version(folder) for folder in run.glob("*") if folder.is_dir()]
    return sorted([*files, *(folder for folder in newest if manifest_path(folder).is_file())])


def open_sampler(path: str | os.PathLike[str]) -> ClipSampler:
    """The sampler of an exported file, or of a SavedModel's version, whatever its format.

    Raises:
        ArtefactError: a missing, foreign or changed file.
        ImportError: the runtime of this format is not installed.
    """
    path = pathlib.Path(path)
    kind = artefact_kind(path)
    if kind not in _SAMPLERS:
        raise ArtefactError(path, f"which is a {kind!r}; kvdiff runs {sorted(_SAMPLERS)}")
    sampler: ClipSampler = _SAMPLERS[kind](path)  # type: ignore[call-arg, arg-type]
    return sampler
