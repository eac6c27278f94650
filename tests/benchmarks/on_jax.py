"""Our worker on a GPU (or JAX's CPU): `VideoDiffusion` through Keras on JAX; run it with KERAS_BACKEND=jax.

Answers some of the requests that `ours` does, in an environment without TensorFlow.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks import ours
from tests.benchmarks.answering import Call, answer
from tests.benchmarks.networks import PEERS, build_denoiser
from tests.benchmarks.parity import is_float32
from tests.benchmarks.sizes import Size

__all__ = ["TASKS"]


def on_device(array: Any) -> Any:
    """A NumPy array on the device, there before any clock starts."""
    import jax

    return jax.block_until_ready(jax.device_put(array))


def exact(mode: str) -> Any:
    """The context in which float32 is not rounded to TF32, where a mode is float32; for comparing, not for timing."""
    import jax

    return jax.default_matmul_precision("highest" if is_float32(mode) else "default")


def train_step(key: str, mode: str, size: Size, network: str = PEERS, weights: str | None = None) -> Call:
    """One update on new clips, by the compiled function that `fit` calls."""
    import jax
    import numpy as np

    model = ours.trainable(mode, network, size, weights)
    model.optimizer.build(model.trainable_variables)
    model._symbolic_build()
    model.make_train_function()
    ours.ANSWERS[key] = answering(model.denoiser, mode)
    held = dict.fromkeys(("trainable", "non_trainable", "optimizer", "metrics"), True)
    state = model._get_jax_state(**{f"{name}_variables": flag for name, flag in held.items()})
    # The step takes its arguments' memory; the model's own variables are kept for comparing.
    states = [jax.tree.map(lambda value: value.copy(), state)]
    rng = np.random.default_rng(0)

    def run(clips: Any) -> None:
        logs, states[0] = model.train_function(states[0], iter([(clips,)]))
        jax.block_until_ready((logs, states[0]))

    return Call(lambda: on_device(rng.uniform(-1, 1, (size.batch, *size.clip_shape)).astype(np.float32)), run)


def denoiser_call(key: str, mode: str, size: Size, network: str = PEERS, weights: str | None = None) -> Call:
    """One compiled call of the network on new noise."""
    import jax

    denoiser = build_denoiser(network, size, mode, weights=weights)
    ours.ANSWERS[key] = answering(denoiser, mode)
    denoise, inputs = compiled(denoiser), ours.noisy_inputs(size)
    return Call(lambda: tuple(map(on_device, next(inputs))), lambda made: jax.block_until_ready(denoise(*made)))


def compiled(denoiser: Any) -> Callable[[Any, Any], Any]:
    """F(noisy_clip, noise_label), with the denoiser's present weights."""
    import jax

    weights = [[variable.value for variable in group] for group in _variables(denoiser)]

    @jax.jit
    def call(weights: Any, noisy_clip: Any, noise_label: Any) -> Any:
        inputs = {"noisy_clip": noisy_clip, "noise_label": noise_label}
        return denoiser.stateless_call(*weights, inputs, training=False)[0]

    return functools.partial(call, weights)


def _variables(denoiser: Any) -> tuple[Any, Any]:
    return denoiser.trainable_variables, denoiser.non_trainable_variables


def answering(denoiser: Any, mode: str) -> Callable[[Any, Any], Any]:
    """F(noisy_clip, noise_label) for comparing."""

    def call(noisy_clip: Any, noise_label: Any) -> Any:
        with exact(mode):
            return compiled(denoiser)(noisy_clip, noise_label)

    return call


def compare_gradients(mode: str, size: dict[str, Any], folder: str) -> dict[str, float]:
    """How far, relatively, loss and gradient norm of the L1 loss lie from the peer's, same weights and inputs."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    found = np.load(Path(folder) / "reference.npz")
    denoiser = build_denoiser(PEERS, Size.received(size), mode, weights=str(Path(folder) / "weights.safetensors"))
    inputs = {"noisy_clip": found["noisy_clip"], "noise_label": ours.peer_labels(found)}
    trainable, fixed = ([variable.value for variable in group] for group in _variables(denoiser))

    @jax.value_and_grad
    def loss_of(weights: Any) -> Any:
        output, _ = denoiser.stateless_call(weights, fixed, inputs, training=True)
        return jnp.mean(jnp.abs(found["target"] - output.astype("float32")))

    with exact(mode):
        loss, gradients = jax.jit(loss_of)(trainable)
    norm = np.sqrt(sum(float(np.sum(np.square(gradient, dtype=np.float64))) for gradient in map(np.asarray, gradients)))
    return ours.relative_differences(found, loss=float(loss), gradient_norm=norm)


def about() -> dict[str, Any]:
    """The machine, the versions and the device."""
    import jax
    import jaxlib

    from kvdiff.system.environment import machine, versions

    found = {**versions(), "jax": jax.__version__, "jaxlib": jaxlib.__version__}
    threads = os.environ.get("OMP_NUM_THREADS")
    return {"machine": {**machine(), "device": jax.devices()[0].device_kind}, "versions": found, "threads": threads}


_KINDS = {"train_step": train_step, "denoiser_call": denoiser_call}
_SHARED = ("time", "forget", "compare")
TASKS = {
    **{name: ours.TASKS[name] for name in _SHARED},
    "prepare": functools.partial(ours.prepare, _KINDS),
    "compare_gradients": compare_gradients,
    "about": about,
}

if __name__ == "__main__":
    answer(TASKS)
