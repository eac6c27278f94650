"""The ONNX Runtime engine: an exported denoiser, with NumPy and onnxruntime alone."""

from __future__ import annotations

import os
import pathlib
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_choice, check_count
from kvdiff.diffusion.sampling.engine import DenoiserEngine, Draws
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.runtime.codec_files import PairCodec, codec_paths
from kvdiff.runtime.fixed_shape import check_shape, one_by_one
from kvdiff.runtime.format import MEMORY, Format
from kvdiff.runtime.manifest import METADATA, Artefact, ArtefactError, canonical_json
from kvdiff.runtime.onnx_file import check_network, check_onnx
from kvdiff.runtime.ort_device import STEP, DeviceLoop

_GPUS = ("CUDAExecutionProvider", "TensorrtExecutionProvider")

Provider = str | tuple[str, dict[str, Any]]


class OrtEngine(DenoiserEngine):
    """Runs a denoiser that `kvdiff.export.export_onnx` wrote.

    Args:
        artefact: the file.
        providers: onnxruntime's execution providers, most wanted first, as names or (name, options); by default CUDA
            where this onnxruntime was built with it, then the CPU. A provider that cannot be used is warned about.
        threads: threads within an operator; by default one a physical core.
        io_binding: keep clips on the device between network calls; by default where that is a GPU. Guided sampling and
            learned variances go over the host either way.

    Raises:
        ArtefactError: a file that is not what its manifest says.
        ImportError: no onnxruntime.
    """

    def __init__(
        self,
        artefact: Artefact,
        *,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
        io_binding: bool | None = None,
    ) -> None:
        super().__init__(self._denoise)
        self.artefact = artefact
        self._session = artefact_session(artefact, providers, threads)
        (self._output,), self._sizes = artefact.outputs, artefact.inputs["noisy_clip"]
        on_gpu = self.providers[0] in _GPUS
        alike = artefact.outputs[self._output][-1] == artefact.inputs["noisy_clip"][-1]
        bound = alike and (on_gpu if io_binding is None else io_binding)
        self._loop = self._device_loop(threads) if bound else None
        self.codec = ort_codec(artefact, providers, threads)

    def _device_loop(self, threads: int | None) -> DeviceLoop:
        """The loop on the device of the first provider in use."""
        options = self._session.get_provider_options().get(self.providers[0], {})
        on_gpu = self.providers[0] in _GPUS
        recorded = any(options.get(name) == "1" for name in ("enable_cuda_graph", "trt_cuda_graph_enable"))
        device_id = int(options.get("device_id", 0)) if on_gpu else 0
        # No TensorRT engine for so few nodes.
        step: list[Provider] = [("CUDAExecutionProvider", {"device_id": str(device_id)})] if on_gpu else []
        return DeviceLoop(
            self._session,
            open_session(STEP, [*step, "CPUExecutionProvider"], threads),
            device="cuda" if on_gpu else "cpu",
            device_id=device_id,
            cuda_graph=recorded,
        )

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, most wanted first."""
        return tuple(self._session.get_providers())

    def _denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        """The network's raw output, float32 of `noisy_clip`'s shape [batch, frames, height, width, channels].

        Height and width may be any that the network divides, unless it was exported for one shape; `noise_label` is
        [batch, frames]; `inputs` are what a network of conditions takes besides.
        """
        feed = {"noisy_clip": np.asarray(noisy_clip, np.float32), "noise_label": np.asarray(noise_label, np.float32)}
        feed |= inputs or {}
        check_shape("OrtSampler", self._sizes[1:], feed["noisy_clip"].shape)
        if self._is_of_one_clip:
            (out,) = one_by_one(self._run, feed, len(feed["noisy_clip"]), dict.fromkeys(feed, 0), [0])
        else:
            (out,) = self._run(feed)
        return out

    @property
    def _is_of_one_clip(self) -> bool:
        return isinstance(self._sizes[0], int)

    def _run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run([self._output], feed)

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`, on the device where that is asked for."""
        check_shape("OrtSampler", self._sizes[1:], x.shape)
        plain = type(table) is StepTable and table.memory <= MEMORY and draws.conditioning.guidance is None
        if self._loop is None or not plain or (self._is_of_one_clip and len(x) > 1):
            return super().run_window(table, x, history, draws)
        cleaner, remembered = self._loop.run(table, x, list(history), draws)
        return cleaner, np.stack(remembered)


def open_session(
    path: str | os.PathLike[str], providers: Sequence[Provider] | None = None, threads: int | None = None
) -> Any:
    """An `onnxruntime.InferenceSession` of a model file; warns where a wanted provider is not in use."""
    ort = _onnxruntime()
    options = ort.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = check_count("threads", threads)
    wanted = _wanted(ort, providers)
    usable = [provider for provider in wanted if _name(provider) in ort.get_available_providers()]
    if "CUDAExecutionProvider" in map(_name, usable):
        ort.preload_dlls()  # Finds the CUDA and cuDNN libraries where pip installed them.
    try:
        session = ort.InferenceSession(pathlib.Path(path), options, providers=usable or ["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no base class.
        raise ArtefactError(path, f"which onnxruntime {ort.__version__} cannot open ({error})") from error
    _warn_of_fallback(wanted, session.get_providers())
    return session


def _onnxruntime() -> ModuleType:
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            'OrtSampler needs onnxruntime: pip install "keras-video-diffusion[onnx]", or for an NVIDIA GPU '
            '"keras-video-diffusion[gpu]"; never both'
        ) from error
    return onnxruntime


def _name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _wanted(ort: ModuleType, providers: Sequence[Provider] | None) -> list[Provider]:
    """The providers asked for, their names checked; by default CUDA where it is built in, then the CPU."""
    if providers is None:
        built_in = ort.get_available_providers()
        return [name for name in ("CUDAExecutionProvider", "CPUExecutionProvider") if name in built_in]
    if isinstance(providers, str) or not providers:
        raise ValueError(f"`providers`: expected a list of names, most wanted first. Received: {providers!r}")
    for provider in providers:
        check_choice("providers", _name(provider), ort.get_all_providers())
    return list(providers)


def _warn_of_fallback(wanted: Sequence[Provider], used: Sequence[str]) -> None:
    """onnxruntime runs on the CPU when a GPU provider cannot start, and says so at most in its log."""
    missing = [_name(provider) for provider in wanted if _name(provider) not in used]
    if missing:
        warnings.warn(
            f"`providers`: expected {missing} to run the model. Received: {list(used)}, which is what this machine's "
            "onnxruntime could start; sampling is correct but slower. For an NVIDIA GPU: "
            'pip install "keras-video-diffusion[gpu]", and no onnxruntime beside it',
            RuntimeWarning,
            stacklevel=7,  # Whoever called `OrtSampler` or `open_sampler`.
        )


def artefact_session(artefact: Artefact, providers: Sequence[Provider] | None, threads: int | None) -> Any:
    """The session of an artefact whose data files and tensors are those that its manifest lists."""
    check_onnx(artefact)
    session = open_session(artefact.path, providers, threads)
    _check_session(artefact, session)
    return session


def ort_codec(artefact: Artefact, providers: Sequence[Provider] | None, threads: int | None) -> PairCodec | None:
    """What computes the autoencoder of an artefact; None where it has none.

    Raises:
        ArtefactError: files that are not what the manifest lists, or that a reader would not trust.
    """
    paths = codec_paths(artefact)
    if not paths:
        return None
    for path in paths.values():
        check_network(path)
    sessions = {side: open_session(path, providers, threads) for side, path in paths.items()}

    def run(side: str, given: str, array: np.ndarray) -> np.ndarray:
        return sessions[side].run(None, {given: array})[0]

    return PairCodec(lambda clip: run("encoder", "clip", clip), lambda latent: run("decoder", "latent", latent))


def _check_session(artefact: Artefact, session: Any) -> None:
    """The model must have the inputs, outputs and sampler configuration that its manifest claims."""
    for section, tensors in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        expected = getattr(artefact, section)
        found = {tensor.name: list(tensor.shape) for tensor in tensors}
        if found != expected:
            raise ArtefactError(artefact.path, f"whose {section} are {found}; its manifest says {expected}")
    carried = session.get_modelmeta().custom_metadata_map.get(METADATA)
    if carried != canonical_json(artefact.manifest["sampler"]):
        raise ArtefactError(artefact.path, "whose own sampler configuration is not the one in its manifest")


ONNX = Format(
    name="onnx",
    kind="onnx-denoiser",
    file="denoiser.onnx",
    precisions=("float32", "float16", "bfloat16", "int8"),
    package="onnxruntime",
    engine=OrtEngine,
    export="kvdiff.export.onnx:export_onnx",
    operators="kvdiff.export.operators:of_onnx",
)
