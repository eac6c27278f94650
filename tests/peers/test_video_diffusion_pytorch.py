"""Parity with video-diffusion-pytorch (pip install --no-deps video-diffusion-pytorch), its network and its weights.

Keras computes with PyTorch here, so both sides are in one process.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from kvdiff.diffusion import schedules
from tests.models import peer_network
from tests.models.peer_network import CASES, CHANNELS, HEADS, MULTIPLIERS, WIDTH, Case

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install torch")
for module in ("einops", "einops_exts", "rotary_embedding_torch", "safetensors"):
    pytest.importorskip(module, reason=f"video-diffusion-pytorch needs it: pip install {module}")
if importlib.util.find_spec("video_diffusion_pytorch") is None:
    pytest.skip("needs the peer: pip install --no-deps video-diffusion-pytorch", allow_module_level=True)
os.environ.setdefault("KERAS_BACKEND", "torch")  # Before Keras is imported for the first time.
keras = pytest.importorskip("keras", reason="needs Keras: pip install keras")
if keras.backend.backend() != "torch":
    pytest.skip("needs KERAS_BACKEND=torch", allow_module_level=True)

from safetensors.torch import save_file, save_model  # noqa: E402

import kvdiff  # noqa: E402
from kvdiff.diffusion.conditions.kinds import ClipVector  # noqa: E402
from tests.peers import video_diffusion_pytorch as peer  # noqa: E402


def ours(case: Case, path: Path) -> keras.Model:
    """Our network with the weights of a file."""
    conditions = {"vector": ClipVector(case.condition)} if case.condition else None
    denoiser = kvdiff.FactorisedUNet3D(
        CHANNELS, width=WIDTH, multipliers=MULTIPLIERS, heads=HEADS, conditions=conditions
    )
    kvdiff.load_torch_weights(denoiser, path)
    return denoiser


@pytest.mark.parametrize("name", CASES)
def test_the_committed_answers_are_the_peers(name: str) -> None:
    case = CASES[name]
    assert peer_network.shapes(case) == peer.shapes(peer.network(case.condition))
    np.testing.assert_allclose(peer_network.answer(name), peer.answer(case), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_answers_and_gradients_with_the_peers_weights(name: str, tmp_path: Path) -> None:
    """Gradients of every weight, through the peer's names: those of our weights go through `load_torch_weights`."""
    case = CASES[name]
    unet = peer.network(case.condition)
    save_model(unet, tmp_path / "unet.safetensors")
    theirs = peer.called(unet, case).permute(0, 2, 3, 4, 1)
    upstream = torch.from_numpy(peer_network.normal("upstream", *theirs.shape))
    (theirs * upstream).sum().backward()

    denoiser = ours(case, tmp_path / "unet.safetensors")
    found = denoiser({k: torch.from_numpy(v) for k, v in peer_network.our_inputs(case).items()})
    np.testing.assert_allclose(found.detach().numpy(), theirs.detach().numpy(), rtol=0, atol=5e-5)
    (found * upstream).sum().backward()

    gradients = {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in unet.named_parameters()}
    save_file({n: g.clone() for n, g in gradients.items() if "rotary" not in n}, tmp_path / "gradients.safetensors")
    expected = ours(case, tmp_path / "gradients.safetensors")
    for weight, wanted in zip(denoiser.trainable_variables, expected.trainable_variables, strict=True):
        grad, wanted = weight.value.grad, wanted.value.detach()
        grad = torch.zeros_like(wanted) if grad is None else grad
        share = (grad - wanted).abs().max() / max(wanted.abs().max().item(), 1e-2)
        assert share < 1e-4, (weight.path, share)


def test_random_weights_of_the_peers_own_default(tmp_path: Path) -> None:
    """As the peer starts, four levels, eight heads; a whole GaussianDiffusion's checkpoint as its Trainer saves it."""
    package = peer.import_peer()
    torch.manual_seed(0)
    unet = package.Unet3D(8)
    diffusion = package.GaussianDiffusion(unet, image_size=16, num_frames=3)
    torch.save({"step": 1, "ema": diffusion.state_dict()}, tmp_path / "model-1.pt")
    state = torch.load(tmp_path / "model-1.pt", weights_only=True)["ema"]
    save_file({name: value.clone() for name, value in state.items()}, tmp_path / "model.safetensors")
    denoiser = kvdiff.FactorisedUNet3D(3, width=8)
    kvdiff.load_torch_weights(denoiser, tmp_path / "model.safetensors")
    clip = torch.from_numpy(peer_network.normal("default", 1, 3, 16, 16, 3))
    label = peer_network.our_inputs(CASES["plain"])["noise_label"][1:, :3]
    with torch.inference_mode():
        theirs = unet(clip.permute(0, 4, 1, 2, 3), torch.tensor([peer_network.TIMESTEPS[1]])).permute(0, 2, 3, 4, 1)
        found = denoiser({"noisy_clip": clip, "noise_label": torch.from_numpy(label)})
    assert theirs.abs().max() > 0.1
    np.testing.assert_allclose(found.numpy(), theirs.numpy(), rtol=0, atol=1e-4)


def test_buckets_of_distance() -> None:
    from video_diffusion_pytorch.video_diffusion_pytorch import RelativePositionBias as Theirs

    from kvdiff.layers.relative_position_bias import RelativePositionBias

    layer, theirs = RelativePositionBias(1), Theirs(1, max_distance=32)
    layer.build((1, 64, 1, 1, 1))
    table = torch.arange(32.0)[:, None]
    layer.table.assign(table)
    theirs.relative_attention_bias.weight.data = table
    found = layer(torch.zeros((1, 64, 1, 1, 1)))
    np.testing.assert_array_equal(found.detach().numpy(), theirs(64, "cpu").detach().numpy())


def test_the_schedule_is_ours_with_its_own_highest_beta() -> None:
    diffusion = peer.import_peer().GaussianDiffusion(torch.nn.Linear(1, 1), image_size=8, num_frames=2)
    found = schedules.cosine(max_beta=0.9999).alphas_cumprod
    np.testing.assert_allclose(diffusion.alphas_cumprod.numpy(), found, rtol=0, atol=1e-6)
    np.testing.assert_allclose(schedules.cosine().alphas_cumprod[:-1], found[:-1], rtol=1e-12)
