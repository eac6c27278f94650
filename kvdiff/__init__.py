"""Video diffusion for Keras: train on your own clips, then generate, predict and interpolate anywhere.

The names below load on first use, so `import kvdiff` needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvdiff.system import __version__ as __version__
from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff import data, diffusion, evaluation, export, layers, models, runtime, training
    from kvdiff.diffusion import KnownFrames, ModelSpec, NoiseSchedule, Prediction, Sampler, StepTable, step_table
    from kvdiff.models.factorised_unet3d import FactorisedUNet3D
    from kvdiff.models.loading import load_model
    from kvdiff.models.torch_weights import load_torch_weights
    from kvdiff.models.unet3d import UNet3D
    from kvdiff.models.video_diffusion import VideoDiffusion

_HOMES = {
    "FactorisedUNet3D": "models.factorised_unet3d",
    "KnownFrames": "diffusion",
    "ModelSpec": "diffusion",
    "NoiseSchedule": "diffusion",
    "Prediction": "diffusion",
    "Sampler": "diffusion",
    "StepTable": "diffusion",
    "UNet3D": "models.unet3d",
    "VideoDiffusion": "models.video_diffusion",
    "load_model": "models.loading",
    "load_torch_weights": "models.torch_weights",
    "step_table": "diffusion",
    **dict.fromkeys(["data", "diffusion", "evaluation", "export", "layers", "models", "runtime", "training"], ""),
}

__all__ = [
    "FactorisedUNet3D",
    "KnownFrames",
    "ModelSpec",
    "NoiseSchedule",
    "Prediction",
    "Sampler",
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

__getattr__, __dir__ = lazily(__name__, _HOMES)
