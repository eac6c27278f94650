"""What a computation must cost on a device: the FLOPs and bytes of its convolutions and matrix products.

Everything else (normalisation, activations, softmax) counts as free, as if fused into them. What follows is a floor for
every implementation that writes to memory what these operations answer; only one that fuses some of them with each
other, as flash attention does, could go below its bytes, and none below its FLOPs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

__all__ = ["counted", "floor_seconds"]


def counted(run: Callable[[], Any]) -> list[tuple[float, float]]:
    """(FLOPs, elements of inputs and outputs) of each convolution and matrix product that PyTorch runs."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves
    from torch.utils.flop_counter import flop_registry

    found: list[tuple[float, float]] = []

    class Counter(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func._overloadpacket not in flop_registry:  # In inference mode, composite ones come whole.
                with self:
                    output = func.decompose(*args, **kwargs)
                if output is not NotImplemented:
                    return output
            output = func(*args, **kwargs)
            if flops := flop_registry.get(func._overloadpacket):
                tensors = (leaf for leaf in tree_leaves((args, kwargs, output)) if isinstance(leaf, torch.Tensor))
                found.append((float(flops(*args, **kwargs, out_val=output)), float(sum(map(torch.numel, tensors)))))
            return output

    with Counter():
        run()
    return found


def floor_seconds(
    operations: Iterable[Sequence[float]],
    peaks: Mapping[str, float],
    *,
    element_bytes: int = 2,
    extra_bytes: float = 0.0,
) -> float:
    """The least time on a device of `peaks`, {"flops", "bytes"} a second: each operation is bound by one of them.

    Args:
        operations: (FLOPs, elements) of each.
        peaks: of the device.
        element_bytes: of an element, 2 in bfloat16.
        extra_bytes: to move besides, e.g. the optimizer's state.
    """
    bound = (max(flops / peaks["flops"], elements * element_bytes / peaks["bytes"]) for flops, elements in operations)
    return sum(bound) + extra_bytes / peaks["bytes"]
