"""Normalisations of every pixel over its channels, with gradients that keep little.

Automatic differentiation keeps every intermediate of a normalisation for its gradient, in float32. These keep their
input or their output, in the precision of the features, and compute the rest again: less memory, and less to move.
"""

from __future__ import annotations

from typing import Any

from keras import ops


def centred_norm(x: Any, epsilon: float = 1e-5) -> Any:
    """Layer normalisation without gain or bias (Ba et al. 2016, arXiv:1607.06450): [..., channels], float32 inside."""

    @ops.custom_gradient
    def norm(x: Any) -> tuple[Any, Any]:
        wide = ops.cast(x, "float32")
        wide = wide - _mean(wide)
        scale = ops.rsqrt(_mean(ops.square(wide)) + epsilon)
        normed = ops.cast(wide * scale, x.dtype)

        def gradient(*args: Any, upstream: Any = None) -> Any:
            """d normed / d x = scale (I - 1 1ᵀ / channels - normed normedᵀ / channels)."""
            up = ops.cast(args[0] if upstream is None else upstream, "float32")
            wide = ops.cast(normed, "float32")
            return ops.cast(scale * (up - _mean(up) - wide * _mean(up * wide)), x.dtype)

        return normed, gradient

    return norm(x)


def modulated_norm(x: Any, gain: Any, shift: Any = None, epsilon: float = 1e-24) -> Any:
    """SiLU(gain · x / rms(x) + shift), rms over the channels (Zhang & Sennrich 2019, arXiv:1910.07467).

    Args:
        x: [samples, height, width, channels].
        gain: [samples or 1, 1, 1, channels].
        shift: as the gain; none is 0.
        epsilon: added to the mean square.
    """
    axes = (0, 1, 2) if gain.shape[0] == 1 else (1, 2)

    @ops.custom_gradient
    def norm(x: Any, gain: Any, *shift: Any) -> tuple[Any, Any]:
        wide = ops.cast(x, "float32")
        scale = ops.rsqrt(_mean(ops.square(wide)) + epsilon)
        wide_gain, *wide_shift = (ops.cast(t, "float32") for t in (gain, *shift))
        inside = sum(wide_shift, wide * scale * wide_gain)
        out = ops.cast(inside * ops.sigmoid(inside), x.dtype)

        def gradient(*args: Any, upstream: Any = None) -> tuple[Any, ...]:
            up = ops.cast(args[0] if upstream is None else upstream, "float32")
            normed = ops.cast(x, "float32") * scale
            inside = sum(wide_shift, normed * wide_gain)
            gate = ops.sigmoid(inside)
            up = up * gate * (1.0 + inside * (1.0 - gate))
            to_gain, *to_shift = (
                ops.cast(ops.sum(t, axis=axes, keepdims=True), gain.dtype) for t in (up * normed, up)[: 1 + len(shift)]
            )
            up = up * wide_gain
            to_x = scale * (up - normed * _mean(up * normed))
            return ops.cast(to_x, x.dtype), to_gain, *to_shift

        return out, gradient

    return norm(x, gain) if shift is None else norm(x, gain, shift)


def _mean(x: Any) -> Any:
    return ops.mean(x, axis=-1, keepdims=True)
