"""The main job from end to end on real handwritten digits: train, export, sample with ONNX Runtime, report."""

from kvdiff.demo.run import run_demo

__all__ = ["run_demo"]
