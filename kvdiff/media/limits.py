"""How much a file may ask for."""

from __future__ import annotations

import dataclasses

from kvdiff.diffusion.checks import check_count, check_real


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadLimits:
    """Caps on one file, checked before anything is decoded and again while it is: 12 kB can ask for gigabytes.

    Attributes:
        file_bytes: size of the file.
        frame_pixels: height × width of a frame as it is stored.
        frames: frames decoded, whether they are kept or not.
        clip_bytes: pixels kept, after resizing.
        seconds: time a worker process may take before it is killed (`ClipReader` only).
        memory_bytes: address space of a worker process (`ClipReader` on Linux only).
    """

    file_bytes: int = 4 * 2**30
    frame_pixels: int = 4096 * 4096
    frames: int = 100_000
    clip_bytes: int = 2**30
    seconds: float = 60.0
    memory_bytes: int = 4 * 2**30

    def __post_init__(self) -> None:
        for name in ("file_bytes", "frame_pixels", "frames", "clip_bytes", "memory_bytes"):
            check_count(name, getattr(self, name))
        check_real("seconds", self.seconds, above=0.0)
