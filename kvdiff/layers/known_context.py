"""Shows every frame the known frames nearest to it."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from kvdiff.diffusion.checks import check_count, check_real
from kvdiff.layers.saved_layer import SavedLayer


@keras.saving.register_keras_serializable(package="kvdiff")
class KnownContext(SavedLayer):
    """Adds, as channels, the nearest known frames before and after each frame, and how near they are.

    A known frame is one whose noise label is at most `known_noise`: 0 is clean. Convolutions in time reach a known
    frame only over several layers; this gives its pixels to every frame at once. That alone does not make a network use
    them: one trained to predict v on moving digits lost 0.1 to 0.5 dB when they were black. `MovedFrames` is what
    carries them. A known frame is its own neighbour on both sides; where a side has none, its channels are 0.

    Masks are computed with arithmetic on whole numbers in place of comparisons, which edge delegates do not take.

    Args:
        known_noise: the highest noise label of a frame that counts as known; above 0 for models whose known frames may
            carry noise.
        per_side: how many known frames before each frame, and as many after; two tell how things move.

    Inputs: clip [batch, frames, height, width, channels], noise labels [batch, frames], and optionally times [batch,
    frames], where frames are not neighbours.
    Output: [batch, frames, height, width, channels + 2 · per_side · (channels + 1)]: the clip; the nearest before,
    the nearest after, the second before, and so on; and in the same order their nearnesses 1 / (1 + distance in
    frames), 0 where there is none.
    """

    def __init__(self, known_noise: float = 0.0, *, per_side: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.per_side = check_count("per_side", per_side)
        self.known_noise = check_real("known_noise", known_noise, above=0.0, below=1.0, closed=True)

    def call(self, clip: Any, noise_label: Any, times: Any = None) -> Any:
        """Append the known neighbours."""
        _, frames, height, width, channels = ops.shape(clip)
        flat = ops.reshape(clip, (-1, frames, height * width * channels))
        parts = [clip]
        nearest = self._nearest(noise_label, frames)
        for choice in nearest:
            picked = ops.matmul(ops.cast(choice, flat.dtype), flat)
            parts.append(ops.reshape(picked, (-1, frames, height, width, channels)))
        times = ops.arange(frames)[None, :] if times is None else times
        distance = ops.cast(ops.abs(times[:, :, None] - times[:, None, :]), "float32")
        for choice in nearest:
            nearness = ops.cast(ops.sum(choice / (1.0 + distance), axis=-1), clip.dtype)
            parts.append(nearness[:, :, None, None, None] * ops.ones_like(clip[..., :1]))
        return ops.concatenate(parts, axis=-1)

    def _nearest(self, noise_label: Any, frames: Any) -> list[Any]:
        """One-hot rows [batch, frames, frames] that pick known frames, before and after in turn, the nearest first.

        A row of 0 where there is none.
        """
        above = ops.maximum(ops.cast(noise_label, "float32") - self.known_noise, 0.0)
        noisy = ops.minimum(ops.ceil(above), 1.0)  # 0 up to the limit, else 1.
        known = ops.expand_dims(1.0 - noisy, 1)
        index = ops.cast(ops.arange(frames), "float32")
        here, there = index[:, None], index[None, :]
        rank_before = known * ops.cast(there <= here, "float32") * (1.0 + there)
        rank_after = known * ops.cast(there >= here, "float32") * (ops.cast(frames, "float32") - there)

        def first(rank: Any) -> Any:
            best = ops.max(rank, axis=-1, keepdims=True)
            is_best, is_any = 1.0 - ops.minimum(best - rank, 1.0), ops.minimum(rank, 1.0)  # Ranks are 0, 1, 2, …
            return is_best * is_any

        picked = []
        for _ in range(self.per_side):
            before, after = first(rank_before), first(rank_after)
            picked += [before, after]
            rank_before, rank_after = rank_before * (1.0 - before), rank_after * (1.0 - after)
        return picked

    def compute_output_shape(
        self, clip_shape: Any, noise_label_shape: Any, times_shape: Any = None
    ) -> tuple[int | None, ...]:
        """[batch, frames, height, width, channels + 2 · per_side · (channels + 1)]."""
        return (*clip_shape[:-1], clip_shape[-1] + 2 * self.per_side * (clip_shape[-1] + 1))

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> KnownContext:
        """Rebuild from `get_config`; files of version 0.1 say "limit"."""
        config = dict(config)
        if "limit" in config:
            config["known_noise"] = config.pop("limit")
        return cls(**config)
