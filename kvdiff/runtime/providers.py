"""Options of ONNX Runtime's GPU providers that matter here, as `OrtSampler(…, providers=[cuda(…), …])` takes them."""

from __future__ import annotations

import os
from typing import Any

from kvdiff.diffusion.checks import check_count, check_flag, check_path

CPU = "CPUExecutionProvider"


def cuda(*, device_id: int = 0, cuda_graph: bool = False) -> tuple[str, dict[str, Any]]:
    """NVIDIA's CUDA.

    Args:
        device_id: which GPU.
        cuda_graph: record the denoiser's kernels once for each shape of clips and replay them, which saves the
            launches; for `OrtSampler` alone, since a graph with a loop cannot be recorded.
    """
    options = {"device_id": str(check_count("device_id", device_id, at_least=0))}
    if check_flag("cuda_graph", cuda_graph):
        options["enable_cuda_graph"] = "1"
    return "CUDAExecutionProvider", options


def tensorrt(
    cache: str | os.PathLike[str], *, device_id: int = 0, float16: bool = False, cuda_graph: bool = False
) -> tuple[str, dict[str, Any]]:
    """NVIDIA's TensorRT, which compiles an engine for every shape of clips.

    Args:
        cache: a folder for the engines, which take minutes to make.
        device_id: which GPU.
        float16: let TensorRT compute in float16 where it finds that faster.
        cuda_graph: as for `cuda`.
    """
    options = {"device_id": str(check_count("device_id", device_id, at_least=0)), "trt_engine_cache_enable": "1"}
    options["trt_engine_cache_path"] = str(check_path("cache", cache))
    if check_flag("float16", float16):
        options["trt_fp16_enable"] = "1"
    if check_flag("cuda_graph", cuda_graph):
        options["trt_cuda_graph_enable"] = "1"
    return "TensorrtExecutionProvider", options
