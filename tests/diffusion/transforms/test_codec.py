"""The codec without weights: means of cells, repeated; a mean is its own mean."""

from __future__ import annotations

import types

import numpy as np
import pytest

from kvdiff.diffusion.transforms.codec import AveragePool, codec_from_config, enlarged, reduced

CLIPS = np.random.default_rng(0).normal(size=(2, 3, 4, 6, 2)).astype(np.float32)


def test_a_latent_is_the_mean_of_its_cell() -> None:
    codec = AveragePool(2)
    latent = codec.encode(CLIPS)
    assert latent.shape == (2, 3, *codec.latent_shape((4, 6, 2)))
    np.testing.assert_allclose(latent[1, 2, 1, 0], CLIPS[1, 2, 2:4, 0:2].mean(axis=(0, 1)), rtol=1e-6)
    decoded = codec.decode(latent)
    assert decoded.shape == CLIPS.shape and (decoded[:, :, ::2, ::2] == latent).all()
    np.testing.assert_allclose(codec.encode(decoded), latent, rtol=1e-6)
    assert codec_from_config(codec.config) == codec and codec_from_config(None) is None


def test_enlarging_undoes_reducing() -> None:
    np.testing.assert_allclose(reduced(enlarged(CLIPS, 3), 3), CLIPS, rtol=1e-6)


class Size:
    """A size that is known when a graph runs: it can be divided, not judged."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __floordiv__(self, scale: int) -> int:
        return self.size // scale


def test_a_runtimes_arrays_are_computed_by_its_own_means() -> None:
    """Also those whose height and width are known only when they come."""
    asked = []

    def counted(name: str):
        return lambda *arguments, **more: asked.append(name) or getattr(np, name)(*arguments, **more)

    def shape(clip: np.ndarray) -> tuple:
        batch, frames, height, width, channels = clip.shape
        return batch, frames, Size(height), Size(width), channels

    xp = types.SimpleNamespace(shape=shape, **{name: counted(name) for name in ("reshape", "mean", "repeat")})
    codec = AveragePool(2)
    np.testing.assert_array_equal(codec.decode(codec.encode(CLIPS, xp), xp), codec.decode(codec.encode(CLIPS)))
    assert asked == ["reshape", "mean", "repeat", "repeat"]


def test_a_configuration_stays_as_it_is_when_it_is_read() -> None:
    config = AveragePool(3).config
    assert config == {"codec": "average_pool", "factor": 3}
    assert codec_from_config(config) == codec_from_config(config) == AveragePool(3)
    codec = AveragePool(2)
    assert codec_from_config(codec) is codec


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AveragePool(3).latent_shape((4, 6, 1)), "`clip_shape`: expected a height divisible by 3, e.g. 3 or 6"),
        (lambda: reduced(CLIPS, 4), "`clip`: expected a width divisible by 4, e.g. 4 or 8. Received: 6"),
        (lambda: reduced(CLIPS, 0), "`scale`: expected an integer >= 1. Received: 0"),
        (lambda: AveragePool(0), "`factor`: expected an integer from 1 to 1048576. Received: 0"),
        (lambda: codec_from_config({"codec": "vae"}), "`codec`: expected one of .*'average_pool'.*. Received: 'vae'"),
    ],
)
def test_what_it_does_not_take_is_refused(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
