"""Sampling exported models where neither TensorFlow nor Keras is installed: NumPy and one runtime."""

from kvdiff.runtime.litert import LiteRtSampler
from kvdiff.runtime.manifest import ArtefactError
from kvdiff.runtime.ort import OrtSampler
from kvdiff.runtime.ort_sampler import FusedOrtSampler

__all__ = ["ArtefactError", "FusedOrtSampler", "LiteRtSampler", "OrtSampler"]
