"""Sampling exported models where neither TensorFlow nor Keras is installed: NumPy and one runtime."""

from kvdiff.runtime.manifest import ArtefactError
from kvdiff.runtime.ort import OrtSampler

__all__ = ["ArtefactError", "OrtSampler"]
