from __future__ import annotations

import numpy as np
import pytest

from kvdiff.diffusion.transforms.clamps import clamp_to, dynamic


def test_static() -> None:
    x = np.array([-3.0, -1.0, 0.2, 1.5])
    assert clamp_to((-1.0, 1.0))(x).tolist() == [-1.0, -1.0, 0.2, 1.0] and clamp_to(None)(x) is x


def test_dynamic_divides_each_clip_by_its_own_quantile() -> None:
    x = np.linspace(-1, 1, 2 * 1 * 10 * 10).reshape(2, 1, 10, 10, 1)
    clips = np.concatenate([3.0 * x[:1], 0.5 * x[:1]])
    made = dynamic(0.9)(clips)
    size = np.quantile(np.abs(clips[0]), 0.9)
    assert size > 1 and np.allclose(made[0], np.clip(clips[0] / size, -1, 1))
    assert (made[1] == clips[1]).all()  # Inside the range nothing changes.
    assert np.abs(made).max() == 1.0
    assert np.abs(dynamic(0.05)(clips)).max() == 1.0
    assert (dynamic()(clips) == dynamic(0.995)(clips)).all()


def test_dynamic_with_the_largest_pixel_only_scales() -> None:
    x = np.array([0.5, -4.0, 2.0, 0.0]).reshape(1, 1, 2, 2, 1)
    assert np.allclose(dynamic(1.0)(x), x / 4)


@pytest.mark.parametrize("quantile", [0.0, 1.1, -0.5])
def test_bad_quantile_is_named(quantile: float) -> None:
    with pytest.raises(ValueError, match=f"`quantile`: .*Received: {quantile:g}"):
        dynamic(quantile)
