"""A sampler whose answers are known, and a small protocol to hold it to."""

from __future__ import annotations

import numpy as np

from kvdiff.diffusion import ClipSpec, DenoiserEngine, ModelSpec, Prediction, Sampler
from kvdiff.diffusion.process.schedules import cosine
from kvdiff.evaluation import ClipRule, Protocol, RealClips, Task

FRAMES, SIZE = 5, 12
PREDICTION, GENERATION = Task("prediction", past=2, samples=3), Task("generation")


class Guesser(Sampler):
    """Answers infill with `answer(clip, sample numbers)`, and remembers what it was asked."""

    def __init__(self, answer, frames=FRAMES, size=SIZE):
        spec = ModelSpec(ClipSpec(frames, size, size, 1), cosine(10), Prediction("v"))
        super().__init__(spec, DenoiserEngine(lambda noisy_clip, noise_label, inputs=None: np.zeros_like(noisy_clip)))
        object.__setattr__(self, "answer", answer)
        object.__setattr__(self, "asked", [])

    def infill(self, clip, known, *, first_sample=0, progress=None, **sampling):
        self.asked.append((len(clip), sampling))
        floats = np.asarray(clip, np.float32) / np.float32(127.5) - np.float32(1.0)
        if progress is not None:
            progress(1, 1)
        generated = self.answer(floats, first_sample + np.arange(len(clip)))
        return np.where(known[None, :, None, None, None], floats, generated).astype(np.float32)


def noisy(std, clip, samples):
    """The truth with noise that belongs to the sample's number."""
    noise = np.stack([np.random.default_rng(int(sample)).normal(0.0, std, clip.shape[1:]) for sample in samples])
    return np.clip(clip + noise, -1.0, 1.0)


def protocol(*tasks: Task, **changes) -> Protocol:
    rule = ClipRule("array", "test clips")
    settings = dict(bootstrap=5, neighbours=3) | changes
    return Protocol("test", 1, rule, (FRAMES, SIZE, SIZE, 1), 10, tasks, "nobody", **settings)


def noise_clips() -> RealClips:
    """10 clips, 10 others, and 40 to have been trained on."""
    draw = np.random.default_rng(1).integers(60, 196, (60, FRAMES, SIZE, SIZE, 1), dtype=np.uint8)
    return RealClips(draw[:10], draw[10:20], draw[20:], "noise")


def features(clips: np.ndarray) -> np.ndarray:
    """Row means of the first and the last frame: 24 numbers that tell clips apart."""
    return clips[:, [0, -1]].mean(axis=(3, 4)).reshape(len(clips), -1)
