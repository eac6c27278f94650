"""Our worker: `VideoDiffusion` on TensorFlow and its exports, as users run them.

Answers the requests of `TASKS`. A training mode is a precision, and may add "remat" and "micro_batches=2"; a denoiser's
is a runtime and a precision.
"""

from __future__ import annotations

import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.answering import Call, answer, grown_mib, timed
from tests.benchmarks.networks import PEERS, build_model
from tests.benchmarks.sizes import Size

__all__ = ["ANSWERS", "TASKS", "noisy_inputs", "peer_labels", "prepare", "relative_differences", "trainable"]

CALLS: dict[str, Call] = {}
ANSWERS: dict[str, Any] = {}


# What is timed.


def trainable(mode: str, network: str, size: Size, weights: str | None = None) -> Any:
    """A model compiled as the peer trains: Adam and L1, no averages."""
    import keras

    from kvdiff.training import FusedAdam

    precision, *flags = mode.split()
    model = build_model(network, size, precision, weights=weights, remat="remat" in flags)
    parts = next((int(flag.partition("=")[2]) for flag in flags if flag.startswith("micro_batches=")), 1)
    model.compile(FusedAdam(1e-4), keras.losses.MeanAbsoluteError(), micro_batches=parts)
    return model


def batches(size: Size) -> Any:
    """An endless `tf.data.Dataset` of new clips."""
    import tensorflow as tf

    shape = (size.batch, *size.clip_shape)
    return tf.data.Dataset.counter().map(lambda i: tf.random.stateless_uniform(shape, (0, i), -1.0, 1.0))


def train_step(key: str, mode: str, size: Size, network: str = PEERS, weights: str | None = None) -> Call:
    """One update on new clips, by the function that `fit` calls."""
    model = trainable(mode, network, size, weights)
    model.optimizer.build(model.trainable_variables)
    model._symbolic_build()
    model.make_train_function()
    step, data, denoiser = model.train_function, iter(batches(size)), model.denoiser
    ANSWERS[key] = lambda noisy_clip, noise_label: denoiser(
        {"noisy_clip": noisy_clip, "noise_label": noise_label}, training=False
    )
    return Call(lambda: data, lambda clips: float(step(clips)["loss"]))


def denoiser_call(key: str, mode: str, size: Size, network: str = PEERS, weights: str | None = None) -> Call:
    """One call of the network on new noise."""
    from tests.benchmarks.runtimes import denoise_on

    denoise = denoise_on(mode, network, size, weights)
    ANSWERS[key] = denoise
    inputs = noisy_inputs(size)
    return Call(lambda: next(inputs), lambda made: denoise(*made))


def noisy_inputs(size: Size) -> Iterator[tuple[Any, Any]]:
    """Endless new (noisy clip, noise label); all frames of a clip are as noisy, as the peer has it."""
    import numpy as np

    for seed in itertools.count():
        rng = np.random.default_rng(seed)
        label = np.repeat(noise_labels()[rng.integers(0, 1000, (size.batch, 1))], size.frames, axis=1)
        yield rng.standard_normal((size.batch, *size.clip_shape), np.float32), label


def noise_labels() -> Any:
    """The noise labels of the peer's 1000 timesteps, float32."""
    import numpy as np

    from kvdiff.diffusion.process.predictions import noise_label
    from kvdiff.diffusion.process.schedules import cosine

    schedule = cosine()
    return noise_label(schedule.alpha, schedule.sigma).astype(np.float32)


def sampling(key: str, mode: str, size: Size, num_steps: int, network: str = PEERS, weights: str | None = None) -> Call:
    """New clips from noise by ancestral sampling."""
    from tests.benchmarks.runtimes import sampler_on

    sampler, seeds = sampler_on(mode, network, size, weights), itertools.count()
    options = dict(num_steps=num_steps, solver="ddpm")
    return Call(lambda: next(seeds), lambda seed: sampler.generate(size.batch, seed=seed, **options))


_KINDS = {"train_step": train_step, "denoiser_call": denoiser_call, "sampling": sampling}


# The tasks.


def prepare(
    kinds: Mapping[str, Callable[..., Call]], key: str, what: str, mode: str, size: dict[str, Any], **options: Any
) -> None:
    """Make a call of one of `kinds` ready for `time`."""
    CALLS[key] = kinds[what](key, mode, Size.received(size), **options)


def time_call(key: str) -> dict[str, float]:
    """Seconds of one call."""
    return timed(CALLS[key])


def forget() -> None:
    """Free what was prepared."""
    import gc

    from tests.benchmarks.runtimes import forget_models

    CALLS.clear()
    ANSWERS.clear()
    forget_models()
    gc.collect()


def compare(key: str, folder: str) -> dict[str, float]:
    """How far the answer of a prepared call lies from that of the peer's `reference`."""
    import numpy as np

    found = np.load(Path(folder) / "reference.npz")
    output = np.asarray(ANSWERS[key](found["noisy_clip"], peer_labels(found)), np.float64)
    error = output - found["output"]
    relative = np.sqrt(np.mean(error**2) / np.mean(found["output"].astype(np.float64) ** 2))
    return {"max_abs": float(np.abs(error).max()), "relative_rms": float(relative)}


def compare_keys(key: str, other: str, size: dict[str, Any]) -> dict[str, float]:
    """How far the answer of a prepared call lies from another's, on new noise."""
    import numpy as np

    inputs = next(noisy_inputs(Size.received(size)))
    here, there = (np.asarray(ANSWERS[name](*inputs), np.float64) for name in (key, other))
    relative = np.sqrt(np.mean((here - there) ** 2) / np.mean(there**2))
    return {"max_abs": float(np.abs(here - there).max()), "relative_rms": float(relative)}


def peer_labels(found: Any) -> Any:
    """The noise labels of the peer's timesteps, [batch, frames]."""
    import numpy as np

    return np.repeat(noise_labels()[found["timestep"]][:, None], found["noisy_clip"].shape[1], axis=1)


def compare_gradients(mode: str, size: dict[str, Any], folder: str) -> dict[str, float]:
    """How far, relatively, loss and gradient norm of the L1 loss lie from the peer's, same weights and inputs."""
    import numpy as np
    import tensorflow as tf

    found = np.load(Path(folder) / "reference.npz")
    weights = str(Path(folder) / "weights.safetensors")
    denoiser = trainable(mode, PEERS, Size.received(size), weights).denoiser
    with tf.GradientTape() as tape:
        output = denoiser({"noisy_clip": found["noisy_clip"], "noise_label": peer_labels(found)}, training=True)
        loss = tf.reduce_mean(tf.abs(found["target"] - tf.cast(output, tf.float32)))
    gradients = tape.gradient(loss, denoiser.trainable_variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    norm = np.sqrt(sum(float(np.sum(np.square(gradient, dtype=np.float64))) for gradient in gradients))
    return relative_differences(found, loss=float(loss), gradient_norm=norm)


def relative_differences(found: Mapping[str, Any], **figures: float) -> dict[str, float]:
    """How far figures lie from the peer's of their names, relatively."""
    return {name: abs(value / float(found[name]) - 1) for name, value in figures.items()}


def memory(mode: str, size: dict[str, Any], network: str = PEERS, steps: int = 3) -> dict[str, float]:
    """MiB by which training grows this process, from a network that is built to the end of some steps.

    And the seconds of processor time of one step after them.
    """
    wanted = Size.received(size)
    model, data = trainable(mode, network, wanted), batches(wanted)
    mib = grown_mib(lambda: model.fit(data, steps_per_epoch=steps, verbose=0))
    step = timed(Call(lambda: None, lambda _: model.fit(data, steps_per_epoch=1, verbose=0)))
    return {"mib": mib, "cpu": step["cpu"]}


def import_time() -> dict[str, float]:
    """Seconds of `import kvdiff`, in a process that has imported nothing."""

    def run(_: None) -> None:
        import kvdiff  # noqa: F401

    return timed(Call(lambda: None, run))


def first_step(mode: str, size: dict[str, Any], network: str = PEERS) -> dict[str, float]:
    """Seconds from calling `fit` on a compiled model to the end of its first step.

    And of processor time since this process began. What ends a `fit` does not count, and is "ending": TensorFlow's
    data threads may sleep for seconds before they are gone.
    """
    import keras

    wanted, ended = Size.received(size), {}
    model, data = trainable(mode, network, wanted), batches(wanted)
    done = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: ended.update(wall=time.perf_counter(), process_cpu=time.process_time())
    )
    wall, cpu = time.perf_counter(), time.process_time()
    model.fit(data, steps_per_epoch=1, verbose=0, callbacks=[done])
    found = {"wall": ended["wall"] - wall, "cpu": ended["process_cpu"] - cpu, "process_cpu": ended["process_cpu"]}
    return {**found, "ending": time.perf_counter() - ended["wall"]}


def export(folder: str, size: dict[str, Any], precisions: Sequence[str]) -> None:
    """Write ONNX files of the network with the weights in `folder`, beside them."""
    from kvdiff.export import export_onnx

    weights = str(Path(folder) / "weights.safetensors")
    model = build_model(PEERS, Size.received(size), "float32", weights=weights)
    for precision in precisions:
        export_onnx(model, folder, precision=precision, overwrite=True)


def about() -> dict[str, Any]:
    """The machine and the versions of everything."""
    from kvdiff.system.environment import machine, versions
    from tests.benchmarks.runtimes import threads

    return {"machine": machine(), "versions": versions(), "threads": threads()}


TASKS = {
    "prepare": functools.partial(prepare, _KINDS),
    "time": time_call,
    "forget": forget,
    "compare": compare,
    "compare_keys": compare_keys,
    "compare_gradients": compare_gradients,
    "memory": memory,
    "import": import_time,
    "first_step": first_step,
    "export": export,
    "about": about,
}

if __name__ == "__main__":
    answer(TASKS)
