"""The smallest game: a dot that the action moves left, right, or not at all, and a model that learns it in a minute."""

from __future__ import annotations

from typing import Any

import numpy as np

SIZE, FRAMES = 8, 4
ACTIONS = {"left": [1.0, 0.0], "right": [0.0, 1.0], "stay": [0.0, 0.0]}
_MOVES = np.array([-1.0, 1.0, 0.0])


def clips(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Clips uint8 [count, FRAMES, SIZE, SIZE, 1] of a dot that goes round, and the actions float32 [count, FRAMES, 2].

    An action leads to the frame that it stands beside.
    """
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(ACTIONS), (count, FRAMES))
    chosen[:, 1:] = np.where(rng.random((count, FRAMES - 1)) < 0.5, chosen[:, :1], chosen[:, 1:])
    column = rng.integers(0, SIZE, (count, 1)) + np.cumsum(_MOVES[chosen], axis=1)
    row = rng.integers(2, SIZE - 2, (count, 1)) + np.zeros_like(column)
    at = np.arange(SIZE)
    across = np.abs((at - column[..., None] + SIZE / 2) % SIZE - SIZE / 2)
    down = np.abs(at - row[..., None])
    light = np.exp(-0.5 * (across[:, :, None, :] ** 2 + down[:, :, :, None] ** 2))
    return np.round(255 * light)[..., None].astype(np.uint8), np.array(list(ACTIONS.values()), np.float32)[chosen]


def trained(steps: int = 500) -> Any:
    """A model of the game."""
    import keras

    import kvdiff
    from kvdiff.diffusion import FrameVectors
    from kvdiff.diffusion.tasks.known_frames import First

    keras.utils.set_random_seed(0)
    denoiser = kvdiff.UNet3D(1, widths=(24,), blocks=1, conditions={"action": FrameVectors(2)})
    model = kvdiff.VideoDiffusion(
        (FRAMES, SIZE, SIZE, 1),
        denoiser,
        prediction="x0",
        known_frames=First(1, FRAMES - 1),
        sampling={"rollout": {"num_steps": 2, "solver": "ddim", "at_a_time": 1}},
    )
    model.compile(keras.optimizers.Adam(3e-3, use_ema=True, ema_momentum=0.98))
    x, actions = clips(2048, seed=1)
    dataset = np_dataset(x, actions, batch_size=32)
    model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
    return model


def np_dataset(x: np.ndarray, actions: np.ndarray, batch_size: int) -> Any:
    import tensorflow as tf

    return (
        tf.data.Dataset.from_tensor_slices((x, {"action": actions})).shuffle(len(x), seed=0).repeat().batch(batch_size)
    )
