"""I3D, the network that the Fréchet video distance is measured with (Carreira & Zisserman 2017, arXiv:1705.07750).

The published RGB network, trained on Kinetics-400. A clip's features are its 400 class logits, averaged over time
(Unterthiner et al. 2018, arXiv:1812.01717). Batch normalisation is folded into the convolutions: the network only
infers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kvdiff.diffusion.checks import check_count
from kvdiff.diffusion.transforms.pixels import from_pixels
from kvdiff.evaluation.i3d_weights import read_i3d_weights
from kvdiff.media.pixels import with_channels
from kvdiff.sampling import compiled

IMAGE_SIZE = 224
"""Height and width in pixels of the network's input."""

MIN_FRAMES = 9
"""The fewest frames that leave two time steps after three halvings, which the last pooling needs."""

_EPSILON = 1e-3  # Of the published batch normalisation.

# Filters: of the 1×1×1 branch; the 1×1×1 and 3×3×3 convolutions of two branches; the one after pooling (Szegedy et al.
# 2015, arXiv:1409.4842, table 1, as inflated).
_INCEPTION = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "MaxPool3d_4a_3x3": (3, 2),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "MaxPool3d_5a_2x2": (2, 2),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}


def I3D() -> keras.Model:
    """The network without weights: float [batch, frames, 224, 224, 3] in [-1, 1] to class logits [batch, 400].

    Layers are named as the published variables are, with hyphens for slashes: Keras on PyTorch
    allows no dots.
    """
    inputs = keras.Input((None, IMAGE_SIZE, IMAGE_SIZE, 3), name="clip")
    x = _unit(inputs, 64, 7, "Conv3d_1a_7x7", strides=2)
    x = layers.MaxPooling3D((1, 3, 3), (1, 2, 2), padding="same")(x)
    x = _unit(x, 64, 1, "Conv3d_2b_1x1")
    x = _unit(x, 192, 3, "Conv3d_2c_3x3")
    x = layers.MaxPooling3D((1, 3, 3), (1, 2, 2), padding="same")(x)
    for name, sizes in _INCEPTION.items():
        pooling = name.startswith("MaxPool")
        x = layers.MaxPooling3D(*sizes, padding="same")(x) if pooling else _inception(x, sizes, name)
    x = layers.AveragePooling3D((2, 7, 7), 1)(x)
    x = layers.Conv3D(400, 1, name="Logits-Conv3d_0c_1x1")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling3D()(x), name="i3d_kinetics_400")


def _unit(x: Any, filters: int, size: int, name: str, *, strides: int = 1) -> Any:
    return layers.Conv3D(filters, size, strides, padding="same", activation="relu", name=name)(x)


def _inception(x: Any, filters: tuple[int, ...], name: str) -> Any:
    branches = [
        _unit(x, filters[0], 1, f"{name}-Branch_0-Conv3d_0a_1x1"),
        *(
            _unit(_unit(x, narrow, 1, f"{name}-Branch_{i}-Conv3d_0a_1x1"), wide, 3, f"{name}-Branch_{i}-Conv3d_0b_3x3")
            for i, narrow, wide in ((1, *filters[1:3]), (2, *filters[3:5]))
        ),
        _unit(layers.MaxPooling3D(3, 1, padding="same")(x), filters[5], 1, f"{name}-Branch_3-Conv3d_0b_1x1"),
    ]
    return layers.Concatenate()(branches)


def load_variables(network: keras.Model, variables: Mapping[str, Mapping[str, Any]]) -> None:
    """Put published variables into `I3D()`.

    Args:
        network: what `I3D` returned.
        variables: `{"params", "batch_stats"}`, nested by layer, as `read_i3d_weights` returns them.

    Raises:
        ValueError: a variable missing or of another shape.
    """
    params, statistics = variables["params"], variables["batch_stats"]
    for layer in network.layers:
        if isinstance(layer, layers.Conv3D):
            path = layer.name.replace("-", "/")
            layer.set_weights(_folded(_found(params, path), _found(statistics, path, required=False)))


def _found(tree: Mapping[str, Any], path: str, *, required: bool = True) -> Mapping[str, Any]:
    """The variables of one layer; an Inception branch lies one level deeper, under a name with a slash."""
    head, _, rest = path.partition("/")
    inner = tree.get(path, tree.get(head, {}).get(rest) if rest else None)
    if inner is None and required:
        raise ValueError(f"`variables`: expected a layer {path!r}. Received: none")
    return inner or {}


def _folded(params: Mapping[str, Any], statistics: Mapping[str, Any]) -> list[np.ndarray]:
    """Kernel and bias of the convolution that is convolution and batch normalisation (no gamma) at once."""
    kernel = np.asarray(params["Conv_0"]["kernel"], np.float64)
    if "BatchNorm_0" not in params:
        return [kernel.astype(np.float32), np.asarray(params["Conv_0"]["bias"], np.float32)]
    mean, variance = (np.ravel(statistics["BatchNorm_0"][name]).astype(np.float64) for name in ("mean", "var"))
    scale = 1.0 / np.sqrt(variance + _EPSILON)
    bias = np.ravel(params["BatchNorm_0"]["bias"]) - mean * scale
    return [(kernel * scale).astype(np.float32), bias.astype(np.float32)]


class I3DFeatures:
    """Clips to class logits, by the published weights.

    Frames are resized to 224×224 by bilinear interpolation between pixel centres, without antialiasing and whatever
    their proportions; grey becomes colour.

    Args:
        batch_size: clips that go through the network together; 16 frames take about 70 MB each.

    Raises:
        FileNotFoundError, ValueError: no weights, or not the published ones; see `find_i3d_weights`.
    """

    def __init__(self, *, batch_size: int = 8) -> None:
        self.batch_size = check_count("batch_size", batch_size)
        self.network = I3D()
        load_variables(self.network, read_i3d_weights())
        self._call = compiled(self._logits)

    def __call__(self, clips: np.ndarray, *, progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        """The features of clips: float64 [clips, 400].

        Args:
            clips: uint8 [clips, frames, height, width, 1 or 3], at least 9 frames: shorter clips leave nothing to
                average over time, so hold each frame for several, `np.repeat(clips, 2, axis=1)`, and say so.
            progress: called as `progress(done, total)` with numbers of clips.
        """
        if clips.ndim != 5 or clips.dtype != np.uint8 or clips.shape[1] < MIN_FRAMES:
            raise ValueError(
                f"`clips`: expected uint8 [clips, {MIN_FRAMES} frames or more, height, width, 1 or 3]. "
                f"Received: {clips.dtype} {list(clips.shape)}"
            )
        features = []
        for start in range(0, len(clips), self.batch_size):
            batch = with_channels(clips[start : start + self.batch_size], 3)
            features.append(ops.convert_to_numpy(self._call(ops.convert_to_tensor(batch))).astype(np.float64))
            if progress is not None:
                progress(start + len(batch), len(clips))
        return np.concatenate(features)

    def _logits(self, pixels: Any) -> Any:
        shape = ops.shape(pixels)
        frames = ops.reshape(ops.cast(pixels, "float32"), (-1, *shape[2:]))
        frames = ops.image.resize(frames, (IMAGE_SIZE, IMAGE_SIZE), interpolation="bilinear")
        clips = ops.reshape(frames, (-1, shape[1], IMAGE_SIZE, IMAGE_SIZE, 3))
        return self.network(from_pixels(clips, ops), training=False)
