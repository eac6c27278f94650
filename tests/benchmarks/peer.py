"""The peer's worker: video-diffusion-pytorch 0.7.0 in PyTorch, its own classes, unchanged.

Answers the requests of `TASKS`. A mode is "float32" or "bfloat16" (autocast), and may add "compiled" (`torch.compile`).
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.answering import Call, answer, grown_mib, timed
from tests.benchmarks.costs import counted
from tests.benchmarks.peer_network import (
    autocast,
    channels_first,
    channels_last,
    clip_size,
    device,
    diffusion,
    exact,
    import_peer,
    network,
    synchronise,
)
from tests.benchmarks.sizes import Size

__all__ = ["TASKS"]

_CALLS: dict[str, Call] = {}


# What is timed.


def train_step(mode: str, size: Size, weights: str | None = None) -> Call:
    """One update by Adam on new clips."""
    import torch

    model = diffusion(network(size, weights), size)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=device() == "cuda")
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


def sampling(mode: str, size: Size, num_steps: int, weights: str | None = None) -> Call:
    """New clips from noise, by the peer's own loop over a schedule of `num_steps` timesteps."""
    model = diffusion(network(size, weights).eval(), size, num_steps)

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


def save_weights(size: dict[str, Any], folder: str) -> None:
    """Write weights.safetensors, the network's initial weights."""
    _save(network(Size.received(size)), folder)


def _save(unet: Any, folder: str) -> None:
    from safetensors.torch import save_file

    # Modules share their rotary frequencies, which the format does not allow tensors to do.
    values = {name: value.detach().cpu().clone() for name, value in unet.state_dict().items()}
    save_file(values, str(Path(folder) / "weights.safetensors"))


def reference(size: dict[str, Any], folder: str, weights: str | None = None) -> dict[str, dict[str, float]]:
    """Write weights.safetensors and reference.npz: inputs, the answer to them, and the gradient of its L1 loss.

    Returns how far the peer's own bfloat16 lies from its float32.
    """
    import numpy as np
    import torch

    wanted, rng = Size.received(size), np.random.default_rng(0)
    noisy_clip, target = rng.standard_normal((2, wanted.batch, *wanted.clip_shape)).astype(np.float32)
    timestep = rng.integers(0, 1000, wanted.batch)
    unet = network(wanted, weights)
    _save(unet, folder)
    inputs = channels_first(noisy_clip), torch.from_numpy(timestep).to(device())
    with exact():
        output = unet(*inputs)
        loss = torch.nn.functional.l1_loss(channels_first(target), output)
        loss.backward()
    norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in unet.parameters() if p.grad is not None)).item()
    answer_there = channels_last(output)
    arrays = dict(noisy_clip=noisy_clip, timestep=timestep, target=target, output=answer_there)
    np.savez(Path(folder) / "reference.npz", **arrays, loss=loss.item(), gradient_norm=norm)
    with torch.inference_mode(), autocast("bfloat16"):
        lowered = channels_last(unet(*inputs))
    return {"bfloat16": difference(lowered, answer_there)}


def difference(answer_here: Any, answer_there: Any) -> dict[str, float]:
    """The largest difference, and the root mean square relative to that of the answer."""
    import numpy as np

    error = answer_here.astype(np.float64) - answer_there
    relative = np.sqrt(np.mean(error**2) / np.mean(answer_there.astype(np.float64) ** 2))
    return {"max_abs": float(np.abs(error).max()), "relative_rms": float(relative)}


def cost(what: str, size: dict[str, Any]) -> list[list[float]]:
    """[FLOPs, elements read and written] of every convolution and matrix product of a "train_step" or "denoiser_call".

    Counted at batches of 1 and 2 and continued to the size's, for both are linear in the batch.
    """
    wanted = Size.received(size)
    one, two = (counted(_costly(what, dataclasses.replace(wanted, batch=batch))) for batch in (1, 2))
    return [
        [a + (wanted.batch - 1) * (b - a) for a, b in zip(*pair, strict=True)] for pair in zip(one, two, strict=True)
    ]


def parameters(size: dict[str, Any]) -> int:
    """How many the network has."""
    return sum(parameter.numel() for parameter in network(Size.received(size)).parameters())


def _costly(what: str, size: Size) -> Callable[[], Any]:
    call = _KINDS[what]("float32", size)
    return lambda: call.run(call.fresh())


def peaks(elements: int = 2**28, side: int = 8192, repeats: int = 10) -> dict[str, float]:
    """What this device reaches: FLOPs a second of a bfloat16 matrix product, bytes a second of a copy; the best."""
    import torch

    a, b = (torch.randn(side, side, device=device(), dtype=torch.bfloat16) for _ in range(2))
    source = torch.empty(elements, device=device())
    target = torch.empty_like(source)
    product = min(_seconds(lambda: torch.mm(a, b)) for _ in range(repeats))
    copy = min(_seconds(lambda: target.copy_(source)) for _ in range(repeats))
    return {"flops": 2 * side**3 / product, "bytes": 2 * 4 * elements / copy}


def _seconds(run: Callable[[], Any]) -> float:
    def whole(_: Any) -> None:
        run()
        synchronise()

    return timed(Call(synchronise, whole))["wall"]


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
    "save_weights": save_weights,
    "reference": reference,
    "cost": cost,
    "parameters": parameters,
    "peaks": peaks,
    "memory": memory,
    "import": import_time,
    "first_step": first_step,
    "about": about,
}

if __name__ == "__main__":
    answer(TASKS)
