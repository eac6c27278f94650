"""Stable Diffusion's autoencoders are diffusers', on random weights, from the files that diffusers writes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import kvdiff

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
diffusers = pytest.importorskip("diffusers", reason="needs diffusers: pip install diffusers")

TOLERANCE = 1e-4
KL = dict(block_out_channels=(8, 16), down_block_types=("DownEncoderBlock2D",) * 2, norm_num_groups=4)
KL |= dict(up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=2, latent_channels=4, scaling_factor=0.18215)
DEEP = {**KL, "block_out_channels": (8, 8, 16), "use_quant_conv": False, "use_post_quant_conv": False}
DEEP |= dict(down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3, shift_factor=0.1)
TINY = dict(encoder_block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8), latent_channels=4)
CASES = {
    "AutoencoderKL": (diffusers.AutoencoderKL, KL, 2),
    "AutoencoderKL, deep": (diffusers.AutoencoderKL, DEEP, 4),
    "AutoencoderTiny": (diffusers.AutoencoderTiny, TINY, 8),
}


@pytest.fixture(params=CASES)
def pair(request, tmp_path):
    """(diffusers' module with random weights, ours opened from its files, factor)."""
    kind, options, factor = CASES[request.param]
    torch.manual_seed(0)
    peer = kind(**options).eval()
    with torch.no_grad():
        for parameter in peer.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    peer.save_pretrained(tmp_path, safe_serialization=True)
    ours = kvdiff.load_diffusers_autoencoder(tmp_path / "diffusion_pytorch_model.safetensors")
    return peer, ours, factor


def pictures(clip: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.moveaxis(clip.reshape(-1, *clip.shape[2:]), -1, 1).copy())


def clips(pictures: torch.Tensor, like: np.ndarray) -> np.ndarray:
    return np.moveaxis(pictures.numpy(), 1, -1).reshape(*like.shape[:2], *pictures.shape[2:], pictures.shape[1])


def test_both_sides_are_diffusers(pair, rng):
    peer, ours, factor = pair
    clip = rng.uniform(-1, 1, (2, 3, 24, 16, 3)).astype(np.float32)
    codec = ours.codec(clip.shape[2:])
    with torch.no_grad():
        encoded = peer.encode(pictures(clip))
        latent = encoded.latent_dist.mean if hasattr(encoded, "latent_dist") else encoded.latents
        decoded = peer.decode(latent).sample
    shift, scaling = peer.config.get("shift_factor") or 0.0, peer.config.scaling_factor
    standardised = (clips(latent, clip) - shift) * scaling
    found = codec.encode(clip)
    assert found.shape == (2, 3, 24 // factor, 16 // factor, 4) and codec.factor == factor
    np.testing.assert_allclose(found, standardised, atol=TOLERANCE)
    np.testing.assert_allclose(codec.decode(standardised), clips(decoded, clip), atol=TOLERANCE)


def test_it_is_the_codec_of_a_model_and_is_saved_with_it(pair, rng, tmp_path):
    _, ours, _ = pair
    import keras

    noisy, label = keras.Input((None, None, None, 4), name="noisy_clip"), keras.Input((None,), name="noise_label")
    denoiser = keras.Model({"noisy_clip": noisy, "noise_label": label}, keras.layers.Dense(4)(noisy))
    model = kvdiff.VideoDiffusion((2, 16, 16, 3), denoiser, codec=ours)
    clip = rng.uniform(-1, 1, (1, 1, 16, 16, 3)).astype(np.float32)
    made = model.predict_frames(clip, num_steps=2)
    model.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_frames(clip, num_steps=2), made)


def test_other_files_and_codecs_that_compress_time_are_refused(pair, tmp_path):
    assert pair
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    config = json.loads((tmp_path / "config.json").read_text())
    for wrong in (dict(_class_name="AutoencoderKLCogVideoX"), dict(temporal_compression_ratio=4)):
        with pytest.raises(ValueError, match="which compresses time or looks at it"):
            kvdiff.load_diffusers_autoencoder(path, {**config, **wrong})
    with pytest.raises(ValueError, match="expected one of"):
        kvdiff.load_diffusers_autoencoder(path, {**config, "_class_name": "VQModel"})
    with pytest.raises(ValueError, match="expected|divi"):
        kvdiff.load_diffusers_autoencoder(path, {**config, "latent_channels": 5})
    path.write_bytes(b"no safetensors")
    with pytest.raises(ValueError, match="expected a safetensors file"):
        kvdiff.load_diffusers_autoencoder(path, config)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match="expected diffusers' config.json beside"):
        kvdiff.load_diffusers_autoencoder(path)
