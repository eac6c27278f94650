"""What a training costs on many devices: arithmetic from a measured step, for planning before anything is rented."""

from __future__ import annotations

import dataclasses

from kvdiff.diffusion.checks import check_count, check_real


@dataclasses.dataclass(frozen=True)
class TrainingCost:
    """The cost of a whole training.

    Attributes:
        step_seconds: one update of the global batch.
        hours: of the whole training.
        device_hours: hours times devices.
        efficiency: the share of the time in which devices compute clips, in (0, 1].
        price: device_hours times the price of one.
    """

    step_seconds: float
    hours: float
    device_hours: float
    efficiency: float
    price: float


def allreduce_seconds(num_bytes: float, num_devices: int, bandwidth: float, latency: float = 0.0) -> float:
    """A ring all-reduce: each device sends and receives 2 (N - 1) / N of the bytes, in 2 (N - 1) messages.

    Args:
        num_bytes: of the gradients.
        num_devices: N.
        bandwidth: bytes a second between neighbours in the ring.
        latency: seconds a message.
    """
    rounds = 2 * (check_count("num_devices", num_devices) - 1)
    return rounds * (num_bytes / num_devices / bandwidth + latency)


def training_cost(
    clip_seconds: float,
    gradient_bytes: float,
    *,
    num_steps: int,
    batch_size: int,
    num_devices: int,
    bandwidth: float,
    latency: float = 0.0,
    update_seconds: float = 0.0,
    price: float = 0.0,
) -> TrainingCost:
    """The cost of `num_steps` updates of `batch_size` clips, shared out over `num_devices`.

    Gradients are reduced after the backward pass, not during it, and the slowest device sets the pace: where the batch
    does not divide evenly, the others wait.

    Args:
        clip_seconds: forward and backward pass of one clip on one device.
        gradient_bytes: what is reduced in every step: 4 bytes a parameter.
        num_steps, batch_size: of the training; the batch is that of all devices together.
        num_devices: how many.
        bandwidth, latency: of `allreduce_seconds`.
        update_seconds: the rest of a step, on every device alike: the optimizer's update.
        price: of one device for an hour.
    """
    check_real("clip_seconds", clip_seconds, above=0.0)
    check_count("num_steps", num_steps)
    share = -(-check_count("batch_size", batch_size) // check_count("num_devices", num_devices))
    step = share * clip_seconds + allreduce_seconds(gradient_bytes, num_devices, bandwidth, latency) + update_seconds
    hours = num_steps * step / 3600.0
    efficiency = batch_size * clip_seconds / (num_devices * step)
    return TrainingCost(step, hours, hours * num_devices, efficiency, hours * num_devices * price)
