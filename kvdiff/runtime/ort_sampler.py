"""The fused ONNX Runtime engine: one call of one graph runs a whole window, whatever the solver and the task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.conditions.conditioning import Conditioning
from kvdiff.diffusion.sampling.engine import Draws
from kvdiff.diffusion.solvers.step_table import StepTable
from kvdiff.diffusion.transforms.autoencoder import Autoencoder
from kvdiff.runtime.codec_files import PairCodec
from kvdiff.runtime.fixed_shape import check_shape, one_by_one
from kvdiff.runtime.format import COLUMNS, MEMORY, Format, packed_rows
from kvdiff.runtime.manifest import Artefact
from kvdiff.runtime.ort import ONNX, Provider, artefact_session

# The axis of each input that has the batch.
_OF_CLIPS = ("start", "start_std", "seed", "sample")
_OF_ROWS = {"table": 2, "b": 2, "history": 1, "guidance": 1}


class FusedOrtEngine:
    """Runs a graph that `kvdiff.export.export_onnx_sampler` wrote: the loop runs inside ONNX Runtime.

    Convenient where a host can only call a model once. The graph draws the noise of each step from the seed; progress
    is reported once a window.

    Args:
        artefact: the file.
        providers, threads: as for `OrtEngine`.

    Raises:
        ArtefactError: a file that is not what its manifest says.
        ImportError: no onnxruntime.
    """

    def __init__(
        self, artefact: Artefact, *, providers: Sequence[Provider] | None = None, threads: int | None = None
    ) -> None:
        self.artefact = artefact
        self._session = artefact_session(artefact, providers, threads)
        of_pixels = isinstance(artefact.spec.codec, Autoencoder)
        self.codec = PairCodec(self._encode, self._decode) if of_pixels else None

    @property
    def providers(self) -> tuple[str, ...]:
        """The execution providers in use, most wanted first."""
        return tuple(self._session.get_providers())

    def run_window(
        self, table: StepTable, x: np.ndarray, history: np.ndarray, draws: Draws
    ) -> tuple[np.ndarray, np.ndarray]:
        """As in `Engine`, with the rows as one input."""
        sizes = self.artefact.inputs["start"]
        check_shape("FusedOrtSampler", sizes[1:], x.shape)
        rows, b = packed_rows(table, COLUMNS, *x.shape[:2])
        feed = {
            "table": rows,
            "b": b,
            "start": x,
            "start_std": np.zeros(x.shape[:2], np.float32),
            "history": np.zeros((MEMORY, *x.shape), np.float32),
            "noise": np.zeros((0, 1, 1, 1, 1, 1), np.float32),  # No tape: from the seed.
            "seed": np.full(len(x), draws.seed, np.uint64).view(np.int64),
            "sample": np.asarray(draws.samples, np.int64),
            "first_draw": np.array([draws.first], np.int64),
            **draws.conditioning.inputs,
        }
        feed["history"][: len(history)] = history
        if CONDITION_MASK in feed:
            feed |= guidance_inputs(table, draws.conditioning)
        if self.codec is not None:
            feed |= {"pixels": self._no_pixels(), "pixels_known": np.zeros(x.shape[:2], np.float32)}
        if isinstance(sizes[0], int):
            axes = {**dict.fromkeys([*_OF_CLIPS, *draws.conditioning.inputs], 0), **_OF_ROWS}
            cleaner, remembered = one_by_one(self._run, feed, len(x), axes, [0, 1])
        else:
            cleaner, remembered = self._run(feed)
        draws.report(table.num_steps)
        return cleaner, remembered[: len(history)]

    def _run(self, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(["clip", "history_out"], feed)

    def _no_pixels(self) -> np.ndarray:
        return np.zeros((0, 0, *self.artefact.spec.clip.frame_shape), np.float32)

    # The autoencoder alone: a table of no rows.

    def _encode(self, clip: np.ndarray) -> np.ndarray:
        start = np.zeros((*clip.shape[:2], *self.artefact.spec.latent.frame_shape), np.float32)
        feed = self._still(start) | {"pixels": clip, "pixels_known": np.ones(clip.shape[:2], np.float32)}
        return self._session.run(["clip"], feed)[0]

    def _decode(self, latent: np.ndarray) -> np.ndarray:
        blank = np.zeros((*latent.shape[:2], *self.artefact.spec.clip.frame_shape), np.float32)
        feed = self._still(latent) | {"pixels": blank, "pixels_known": np.zeros(latent.shape[:2], np.float32)}
        return self._session.run(["pixels_out"], feed)[0]

    def _still(self, start: np.ndarray) -> dict[str, np.ndarray]:
        """The inputs of a window of which no row is run; conditions that no row reads."""
        batch, frames = start.shape[:2]
        feed = {
            name: np.zeros([size if isinstance(size, int) else 1 for size in shape], self._dtypes[name])
            for name, shape in self.artefact.inputs.items()
        }
        return feed | {
            "table": np.zeros((0, len(COLUMNS), batch, frames), np.float32),
            "b": np.zeros((0, MEMORY, batch, frames), np.float32),
            "start": start,
            "start_std": np.zeros((batch, frames), np.float32),
            "noise": np.zeros((0, 1, 1, 1, 1, 1), np.float32),
            "seed": np.zeros(batch, np.int64),
            "sample": np.zeros(batch, np.int64),
        }

    @property
    def _dtypes(self) -> dict[str, str]:
        return {name: tensor["dtype"] for name, tensor in self.artefact.manifest["inputs"].items()}


def guidance_inputs(table: StepTable, conditioning: Conditioning) -> dict[str, np.ndarray]:
    """The graph's inputs `guidance` float32 [calls, batch], 1 where it does not act, and `guidance_rescale` [1]."""
    rows = [conditioning.at(row.c_noise).guidance for row in table.rows()]
    ones = np.ones(len(conditioning.inputs[CONDITION_MASK]), np.float32)
    weights = np.stack([ones if weight is None else weight for weight in rows])
    return {"guidance": weights.astype(np.float32), "guidance_rescale": np.full(1, conditioning.rescale, np.float32)}


ONNX_SAMPLER = Format(
    name="onnx-sampler",
    kind="onnx-sampler",
    file="sampler.onnx",
    precisions=ONNX.precisions,
    package="onnxruntime",
    engine=FusedOrtEngine,
    export="kvdiff.export.onnx_sampler:export_model_sampler",
    operators=ONNX.operators,
)
