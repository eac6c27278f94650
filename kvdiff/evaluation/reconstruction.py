"""What an autoencoder gives back of clips, before anyone trains a denoiser on its latents: measures and a page."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import pathlib
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_array, check_count, check_path
from kvdiff.evaluation.page import escaped, figure, page, picture, table
from kvdiff.evaluation.quality import SSIM_WINDOW, psnr, ssim
from kvdiff.media import encode_png, enlarge, filmstrip, write_bytes

BANDS = (0.0, 0.125, 0.25, 0.5, 1.0)
"""The ends of the bands of `band_powers`, in parts of the highest frequency that pixels have."""

_WIDEST = 1400  # Pixels of a picture.


def band_powers(clips: np.ndarray) -> np.ndarray:
    """The power of frames in each of `BANDS`, float64 [bands]: coarse shapes first, fine detail last.

    Args:
        clips: [batch, frames, height, width, channels], floats. The mean of each frame does not count.
    """
    height, width = clips.shape[2:4]
    spectrum = np.square(np.abs(np.fft.fft2(np.asarray(clips, np.float64), axes=(2, 3)))).mean(axis=(0, 1, 4))
    rows, columns = (2.0 * np.abs(np.fft.fftfreq(size)) for size in (height, width))
    frequency = np.maximum(rows[:, None], columns[None, :])  # 1 is a change of sign from pixel to pixel.
    inside = np.digitize(frequency, BANDS, right=True) - 1
    total = [spectrum[(inside == band) & (frequency > 0)].sum() for band in range(len(BANDS) - 1)]
    return np.array(total) / (height * width) ** 2


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """How close an autoencoder's clips are to the true ones.

    Attributes:
        psnr: mean over clips, in dB, of x_0 in [-1, 1].
        worst: the lowest PSNR of a frame.
        ssim: mean over frames; None where frames are smaller than its window.
        kept: of each of `BANDS`, the share of the power that the reconstruction has.
        error: of each of `BANDS`, the power of the error as a share of the clips'.
        share: numbers of a latent frame, as a share of the pixels'.
        mean, deviation: of each latent channel over these clips; 0 and 1 where they are like those of training.
        divergence: of the standardised latents from a standard normal distribution, in nats a number, for each channel,
            as if they were normally distributed.
    """

    psnr: float
    worst: float
    ssim: float | None
    kept: tuple[float, ...]
    error: tuple[float, ...]
    share: float
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    divergence: tuple[float, ...]

    def lines(self) -> list[str]:
        """What to print."""
        similar = "" if self.ssim is None else f", SSIM {self.ssim:.3f}"
        channels = zip(self.mean, self.deviation, self.divergence, strict=True)
        return [
            f"{self.psnr:.2f} dB{similar}; the worst frame {self.worst:.2f} dB; 1/{1 / self.share:.3g} of the numbers",
            *(f"channel {c}: mean {m:+.2f}, deviation {d:.2f}, KL {k:.3f}" for c, (m, d, k) in enumerate(channels)),
            *(
                f"frequencies {low:g} to {high:g} of the finest: {kept:.0%} of the power, error {error:.1%}"
                for (low, high), kept, error in zip(itertools.pairwise(BANDS), self.kept, self.error, strict=True)
            ),
        ]


def reconstruction(
    autoencoder: Any, clips: np.ndarray, folder: str | os.PathLike[str] | None = None, *, shown: int = 8
) -> Reconstruction:
    """Measure what an autoencoder gives back of clips that it was not trained on.

    Args:
        autoencoder: a `VideoAutoencoder`.
        clips: in the numbers of its values, [batch, frames, height, width, channels].
        folder: where to write `reconstruction.json` and a page, `reconstruction.html`, that shows clips, what came back
            and four times the difference; None writes nothing.
        shown: clips on the page.
    """
    clips = check_array("clips", clips)
    check_count("shown", shown)
    values = autoencoder.values
    checked = values.checked("clips", clips, tuple(clips.shape[2:]))
    codec = autoencoder.codec(tuple(clips.shape[2:]))
    truth = np.asarray(values.encode(checked))
    latent = codec.encode(truth)
    made = codec.decode(latent)
    made = made if values.bounds is None else np.clip(made, *values.bounds)
    whole, lost = band_powers(truth), band_powers(made - truth)
    small = min(truth.shape[2:4]) < SSIM_WINDOW
    mean, deviation = latent.mean(axis=(0, 1, 2, 3), dtype=np.float64), latent.std(axis=(0, 1, 2, 3), dtype=np.float64)
    found = Reconstruction(
        psnr=float(psnr(made, truth).mean()),
        worst=float(psnr(made, truth, per_frame=True).min()),
        ssim=None if small else float(ssim(made, truth).mean()),
        kept=tuple((band_powers(made) / np.maximum(whole, 1e-30)).tolist()),
        error=tuple((lost / np.maximum(whole, 1e-30)).tolist()),
        share=float(np.prod(latent.shape[2:]) / np.prod(truth.shape[2:])),
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        divergence=tuple((0.5 * (mean**2 + deviation**2 - 1.0) - np.log(np.maximum(deviation, 1e-6))).tolist()),
    )
    if folder is not None:
        _write(check_path("folder", folder), found, truth[:shown], made[:shown])
    return found


def _write(folder: pathlib.Path, found: Reconstruction, truth: np.ndarray, made: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    bands = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(BANDS)]
    rows = [
        [band, f"{kept:.0%}", f"{error:.1%}"] for band, kept, error in zip(bands, found.kept, found.error, strict=True)
    ]
    body = [
        "<h1>What the autoencoder gives back</h1>",
        *(f"<p>{escaped(line)}</p>" for line in found.lines()[: 1 + len(found.mean)]),
        "<section>",
        table(["frequencies", "of the power", "error"], rows),
        "<p>1 is a change of sign from pixel to pixel. What is missing at the fine end is blur.</p></section>",
    ]
    difference = np.clip(4.0 * (made - truth), -1.0, 1.0)
    for index in range(len(truth)):
        strip = encode_png(_strip([truth[index], made[index], difference[index]]))
        inside = picture(strip, "png", f"clip {index}: true, reconstructed, four times the difference")
        body.append(figure(inside, "True, reconstructed, and four times the difference.", screen=True))
    write_bytes(folder / "reconstruction.html", page("Reconstruction", body).encode())
    write_bytes(folder / "reconstruction.json", json.dumps(dataclasses.asdict(found), indent=2).encode())


def _strip(clips: list[np.ndarray]) -> np.ndarray:
    """Clips in rows, as large as the page's width allows; channels beyond three are left out."""
    frames, _, width, channels = clips[0].shape
    scale = max(min(_WIDEST // (frames * width), 4), 1)
    some = slice(0, 3 if channels >= 3 else 1)
    return filmstrip([enlarge(np.clip(clip[..., some], -1.0, 1.0), scale) for clip in clips], gap=2)
