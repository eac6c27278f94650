"""LoRA (Hu et al. 2021, arXiv:2106.09685): a trained network tuned by the product of two thin matrices for each kernel.

    kernel + (alpha / rank) A B        A [inputs, rank], B [rank, outputs], 0 at first

The kernels themselves stay as they were, so few weights are trained, saved in checkpoints with their moments, and at
risk of forgetting.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from kvdiff.diffusion.checks import check_count, check_real


class LowRankTuning:
    """The methods of a model by which its `denoiser` is tuned in low rank.

    Attributes:
        lora: `{"rank": …, "alpha": …}` where LoRA is enabled, else None.
    """

    denoiser: keras.Model
    lora: dict[str, Any] | None = None

    def enable_lora(self, rank: int, alpha: float | None = None) -> None:
        """Freeze the denoiser's weights, and give every dense and convolution kernel two factors, which alone train.

        The model returns what it did before: B is 0. Compile afterwards. Files and checkpoints keep both parts; exports
        have them merged.

        Args:
            rank: of the change to each kernel, at least 1; 4 to 16 is usual.
            alpha: the change is scaled by alpha / rank; by default `rank`.

        Raises:
            ValueError: a model that has LoRA already, or a denoiser without a layer for it.
            TypeError, ValueError: arguments that are not as above.
        """
        check_count("rank", rank)
        alpha = float(rank) if alpha is None else check_real("alpha", alpha, above=0.0, below=np.inf)
        if self.lora is not None:
            raise ValueError(f"enable_lora: expected a model without LoRA; `merge_lora()` first. Received: {self.lora}")
        tuned = [layer for layer in _layers(self.denoiser) if hasattr(layer, "enable_lora") and layer.built]
        if not tuned:
            raise ValueError(
                "enable_lora: expected a denoiser with Dense or convolution layers. Received: none of them"
            )
        for weight in self.denoiser.weights:
            weight.trainable = False
        for layer in tuned:
            if not layer.lora_enabled:  # A layer of a saved network has it already, though without its alpha.
                layer.enable_lora(rank)
            layer.lora_alpha = alpha
            # Keras' own would write the merged kernel, and read 0 for both factors, where no gradient leaves 0.
            for method in ("save_own_variables", "load_own_variables"):
                setattr(layer, method, getattr(keras.layers.Layer, method).__get__(layer))
            for factor in _parts(layer)[1:]:
                factor.trainable = True
        self.lora = {"rank": rank, "alpha": alpha}
        self._changed()

    def merge_lora(self) -> None:
        """Add the factors' products to the kernels and drop them: the same clips, and all weights train again.

        Compile afterwards, to train on.

        Raises:
            ValueError: a model without LoRA.
        """
        if self.lora is None:
            raise ValueError("merge_lora: expected a model with LoRA, after `enable_lora(rank)`. Received: one without")
        for layer in low_rank_layers(self.denoiser):
            kernel, *factors = _parts(layer)
            kernel.assign(_merged(layer))
            layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
            for factor in factors:
                factor.assign(np.zeros(factor.shape))  # For who still has a compiled call with them.
                layer._untrack_variable(factor)
            del layer.save_own_variables, layer.load_own_variables
        for layer in _layers(self.denoiser):
            for weight in layer._trainable_variables:
                weight.trainable = layer.trainable
        self.lora = None
        self._changed()

    def _changed(self) -> None:
        """What was compiled before knows nothing of the change."""
        self.sampler.engine.compile()  # type: ignore[attr-defined]
        self.compiled, self.optimizer = False, None
        self.train_function = self.test_function = None


def low_rank_layers(denoiser: keras.Model) -> list[Any]:
    """The layers of a denoiser that have factors."""
    return [layer for layer in _layers(denoiser) if getattr(layer, "lora_enabled", False)]


def plain_copy(denoiser: keras.Model, **config: Any) -> keras.Model:
    """A copy of `denoiser` without LoRA, its factors merged; `config` is of every layer, e.g. `dtype="float32"`."""

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        own = {name: value for name, value in layer.get_config().items() if name not in ("lora_rank", "lora_alpha")}
        return type(layer).from_config({**own, **config})

    twin = keras.models.clone_model(denoiser, clone_function=clone)
    low_rank = low_rank_layers(denoiser)
    merged = {id(_parts(layer)[0]): _merged(layer) for layer in low_rank}
    factors = {id(factor) for layer in low_rank for factor in _parts(layer)[1:]}
    weights = [weight for weight in denoiser.weights if id(weight) not in factors]
    twin.set_weights([merged.get(id(weight), keras.ops.convert_to_numpy(weight)) for weight in weights])
    return twin


def _layers(denoiser: keras.Model) -> list[Any]:
    """All layers, those inside of others too."""
    return list(denoiser._flatten_layers(include_self=False))


def _parts(layer: Any) -> tuple[Any, Any, Any]:
    """The kernel's own variable, A and B."""
    name = "embeddings" if hasattr(layer, "_embeddings") else "kernel"
    return getattr(layer, f"_{name}"), *(getattr(layer, f"lora_{name}_{side}") for side in "ab")


def _merged(layer: Any) -> np.ndarray:
    """The kernel with the factors' product, in float32 whatever the layer computes in."""
    kernel, a, b = (keras.ops.convert_to_numpy(part).astype(np.float32) for part in _parts(layer))
    return kernel + layer.lora_alpha / layer.lora_rank * (a @ b)
