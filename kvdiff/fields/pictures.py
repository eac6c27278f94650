"""Numbers as pictures: a colour map for one channel of any values, grey where a number is missing."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion.transforms.values import Pixels, Values

# Nine colours of matplotlib's viridis (S. van der Walt and N. Smith, CC0), evenly spaced.
_VIRIDIS = np.array(
    [
        *[(68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141)],
        *[(39, 173, 129), (92, 200, 99), (170, 220, 50), (253, 231, 37)],
    ],
    np.float64,
)
_MISSING = (128, 128, 128)
_SPREAD = 3.0  # Standard deviations either way that a picture of values without bounds shows.


def coloured(shares: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 of any shape as colours, uint8 [..., 3]; NaN is grey."""
    gone = np.isnan(shares)
    place = np.clip(np.where(gone, 0.0, shares), 0.0, 1.0)
    knots = np.linspace(0.0, 1.0, len(_VIRIDIS))
    colours = np.stack([np.interp(place, knots, channel) for channel in _VIRIDIS.T], axis=-1)
    return np.where(gone[..., None], _MISSING, np.round(colours)).astype(np.uint8)


def pictures_of(values: Values, clips: np.ndarray, channel: int = 0) -> np.ndarray:
    """What can be shown of clips [..., channels]: pixels as they are, else uint8 colours of one channel as x_0 is."""
    if isinstance(values, Pixels) and values.bounds is not None:
        return clips
    x_0 = values.encode(clips)[..., channel]
    low, high = values.by_channel(clips.shape[-1])[channel].bounds or (-_SPREAD, _SPREAD)
    return coloured((x_0 - low) / (high - low))
