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
    from kvdiff.models.diffusers_autoencoder import load_diffusers_autoencoder
    from kvdiff.models.factorised_unet3d import FactorisedUNet3D
    from kvdiff.models.frame_autoencoder import FrameAutoencoder
    from kvdiff.models.loading import load_autoencoder, load_model
    from kvdiff.models.torch_weights import load_torch_weights
    from kvdiff.models.unet3d import UNet3D
    from kvdiff.models.video_autoencoder import VideoAutoencoder
    from kvdiff.models.video_diffusion import VideoDiffusion

_HOMES = {
    "FactorisedUNet3D": "models.factorised_unet3d",
    "FrameAutoencoder": "models.frame_autoencoder",
    "KnownFrames": "diffusion",
    "ModelSpec": "diffusion",
    "NoiseSchedule": "diffusion",
    "Prediction": "diffusion",
    "Sampler": "diffusion",
    "StepTable": "diffusion",
    "UNet3D": "models.unet3d",
    "VideoAutoencoder": "models.video_autoencoder",
    "VideoDiffusion": "models.video_diffusion",
    "load_autoencoder": "models.loading",
    "load_diffusers_autoencoder": "models.diffusers_autoencoder",
    "load_model": "models.loading",
    "load_torch_weights": "models.torch_weights",
    "step_table": "diffusion",
    **dict.fromkeys(["data", "diffusion", "evaluation", "export", "layers", "models", "runtime", "training"], ""),
}

__all__ = [
    "FactorisedUNet3D",
    "FrameAutoencoder",
    "KnownFrames",
    "ModelSpec",
    "NoiseSchedule",
    "Prediction",
    "Sampler",
    "StepTable",
    "UNet3D",
    "VideoAutoencoder",
    "VideoDiffusion",
    "data",
    "diffusion",
    "evaluation",
    "export",
    "layers",
    "load_autoencoder",
    "load_diffusers_autoencoder",
    "load_model",
    "load_torch_weights",
    "models",
    "runtime",
    "step_table",
    "training",
]

__getattr__, __dir__ = lazily(__name__, _HOMES)
