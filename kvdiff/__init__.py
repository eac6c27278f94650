"""Video diffusion for Keras: train on your own clips, then generate, predict and interpolate anywhere.

The names below load on first use, so `import kvdiff` needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvdiff import data, diffusion, evaluation, export, layers, models, runtime, training
    from kvdiff.diffusion import KnownFrames, NoiseSchedule, Prediction, StepTable, step_table
    from kvdiff.models.factorised_unet3d import FactorisedUNet3D
    from kvdiff.models.loading import load_model
    from kvdiff.models.torch_weights import load_torch_weights
    from kvdiff.models.unet3d import UNet3D
    from kvdiff.models.video_diffusion import VideoDiffusion

__version__ = "0.1.0"

_HOMES = {
    "FactorisedUNet3D": "kvdiff.models.factorised_unet3d",
    "KnownFrames": "kvdiff.diffusion",
    "NoiseSchedule": "kvdiff.diffusion",
    "Prediction": "kvdiff.diffusion",
    "StepTable": "kvdiff.diffusion",
    "step_table": "kvdiff.diffusion",
    "UNet3D": "kvdiff.models.unet3d",
    "load_model": "kvdiff.models.loading",
    "load_torch_weights": "kvdiff.models.torch_weights",
    "VideoDiffusion": "kvdiff.models.video_diffusion",
}
_ROOMS = ("data", "diffusion", "evaluation", "export", "layers", "models", "runtime", "training")

__all__ = [
    "FactorisedUNet3D",
    "KnownFrames",
    "NoiseSchedule",
    "Prediction",
    "StepTable",
    "UNet3D",
    "VideoDiffusion",
    "data",
    "diffusion",
    "evaluation",
    "export",
    "layers",
    "load_model",
    "load_torch_weights",
    "models",
    "runtime",
    "step_table",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"kvdiff.{name}")
    else:
        raise AttributeError(f"module 'kvdiff' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
