"""The radially averaged power spectrum of fields: how much of them is at which scale."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.checks import check_array


def power_spectrum(fields: np.ndarray) -> np.ndarray:
    """|DFT|² / pixels, averaged over rings of the wavenumber rounded to an integer, as `pysteps` does.

    A blurred forecast lacks power at large wavenumbers, a noisy one has too much.

    Args:
        fields: float [..., height, width], without missing pixels.

    Returns:
        float64 [..., wavenumbers]: from 0, the mean, to below half the longer side.
    """
    fields = check_array("fields", fields).astype(np.float64)
    if fields.ndim < 2 or np.isnan(fields).any():
        received = "NaN" if fields.ndim > 1 else f"shape {list(fields.shape)}"
        raise ValueError(f"`fields`: expected [..., height, width] without NaN. Received: {received}")
    height, width = fields.shape[-2:]
    power = np.square(np.abs(np.fft.fft2(fields))) / (height * width)
    y, x = (np.fft.fftfreq(length, 1.0 / length) for length in (height, width))
    ring = np.round(np.hypot(y[:, None], x)).astype(int)
    rings = range((max(height, width) + 1) // 2)
    return np.stack([power[..., ring == radius].mean(axis=-1) for radius in rings], axis=-1)
