"""What the runtime's tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from kvdiff.runtime.manifest import METADATA, canonical_json
from tests.runtime.handmade import SAMPLER, make_graph, write_artefact


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    """The path of a sound `denoiser.onnx`."""
    return write_artefact(tmp_path, make_graph({METADATA: canonical_json(SAMPLER)}))
