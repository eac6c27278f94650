"""Exports: one function a format. TensorFlow, Keras and the converters load when a function is called."""

from kvdiff.export.by_name import export_model
from kvdiff.export.litert import export_litert
from kvdiff.export.onnx import export_onnx
from kvdiff.export.onnx_sampler import export_onnx_sampler
from kvdiff.export.parity import ParityError
from kvdiff.export.saved_model import export_saved_model
from kvdiff.export.verification import verify
from kvdiff.export.web import export_web

__all__ = [
    "ParityError",
    "export_litert",
    "export_model",
    "export_onnx",
    "export_onnx_sampler",
    "export_saved_model",
    "export_web",
    "verify",
]
