"""A worker of ONNX Runtime alone, for GPUs: an exported denoiser with its inputs and outputs on the device.

Its environment needs NumPy and onnxruntime-gpu. A mode is "float32", "tf32" (what CUDA makes of float32) or "float16".
"""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Any

from tests.benchmarks import ours
from tests.benchmarks.answering import Call, answer
from tests.benchmarks.sizes import Size

__all__ = ["TASKS"]

_FILES = {"float32": "denoiser.onnx", "tf32": "denoiser.onnx", "float16": "denoiser.float16.onnx"}


def device() -> str:
    """Where to compute."""
    return os.environ.get("BENCHMARK_DEVICE", "cpu")


def open_denoiser(path: Path, mode: str) -> Any:
    """A session of the file; on a GPU it must have started there, for onnxruntime falls back to the CPU unsaid."""
    from kvdiff.runtime.ort import open_session

    if device() == "cpu":
        return open_session(path, ["CPUExecutionProvider"], int(os.environ.get("OMP_NUM_THREADS", "1")))
    options = {"device_id": "0", "use_tf32": "0" if mode == "float32" else "1"}
    session = open_session(path, [("CUDAExecutionProvider", options), "CPUExecutionProvider"])
    used = session.get_providers()
    if used[0] != "CUDAExecutionProvider":
        raise RuntimeError(f"onnxruntime: expected CUDAExecutionProvider first. Received: {used}")
    return session


def denoiser_call(key: str, mode: str, size: Size, folder: str) -> Call:
    """One call of the network on new noise, from and to the device's memory."""
    from onnxruntime import OrtValue

    session = open_denoiser(Path(folder) / _FILES[mode], mode)
    (output,) = (tensor.name for tensor in session.get_outputs())
    inputs = ours.noisy_inputs(size)

    def fresh() -> Any:
        binding = session.io_binding()
        for name, array in zip(("noisy_clip", "noise_label"), next(inputs), strict=True):
            binding.bind_ortvalue_input(name, OrtValue.ortvalue_from_numpy(array, device(), 0))
        binding.bind_output(output, device(), 0)
        binding.synchronize_inputs()
        return binding

    def run(binding: Any) -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    ours.ANSWERS[key] = lambda noisy_clip, noise_label: session.run(
        [output], {"noisy_clip": noisy_clip, "noise_label": noise_label}
    )[0]
    return Call(fresh, run)


def about() -> dict[str, Any]:
    """Versions."""
    import onnxruntime

    return {"versions": {"onnxruntime": onnxruntime.__version__}}


_SHARED = ("time", "forget", "compare")
TASKS = {
    **{name: ours.TASKS[name] for name in _SHARED},
    "prepare": functools.partial(ours.prepare, {"denoiser_call": denoiser_call}),
    "about": about,
}

if __name__ == "__main__":
    answer(TASKS)
