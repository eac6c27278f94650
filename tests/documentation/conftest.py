"""What the pages' blocks run with."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def own_workers() -> None:
    """Processes that decode are shared by data sets and stay in the folder they began in; each page has its own."""
    from kvdiff.data import dataset

    dataset._shared_reader.cache_clear()


@pytest.fixture
def small_protocol(monkeypatch: pytest.MonkeyPatch) -> None:
    """The protocol of the shipped model with 9 clips and without the bound, which takes a thousand calls."""
    import dataclasses

    from kvdiff.evaluation import PROTOCOLS, protocol_named

    name = "moving-digits-8@2"
    few = dataclasses.replace(protocol_named(name), num_clips=9, bits_per_dim_clips=0)
    monkeypatch.setitem(PROTOCOLS, name, few)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """`UNet3D` is one level of few channels, whatever widths a command names: seconds to trace."""
    pytest.importorskip("tensorflow")
    import kvdiff
    from kvdiff.models import unet3d

    small: dict[str, Any] = dict(widths=(8,), blocks=1, attention=(None,))
    attending: dict[str, Any] = dict(widths=(12,), groups=4, blocks=1, heads=2, attention=("space",))
    build = kvdiff.UNet3D
    for name, value in small.items():
        monkeypatch.setitem(build.__kwdefaults__, name, value)

    def small_unet3d(channels: int = 1, **options: Any) -> Any:
        has_tokens = any(condition.num_tokens for condition in (options.get("conditions") or {}).values())
        return build(channels, **{**options, **(attending if has_tokens else small)})

    monkeypatch.setattr(kvdiff, "UNet3D", small_unet3d)
    monkeypatch.setattr("kvdiff.models.recipes.UNet3D", small_unet3d)
    monkeypatch.setattr(unet3d, "UNet3D", small_unet3d)
