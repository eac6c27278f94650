"""Which digit a frame of moving digits shows: a small classifier that is trained in two seconds, without Keras."""

from __future__ import annotations

from typing import Any

import numpy as np

from kvdiff.data.moving_digits import bicubic, moving_digits

_PATCH = 12  # Pixels on a side: a digit of 8, wherever its centre of mass lies in it, and what is smeared around it.
_SIZE = 16  # Of the frames in which a digit is 8 pixels high.
_TRAINING = 6000  # Clips of two frames each.


class DigitClassifier:
    """Frames uint8 [frames, size, size, 1] to digits, int [frames].

    A support vector machine on the pixels around a frame's centre of mass, so that where the digit stands does not
    matter. It learns from digits of the training split.

    Args:
        size: height and width of the frames, a multiple of 16 where above 16.
        seed: of the paths that it learns from.

    Attributes:
        accuracy: on frames of the test split's digits, on paths of their own: 0.95.
    """

    def __init__(self, size: int = 16, *, seed: int = 77) -> None:
        from sklearn.svm import SVC

        frames, labels = _frames(_TRAINING, size, "train", seed)
        self._machine: Any = SVC(C=10.0).fit(_patches(frames), labels)
        frames, labels = _frames(_TRAINING // 6, size, "test", seed)
        self.accuracy = float((self(frames) == labels).mean())

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        """The digit of each frame."""
        return np.asarray(self._machine.predict(_patches(frames)))

    @property
    def config(self) -> dict[str, Any]:
        """What a result says of it, JSON-able."""
        return {"classifier": "support vector machine on centred digits", "accuracy": round(self.accuracy, 4)}


def _frames(num_clips: int, size: int, split: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    clips, labels = moving_digits(num_clips, num_frames=2, size=size, split=split, seed=seed, return_labels=True)
    return clips.reshape(-1, *clips.shape[2:]), np.repeat(labels, 2)


def _patches(frames: np.ndarray) -> np.ndarray:
    """What surrounds each frame's centre of mass, interpolated: float64 [frames, 144]; larger frames are averaged."""
    pixels = frames[..., 0] / 255.0
    if (share := pixels.shape[1] // _SIZE) > 1:
        pixels = pixels[:, : share * _SIZE, : share * _SIZE].reshape(-1, _SIZE, share, _SIZE, share).mean(axis=(2, 4))
    mass = np.maximum(pixels.sum(axis=(1, 2)), 1e-9)
    offset = np.arange(_PATCH)[:, None] - (_PATCH - 1) / 2
    weights = []
    for across in (2, 1):  # The rows' masses, then the columns'.
        places = np.arange(pixels.shape[3 - across])
        centre = (pixels.sum(axis=across) * places).sum(axis=1) / mass
        weights.append(bicubic(places - centre[:, None, None] - offset))
    return np.einsum("nph,nhw,nqw->npq", weights[0], pixels, weights[1], optimize=True).reshape(len(frames), -1)
