"""Every name of kvdiff that the frozen calls use, in one place: the only file to change where those names change.

What the calls say themselves (verbs, keywords of solvers, names of conditions) is translated here too, in `sample`.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import inspect
import pathlib
import tarfile
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from kvdiff.diffusion import (
    SOLVERS,
    Cascade,
    ClassLabel,
    ClipSpec,
    ClipVector,
    FrameTimes,
    FrameVectors,
    GuidedSampler,
    LowResolution,
    NoiseSchedule,
    OracleSampler,
    Prediction,
    Sampler,
    Spatial,
    Temporal,
    bits_per_dim,
    plans,
    step_table,
)
from kvdiff.diffusion.process.noise import normal
from kvdiff.diffusion.sampling.oracle import GaussianClips, MixtureClips, exact_network, push_through
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, find_artefacts, open_sampler

HERE = pathlib.Path(__file__).parent
WEIGHTS = HERE / "weights.npz"
FIXTURES = HERE.parent / "fixtures" / "artefacts_0_1_0"
PACKED = "artefacts.tar.xz"
CPU = "CPUExecutionProvider"

# Networks.

_TINY = dict(widths=(6,), attention=("space_time",), blocks=1, heads=1, groups=2)
TOLD = {"digit": ClassLabel(3), "text": ClipVector(3), "action": FrameVectors(2), "times": FrameTimes()}


@dataclasses.dataclass(frozen=True)
class Network:
    """A tiny model: its clips, what its denoiser is made with, and what it was trained for."""

    clip_shape: tuple[int, int, int, int] = (4, 8, 8, 1)
    denoiser: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    factorised: bool = False


NETWORKS = {
    "plain": Network(denoiser=dict(widths=(12,), heads=2)),  # Wide enough for exports that leave small weights alone.
    "weak": Network(),
    "told": Network(denoiser=dict(conditions=TOLD)),
    "learned": Network(denoiser=dict(out_channels=2), model=dict(learned_variance=True)),
    "context": Network(denoiser=dict(known_noise=0.2), model=dict(known_noise=0.2, independent_noise=0.5)),
    "large": Network((4, 16, 16, 1), denoiser=dict(conditions={"small": LowResolution(2, max_noise=0.3)})),
    "fast": Network((5, 16, 16, 1)),
    "rgb": Network((3, 8, 8, 3), denoiser=dict(width=4, multipliers=(1,), heads=1), factorised=True),
}


def keras_model(name: str, *, weights: Any = None, dtype: str = "float32", **changed: Any) -> Any:
    """The network `name` as a VideoDiffusion model, with the stored weights or others."""
    import keras

    import kvdiff

    network = NETWORKS[name]
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        denoiser = _denoiser(network)
        model = kvdiff.VideoDiffusion(network.clip_shape, denoiser, **{**network.model, **changed})
    finally:
        keras.config.set_dtype_policy(before)
    denoiser.set_weights(stored_weights(name) if weights is None else weights)
    return model


def _denoiser(network: Network) -> Any:
    import kvdiff

    if network.factorised:
        return kvdiff.FactorisedUNet3D(network.clip_shape[-1], **network.denoiser)
    return kvdiff.UNet3D(network.clip_shape[-1], **{**_TINY, **network.denoiser})


def stored_weights(name: str) -> list[np.ndarray]:
    """The weights of a network in the order of Keras, from the file that all checkouts share."""
    with np.load(WEIGHTS) as file:
        names = sorted(key for key in file.files if key.startswith(f"{name}/"))
        return [file[key].astype(np.float32) for key in names]


def drawn_weights(name: str, seed: int) -> list[np.ndarray]:
    """New weights, none at its start, so that the answer depends on all: a function of the seed, exact in float16."""
    network, rng, drawn = NETWORKS[name], np.random.default_rng(seed), []
    for variable in _denoiser(network).weights:
        shape = tuple(variable.shape)
        noise = rng.standard_normal(shape)
        one = len(shape) == 1 and np.asarray(variable.value).all()  # A gain starts at 1, a bias at 0.
        value = noise / np.sqrt(np.prod(shape[:-1])) if len(shape) > 1 else float(one) + 0.1 * noise
        if "head/" in variable.path and len(shape) > 1:  # So that clips seldom meet the clamp, where nothing shows.
            value = 0.4 * value
        drawn.append(value.astype(np.float16))
    return drawn


# Samplers, by what `calls` calls them.

ORACLE_SPEC, ORACLE_FRAMES = ClipSpec(5, 1, 2, 1), 18


def _gaussian(frames: int, seed: int = 0, std: float = 0.3) -> GaussianClips:
    """Correlated frames and pixels: neighbours in time alike."""
    rng = np.random.default_rng(seed)
    index, pixels = np.arange(frames), np.array([[1.0, 0.4], [0.4, 0.8]])
    covariance = std**2 * np.kron(0.8 ** np.abs(index[:, None] - index), pixels)
    return GaussianClips(0.3 * rng.standard_normal((frames, 1, 2, 1)), covariance)


def oracle(prediction: str, schedule: str, data: str = "long") -> Sampler:
    """The exact sampler of Gaussian clips, longer than a window, or of a mixture of two."""
    of = NoiseSchedule.from_config({"name": schedule, "num_timesteps": 1000 if data == "long" else 20})
    return OracleSampler(_data(data), ORACLE_SPEC, of, Prediction(prediction))


def _data(data: str) -> Any:
    if data == "mixture":
        modes = [_gaussian(ORACLE_SPEC.num_frames, seed, std) for seed, std in ((1, 0.2), (2, 0.3))]
        return MixtureClips(np.array([0.3, 0.7]), modes)
    return _gaussian({"long": ORACLE_FRAMES, "short": ORACLE_SPEC.num_frames}[data])


def guided(main: str, guide: str, **options: Any) -> Sampler:
    """Autoguidance between two samplers."""
    return GuidedSampler(sampler(main), sampler(guide), **options)


def reconstruction(name: str, weight: float) -> Any:
    """A Keras network that is shown no clean frames."""
    from kvdiff.sampling import ReconstructionSampler

    model = keras_model(name.split("/")[1])
    return ReconstructionSampler(model.denoiser, model.spec, weight=weight)


def cascade(*stages: str) -> Cascade:
    """A base model, then "spatial" or "temporal" stages; the stages name their own sampling where they differ."""
    made = {
        "spatial": lambda: Spatial(sampler("keras/large"), augmentation=0.1, sampling={"num_steps": 2}),
        "clean spatial": lambda: Spatial(sampler("keras/large"), augmentation=0.0),
        "temporal": lambda: Temporal(sampler("keras/fast"), factor=2),
    }
    return Cascade(sampler("keras/plain"), *(made[stage]() for stage in stages))


@functools.cache
def sampler(name: str) -> Any:
    """A sampler by name: `keras/NETWORK`, `keras/NETWORK CHANGE`, `onnx/FILE`, … as in the tables of `calls`."""
    kind, _, which = name.partition("/")
    if kind == "keras":
        network, _, change = which.partition(" ")
        return keras_model(network, **KERAS_CHANGES[change]).sampler
    if kind == "onnx":
        return OrtSampler(artefacts() / which, providers=[CPU], threads=1)
    if kind == "onnx-device-loop":
        return OrtSampler(artefacts() / which, providers=[CPU], threads=1, io_binding=True)
    if kind == "fused":
        return FusedOrtSampler(artefacts() / which, providers=[CPU], threads=1)
    if kind == "litert":
        return LiteRtSampler(artefacts() / which, threads=1)
    if kind == "saved-model":
        return open_sampler(artefacts() / which)
    return SPECIAL[name]()


KERAS_CHANGES: dict[str, dict[str, Any]] = {
    "": {},
    "eps linear": dict(prediction="eps", schedule={"name": "linear", "num_timesteps": 100}),
    "x0 sigmoid": dict(prediction="x0", schedule={"name": "sigmoid", "num_timesteps": 1000}),
    "flow": dict(prediction="flow", schedule={"name": "flow", "num_timesteps": 1000}),
    "edm karras": dict(prediction={"name": "edm", "sigma_data": 0.4}, schedule={"name": "karras"}),
    "zero terminal": dict(schedule={"name": "linear", "num_timesteps": 100, "zero_terminal_snr": True}),
    "shifted": dict(schedule={"name": "cosine", "num_timesteps": 1000, "logsnr_shift": -1.0}),
    "20": dict(schedule={"name": "cosine", "num_timesteps": 20}),
    "float16": dict(dtype="mixed_float16"),
    "bfloat16": dict(dtype="mixed_bfloat16"),
}
SPECIAL = {
    "oracle": lambda: oracle("v", "cosine"),
    "oracle eps linear": lambda: oracle("eps", "linear"),
    "oracle x0 sigmoid": lambda: oracle("x0", "sigmoid"),
    "oracle flow": lambda: oracle("flow", "flow"),
    "oracle edm karras": lambda: oracle("edm", "karras"),
    "oracle mixture": lambda: oracle("v", "cosine", "mixture"),
    "oracle short": lambda: oracle("v", "cosine", "short"),
    "oracle guided": lambda: guided("oracle", "oracle", guidance=1.7),
    "autoguided": lambda: guided("keras/plain", "keras/weak", guidance=2.0),
    "autoguided interval": lambda: guided("keras/plain", "keras/weak", guidance=2.5, interval=(0.2, 0.8), rescale=0.7),
    "reconstruction": lambda: reconstruction("keras/plain", 2.0),
    "replacement": lambda: reconstruction("keras/plain", 0.0),
    "cascade spatial": lambda: cascade("spatial"),
    "cascade clean": lambda: cascade("clean spatial"),
    "cascade temporal": lambda: cascade("spatial", "temporal"),
}


@functools.cache
def artefacts() -> pathlib.Path:
    """The artefacts of version 0.1.0, unpacked: whole they are ten times larger, for graphs repeat their names."""
    folder = tempfile.TemporaryDirectory(prefix="artefacts_0_1_0_")
    atexit.register(folder.cleanup)
    with tarfile.open(FIXTURES / PACKED) as archive:
        archive.extractall(folder.name, filter="data")
    return pathlib.Path(folder.name)


# Calls.


def frame_shape(of: Any) -> tuple[int, int, int]:
    """(height, width, channels) of what a sampler makes."""
    return (of.clip_spec if isinstance(of, Cascade) else of.spec.clip).frame_shape


def sample(of: Any, verb: str, given: Mapping[str, Any], plan: str, sampling: Mapping[str, Any]) -> np.ndarray:
    """Call a verb. Its plan is "whole" or "frame_rate", which the verb implies today, or says how to roll out."""
    sampling = dict(sampling)
    if "context_noise" in sampling:
        sampling["known_noise"] = sampling.pop("context_noise")
    if verb == "rollout":
        name, _, options = plan.replace("stride=", "anchor_step=").partition(" ")
        known = given["past"].shape[1] if "past" in given else 0
        sampling["plan"] = plans.PLANS[name](given["num_frames"], known=known, **_options(options))
    else:
        assert plan == ("frame_rate" if verb == "increase_frame_rate" else "whole")
    return getattr(of, verb)(**given, **sampling)


def bound(of: Any, clips: np.ndarray, **options: Any) -> np.ndarray:
    """All terms of the variational bound, the prior's first: float64 [terms, batch, frames]."""
    made = bits_per_dim(of, clips, **options)
    return np.concatenate([made.prior[None], made.terms])


def pushed_through(solver: str, spacing: str, num_steps: int, **options: Any) -> np.ndarray:
    """The exact mean and covariance of what a sampler makes of Gaussian clips, as one vector."""
    spec, data = oracle("v", "cosine", "short").spec, _data("short")
    table = step_table(spec.schedule, spec.prediction, solver=solver, spacing=spacing, num_steps=num_steps, **options)
    made = push_through(table, exact_network(data, spec.prediction), data.mean.shape)[-1]
    return np.concatenate([made.mean.ravel(), made.covariance.ravel()])


def table(solver: str, spacing: Any, num_steps: int, schedule: str, prediction: str, **options: Any) -> np.ndarray:
    """The columns of a solver's table as one vector."""
    of = NoiseSchedule.from_config({"name": schedule})
    rows = step_table(of, Prediction(prediction), solver=solver, spacing=spacing, num_steps=num_steps, **options)
    columns = [np.ravel(getattr(rows, name)) for name in rows.COLUMNS]
    return np.concatenate([*columns, np.ravel(rows.alpha), np.ravel(rows.sigma), [rows.init_std]])


def solver_options() -> dict[str, list[str]]:
    """The options of every solver, which a call must name."""
    parameters = {name: inspect.signature(make).parameters.values() for name, make in SOLVERS.items()}
    return {name: [p.name for p in found if p.kind is p.KEYWORD_ONLY] for name, found in parameters.items()}


def noise(count: int) -> np.ndarray:
    """Some of the noise that sampling draws: float32 [2, count]."""
    return normal(np, 12345, 3, np.arange(2), count, 3)


def open_artefact(path: pathlib.Path) -> Any:
    """The public opener of exported files and of SavedModel versions."""
    return open_sampler(path)


def open_model(path: pathlib.Path) -> Any:
    """The public opener of saved Keras models."""
    import kvdiff

    return kvdiff.load_model(path)


def find(folder: pathlib.Path) -> list[pathlib.Path]:
    """The exported files of a folder."""
    return find_artefacts(folder)


def conditions(of: Any) -> Mapping[str, Any]:
    """What a sampler or a model may be told, by name."""
    return of.spec.conditions


def train(folder: pathlib.Path, epochs: int) -> tuple[Any, int]:
    """The plain model after two steps an epoch, gone on with from the folder's checkpoints, and from which step."""
    from kvdiff.training import ClipBatches, TrainingCheckpoint

    model = keras_model("plain")
    model.compile()
    clips = (np.random.default_rng(9).integers(-128, 128, (4, 4, 8, 8, 1)) / 128).astype(np.float32)
    batches = ClipBatches(clips, 2, seed=5)
    checkpoint = TrainingCheckpoint(folder, batches, keep=1)
    start = checkpoint.step
    data, steps = checkpoint.dataset(), batches.steps_per_epoch
    model.fit(data, steps_per_epoch=steps, epochs=epochs, callbacks=[checkpoint], verbose=0, shuffle=False)
    return model, start


def _options(text: str) -> dict[str, int]:
    """`"window=4 overlap=2"` as keywords."""
    return {name: int(value) for name, value in (part.split("=") for part in text.split())}
