"""Video diffusion for Keras: train on your own clips, then generate, predict and interpolate anywhere.

The names below load on first use, so `import kvdiff` needs neither TensorFlow nor Keras.
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING

from kvdiff.system import __version__ as __version__
from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff import (
        data as data,
        diffusion as diffusion,
        evaluation as evaluation,
        export as export,
        fields as fields,
        layers as layers,
        models as models,
        runtime as runtime,
        training as training,
    )
    from kvdiff.diffusion import (
        KnownFrames as KnownFrames,
        ModelSpec as ModelSpec,
        NoiseSchedule as NoiseSchedule,
        Prediction as Prediction,
        Sampler as Sampler,
        StepTable as StepTable,
        step_table as step_table,
    )
    from kvdiff.models.diffusers_autoencoder import load_diffusers_autoencoder as load_diffusers_autoencoder
    from kvdiff.models.factorised_unet3d import FactorisedUNet3D as FactorisedUNet3D
    from kvdiff.models.frame_autoencoder import FrameAutoencoder as FrameAutoencoder
    from kvdiff.models.loading import load_autoencoder as load_autoencoder, load_model as load_model
    from kvdiff.models.preset_card import PresetCard as PresetCard
    from kvdiff.models.preset_folder import presets as presets
    from kvdiff.models.torch_weights import load_torch_weights as load_torch_weights
    from kvdiff.models.unet3d import UNet3D as UNet3D
    from kvdiff.models.video_autoencoder import VideoAutoencoder as VideoAutoencoder
    from kvdiff.models.video_diffusion import VideoDiffusion as VideoDiffusion
    from kvdiff.models.video_transformer import VideoTransformer as VideoTransformer

_HOMES = {
    "FactorisedUNet3D": "models.factorised_unet3d",
    "FrameAutoencoder": "models.frame_autoencoder",
    "KnownFrames": "diffusion",
    "ModelSpec": "diffusion",
    "NoiseSchedule": "diffusion",
    "Prediction": "diffusion",
    "PresetCard": "models.preset_card",
    "Sampler": "diffusion",
    "StepTable": "diffusion",
    "UNet3D": "models.unet3d",
    "VideoAutoencoder": "models.video_autoencoder",
    "VideoDiffusion": "models.video_diffusion",
    "VideoTransformer": "models.video_transformer",
    "load_autoencoder": "models.loading",
    "load_diffusers_autoencoder": "models.diffusers_autoencoder",
    "load_model": "models.loading",
    "load_torch_weights": "models.torch_weights",
    "presets": "models.preset_folder",
    "step_table": "diffusion",
    **dict.fromkeys(
        ["data", "diffusion", "evaluation", "export", "fields", "layers", "models", "runtime", "training"], ""
    ),
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazily(__name__, _HOMES)

if _sys.modules.get("keras"):  # `keras.saving.load_model` finds the classes of a file among those that are loaded.
    from kvdiff.models.preset_verbs import load_classes as _load_classes

    _load_classes()
