"""The LiteRT engine: an exported denoiser, with NumPy and ai-edge-litert alone."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion.checks import check_count, optional
from kvdiff.diffusion.sampling.engine import DenoiserEngine
from kvdiff.runtime.codec_files import PairCodec, codec_paths
from kvdiff.runtime.fixed_shape import check_shape
from kvdiff.runtime.format import Format
from kvdiff.runtime.litert_file import check_litert
from kvdiff.runtime.manifest import METADATA, Artefact, ArtefactError, canonical_json

SIGNATURE = "denoise"


class LiteRtEngine(DenoiserEngine):
    """Runs a denoiser that `kvdiff.export.export_litert` wrote, one clip of the training length at a time.

    Args:
        artefact: the file.
        threads: of the interpreter; by default its own choice.

    Raises:
        ArtefactError: a file that is not what its manifest says.
        ImportError: no ai-edge-litert.
    """

    def __init__(self, artefact: Artefact, *, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ImportError(
                'LiteRtSampler needs ai-edge-litert: pip install "keras-video-diffusion[litert]"'
            ) from error
        optional(check_count, "threads", threads)
        super().__init__(self._denoise)
        self.artefact = artefact

        def opened(path: pathlib.Path) -> tuple[Any, bytes]:
            content = path.read_bytes()
            check_litert(path, content)
            try:
                return Interpreter(model_content=content, num_threads=threads), content
            except (RuntimeError, ValueError) as error:
                raise ArtefactError(path, f"which LiteRT cannot open ({error})") from error

        self._interpreter, content = opened(artefact.path)
        self._run = _runner(artefact.path, self._interpreter)
        self._check(artefact, content)
        self.codec = _codec({side: (path, opened(path)[0]) for side, path in codec_paths(artefact).items()})

    def _check(self, artefact: Artefact, content: bytes) -> None:
        """The file must have the inputs, outputs and sampler configuration that its manifest claims."""
        found = (self._run.get_input_details(), self._run.get_output_details())
        for section, details in zip(("inputs", "outputs"), found, strict=True):
            shapes = {name: [int(size) for size in detail["shape"]] for name, detail in details.items()}
            if shapes != getattr(artefact, section):
                expected = getattr(artefact, section)
                raise ArtefactError(artefact.path, f"whose {section} are {shapes}; its manifest says {expected}")
        if _metadata(content).get(METADATA) != canonical_json(artefact.manifest["sampler"]):
            raise ArtefactError(artefact.path, "whose own sampler configuration is not the one in its manifest")

    def _denoise(self, noisy_clip: Any, noise_label: Any, inputs: Mapping[str, Any] | None = None) -> np.ndarray:
        """The network's raw output, float32 [batch, frames, height, width, channels], one clip at a time."""
        noisy_clip, noise_label = (np.ascontiguousarray(value, np.float32) for value in (noisy_clip, noise_label))
        check_shape("LiteRtSampler", self.artefact.spec.latent.shape, noisy_clip.shape)
        feed = {"noisy_clip": noisy_clip, "noise_label": noise_label, **(inputs or {})}
        return np.stack(
            [self._call({name: value[index] for name, value in feed.items()}) for index in range(len(noisy_clip))]
        )

    def _call(self, feed: dict[str, np.ndarray]) -> np.ndarray:
        """The output for one clip. Inputs have a batch axis of 1 but where that would be a fifth axis."""
        shaped = {
            name: np.reshape(value, self.artefact.manifest["inputs"][name]["shape"]) for name, value in feed.items()
        }
        return self._run(**shaped)["raw_output"]


def _runner(path: pathlib.Path, interpreter: Any) -> Any:
    """What runs a file's one signature."""
    try:
        return interpreter.get_signature_runner(SIGNATURE)
    except (RuntimeError, ValueError) as error:
        raise ArtefactError(path, f"which LiteRT cannot open ({error})") from error


def _codec(opened: Mapping[str, tuple[pathlib.Path, Any]]) -> PairCodec | None:
    """What computes an autoencoder from its two interpreters, frame by frame; None where there are none."""
    if not opened:
        return None
    runners = {side: (_runner(path, interpreter), interpreter) for side, (path, interpreter) in opened.items()}

    def run(side: str, given: str, made: str, array: np.ndarray) -> np.ndarray:
        frames = array.reshape(-1, 1, *array.shape[2:])
        out = np.concatenate([runners[side][0](**{given: frame})[made] for frame in frames])
        return out.reshape(*array.shape[:2], *out.shape[1:])

    return PairCodec(
        lambda clip: run("encoder", "clip", "latent", clip), lambda latent: run("decoder", "latent", "clip", latent)
    )


def _metadata(content: bytes) -> dict[str, str]:
    """The texts in a LiteRT file's metadata, by name."""
    from ai_edge_litert.schema_py_generated import Model

    model, found = Model.GetRootAs(content, 0), {}
    for entry in (model.Metadata(index) for index in range(model.MetadataLength())):
        data = model.Buffers(entry.Buffer()).DataAsNumpy()
        found[entry.Name().decode()] = data.tobytes().decode("utf-8", "replace") if isinstance(data, np.ndarray) else ""
    return found


LITERT = Format(
    name="litert",
    kind="litert-denoiser",
    file="denoiser.tflite",
    precisions=("float32", "float16", "int8", "int8-weights"),
    package="ai_edge_litert",
    engine=LiteRtEngine,
    export="kvdiff.export.litert:export_litert",
    operators="kvdiff.export.operators:of_litert",
)
