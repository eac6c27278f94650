"""The learned codec: JSON without weights, frames a few at a time whatever the length, refusals by name."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from kvdiff.diffusion.transforms.autoencoder import FRAMES_AT_A_TIME, Autoencoder
from kvdiff.diffusion.transforms.codec import codec_from_config

DIGEST = "0123456789abcdef"
CODEC = Autoencoder(4, (10, 8, 1), 3, DIGEST)


@dataclasses.dataclass
class Neighbours:
    """A network whose decoded frame is the mean of `reach` frames on either side, and that knows its longest call."""

    reach: int
    longest: int = 0

    def encode(self, clip: Any, xp: Any = np) -> Any:
        self.longest = max(self.longest, clip.shape[1])
        return clip[:, :, ::4, ::4].repeat(3, axis=-1)

    def decode(self, latent: Any, xp: Any = np) -> Any:
        self.longest = max(self.longest, latent.shape[1])
        frames = latent.shape[1]
        near = [latent[:, max(f - self.reach, 0) : f + self.reach + 1].mean(axis=1) for f in range(frames)]
        return np.stack(near, axis=1)[..., :1].repeat(4, axis=2).repeat(4, axis=3)[:, :, :10, :8]


def test_json_has_all_but_the_weights():
    config = CODEC.bound(Neighbours(0)).config
    assert config == {
        "codec": "autoencoder",
        "factor": 4,
        "frame_shape": [10, 8, 1],
        "latent_channels": 3,
        "digest": DIGEST,
        "reach": 0,
    }
    again = codec_from_config(config)
    assert again == CODEC and again.bounds is None and again.latent_shape((10, 8, 1)) == (3, 2, 3)
    with pytest.raises(RuntimeError, match=r"codec: expected an autoencoder with its weights.*kvdiff.load_model"):
        again.encode(np.zeros((1, 1, 10, 8, 1), np.float32))


@pytest.mark.parametrize("reach", [0, 2])
def test_a_long_video_goes_through_in_parts_and_comes_out_the_same(rng, reach):
    network = Neighbours(reach)
    codec = dataclasses.replace(CODEC, reach=reach, network=network)
    clip = rng.standard_normal((2, 3 * FRAMES_AT_A_TIME + 5, 10, 8, 1)).astype(np.float32)
    latent = codec.encode(clip)
    decoded = codec.decode(latent)
    assert network.longest <= FRAMES_AT_A_TIME + 2 * reach and codec.parts(clip.shape[1]) == 4
    np.testing.assert_array_equal(latent, network.encode(clip))
    np.testing.assert_array_equal(decoded, network.decode(latent))
    seen: list[int] = []
    dataclasses.replace(codec, report=seen.append).decode(latent)
    assert seen == [1] * 8


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (dict(factor=3), r"`factor`: expected one of \[2, 4, 8\]. Received: 3"),
        (dict(factor="4"), r"`factor`: expected one of \[2, 4, 8\]"),
        (dict(frame_shape=(10, 8)), r"`frame_shape`: expected \(height, width, channels\)"),
        (dict(frame_shape=5), r"`frame_shape`: expected \(height, width, channels\)"),
        (dict(frame_shape=(10, 0, 1)), "`frame_shape`: expected an integer from 1"),
        (dict(latent_channels=0), "`latent_channels`: expected an integer from 1"),
        (dict(reach=-1), "`reach`: expected an integer from 0"),
        (dict(digest="xyz"), "`digest`: expected 16 to 64 hexadecimal digits. Received: 'xyz'"),
        (dict(digest=5), "`digest`: expected a digest"),
    ],
)
def test_wrong_fields_are_refused(changed, message):
    with pytest.raises((TypeError, ValueError), match=message):
        dataclasses.replace(CODEC, **changed)


def test_frames_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"`clip_shape`: expected the frames of the autoencoder, \(10, 8, 1\)"):
        CODEC.latent_shape((10, 8, 3))
