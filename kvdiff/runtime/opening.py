"""What is exported in a folder, and the sampler that runs it: the one way to open any of it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence
from typing import Any

from kvdiff.diffusion.checks import check_choice, check_kind, check_path, optional
from kvdiff.diffusion.sampling.sampler import Sampler
from kvdiff.runtime.codec_files import sampler_spec
from kvdiff.runtime.format import Format
from kvdiff.runtime.litert import LITERT
from kvdiff.runtime.manifest import (
    Artefact,
    ArtefactError,
    described,
    is_a,
    load_artefact,
    load_folder,
    manifest_path,
    shortened,
)
from kvdiff.runtime.ort import ONNX, Provider
from kvdiff.runtime.ort_sampler import ONNX_SAMPLER
from kvdiff.runtime.saved_model import SAVED_MODEL, newest_version
from kvdiff.runtime.web import WEB

FORMATS: dict[str, Format] = {each.name: each for each in (ONNX, LITERT, ONNX_SAMPLER, SAVED_MODEL, WEB)}
"""The formats by name; of several in a folder, the first that this machine can run is opened."""


def find_artefacts(run: str | os.PathLike[str]) -> list[pathlib.Path]:
    """The exported files in the folder `run`, and the newest version of each SavedModel, by name."""
    run, suffix = check_path("run", run), ".manifest.json"
    described_files = [path.with_name(path.name.removesuffix(suffix)) for path in run.glob(f"*{suffix}")]
    files = [path for path in described_files if path.exists()]
    newest = [newest_version(folder) for folder in (run, *run.glob("*")) if folder.is_dir()]
    return sorted({*files, *(folder for folder in newest if manifest_path(folder).is_file())})


def choose(
    path: str | os.PathLike[str], runtime: str | None = None, precision: str | None = None
) -> tuple[Format, pathlib.Path]:
    """The format and the path of what `open_sampler` opens.

    Raises:
        ArtefactError: nothing there that is asked for, or a file that is no export.
    """
    path = check_path("path", path)
    optional(check_kind, "precision", precision, str, "a name")
    optional(check_choice, "runtime", runtime, FORMATS)
    alone = is_a(path, os.path.isfile) or is_a(manifest_path(path), os.path.isfile)
    found, refused = [], list[ArtefactError]()
    for artefact in [path] if alone else find_artefacts(path) if is_a(path, os.path.isdir) else []:
        try:
            found.append((*_format_of(artefact), artefact))
        except ArtefactError as error:  # It hides nothing that lies beside it.
            refused.append(error)
    fits = [
        (each, its, artefact)
        for each, its, artefact in found
        if runtime in (None, each.name) and precision in (None, its)
    ]
    if not fits and refused:
        raise refused[0]
    if not fits:
        asked = " and ".join(
            f"{name} {value!r}" for name, value in (("runtime", runtime), ("precision", precision)) if value
        )
        there = ", ".join(f"{artefact.name} ({each.name}, {its})" for each, its, artefact in found) or "no export"
        raise ArtefactError(path, f"which holds {there}" + (f"; asked for: {asked}" if asked else ""))
    order = list(FORMATS.values())
    best = min(fits, key=lambda fit: (not fit[0].is_installed, fit[0].precisions.index(fit[1]), order.index(fit[0])))
    return best[0], best[2]


def _format_of(artefact: pathlib.Path) -> tuple[Format, str]:
    """The format and the precision of an artefact; raises ArtefactError for what this kvdiff does not run."""
    kinds = {each.kind: each for each in FORMATS.values()}
    kind, precision = described(artefact)
    if kind not in kinds:
        raise ArtefactError(artefact, f"which is a {shortened(kind)}; kvdiff runs {sorted(kinds)}")
    if precision not in kinds[kind].precisions:
        precisions = kinds[kind].precisions
        raise ArtefactError(artefact, f"whose precision is {shortened(precision)}; kvdiff runs {list(precisions)}")
    return kinds[kind], precision


def open_sampler(
    path: str | os.PathLike[str], *, runtime: str | None = None, precision: str | None = None, **options: Any
) -> Sampler:
    """The sampler of what was exported, whatever its format.

    Args:
        path: an exported file, a version of a SavedModel, or a folder of exports.
        runtime: "onnx", "litert", "onnx-sampler", "saved-model" or "web"; by default the first of these that is there
            and whose runtime is installed.
        precision: e.g. "float16"; by default float32 where it is there.
        **options: of the engine: `threads`, and of ONNX Runtime `providers` and `io_binding`.

    Raises:
        ArtefactError: a missing, foreign or changed file, or none as asked for.
        ImportError: the runtime of this format is not installed.
    """
    return _opened(*choose(path, runtime, precision), options)


def OrtSampler(
    path: str | os.PathLike[str],
    *,
    providers: Sequence[Provider] | None = None,
    threads: int | None = None,
    io_binding: bool | None = None,
) -> Sampler:
    """The sampler of `denoiser.onnx`, or of its folder; its manifest must lie beside it. See `OrtEngine`.

    ```python
    sampler = kvdiff.runtime.OrtSampler("saved_models/demo")
    future = sampler.predict_frames(past, num_steps=20, seed=1)
    ```
    """
    return _opened(ONNX, path, dict(providers=providers, threads=threads, io_binding=io_binding))


def FusedOrtSampler(
    path: str | os.PathLike[str], *, providers: Sequence[Provider] | None = None, threads: int | None = None
) -> Sampler:
    """The sampler of `sampler.onnx`, or of its folder; its manifest must lie beside it. See `FusedOrtEngine`."""
    return _opened(ONNX_SAMPLER, path, dict(providers=providers, threads=threads))


def LiteRtSampler(path: str | os.PathLike[str], *, threads: int | None = None) -> Sampler:
    """The sampler of `denoiser.tflite`, or of its folder; its manifest must lie beside it. See `LiteRtEngine`."""
    return _opened(LITERT, path, dict(threads=threads))


def SavedModelSampler(path: str | os.PathLike[str]) -> Sampler:
    """The sampler of a SavedModel's version, or of the newest in a folder of versions. See `SavedModelEngine`."""
    return _opened(SAVED_MODEL, path, {})


def _opened(form: Format, path: str | os.PathLike[str], options: dict[str, Any]) -> Sampler:
    artefact = _loaded(form, check_path("path", path))
    engine = form.engine(artefact, **options)
    return Sampler(sampler_spec(artefact, engine), engine)


def _loaded(form: Format, path: pathlib.Path) -> Artefact:
    if form.folder:
        return load_folder(newest_version(path), form.kind)
    return load_artefact(path, form.kind, form.file)
