"""The networks, and the Keras model that trains one and samples with it.

The names below load on first use, so that importing the room imports no Keras.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from kvdiff.system.lazy import lazily

if TYPE_CHECKING:
    from kvdiff.models.denoiser import DenoiserContract as DenoiserContract, condition_inputs as condition_inputs
    from kvdiff.models.diffusers_autoencoder import load_diffusers_autoencoder as load_diffusers_autoencoder
    from kvdiff.models.factorised_unet3d import FactorisedUNet3D as FactorisedUNet3D
    from kvdiff.models.frame_autoencoder import FrameAutoencoder as FrameAutoencoder
    from kvdiff.models.loading import load_autoencoder as load_autoencoder, load_model as load_model
    from kvdiff.models.preset_card import PresetCard as PresetCard
    from kvdiff.models.preset_folder import Preset as Preset, presets as presets
    from kvdiff.models.recipes import Recipe as Recipe, recipe_named as recipe_named
    from kvdiff.models.torch_weights import load_torch_weights as load_torch_weights
    from kvdiff.models.unet3d import UNet3D as UNet3D
    from kvdiff.models.video_autoencoder import VideoAutoencoder as VideoAutoencoder
    from kvdiff.models.video_diffusion import VideoDiffusion as VideoDiffusion
    from kvdiff.models.video_transformer import VideoTransformer as VideoTransformer

_HOMES = {
    "DenoiserContract": "denoiser",
    "FactorisedUNet3D": "factorised_unet3d",
    "FrameAutoencoder": "frame_autoencoder",
    "Preset": "preset_folder",
    "PresetCard": "preset_card",
    "Recipe": "recipes",
    "UNet3D": "unet3d",
    "VideoAutoencoder": "video_autoencoder",
    "VideoDiffusion": "video_diffusion",
    "VideoTransformer": "video_transformer",
    "condition_inputs": "denoiser",
    "load_autoencoder": "loading",
    "load_diffusers_autoencoder": "diffusers_autoencoder",
    "load_model": "loading",
    "load_torch_weights": "torch_weights",
    "presets": "preset_folder",
    "recipe_named": "recipes",
}

__all__ = list(_HOMES)

__getattr__, __dir__ = lazily(__name__, _HOMES)
