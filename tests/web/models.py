"""What the tests of pages share: specs, and a folder that looks like npm's onnxruntime-web."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from kvdiff.diffusion import ClipSpec, ModelSpec, NoiseSchedule, Prediction
from kvdiff.web import ORT_WEB_VERSION, ort_web

SPEC = ModelSpec(ClipSpec(4, 8, 8, 1), NoiseSchedule.from_config({"name": "cosine"}), Prediction("v"))


def npm_folder(folder: Path, *, version: str = ORT_WEB_VERSION, name: str = "onnxruntime-web") -> Path:
    """A folder with files of the right names and other content."""
    (folder / "dist").mkdir(parents=True)
    (folder / "package.json").write_text(json.dumps({"name": name, "version": version}))
    for files in ort_web._FILES.values():
        for file in files:
            (folder / "dist" / file).write_text(f"// {file}")
    return folder


def digests_of(folder: Path) -> Mapping[str, Mapping[str, str]]:
    """The table of digests that such a folder agrees with."""
    return {
        on: {file: hashlib.sha256((folder / "dist" / file).read_bytes()).hexdigest() for file in files}
        for on, files in ort_web._FILES.items()
    }
