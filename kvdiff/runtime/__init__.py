"""Sampling exported models where neither TensorFlow nor Keras is installed: NumPy and one runtime."""

from kvdiff.runtime.litert import LiteRtSampler
from kvdiff.runtime.manifest import ArtefactError
from kvdiff.runtime.opening import find_artefacts, open_sampler
from kvdiff.runtime.ort import OrtSampler
from kvdiff.runtime.ort_sampler import FusedOrtSampler
from kvdiff.runtime.providers import CPU, cuda, tensorrt
from kvdiff.runtime.saved_model import SavedModelSampler

__all__ = [
    "CPU",
    "ArtefactError",
    "FusedOrtSampler",
    "LiteRtSampler",
    "OrtSampler",
    "SavedModelSampler",
    "cuda",
    "find_artefacts",
    "open_sampler",
    "tensorrt",
]
