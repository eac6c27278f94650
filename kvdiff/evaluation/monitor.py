"""Validation by what a model is for: its predictions and interpolations, measured between epochs."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_count
from kvdiff.evaluation.appearance import Classifier
from kvdiff.evaluation.evaluation import evaluate
from kvdiff.evaluation.protocols import protocol_for
from kvdiff.evaluation.real import RealClips
from kvdiff.training.averaging import averaged

_KEPT = ("psnr", "psnr_gain", "psnr_aligned", "sharpness_ratio", "identity_last", "spread_ratio")


class TaskMonitor(keras.callbacks.Callback):
    """Adds to an epoch's logs how well the model predicts, interpolates and generates.

    The training loss cannot tell models apart whose predictions differ by a decibel; these figures can. They are named
    `val_prediction_psnr_aligned`, `val_interpolation_sharpness_ratio` and so on, and other callbacks see them that come
    after this one:

    ```python
    monitor = TaskMonitor(validation_clips)
    stop = keras.callbacks.EarlyStopping("val_prediction_psnr_aligned", mode="max", patience=5)
    model.fit(clips, callbacks=[monitor, stop])
    ```

    Args:
        clips: unseen clips, uint8 [clips, frames, height, width, channels]; of labels `RealClips` with some.
        classifier: of frames, with labels: adds `val_prediction_identity_last`, the share of last frames that still
            show what their clip's label says.
        every: epochs between measurements.
        **sampling: of `Sampler.infill`; by default the model's own for each task.
    """

    def __init__(
        self, clips: np.ndarray | RealClips, *, classifier: Classifier | None = None, every: int = 1, **sampling: Any
    ) -> None:
        super().__init__()
        self.clips = clips if isinstance(clips, RealClips) else RealClips(np.asarray(clips))
        self.protocol = protocol_for(self.clips.truth)
        self.classifier, self.sampling = classifier, sampling
        self.every = check_count("every", every)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Sample and measure, where it is time."""
        if (epoch + 1) % self.every or logs is None:
            return
        with averaged(self.model):
            found = evaluate(self.model.sampler, self.protocol, self.clips, classifier=self.classifier, **self.sampling)
        for task, result in found.tasks.items():
            logs.update({f"val_{task}_{name}": result["numbers"][name] for name in _KEPT if name in result["numbers"]})
