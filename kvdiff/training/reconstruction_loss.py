"""How far an autoencoder's frames are from the clip: pixels, and the edges between them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_choice, check_real

_OF = {"mse": ops.square, "mae": ops.abs}


@keras.saving.register_keras_serializable(package="kvdiff")
class ReconstructionLoss(keras.losses.Loss):
    """The error of pixels, and `edges` times the error of the differences between neighbours.

    A mean of pixel errors is served best by a blur where fine detail is uncertain. Differences of neighbours hold the
    high frequencies, so weighing them too asks for as much contrast at edges as the clip has.

    Args:
        pixels: "mse", the square, which PSNR measures; or "mae", the absolute value, which large errors rule less.
        edges: the weight of the differences' errors; 0 leaves them out.

    Target and prediction: x_0 [batch, frames, height, width, channels]. Keras weighs and averages the result,
    [batch, frames, height, width].
    """

    def __init__(self, pixels: str = "mse", edges: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**{"name": "reconstruction_loss", **kwargs})
        self.pixels = check_choice("pixels", pixels, _OF)
        self.edges = check_real("edges", edges, above=0.0, below=float("inf"), closed=True)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Errors by pixel."""
        error = ops.cast(y_pred, "float32") - ops.cast(y_true, "float32")
        total = ops.mean(_OF[self.pixels](error), axis=-1)
        if not self.edges:
            return total
        for axis in (2, 3):
            low, high = ([slice(None)] * 5 for _ in range(2))
            low[axis], high[axis] = slice(None, -1), slice(1, None)
            steps = ops.mean(_OF[self.pixels](error[tuple(high)] - error[tuple(low)]), axis=-1)
            padding = [(0, 0)] * 4
            padding[axis] = (0, 1)
            total = total + 0.5 * self.edges * ops.pad(steps, padding)
        return total

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "pixels": self.pixels, "edges": self.edges}
