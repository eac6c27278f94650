"""The peer's worker: video-diffusion-pytorch 0.7.0 in PyTorch, its own classes, unchanged.

Answers the requests of `TASKS`. A mode is "float32" or "bfloat16" (autocast), and may add "compiled" (`torch.compile`).
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
import types
from pathlib import Path
from typing import Any

from tests.benchmarks.answering import Call, answer, grown_mib, timed
from tests.benchmarks.sizes import Size

__all__ = ["TASKS"]

_TORCHVISION = ("torchvision", "torchvision.transforms", "torchvision.utils")
_CALLS: dict[str, Call] = {}


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


def synchronise() -> None:
    """Wait until the device is done."""
    import torch

    if device() == "cuda":
        torch.cuda.synchronize()


def channels_first(clips: Any) -> Any:
    """From [batch, frames, height, width, channels] to the peer's order, on its device."""
    import torch

    return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).contiguous().to(device())


def clip_size(size: Size) -> tuple[int, ...]:
    """[batch, channels, frames, height, width]."""
    return size.batch, size.channels, size.frames, size.pixels, size.pixels


# What is timed.


def train_step(mode: str, size: Size, weights: str | None = None) -> Call:
    """One update by Adam on new clips."""
    import torch

    model = diffusion(network(size, weights), size)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    loss_of = torch.compile(model) if "compiled" in mode.split() else model

    def run(clips: Any) -> None:
        with autocast(mode):
            loss = loss_of(clips)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        synchronise()

    return Call(lambda: torch.rand(clip_size(size), device=device()), run)


def denoiser_call(mode: str, size: Size, weights: str | None = None) -> Call:
    """One call of the network on new noise."""
    import torch

    unet = network(size, weights).eval()
    denoise = torch.compile(unet) if "compiled" in mode.split() else unet

    def fresh() -> tuple[Any, Any]:
        timestep = torch.randint(0, 1000, (size.batch,), device=device())
        return torch.randn(clip_size(size), device=device()), timestep

    def run(inputs: tuple[Any, Any]) -> Any:
        with torch.inference_mode(), autocast(mode):
            output = denoise(*inputs)
        synchronise()
        return output

    return Call(fresh, run)


def sampling(mode: str, size: Size, num_steps: int) -> Call:
    """New clips from noise, by the peer's own loop over a schedule of `num_steps` timesteps."""
    model = diffusion(network(size).eval(), size, num_steps)

    def run(_: None) -> None:
        with autocast(mode):
            model.p_sample_loop(clip_size(size))
        synchronise()

    return Call(lambda: None, run)


_KINDS = {"train_step": train_step, "denoiser_call": denoiser_call, "sampling": sampling}


# The tasks.


def prepare(key: str, what: str, mode: str, size: dict[str, Any], **options: Any) -> None:
    """Make a call ready for `time`."""
    _CALLS[key] = _KINDS[what](mode, Size.received(size), **options)


def time_call(key: str) -> dict[str, float]:
    """Seconds of one call."""
    return timed(_CALLS[key])


def forget() -> None:
    """Free what was prepared."""
    _CALLS.clear()


def reference(size: dict[str, Any], folder: str) -> dict[str, dict[str, float]]:
    """Write weights.safetensors and reference.npz: inputs, the answer to them, and the gradient of its L1 loss.

    Returns how far the peer's own bfloat16 lies from its float32.
    """
    import numpy as np
    import torch
    from safetensors.torch import save_file

    wanted, rng = Size.received(size), np.random.default_rng(0)
    shape = (wanted.batch, *wanted.clip_shape)
    noisy_clip, target = rng.standard_normal((2, *shape)).astype(np.float32)
    timestep = rng.integers(0, 1000, wanted.batch)
    unet = network(wanted)
    # Modules share their rotary frequencies, which the format does not allow tensors to do.
    save_file({name: value.detach().cpu().clone() for name, value in unet.state_dict().items()}, _weights(folder))
    inputs = channels_first(noisy_clip), torch.from_numpy(timestep).to(device())
    output = unet(*inputs)
    loss = torch.nn.functional.l1_loss(channels_first(target), output)
    loss.backward()
    norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in unet.parameters() if p.grad is not None)).item()
    answer_there = _channels_last(output)
    arrays = dict(noisy_clip=noisy_clip, timestep=timestep, target=target, output=answer_there)
    np.savez(Path(folder) / "reference.npz", **arrays, loss=loss.item(), gradient_norm=norm)
    with torch.inference_mode(), autocast("bfloat16"):
        lowered = _channels_last(unet(*inputs))
    return {"bfloat16": difference(lowered, answer_there)}


def _weights(folder: str) -> str:
    return str(Path(folder) / "weights.safetensors")


def _channels_last(output: Any) -> Any:
    return output.detach().float().cpu().permute(0, 2, 3, 4, 1).numpy()


def difference(answer_here: Any, answer_there: Any) -> dict[str, float]:
    """The largest difference, and the root mean square relative to that of the answer."""
    import numpy as np

    error = answer_here.astype(np.float64) - answer_there
    relative = np.sqrt(np.mean(error**2) / np.mean(answer_there.astype(np.float64) ** 2))
    return {"max_abs": float(np.abs(error).max()), "relative_rms": float(relative)}


def memory(mode: str, size: dict[str, Any], steps: int = 3) -> dict[str, float]:
    """MiB by which training grows this process, from a network that is built to the end of some steps.

    And the seconds of processor time of one step after them.
    """
    call = train_step(mode, Size.received(size))
    mib = grown_mib(lambda: [call.run(call.fresh()) for _ in range(steps)])
    return {"mib": mib, "cpu": timed(call)["cpu"]}


def import_time() -> dict[str, float]:
    """Seconds to import the peer, in a process that has imported nothing."""
    return timed(Call(lambda: None, lambda _: import_peer()))


def first_step(mode: str, size: dict[str, Any]) -> dict[str, float]:
    """Seconds of the first training step; and of processor time since this process began."""
    return {**timed(train_step(mode, Size.received(size))), "process_cpu": time.process_time()}


def about() -> dict[str, Any]:
    """Versions, and the device's name."""
    import torch

    names = ("torch", "video-diffusion-pytorch", "numpy")
    found: dict[str, Any] = {f"peer {name}": importlib.metadata.version(name) for name in names}
    name = torch.cuda.get_device_name() if device() == "cuda" else "CPU"
    return {"versions": found, "threads": torch.get_num_threads(), "device": name}


TASKS = {
    "prepare": prepare,
    "time": time_call,
    "forget": forget,
    "reference": reference,
    "memory": memory,
    "import": import_time,
    "first_step": first_step,
    "about": about,
}

if __name__ == "__main__":
    answer(TASKS)
