"""The codec that is learned: what there is to say of an autoencoder besides its weights."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any, ClassVar, Protocol

import numpy as np

from kvdiff.diffusion.checks import check_count, check_kind
from kvdiff.diffusion.limits import MAX_FEATURES
from kvdiff.diffusion.transforms.padding import whole

FACTORS = (2, 4, 8)
"""By how much an autoencoder may shrink height and width."""
FRAMES_AT_A_TIME = 16
"""How many frames go through the network together: a long video takes no more memory than a short one."""
_DIGEST = re.compile(r"[0-9a-f]{16,64}")


class CodecNetwork(Protocol):
    """What computes an autoencoder: Keras, or its exported pair."""

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Standardised latents of x_0."""
        ...

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """x_0 of standardised latents."""
        ...


@dataclasses.dataclass(frozen=True)
class Autoencoder:
    """An autoencoder that works frame by frame: frame f of the latent clip is frame f of the clip.

    The weights are elsewhere: a `.keras` file and every exported format have them, and `bound` brings the two together.
    Latents have zero mean and unit variance in each channel, and no bounds.

    Attributes:
        factor: by how much height and width shrink: 2, 4 or 8. Frames of other sizes are padded, and cut again.
        frame_shape: (height, width, channels) of a frame.
        latent_channels: numbers a latent pixel.
        digest: of the weights, so that nothing that belongs to another autoencoder is taken for this one's.
        reach: how many frames before and after a frame its decoded picture depends on; 0 without convolutions over
            time.
        network: what computes it; None where a spec was read from JSON alone.
        report: called with 1 after each call of the network on arrays.
    """

    factor: int
    frame_shape: tuple[int, int, int]
    latent_channels: int
    digest: str
    reach: int = 0
    network: CodecNetwork | None = dataclasses.field(default=None, compare=False, repr=False)
    report: Callable[[int], None] | None = dataclasses.field(default=None, compare=False, repr=False)

    name: ClassVar[str] = "autoencoder"
    bounds: ClassVar[None] = None

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise ValueError(f"`factor`: expected one of {list(FACTORS)}. Received: {self.factor!r}")
        if not isinstance(self.frame_shape, (tuple, list)) or len(self.frame_shape) != 3:
            raise ValueError(f"`frame_shape`: expected (height, width, channels). Received: {self.frame_shape!r}")
        sizes = tuple(check_count("frame_shape", size, at_most=MAX_FEATURES) for size in self.frame_shape)
        object.__setattr__(self, "frame_shape", sizes)  # JSON has lists.
        check_count("latent_channels", self.latent_channels, at_most=MAX_FEATURES)
        check_count("reach", self.reach, at_least=0, at_most=MAX_FEATURES)
        if not _DIGEST.fullmatch(check_kind("digest", self.digest, str, "a digest")):
            raise ValueError(f"`digest`: expected 16 to 64 hexadecimal digits. Received: {self.digest!r}")

    def bound(self, network: CodecNetwork) -> Autoencoder:
        """This codec, computed by `network`."""
        return dataclasses.replace(self, network=network)

    def encode(self, clip: Any, xp: Any = np) -> Any:
        """Latent clips [batch, frames, height / factor, width / factor, latent_channels] of x_0, rounded up.

        Raises:
            TypeError: whole numbers, such as uint8 pixels, which are no x_0.
        """
        network = self._network()
        if xp is np and np.asarray(clip).dtype.kind != "f":
            raise TypeError(f"`clip`: expected x_0, floats, as `values.encode(clip)` returns. Received: {clip.dtype}")
        return network.encode(clip, xp) if xp is not np else self._in_parts(network.encode, clip, 0)

    def decode(self, latent: Any, xp: Any = np) -> Any:
        """x_0 [batch, frames, *frame_shape] of latent clips; nothing is clamped here."""
        network = self._network()
        return network.decode(latent, xp) if xp is not np else self._in_parts(network.decode, latent, self.reach)

    def latent_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(height, width, channels) of a latent frame.

        Raises:
            ValueError: frames of another shape than the autoencoder's.
        """
        if tuple(frame_shape) != self.frame_shape:
            raise ValueError(
                f"`clip_shape`: expected the frames of the autoencoder, {self.frame_shape}. Received: {frame_shape}"
            )
        height, width, _ = self.frame_shape
        return whole(height, self.factor) // self.factor, whole(width, self.factor) // self.factor, self.latent_channels

    def parts(self, frames: int) -> int:
        """How many calls of the network so many frames take."""
        return -(-frames // FRAMES_AT_A_TIME)

    @property
    def config(self) -> dict[str, Any]:
        """What `codec_from_config` rebuilds this codec from, without its network."""
        named = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.compare}
        return {"codec": self.name, **named, "frame_shape": list(self.frame_shape)}

    def _network(self) -> CodecNetwork:
        if self.network is None:
            raise RuntimeError(
                "codec: expected an autoencoder with its weights. Received: what JSON says of one. Open the model with "
                "kvdiff.load_model or kvdiff.runtime.open_sampler"
            )
        return self.network

    def _in_parts(self, run: Callable[[np.ndarray], np.ndarray], clip: np.ndarray, reach: int) -> np.ndarray:
        """`run` over clips, a few frames of one clip at a time, each with the frames around that it depends on."""
        clip = np.asarray(clip, np.float32)
        frames, rows = clip.shape[1], []
        for row in clip:
            parts = []
            for start in range(0, frames, FRAMES_AT_A_TIME):
                stop = min(start + FRAMES_AT_A_TIME, frames)
                first, last = max(start - reach, 0), min(stop + reach, frames)
                parts.append(run(row[None, first:last])[0, start - first : stop - first])
                if self.report is not None:
                    self.report(1)
            rows.append(np.concatenate(parts))
        return np.stack(rows)
