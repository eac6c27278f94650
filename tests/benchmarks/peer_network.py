"""The peer's network and what is around it, on the device that BENCHMARK_DEVICE names."""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.sizes import Size

__all__ = [
    "autocast",
    "channels_first",
    "channels_last",
    "clip_size",
    "device",
    "diffusion",
    "exact",
    "import_peer",
    "network",
    "synchronise",
]

_TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.utils")


def import_peer() -> Any:
    """The peer's package; torchvision, which only its reading of files uses, is an empty stand-in meanwhile."""
    stubs = {name: types.ModuleType(name) for name in _TORCHVISION if name not in sys.modules}
    if "video_diffusion_pytorch" not in sys.modules and len(stubs) == len(_TORCHVISION):
        whole, transforms, utils = stubs.values()
        transforms.ToTensor = lambda: None  # type: ignore[attr-defined]  # Called once, for a default argument.
        whole.transforms, whole.utils = transforms, utils  # type: ignore[attr-defined]
        sys.modules.update(stubs)
    try:
        import video_diffusion_pytorch
    finally:
        for name, stub in stubs.items():
            if sys.modules.get(name) is stub:
                del sys.modules[name]
    return video_diffusion_pytorch


def device() -> str:
    """Where to compute."""
    return os.environ.get("BENCHMARK_DEVICE", "cpu")


def network(size: Size, weights: str | None = None) -> Any:
    """The peer's U-Net, its own initial weights (the same each time) or those of a safetensors file."""
    import torch
    from safetensors.torch import load_file

    torch.set_float32_matmul_precision("high")  # TF32 on GPUs that have it; nothing on a CPU.
    torch.manual_seed(0)
    unet = import_peer().Unet3D(dim=size.width, dim_mults=size.multipliers, channels=size.channels)
    if weights is not None:
        unet.load_state_dict(load_file(weights))
    return unet.to(device())


def diffusion(unet: Any, size: Size, timesteps: int = 1000) -> Any:
    """The peer's training and sampling around its network: eps, L1, cosine."""
    made = import_peer().GaussianDiffusion(
        unet, image_size=size.pixels, num_frames=size.frames, channels=size.channels, timesteps=timesteps
    )
    return made.to(device())


def autocast(mode: str) -> Any:
    """The context of a mode's precision."""
    import torch

    return torch.autocast(device(), torch.bfloat16, enabled="bfloat16" in mode.split())


@contextlib.contextmanager
def exact() -> Iterator[None]:
    """Float32 that is not rounded to TF32 on GPUs."""
    import torch

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.backends.cudnn.flags(allow_tf32=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def synchronise() -> None:
    """Wait until the device is done."""
    import torch

    if device() == "cuda":
        torch.cuda.synchronize()


def channels_first(clips: Any) -> Any:
    """From [batch, frames, height, width, channels] to the peer's order, on its device."""
    import torch

    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).contiguous().to(device())


def channels_last(output: Any) -> Any:
    """Back to [batch, frames, height, width, channels], float32 on the host."""
    return output.detach().float().cpu().permute(0, 2, 3, 4, 1).numpy()


def clip_size(size: Size) -> tuple[int, ...]:
    """[batch, channels, frames, height, width]."""
    return size.batch, size.channels, size.frames, size.pixels, size.pixels
