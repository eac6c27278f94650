"""The peer's network with the weights of `tests.models.peer_network`; as a program, writes that module's file."""

from __future__ import annotations

import numpy as np
import torch

from tests.benchmarks.peer_network import import_peer
from tests.models import peer_network
from tests.models.peer_network import CHANNELS, HEADS, MULTIPLIERS, TIMESTEPS, WIDTH, Case


def network(condition: int | None) -> torch.nn.Module:
    """The peer's own class, with the generated weights."""
    unet = import_peer().Unet3D(WIDTH, cond_dim=condition, dim_mults=MULTIPLIERS, channels=CHANNELS, attn_heads=HEADS)
    state = {name: torch.from_numpy(value) for name, value in peer_network.weights(shapes(unet)).items()}
    missing, unexpected = unet.load_state_dict(state, strict=False)
    assert not unexpected and all(name.endswith("rotary_emb.freqs") for name in missing)
    return unet


def shapes(unet: torch.nn.Module) -> dict[str, list[int]]:
    """The shapes of its weights by their names."""
    return {name: list(value.shape) for name, value in unet.state_dict().items()}


def called(unet: torch.nn.Module, case: Case) -> torch.Tensor:
    """Its answer, [batch, channels, frames, height, width]."""
    given = {name: torch.from_numpy(value) for name, value in peer_network.inputs(case).items()}
    clip = given["noisy_clip"].permute(0, 4, 1, 2, 3)
    return unet(clip, torch.tensor(TIMESTEPS), cond=given.get("vector"), null_cond_prob=float(not case.told))


def answer(case: Case) -> np.ndarray:
    """Its answer, [batch, frames, height, width, channels]."""
    with torch.inference_mode():
        return called(network(case.condition), case).permute(0, 2, 3, 4, 1).numpy()


if __name__ == "__main__":
    conditions = {case.condition for case in peer_network.CASES.values()}
    peer_network.write(
        {name: answer(case) for name, case in peer_network.CASES.items()},
        {condition: shapes(network(condition)) for condition in conditions},
    )
