"""How to sample with an exported network where there is no kvdiff: the section `how_to_sample` of a manifest.

What a network knows of the noise is not to be guessed: a loop that passes t / T runs, and makes clips that are
several dB worse.
"""

from __future__ import annotations

from typing import Any

from kvdiff.diffusion.process.spacing import sampling_levels
from kvdiff.diffusion.solvers.by_name import DEFAULT_NUM_STEPS, step_table
from kvdiff.diffusion.spec import ModelSpec
from kvdiff.diffusion.transforms.autoencoder import Autoencoder

_LABEL = (
    "(2 / pi) * atan2(sigma, alpha) of each frame, float32 [batch, frames]: 0 is clean, 1 is pure noise. "
    "A known frame -> label 0, and its numbers go in as they are. The label is not t / T."
)
_LEVELS = (
    "x_t = alpha x_0 + sigma noise. `alpha` and `sigma` here are those of some timesteps of the schedule in `sampler`, "
    "then the clean clip. A `logsnr_shift` s in it is in them: alpha exp(s / 4) and sigma exp(-s / 4), divided by what "
    "puts them back on their path: alpha^2 + sigma^2 = 1, alpha + sigma = 1, or alpha = 1."
)
_INPUTS = (
    "denoise(noisy_clip, noise_label) is one call of the network. known: bool [batch, frames, 1, 1, 1]; clip: what is "
    "known of it, float32 [batch, frames, height, width, channels], pixels as numbers in [-1, 1], other values and "
    "latent clips as `sampler` encodes them; noise: standard normal, of that shape. A network with conditions takes "
    "them as further inputs; of an output with twice the channels take the first half."
)

_CODEC = (
    "The network works on latent clips. The encoder makes them of known frames, x_0 (pixels in [-1, 1]) [batch, frames,"
    " height, width, channels], frame by frame; the decoder makes frames of them again, which are then clamped to the "
    "values' range. Their files are those of the manifest's section `codec`; in `sampler.onnx` and a SavedModel they "
    "are inside. A latent is not clamped."
)

# What the network sees, and x_0 from its output F; equation (5) of `kvdiff.diffusion`, multiplied out.
_FORMULAS = {
    "eps": ("x", "(x - sigma * F) / alpha"),
    "x0": ("x", "F"),
    "v": ("x", "(alpha * x - sigma * F) / (alpha**2 + sigma**2)"),
    "flow": ("x", "(x - sigma * F) / (alpha + sigma)"),
    "edm": (
        "np.where(known, x, x / np.hypot(sigma, data * alpha))",
        "(alpha * data**2 * x + sigma * data * np.hypot(sigma, data * alpha) * F) / (sigma**2 + (data * alpha)**2)",
    ),
}

_LOOP = """
x = np.where(known, clip, init_std * noise)
for index in range(len(alphas) - 1):
    alpha, sigma = alphas[index], sigmas[index]
    label = np.where(known[:, :, 0, 0, 0], 0.0, 2 / np.pi * np.arctan2(sigma, alpha)).astype(np.float32)
    F = denoise({scaled}, label)
    x_0 = {x_0}
    direction = (x - alpha * x_0) / sigma
    x = np.where(known, clip, alphas[index + 1] * x_0 + sigmas[index + 1] * direction)
"""


def how_to_sample(spec: ModelSpec) -> dict[str, Any]:
    """What a manifest says of it: the noise label in words, levels, and DDIM as a loop in NumPy.

    Args:
        spec: what the network was trained for.
    """
    schedule, prediction = spec.schedule, spec.prediction
    num_steps = min(DEFAULT_NUM_STEPS, schedule.num_timesteps)
    levels = sampling_levels(schedule, num_steps, "trailing")
    scaled, x_0 = _FORMULAS[prediction.name]
    if spec.bounds is not None:
        x_0 = f"np.clip({x_0}, {spec.bounds[0]:g}, {spec.bounds[1]:g})"
    loop = _LOOP.format(scaled=scaled, x_0=x_0).replace("data", repr(prediction.sigma_data))
    latent = {"codec": _CODEC} if isinstance(spec.codec, Autoencoder) else {}
    return {
        **latent,
        "noise_label": _LABEL,
        "levels": _LEVELS,
        "inputs": _INPUTS,
        "loop": loop.strip().splitlines(),
        "alphas": levels.alpha.tolist(),
        "sigmas": levels.sigma.tolist(),
        "init_std": float(step_table(schedule, prediction, solver="ddim", num_steps=num_steps).init_std),
    }
