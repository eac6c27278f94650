"""Files of every kind, of numbers that are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

xarray = pytest.importorskip("xarray")

TIMES = np.datetime64("2019-05-01T00:00", "ns") + 300 * np.timedelta64(1, "s") * np.arange(40)
RATE = np.random.default_rng(5).gamma(0.5, 2.0, (40, 6, 8)).astype(np.float32)


def radar(**changes: Any) -> Any:
    """Rain every five minutes on a grid, a temperature on two levels beside it, and an altitude without time."""
    coords = {
        "time": TIMES,
        "lat": ("lat", np.linspace(50.0, 45.0, 6), {"units": "degrees_north"}),
        "lon": ("lon", np.linspace(5.0, 8.5, 8), {"units": "degrees_east"}),
        "level": ("level", [500.0, 850.0]),
    }
    rate = ("time", "lat", "lon"), RATE, {"units": "mm h-1", "long_name": "rain rate"}
    warmth = np.stack([RATE + 250, RATE + 280], axis=1)
    dataset = xarray.Dataset(
        {
            "rate": rate,
            "temperature": (("time", "level", "lat", "lon"), warmth, {"units": "K"}),
            "altitude": (("lat", "lon"), RATE[0]),
        },
        coords,
        {"title": "A radar"},
    )
    return dataset.assign(**changes)


@pytest.fixture(scope="session")
def radar_zarr(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zarr")
    path = tmp_path_factory.mktemp("zarr") / "radar.zarr"
    radar().to_zarr(path, encoding={"rate": {"chunks": (4, 3, 8)}})
    return path
