"""The sampling loop with its clips on the device: the denoiser's session and that of `step.onnx` by turns.

Bound inputs and outputs: between two rows a few numbers travel, and the fresh noise of solvers that draw any; clips and
remembered predictions stay where the network computes.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kvdiff.diffusion.sampling.engine import Draws
from kvdiff.diffusion.solvers.step_table import Row, StepTable
from kvdiff.runtime.format import MEMORY, STEP_COLUMNS

STEP = pathlib.Path(__file__).with_name("step.onnx")

BOUNDS = ("low", "high")
"""The inputs of `STEP` to which it clamps predicted x_0; infinite where values have no bounds."""

_BLANK = np.zeros((1, 1, 1, 1, 1), np.float32)


class DeviceLoop:
    """Runs tables with buffers of its own, one set for every shape of clips, as CUDA graphs require.

    Args:
        denoiser: the denoiser's session.
        step: that of `STEP`, with the same providers.
        device: where the buffers lie: "cpu" or "cuda".
        device_id: which of several.
        cuda_graph: whether the denoiser's session records CUDA graphs; each shape then has one of its own.
    """

    def __init__(self, denoiser: Any, step: Any, *, device: str, device_id: int = 0, cuda_graph: bool = False) -> None:
        self.denoiser, self.step = denoiser, step
        self.device, self.device_id, self.cuda_graph = device, device_id, cuda_graph
        self._buffers: dict[tuple[Any, ...], dict[str, Any]] = {}

    def run(
        self,
        table: StepTable,
        x: np.ndarray,
        history: Sequence[np.ndarray],
        draws: Draws,
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """As `Engine.run_window`, of a table of at most `MEMORY` and a network of as many channels out as in."""
        rows = list(table.rows(np.float32))
        labels = [np.ascontiguousarray(np.broadcast_to(row.c_noise[..., 0, 0, 0], x.shape[:2])) for row in rows]
        first = {"noisy_clip": rows[0].c_in * x, "noise_label": labels[0], **draws.conditioning.inputs}
        graph, buffers = self._filled(first)
        blank = self._value(_BLANK)
        state, memory = self._value(x), [*map(self._value, history)] + [blank] * (MEMORY - len(history))
        low, high = (np.full((1, 1, 1, 1, 1), end, np.float32) for end in draws.bounds or (-np.inf, np.inf))
        following = [*(row.c_in for row in rows[1:]), _BLANK]
        for index, row in enumerate(rows):
            buffers["noise_label"].update_inplace(labels[index])
            self._call_denoiser(graph, buffers)
            fresh = self._value(draws.fresh(index, row))
            more = {"c_in_next": following[index], "low": low, "high": high}
            state, predicted = self._call_step(buffers, (state, memory), fresh, row, more)
            memory = [predicted, *memory[:-1]]
            draws.report(1)
        return state.numpy(), [predicted.numpy() for predicted in memory[: len(history)]]

    def _filled(self, first: Mapping[str, np.ndarray]) -> tuple[str, dict[str, Any]]:
        """The number and the buffers of a shape, holding `first`; made when the shape is new."""
        key = tuple((name, value.shape) for name, value in first.items())
        if key not in self._buffers:
            self._buffers[key] = {name: self._value(value) for name, value in first.items()}
            self._buffers[key]["raw_output"] = self._value(np.zeros_like(first["noisy_clip"], np.float32))
        buffers = self._buffers[key]
        for name, value in first.items():
            buffers[name].update_inplace(np.ascontiguousarray(value))
        return str(list(self._buffers).index(key)), buffers

    def _call_denoiser(self, graph: str, buffers: Mapping[str, Any]) -> None:
        import onnxruntime

        binding, options = self.denoiser.io_binding(), onnxruntime.RunOptions()
        for name, value in buffers.items():
            if name != "raw_output":
                binding.bind_ortvalue_input(name, value)
        binding.bind_ortvalue_output("raw_output", buffers["raw_output"])
        if self.cuda_graph:
            options.add_run_config_entry("gpu_graph_id", graph)
        self.denoiser.run_with_iobinding(binding, options)

    def _call_step(
        self, buffers: Mapping[str, Any], state: tuple[Any, Sequence[Any]], noise: Any, row: Row, more: dict[str, Any]
    ) -> tuple[Any, Any]:
        """The next x and the new prediction; the next noisy clip is written into the denoiser's buffer."""
        x, memory = state
        values = {"x": x, "raw_output": buffers["raw_output"], "noise": noise}
        values |= {f"history_{k}": remembered for k, remembered in enumerate(memory)}
        columns = {name: getattr(row, name) for name in STEP_COLUMNS} | more
        columns |= {f"b_{k}": row.b[k] if k < len(row.b) else _BLANK for k in range(MEMORY)}
        values |= {name: self._value(column) for name, column in columns.items()}
        binding = self.step.io_binding()
        for name, value in values.items():
            binding.bind_ortvalue_input(name, value)
        for name in ("x_next", "predicted"):
            binding.bind_output(name, self.device, self.device_id)
        binding.bind_ortvalue_output("noisy_clip_next", buffers["noisy_clip"])
        self.step.run_with_iobinding(binding)
        moved, predicted, _ = binding.get_outputs()
        return moved, predicted

    def _value(self, array: np.ndarray) -> Any:
        import onnxruntime

        array = np.array(array, array.dtype if array.dtype != np.float64 else np.float32, order="C")
        return onnxruntime.OrtValue.ortvalue_from_numpy(array, self.device, self.device_id)
