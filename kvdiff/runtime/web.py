"""The folder of a page in the browser, opened in Python: the graph that the page runs."""

from __future__ import annotations

import dataclasses
from typing import Any

from kvdiff.runtime.format import Format
from kvdiff.runtime.manifest import Artefact
from kvdiff.runtime.ort_sampler import ONNX_SAMPLER, FusedOrtEngine


def web_engine(artefact: Artefact, **options: Any) -> FusedOrtEngine:
    """The engine of the page's graph, by ONNX Runtime; options as of `FusedOrtEngine`."""
    graph = dataclasses.replace(artefact, path=artefact.path / ONNX_SAMPLER.file)
    return FusedOrtEngine(graph, **options)


WEB = Format(
    name="web",
    kind="web",
    file="index.html",
    precisions=("float32",),
    package="onnxruntime",
    engine=web_engine,
    export="kvdiff.export.web:export_web",
    operators="kvdiff.export.operators:of_web",
    folder="web",
)
