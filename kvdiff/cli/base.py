"""--from: a training that begins with a trained model, and what it may be told besides."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any

from kvdiff.cli.runs import load_keras
from kvdiff.diffusion.transforms.values import PIXELS
from kvdiff.models.preset_hub import HUB

if TYPE_CHECKING:
    from kvdiff.cli.train_options import Training
    from kvdiff.models.video_diffusion import VideoDiffusion


def opened_base(asked: Training, strategy: Any) -> VideoDiffusion:
    """The model that --from names, to train on: its weights, the noise of --seed, and with --lora adapters alone.

    Args:
        asked: the options, of which --from, --lora, --seed and those of the clips' shape count.
        strategy: of the training, on whose devices the model is made.

    Raises:
        FileNotFoundError: no such model.
        ValueError: a model of other clips than is said, or of other numbers than pixels.
    """
    import keras

    from kvdiff.models.video_diffusion import VideoDiffusion

    base = str(asked.base)
    with strategy.scope():
        found = VideoDiffusion.from_preset(base) if base.startswith(HUB) else load_keras(pathlib.Path(base))
        _check_clip(found, asked)
        if found.lora is not None:
            found.merge_lora()
        whole = keras.saving.serialize_keras_object(found)
        whole["config"]["seed"] = asked.seed
        if asked.fps is not None:  # Where the model has no clock.
            whole["config"]["spec"]["clip"]["fps"] = asked.fps
        keras.utils.set_random_seed(asked.seed)
        model = keras.saving.deserialize_keras_object(whole)
        model.set_weights(found.get_weights())
        if asked.lora is not None:
            model.enable_lora(asked.lora)
    return model


def _check_clip(model: VideoDiffusion, asked: Training) -> None:
    """Refuse what contradicts the model, naming both."""
    clip, base = model.spec.clip, asked.base
    size = f"{clip.height}x{clip.width}"
    said = None if asked.sizes is None else "x".join(map(str, asked.sizes))
    for option, own, other in (
        ("--frames", clip.num_frames, asked.frames),
        ("--size", size, said),
        ("--channels", clip.channels, asked.channels),
        ("--fps", clip.fps, asked.fps),
    ):
        if other is not None and own not in (other, None):
            raise ValueError(f"{option}: expected {own}, as of {base}, or nothing. Received: {other}")
    if model.spec.values.config != PIXELS.config:
        raise ValueError(f"--from: expected a model of pixels. Received: {base}, of {dict(model.spec.values.config)}")
