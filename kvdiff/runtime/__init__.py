"""Sampling exported models where neither TensorFlow nor Keras is installed: NumPy and one runtime."""

from kvdiff.runtime.format import Format
from kvdiff.runtime.litert import LiteRtEngine
from kvdiff.runtime.manifest import ArtefactError
from kvdiff.runtime.opening import (
    FORMATS,
    FusedOrtSampler,
    LiteRtSampler,
    OrtSampler,
    SavedModelSampler,
    find_artefacts,
    open_sampler,
)
from kvdiff.runtime.ort import OrtEngine
from kvdiff.runtime.ort_sampler import FusedOrtEngine
from kvdiff.runtime.providers import CPU, cuda, tensorrt
from kvdiff.runtime.saved_model import SavedModelEngine

__all__ = [
    "CPU",
    "FORMATS",
    "ArtefactError",
    "Format",
    "FusedOrtEngine",
    "FusedOrtSampler",
    "LiteRtEngine",
    "LiteRtSampler",
    "OrtEngine",
    "OrtSampler",
    "SavedModelEngine",
    "SavedModelSampler",
    "cuda",
    "find_artefacts",
    "open_sampler",
    "tensorrt",
]
