"""Our networks as they are measured: the peer's U-Net with the peer's weights, and the default one."""

from __future__ import annotations

from typing import Any

from tests.benchmarks.sizes import Size

__all__ = ["DEFAULT", "PEERS", "build_denoiser", "build_model"]

PEERS, DEFAULT = "factorised_unet3d", "unet3d"
_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


def build_denoiser(network: str, size: Size, precision: str, *, weights: str | None = None, remat: bool = False) -> Any:
    """A denoiser in a precision; with the weights of a safetensors file where the network is the peer's."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    keras.utils.set_random_seed(0)
    try:
        denoiser = _build(network, size, remat)
    finally:
        keras.config.set_dtype_policy(before)
    if weights is not None:
        import kvdiff

        kvdiff.load_torch_weights(denoiser, weights)
    return denoiser


def _build(network: str, size: Size, remat: bool) -> Any:
    import kvdiff

    if network == DEFAULT:
        denoiser = kvdiff.UNet3D(size.channels, remat=remat)
        _fill_zeros(denoiser)
        return denoiser
    options = {"remat": True} if remat else {}
    return kvdiff.FactorisedUNet3D(size.channels, width=size.width, multipliers=size.multipliers, **options)


def _fill_zeros(denoiser: Any) -> None:
    """Random numbers for kernels that begin as 0: a network that answers 0 could compute anything."""
    import numpy as np

    rng = np.random.default_rng(0)
    for variable in denoiser.trainable_variables:
        if variable.name == "kernel" and not np.asarray(variable).any():
            variable.assign(0.05 * rng.standard_normal(variable.shape))


def build_model(network: str, size: Size, precision: str, **options: Any) -> Any:
    """`VideoDiffusion` around it, training as the peer does: eps, the cosine schedule, no known frames."""
    import kvdiff
    from kvdiff.diffusion.tasks.known_frames import Nothing

    return kvdiff.VideoDiffusion(
        size.clip_shape,
        build_denoiser(network, size, precision, **options),
        prediction="eps",
        known_frames=Nothing(),
    )
