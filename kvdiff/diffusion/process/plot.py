"""Noise schedules drawn: log-SNR, alpha and sigma against the timestep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from kvdiff.diffusion.process.schedules import NoiseSchedule

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_schedules(schedules: Mapping[str, NoiseSchedule]) -> Figure:
    """A figure of three panels, a line a schedule: `plot_schedules({"cosine": cosine(1000)}).savefig("cosine.svg")`.

    Args:
        schedules: by the name that the legend gives them; their lengths may differ.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plot_schedules needs matplotlib: pip install matplotlib") from error
    if not schedules:
        raise ValueError("`schedules`: expected at least one schedule by name. Received: {}")
    figure = Figure(figsize=(10.5, 3.2), layout="constrained")
    for axes, quantity in zip(figure.subplots(1, 3), ("logsnr", "alpha", "sigma"), strict=True):
        for name, schedule in schedules.items():
            t = [i / schedule.num_timesteps for i in range(1, schedule.num_timesteps + 1)]
            axes.plot(t, getattr(schedule, quantity), label=name)
        axes.set(title=quantity, xlabel="(timestep + 1) / num_timesteps")
    figure.axes[0].legend(frameon=False)
    return figure
