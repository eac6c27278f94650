"""Clips into the space in which a sampler works, and back: only frames that are needed, and seen in the progress."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder


def watched(spec: ModelSpec, report: Callable[[int], None]) -> ModelSpec:
    """A spec whose autoencoder, if it has one, reports each call of its network."""
    if not isinstance(spec.codec, Autoencoder):
        return spec
    return spec.with_codec(dataclasses.replace(spec.codec, report=report))


def codec_calls(spec: ModelSpec, known: np.ndarray) -> int:
    """How many calls of an autoencoder's networks a video takes of which the frames `known` [batch, frames] are."""
    if not isinstance(spec.codec, Autoencoder):
        return 0
    return len(known) * sum(spec.codec.parts(frames.sum()) for frames in (_of_any(known), _to_decode(spec, known)))


def encoded(spec: ModelSpec, video: np.ndarray, known: np.ndarray) -> np.ndarray:
    """x_0 of `video`; of an autoencoder's only frames that are known in a clip of the batch, and 0 elsewhere."""
    if not isinstance(spec.codec, Autoencoder):
        return np.asarray(spec.encode(video))
    x, frames = np.zeros((*video.shape[:2], *spec.latent.frame_shape), np.float32), _of_any(known)
    if frames.any():
        x[:, frames] = spec.encode(video[:, frames])
    return x


def decoded(spec: ModelSpec, x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Clips of x_0; of an autoencoder's only frames that are generated in a clip of the batch, and 0 elsewhere."""
    if not isinstance(spec.codec, Autoencoder):
        return np.asarray(spec.decode(x))
    clip, frames = np.zeros((*x.shape[:2], *spec.clip.frame_shape), np.float32), _to_decode(spec, known)
    clip[:, frames] = spec.decode(x[:, frames])
    return clip


def _of_any(known: np.ndarray) -> np.ndarray:
    return np.asarray(known.any(axis=0))


def _to_decode(spec: ModelSpec, known: np.ndarray) -> np.ndarray:
    """The frames to decode: all of them where a picture depends on its neighbours."""
    generated = np.asarray(~known.all(axis=0))
    return np.ones_like(generated) if getattr(spec.codec, "reach", 0) else generated
