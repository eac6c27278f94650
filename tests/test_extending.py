"""What can be added from outside the package, each kind by an example: nothing in kvdiff/ is changed for it."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
import pytest
from keras import ops
from typer.testing import CliRunner

import kvdiff
from kvdiff.cli.app import app
from kvdiff.diffusion import FrameVectors, NoiseLevels, Prediction, Sampler, StepTable, masks
from kvdiff.diffusion.conditions import CONDITIONS, Condition
from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.sampling.engine import DenoiserEngine
from kvdiff.diffusion.solvers import SOLVERS
from kvdiff.diffusion.transforms import CODECS, Padding
from kvdiff.export import export_litert, export_model, export_onnx, export_onnx_sampler, export_saved_model, verify
from kvdiff.export.manifest import staging, write_manifest
from kvdiff.export.parity import cases, check_parity, measure
from kvdiff.layers.known_context import KnownContext
from kvdiff.models.denoiser import condition_inputs
from kvdiff.runtime import (
    FORMATS,
    ArtefactError,
    Format,
    FusedOrtSampler,
    LiteRtSampler,
    OrtSampler,
    SavedModelSampler,
    open_sampler,
)
from kvdiff.runtime.manifest import Artefact
from kvdiff.system.environment import versions

SHAPE = (4, 8, 8, 1)
CLIPS = np.random.default_rng(3).uniform(-1, 1, (2, *SHAPE)).astype(np.float32)
ON_CPU: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)
TOLERANCE = 2e-4


def network(channels: int = 1) -> keras.Model:
    """A denoiser that is traced at once and sees known frames; its weights are random."""
    inputs = {"noisy_clip": keras.Input((None, None, None, channels), name="noisy_clip")}
    inputs["noise_label"] = keras.Input((None,), name="noise_label")
    kernel = keras.initializers.RandomNormal(stddev=0.3, seed=1)
    return keras.Model(
        inputs, keras.layers.Dense(channels, kernel_initializer=kernel)(KnownContext()(*inputs.values()))
    )


def away_from_start(denoiser: keras.Model) -> None:
    """Give every weight a part in the answer."""
    rng = np.random.default_rng(3)
    for variable in denoiser.trainable_variables:
        variable.assign_add(0.1 * rng.standard_normal(variable.shape).astype(np.float32))


@pytest.fixture(scope="module")
def patched() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def plain() -> kvdiff.VideoDiffusion:
    return kvdiff.VideoDiffusion(SHAPE, network())


@pytest.fixture(scope="module")
def plain_run(plain: kvdiff.VideoDiffusion, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The plain model as a run: model.keras, and the denoiser and the sampler for ONNX Runtime."""
    folder = tmp_path_factory.mktemp("plain")
    plain.save(folder / "model.keras")
    export_onnx_sampler(export_onnx(plain, folder), folder)
    return folder


# A solver: a function in `SOLVERS`.


def halfway(levels: NoiseLevels, prediction: Prediction, *, share: float = 0.5) -> StepTable:
    """DDIM with `share` of the variance that ancestral sampling adds."""
    alpha, sigma = levels.alpha, levels.sigma
    added = sigma[:-1] ** 2 - (alpha[:-1] / alpha[1:] * sigma[1:]) ** 2
    std = sigma[1:] / sigma[:-1] * np.sqrt(share * added)
    return StepTable.from_differences(levels, prediction, std=std)


def test_a_solver(
    plain: kvdiff.VideoDiffusion, plain_run: pathlib.Path, tmp_path: pathlib.Path, patched: pytest.MonkeyPatch
) -> None:
    patched.setitem(SOLVERS, "halfway", halfway)
    how: dict[str, Any] = dict(solver="halfway", num_steps=4, seed=2)
    videos = [plain.predict_frames(CLIPS[:, :2], share=share, **how) for share in (0.0, 1.0)]
    assert np.abs(videos[0] - videos[1]).max() > 0.1
    for sampler in (OrtSampler(plain_run, **ON_CPU), FusedOrtSampler(plain_run, **ON_CPU)):
        np.testing.assert_allclose(sampler.predict_frames(CLIPS[:, :2], share=1.0, **how), videos[1], atol=TOLERANCE)
    with pytest.raises(TypeError, match=r"solver 'halfway': expected options among \['share'\]. Received: \['eta'\]"):
        plain.generate(1, eta=0.5, **how)
    out = tmp_path / "new.npy"
    command = ["generate", str(plain_run), "-o", str(out), "--solver", "halfway", "--option", "share=1", "--seed", "2"]
    done = CliRunner().invoke(app, [*command, "--num-steps", "4"])
    assert done.exit_code == 0, done.output
    np.testing.assert_allclose(np.load(out), plain.generate(1, share=1.0, **how), atol=TOLERANCE)


# A kind of condition: a subclass of `Condition` in `CONDITIONS`.


@dataclasses.dataclass(frozen=True)
class ViewAngle(Condition):
    """From where a frame is seen: float [batch, frames], radians."""

    name: ClassVar[str] = "view_angle"
    per_frame: ClassVar[bool] = True

    def shape(self, frames: Any, frame_shape: Any) -> tuple[Any, ...]:
        return (frames,)

    @property
    def num_features(self) -> int:
        return 2

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        angle = xp.cast(inputs[name], "float32")[..., None]
        return xp.concatenate([xp.sin(angle), xp.cos(angle)], axis=-1)


@dataclasses.dataclass(frozen=True)
class Palette(Condition):
    """The colours of a clip, in any order: int [batch, colours, 3], 0 … 255; the data may leave it out."""

    colours: int

    name: ClassVar[str] = "palette"
    dtype: ClassVar[str] = "int32"

    def shape(self, frames: Any, frame_shape: Any) -> tuple[Any, ...]:
        return (self.colours, 3)

    def example(self, rng: np.random.Generator, batch: int, frames: int, frame_shape: Any) -> np.ndarray:
        return rng.integers(0, 256, (batch, self.colours, 3))

    def _check_values(self, name: str, value: np.ndarray) -> None:
        if value.min() < 0 or value.max() > 255:
            raise ValueError(f"`{name}`: expected colours from 0 to 255. Received: up to {value.max()}")

    @property
    def num_features(self) -> int:
        return 6

    def features(self, xp: Any, inputs: Mapping[str, Any], name: str) -> Any:
        colours = xp.cast(inputs[name], "float32") / 255.0
        return xp.concatenate([xp.mean(colours, axis=1), xp.max(colours, axis=1)], axis=-1)


GIVEN = {
    "view": np.linspace(0, 2, 8).reshape(2, 4),
    "palette": np.arange(12).reshape(2, 2, 3) * 20,
}


@pytest.fixture(scope="module")
def conditioned(patched: pytest.MonkeyPatch) -> kvdiff.VideoDiffusion:
    for kind in (ViewAngle, Palette):
        patched.setitem(CONDITIONS, kind.name, kind)
    keras.utils.set_random_seed(3)
    own = dict(conditions={"view": ViewAngle(), "palette": Palette(2)})
    denoiser = kvdiff.UNet3D(1, widths=(12,), blocks=1, groups=4, attention=(None,), **own)
    away_from_start(denoiser)
    return kvdiff.VideoDiffusion(SHAPE, denoiser, condition_dropout=0.0)


def test_a_condition_trains(conditioned: kvdiff.VideoDiffusion) -> None:
    maps = [v for v in conditioned.denoiser.trainable_variables if v.path.endswith(("view_map", "palette_map"))]
    before = [ops.convert_to_numpy(variable) for variable in maps]
    conditioned.compile(keras.optimizers.SGD(0.1))
    conditioned.fit(CLIPS, GIVEN, batch_size=2, verbose=0)
    moved = [np.abs(ops.convert_to_numpy(after) - start).max() for after, start in zip(maps, before, strict=True)]
    assert len(moved) == 2 and min(moved) > 0


def test_a_condition_is_saved_and_exported(conditioned: kvdiff.VideoDiffusion, tmp_path: pathlib.Path) -> None:
    how: dict[str, Any] = dict(conditions=GIVEN, guidance=2.0, num_steps=4, seed=1)
    expected = conditioned.generate(2, **how)
    assert np.abs(expected - conditioned.generate(2, num_steps=4, seed=1)).max() > 0.01
    conditioned.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    assert loaded.spec.conditions == {"view": ViewAngle(), "palette": Palette(2)}
    np.testing.assert_array_equal(loaded.generate(2, **how), expected)
    export_onnx_sampler(export_onnx(conditioned, tmp_path), tmp_path)
    for sampler in (OrtSampler(tmp_path, **ON_CPU), FusedOrtSampler(tmp_path, **ON_CPU)):
        assert sampler.spec.conditions == loaded.spec.conditions
        np.testing.assert_allclose(sampler.generate(2, **how), expected, atol=TOLERANCE)
        with pytest.raises(ValueError, match=r"expected colours from 0 to 255. Received: up to 256"):
            sampler.generate(2, conditions={"palette": np.full((2, 3), 256)})


# A denoiser: any functional Keras model of the inputs by name.


def frame_transformer(width: int = 16) -> keras.Model:
    """Attention over frames, each of which is one token; told an action a frame."""
    frames, height, breadth, channels = SHAPE
    conditions = {"push": FrameVectors(2)}
    inputs = {
        "noisy_clip": keras.Input(SHAPE, name="noisy_clip"),
        "noise_label": keras.Input((frames,), name="noise_label"),
    }
    inputs |= condition_inputs(conditions, channels)
    pixels = keras.layers.Reshape((frames, height * breadth * channels))(inputs["noisy_clip"])
    label = keras.layers.Reshape((frames, 1))(inputs["noise_label"])
    present = keras.layers.Reshape((1, 1))(inputs[CONDITION_MASK])
    push = keras.layers.Multiply()([inputs["push"], present])
    tokens = keras.layers.Dense(width)(keras.layers.Concatenate()([pixels, label, push]))
    tokens = tokens + keras.layers.MultiHeadAttention(2, width // 2)(tokens, tokens)
    raw = keras.layers.Reshape(SHAPE)(keras.layers.Dense(height * breadth * channels)(tokens))
    model = keras.Model(inputs, raw)
    model.conditions, model.frame_multiple, model.known_noise = conditions, 8, 0.1
    return model


def test_a_transformer(tmp_path: pathlib.Path) -> None:
    keras.utils.set_random_seed(5)
    with pytest.raises(ValueError, match=r"`known_noise`: expected the denoiser's, 0.1"):
        kvdiff.VideoDiffusion(SHAPE, frame_transformer())
    padded = kvdiff.VideoDiffusion((4, 12, 8, 1), frame_transformer(), known_noise=0.1)
    assert padded.spec.codec == Padding(12, 8, 8)
    model = kvdiff.VideoDiffusion(SHAPE, frame_transformer(), known_noise=0.1)
    push = np.linspace(-1, 1, 16).reshape(2, 4, 2)
    model.compile(keras.optimizers.SGD(0.1))
    model.fit(CLIPS, push, batch_size=2, verbose=0)
    how: dict[str, Any] = dict(conditions={"push": push}, guidance=2.0, num_steps=4, known_noise=0.1)
    expected = model.predict_frames(CLIPS[:, :2], **how)
    assert np.abs(model.predict_frames(CLIPS[:, :2], **how | {"conditions": {"push": -push}}) - expected).max() > 0.01
    model.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict_frames(CLIPS[:, :2], **how), expected)
    export_onnx_sampler(export_onnx(loaded, tmp_path), tmp_path)
    export_litert(loaded, tmp_path)
    for sampler in (OrtSampler(tmp_path, **ON_CPU), FusedOrtSampler(tmp_path, **ON_CPU), LiteRtSampler(tmp_path)):
        np.testing.assert_allclose(sampler.predict_frames(CLIPS[:, :2], **how), expected, atol=TOLERANCE)


# An export target: a `Format` in `FORMATS`, an engine, an exporter.


class MatrixEngine(DenoiserEngine):
    """Runs `network()` with NumPy alone."""

    def __init__(self, artefact: Artefact) -> None:
        super().__init__(self._denoise)
        self.artefact = artefact
        with np.load(artefact.path) as file:
            self.kernel, self.bias = file["kernel"], file["bias"]

    def _denoise(self, noisy_clip: Any, noise_label: Any, inputs: Any = None) -> np.ndarray:
        return seen(noisy_clip, np.asarray(noise_label)) @ self.kernel + self.bias


def seen(clip: np.ndarray, label: np.ndarray) -> np.ndarray:
    """What `KnownContext` gives, frame by frame."""
    batch, frames, height, breadth, channels = clip.shape
    found = np.zeros((batch, frames, height, breadth, 3 * channels + 2), np.float32)
    found[..., :channels] = clip
    for b, i in np.ndindex(batch, frames):
        known = np.flatnonzero(label[b] == 0)
        for side, others in enumerate((known[known <= i][-1:], known[known >= i][:1])):
            for j in others:
                at = slice((1 + side) * channels, (2 + side) * channels)
                found[b, i, ..., at], found[b, i, ..., 3 * channels + side] = clip[b, j], 1 / (1 + abs(i - j))
    return found


MATRIX = Format(
    name="matrix",
    kind="matrix-denoiser",
    file="denoiser.npz",
    precisions=("float32", "float16"),
    package="numpy",
    engine=MatrixEngine,
    export="tests.test_extending:export_matrix",
    operators="tests.test_extending:of_matrix",
)


def export_matrix(
    model: kvdiff.VideoDiffusion, directory: pathlib.Path, *, precision: str = "float32", overwrite: bool = False
) -> pathlib.Path:
    """Write the weights as `directory/denoiser.npz`."""
    file = MATRIX.file_name(precision)
    with staging(directory, MATRIX.kind, file, overwrite=overwrite) as stage:
        kernel, bias = (weight.astype(precision) for weight in model.denoiser.get_weights())
        np.savez(stage / file, kernel=kernel, bias=bias)
        tensor = {"shape": ["batch", "frames", "height", "width", 1]}
        sections: dict[str, Any] = {
            "precision": precision,
            "inputs": {"noisy_clip": tensor, "noise_label": {"shape": ["batch", "frames"]}},
            "outputs": {"raw_output": tensor},
            "sampler": model.spec.config,
            "versions": versions(["numpy"]),
        }
        write_manifest(stage / file, MATRIX.kind, parity={}, **sections)
        ours: Any = open_sampler(stage / file).engine
        measured = measure(model.sampler.engine.denoise, ours.denoise, cases(SHAPE, [True] * 4), 1)
        parity = check_parity(measured, MATRIX.tolerance if precision == "float32" else np.inf)
        write_manifest(stage / file, MATRIX.kind, parity=parity, **sections)
    return directory / file


def of_matrix(path: pathlib.Path) -> Sequence[str]:
    return ["MatMul", "Add"]


def test_an_export_target(
    plain: kvdiff.VideoDiffusion, plain_run: pathlib.Path, tmp_path: pathlib.Path, patched: pytest.MonkeyPatch
) -> None:
    patched.setitem(FORMATS, MATRIX.name, MATRIX)
    command = CliRunner()
    plain.save(tmp_path / "model.keras")
    run = str(tmp_path)
    done = command.invoke(app, ["export", run, "--to", "matrix"])
    assert done.exit_code == 0 and "1 Add, 1 MatMul" in done.output, done.output
    export_model(plain, tmp_path, "matrix", precision="float16")
    assert {verdict.path.name: verdict.passes for verdict in verify(plain, tmp_path, num_steps=2)} == {
        "denoiser.npz": True,
        "denoiser.float16.npz": True,
    }
    done = command.invoke(app, ["verify", run, "--num-steps", "2"])
    assert done.exit_code == 0 and "denoiser.float16.npz" in done.output, done.output
    how: dict[str, Any] = dict(num_steps=4, seed=3)
    expected = plain.predict_frames(CLIPS[:, :2], **how)
    opened = [open_sampler(tmp_path), open_sampler(tmp_path / "denoiser.npz"), open_sampler(tmp_path, runtime="matrix")]
    for sampler in opened:
        assert type(sampler.engine) is MatrixEngine
        np.testing.assert_allclose(sampler.predict_frames(CLIPS[:, :2], **how), expected, atol=TOLERANCE)
    half = open_sampler(tmp_path, runtime="matrix", precision="float16")
    assert half.engine.kernel.dtype == np.float16  # type: ignore[attr-defined]
    made = command.invoke(app, ["generate", run, "-o", str(tmp_path / "new.npy"), "--runtime", "matrix"])
    assert made.exit_code == 0 and "Runtime: matrix, denoiser.npz." in made.output, made.output
    with pytest.raises(FileExistsError, match=r"expected one without denoiser.npz, or `overwrite=True`"):
        export_model(plain, tmp_path, "matrix")
    np.savez(tmp_path / "denoiser.npz", kernel=np.zeros((5, 1)), bias=np.zeros(1))
    with pytest.raises(ArtefactError, match="has changed since export"):
        open_sampler(tmp_path / "denoiser.npz")
    with pytest.raises(ValueError, match=r"`to`: expected one of .*'matrix'.* Received: 'vector'"):
        export_model(plain, tmp_path, "vector")


# A task with a verb: a mask, and a function in terms of `infill`.


def what_came_before(sampler: Sampler, future: np.ndarray, num_frames: int, **sampling: Any) -> np.ndarray:
    """The `num_frames` frames before `future`."""
    past = np.zeros((len(future), num_frames, *future.shape[2:]), future.dtype)
    clip = np.concatenate([past, future], axis=1)
    return sampler.infill(clip, masks.last(clip.shape[1], future.shape[1]), **sampling)[:, :num_frames]


def test_a_task_with_a_verb(plain: kvdiff.VideoDiffusion, plain_run: pathlib.Path) -> None:
    how: dict[str, Any] = dict(num_steps=4, seed=5)
    expected = what_came_before(plain.sampler, CLIPS[:, 2:], 2, **how)
    assert expected.shape == (2, 2, 8, 8, 1)
    assert np.abs(what_came_before(plain.sampler, -CLIPS[:, 2:], 2, **how) - expected).max() > 0.1
    for sampler in (OrtSampler(plain_run, **ON_CPU), FusedOrtSampler(plain_run, **ON_CPU)):
        np.testing.assert_allclose(what_came_before(sampler, CLIPS[:, 2:], 2, **how), expected, atol=TOLERANCE)


# A latent codec: a class in `CODECS`.

Matrix = tuple[tuple[float, ...], ...]


@dataclasses.dataclass(frozen=True)
class Cells:
    """Cells of 2 × 2 pixels as vectors, by a linear map each way.

    Attributes:
        down: [4 channels, latent channels], the weights of `encode`.
        up: [latent channels, 4 channels], those of `decode`.
    """

    down: Matrix
    up: Matrix

    bounds: ClassVar[None] = None

    def __post_init__(self) -> None:
        for name in ("down", "up"):  # JSON has lists.
            object.__setattr__(self, name, tuple(tuple(map(float, row)) for row in getattr(self, name)))

    def encode(self, clip: Any, xp: Any = np) -> Any:
        _, frames, height, width, channels = xp.shape(clip)
        cells = xp.reshape(clip, (-1, frames, height // 2, 2, width // 2, 2 * channels))
        cells = xp.reshape(xp.transpose(cells, (0, 1, 2, 4, 3, 5)), (-1, frames, height // 2, width // 2, 4 * channels))
        return xp.matmul(cells, np.array(self.down, np.float32))

    def decode(self, latent: Any, xp: Any = np) -> Any:
        _, frames, height, width, _ = xp.shape(latent)
        cells = xp.matmul(latent, np.array(self.up, np.float32))
        cells = xp.reshape(cells, (-1, frames, height, width, 2, len(self.down) // 2))
        return xp.reshape(
            xp.transpose(cells, (0, 1, 2, 4, 3, 5)), (-1, frames, 2 * height, 2 * width, len(self.down) // 4)
        )

    def latent_shape(self, frame_shape: tuple[int, int, int]) -> tuple[int, int, int]:
        height, width, channels = frame_shape
        if height % 2 or width % 2 or len(self.down) != 4 * channels:
            raise ValueError(
                f"`clip_shape`: expected even frames of {len(self.down) // 4} channels. Received: {frame_shape}"
            )
        return height // 2, width // 2, len(self.down[0])

    @property
    def config(self) -> dict[str, Any]:
        return {"codec": "cells", "down": [*map(list, self.down)], "up": [*map(list, self.up)]}


def test_a_codec(tmp_path: pathlib.Path, patched: pytest.MonkeyPatch) -> None:
    patched.setitem(CODECS, "cells", Cells)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((4, 4)))[0][:, :3]
    codec = Cells(basis.tolist(), basis.T.tolist())
    np.testing.assert_allclose(
        codec.encode(codec.decode(CLIPS.repeat(3, axis=-1))), CLIPS.repeat(3, axis=-1), atol=1e-6
    )
    np.testing.assert_allclose(ops.convert_to_numpy(codec.encode(CLIPS, ops)), codec.encode(CLIPS), atol=1e-6)
    with pytest.raises(ValueError, match="expected even frames of 1 channels"):
        kvdiff.VideoDiffusion((4, 8, 7, 1), network(3), codec=codec)
    model = kvdiff.VideoDiffusion(SHAPE, network(3), codec=codec)
    model.compile(keras.optimizers.SGD(0.01))
    model.fit(CLIPS, batch_size=2, verbose=0)
    how: dict[str, Any] = dict(num_steps=4, seed=2, solver="ddpm")
    expected = model.predict_frames(CLIPS[:, :2], **how)
    cells = expected.reshape(2, 2, 4, 2, 4, 2).transpose(0, 1, 2, 4, 3, 5).reshape(-1, 4)
    inside = cells[(np.abs(cells) < 1).all(axis=1)]  # Pixels are clamped after decoding.
    assert len(inside) > 10 and np.abs(inside - inside @ basis @ basis.T).max() < 1e-5
    model.save(tmp_path / "model.keras")
    loaded = kvdiff.load_model(tmp_path / "model.keras")
    assert loaded.spec.codec == codec
    export_onnx_sampler(export_onnx(loaded, tmp_path), tmp_path)
    export_litert(loaded, tmp_path)
    export_saved_model(loaded, tmp_path / "serving", pixels="float32", max_calls=4, num_steps=4, solver="ddpm")
    on_cpu = (OrtSampler(tmp_path, **ON_CPU), FusedOrtSampler(tmp_path, **ON_CPU), LiteRtSampler(tmp_path, threads=1))
    for sampler in (loaded.sampler, *on_cpu, SavedModelSampler(tmp_path / "serving")):
        assert sampler.spec.codec == codec
        np.testing.assert_allclose(sampler.predict_frames(CLIPS[:, :2], **how), expected, atol=TOLERANCE)
