"""The sampling loop a second time: one clip, one frame, one number after the other, slow and plain.

Of the package it takes what has exact tests of its own: noise by its address, a solver's table for one noise level a
row, a prediction's coefficients, and a plan's list of windows. The rest is written again: chunks, masks, the levels of
known frames, histories, conditions, guidance and the numbering of noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion import ModelSpec, StepTable
from kvdiff.diffusion.process.noise import AUGMENTATION, CONTEXT, SAMPLING, video_noise
from kvdiff.diffusion.tasks.plan import Window
from kvdiff.diffusion.transforms.values import Linear


def slow_clip(
    spec: ModelSpec,
    denoise: Callable[..., np.ndarray],
    table: StepTable,
    windows: Sequence[Window],
    clip: np.ndarray,
    known: np.ndarray,
    *,
    seed: int,
    sample: int,
    given: Mapping[str, Any],
    guidance: float = 1.0,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
    known_noise: float = 0.0,
    augmentation: float = 0.0,
) -> np.ndarray:
    """The video of sample `sample`: float64 [frames, height, width, channels]; `windows` are of this clip."""
    inputs = slow_inputs(spec, given, clip.shape, seed, sample, augmentation)
    x = [scaled(spec, frame) for frame in clip]
    begun = [bool(value) for value in known]
    remembered = [[np.zeros(clip.shape[1:])] * table.memory for _ in x]
    alpha, sigma = level_of(spec, known_noise)
    draw = 0
    for window in windows:
        at = [int(frame) for frame in window.frames]
        begin = [int(start) * table.num_steps // window.parts for start in window.start]
        calls = max(int(e) * table.num_steps // window.parts - b for e, b in zip(window.stop, begin, strict=True))
        moving = [int(e) > int(b) for e, b in zip(window.stop, window.start, strict=True)]

        def noise(number: int, place: int, stream: int = SAMPLING, at=at, draw=draw) -> np.ndarray:
            return video_noise(seed, draw + number, np.array([sample]), (len(at), *clip.shape[1:]), stream)[0, place]

        finished = {}
        for place, frame in enumerate(at):
            if not begun[frame]:
                x[frame], begun[frame] = table.init_std * noise(0, place), True
            if begin[place] == table.num_steps:
                finished[place] = alpha * x[frame] + (sigma * noise(0, place, CONTEXT) if known_noise else 0.0)
        own = {name: inputs[name][:, at] if per_frame(spec, name) else inputs[name] for name in inputs}
        for call in range(calls):
            noisy, labels, rows = [], [], []
            for place, frame in enumerate(at):
                if place in finished:
                    c_in = spec.prediction.preconditioning(alpha, sigma).c_in if known_noise else 1.0
                    noisy.append(c_in * finished[place])
                    labels.append(known_noise)
                    rows.append(-1)
                else:
                    row = begin[place] + (call if moving[place] else 0)
                    noisy.append(table.c_in[row, 0] * x[frame])
                    labels.append(table.c_noise[row, 0])
                    rows.append(row)
            out = slow_output(denoise, np.array([noisy]), np.array([labels]), own, guidance, interval, rescale)
            for place, frame in enumerate(at):
                if not moving[place]:
                    continue
                row = rows[place]
                predicted = np.clip(table.c_skip[row, 0] * x[frame] + table.c_out[row, 0] * out[place], -1.0, 1.0)
                remembered[frame] = [predicted, *remembered[frame][:-1]]
                x[frame] = table.a[row, 0] * x[frame] + table.std[row, 0] * noise(call + 1, place)
                for weight, value in zip(table.b[row, :, 0], remembered[frame], strict=True):
                    x[frame] = x[frame] + weight * value
        draw += 1 + calls
    made = [frame if is_known else unscaled(spec, new) for frame, is_known, new in zip(clip, known, x, strict=True)]
    return np.array(made)


def slow_output(
    denoise: Callable[..., np.ndarray],
    noisy: np.ndarray,
    labels: np.ndarray,
    inputs: Mapping[str, np.ndarray],
    guidance: float,
    interval: tuple[float, float],
    rescale: float,
) -> np.ndarray:
    """F for one clip, two calls one after the other where guidance acts: [frames, height, width, channels]."""
    main = denoise(noisy, labels, inputs)[0]
    if guidance == 1.0 or not interval[0] <= labels.max() <= interval[1]:
        return main
    guide = denoise(noisy, labels, {**inputs, "told": 0 * inputs["told"]})[0]
    pushed = guide + guidance * (main - guide)
    wanted = (1.0 - rescale) * deviation(pushed) + rescale * deviation(main)
    return pushed * wanted / deviation(pushed)


def deviation(numbers: np.ndarray) -> float:
    """The standard deviation of all of a clip's numbers, by its definition."""
    values = [float(value) for value in numbers.ravel()]
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values))


def slow_inputs(
    spec: ModelSpec, given: Mapping[str, Any], clip_shape: tuple[int, ...], seed: int, sample: int, augmentation: float
) -> dict[str, np.ndarray]:
    """The denoiser's inputs for one clip, each with a batch axis of 1."""
    inputs, told = {}, []
    frames, frame_shape = clip_shape[0], clip_shape[1:]
    for number, (name, condition) in enumerate(spec.conditions.items()):
        value = np.asarray(given.get(name, condition.default(frames, frame_shape)))
        if not condition.is_always_present:
            told.append(float(name in given))
        if condition.has_noise:
            inputs[f"{name}_noise"] = np.array([augmentation])
            value = scaled(spec, value) if name in given else value
            angle = augmentation * math.pi / 2
            drawn = video_noise(seed, number, np.array([sample]), value.shape, AUGMENTATION)[0]
            value = math.cos(angle) * value + math.sin(angle) * drawn
        inputs[name] = value[None]
    return inputs | {"told": np.array([told])}


def level_of(spec: ModelSpec, label: float) -> tuple[float, float]:
    """(alpha, sigma) on the schedule's path at an angle of `label` quarter turns."""
    alpha, sigma = math.cos(label * math.pi / 2), math.sin(label * math.pi / 2)
    scale = {"vp": 1.0, "ve": alpha, "flow": alpha + sigma}[spec.schedule.path]
    return alpha / scale, sigma / scale


def per_frame(spec: ModelSpec, name: str) -> bool:
    """Whether an input has a number a frame."""
    return name in spec.conditions and spec.conditions[name].per_frame


def scaled(spec: ModelSpec, numbers: np.ndarray) -> np.ndarray:
    """What the network sees of users' numbers."""
    if not isinstance(spec.values, Linear):
        return np.asarray(numbers, np.float64)
    return 2.0 * (numbers - spec.values.low) / (spec.values.high - spec.values.low) - 1.0


def unscaled(spec: ModelSpec, x_0: np.ndarray) -> np.ndarray:
    """Users' numbers."""
    if not isinstance(spec.values, Linear):
        return x_0
    return spec.values.low + (x_0 + 1.0) / 2.0 * (spec.values.high - spec.values.low)
