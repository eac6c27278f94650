"""docs/combinations.md, cell by cell: what it says works gives Keras' video, and what it refuses says why."""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import kvdiff
from kvdiff.diffusion import (
    AveragePool,
    Cascade,
    ClassLabel,
    DenoiserEngine,
    FrameTimes,
    FrameVectors,
    GuidedSampler,
    LowResolution,
    Sampler,
    Spatial,
    Temporal,
    TokenIds,
    bits_per_dim,
    masks,
)
from kvdiff.diffusion.conditions.condition import CONDITION_MASK
from kvdiff.diffusion.sampling.constraints import Constraint, FrameTotals
from kvdiff.export import export_litert, export_onnx, export_onnx_sampler, export_saved_model
from kvdiff.layers.condition_embedding import ConditionEmbedding
from kvdiff.layers.enlarge import Enlarge
from kvdiff.layers.known_context import KnownContext
from kvdiff.layers.noise_embedding import NoiseEmbedding
from kvdiff.layers.token_attention import TokenAttention
from kvdiff.models.denoiser import condition_inputs, tokens_of
from kvdiff.runtime import FusedOrtSampler, LiteRtSampler, OrtSampler, SavedModelSampler
from kvdiff.sampling import ReconstructionSampler
from kvdiff.training import ProgressiveDistillation

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "combinations.md"
FRAMES, SIZE, LARGE = 4, 8, 16
CLIPS = np.random.default_rng(3).uniform(-1, 1, (2, 10, LARGE, LARGE, 1)).astype(np.float32)
STEPS = 6
TOLERANCE = 2e-4


def tables() -> list[list[list[str]]]:
    """The cells of every table on the page."""
    rows = [line.strip("|").split("|") for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    found: list[list[list[str]]] = []
    for row in rows:
        cells = [cell.strip() for cell in row]
        if set("".join(cells)) == {"-"}:
            continue
        if not cells[0]:
            found.append([])
        found[-1].append(cells)
    return found


def cells(table: list[list[str]]) -> list[tuple[str, str, str]]:
    """(row, column, what the page says) of every cell that is filled."""
    (_, *columns), *rows = table
    return [(row, column, text) for row, *texts in rows for column, text in zip(columns, texts, strict=True) if text]


ON_RUNTIMES, PAIRS = map(cells, tables())


# Models: a tiny network that is traced at once and reads all that it knows.

CONDITIONS = {
    "kind": ClassLabel(3),
    "push": FrameVectors(2),
    "caption": TokenIds(3, ("", "a", "seven", "up"), blocks=1),
}
TIMES, SMALL = {"times": FrameTimes()}, {"small": LowResolution(2)}


def network(conditions: Mapping[str, Any], seed: int) -> keras.Model:
    keras.utils.set_random_seed(seed)
    inputs = {"noisy_clip": keras.Input((None, None, None, 1), name="noisy_clip")}
    inputs["noise_label"] = keras.Input((None,), name="noise_label")
    inputs |= condition_inputs(conditions, 1)
    seen = KnownContext(0.2)(inputs["noisy_clip"], inputs["noise_label"])
    if "small" in conditions:
        seen = ops.concatenate([seen, Enlarge(2)(inputs["small"], inputs[CONDITION_MASK][:, 0])], axis=-1)
    embedding = NoiseEmbedding(8)(inputs["noise_label"])
    if conditions:
        embedding = ConditionEmbedding(conditions)(embedding, inputs)
    x = keras.layers.Dense(8)(seen) + ops.expand_dims(keras.layers.Dense(8)(embedding), (2, 3))
    if "caption" in conditions:
        attention, tokens = TokenAttention(2), tokens_of(inputs, conditions, 8, 2)
        x = attention(x, *tokens)
        attention.out.kernel.assign(np.random.default_rng(seed).normal(size=(8, 8)))  # It starts at zero.
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Activation("silu")(x)))


def autoencoder() -> kvdiff.VideoAutoencoder:
    """One with every weight far from its start."""
    keras.utils.set_random_seed(3)
    made = kvdiff.VideoAutoencoder(1, factor=2, latent_channels=1, widths=(4,), blocks=1)
    rng = np.random.default_rng(3)
    for variable in made.trainable_variables:
        variable.assign_add(0.3 * rng.standard_normal(variable.shape).astype(np.float32))
    return made


@functools.cache
def model(features: frozenset[str] = frozenset(), seed: int = 1) -> kvdiff.VideoDiffusion:
    """The model that has what a feature asks for, by their names."""
    conditions = (CONDITIONS if "conditions" in features else {}) | (TIMES if "times" in features else {})
    conditions |= SMALL if "small" in features else {}
    size = LARGE if "small" in features else SIZE
    made = kvdiff.VideoDiffusion(
        (FRAMES, size, size, 1),
        network(conditions, seed),
        schedule={"name": "cosine", "num_timesteps": 50},
        known_noise=0.2,
        independent_noise=0.5,
        codec=autoencoder() if "codec" in features else None,
    )
    if "student" not in features:
        return made
    student = ProgressiveDistillation(made, STEPS).student
    student.set_weights([0.9 * weight for weight in student.get_weights()])  # As if it had been trained.
    return student


# Runtimes.


@functools.cache
def on_host(features: frozenset[str]) -> Sampler:
    """Keras' network in the loop that runs everywhere: what all runtimes of single calls do."""
    of = model(features)
    return Sampler(of.spec, DenoiserEngine(lambda *call: ops.convert_to_numpy(of.sampler.engine.denoise(*call))))


CPU: dict[str, Any] = dict(providers=["CPUExecutionProvider"], threads=1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, frozenset[str]], Sampler]:
    """The sampler of a model on a runtime; each is exported once."""
    folder = tmp_path_factory.mktemp("exported")

    @functools.cache
    def opened(runtime: str, features: frozenset[str]) -> Sampler:
        of, run = model(features), folder / "-".join(sorted(features))
        if runtime == "Keras":
            return of.sampler
        if runtime in ("ONNX Runtime", "fused graph"):
            if not (run / "sampler.onnx").exists():
                export_onnx_sampler(export_onnx(of, run), run)
            return OrtSampler(run, **CPU) if runtime == "ONNX Runtime" else FusedOrtSampler(run, **CPU)
        if runtime == "LiteRT":
            return LiteRtSampler(export_litert(of, run), threads=1)
        return SavedModelSampler(export_saved_model(of, run / "serving", pixels="float32", num_steps=2, max_calls=9))

    return opened


# Features: each changes the call that is made.


@dataclasses.dataclass
class Call:
    """A call in the making: by default the two frames after two known ones."""

    features: set[str] = dataclasses.field(default_factory=set)
    wrappers: set[str] = dataclasses.field(default_factory=set)
    how: dict[str, Any] = dataclasses.field(default_factory=dict)
    verb: str = "predict"
    num_frames: int = FRAMES
    past: int = 2

    @property
    def summary(self) -> tuple[Any, ...]:
        return self.features, self.wrappers, sorted(self.how), self.verb, self.num_frames


def long(plan: str, num_frames: int, past: int, *features: str) -> Callable[[Call], None]:
    def change(call: Call) -> None:
        call.verb, call.num_frames, call.past = "rollout", num_frames, past
        call.how |= {"at_a_time": 1} if plan == "at_a_time" else {"plan": plan}
        call.features |= set(features)

    return change


def other_lengths(call: Call) -> None:
    call.num_frames = FRAMES + 1


def frame_rate(call: Call) -> None:
    call.verb, call.num_frames = "frame rate", 10


def conditions(call: Call) -> None:
    call.features.add("conditions")


def text(call: Call) -> None:
    call.features.add("conditions")
    call.how["conditions"] = {"caption": "a seven up"}


def guidance(call: Call) -> None:
    conditions(call)
    call.how["guidance"] = 2.0


def guidance_interval(call: Call) -> None:
    guidance(call)
    call.how |= dict(guidance_interval=(0.1, 0.9), guidance_rescale=0.5)


def history_guidance(call: Call) -> None:
    call.how["history_guidance"] = 2.0


def known_noise(call: Call) -> None:
    call.how["known_noise"] = 0.2


def codec(call: Call) -> None:
    call.features.add("codec")


def distillation(call: Call) -> None:
    call.features.add("student")
    call.how |= dict(solver="ddim", spacing="trailing")


def members(call: Call) -> None:
    call.how |= dict(num_members=3, first_sample=5, batch_size=4)


def stream(call: Call) -> None:
    conditions(call)
    call.verb, call.num_frames = "stream", 8


def imposed(call: Call) -> None:
    target = np.full((1, call.num_frames), np.nan)
    target[0, -1] = 5.0
    call.how["constraints"] = [Constraint(FrameTotals(), target)]


def wrapped(name: str) -> Callable[[Call], None]:
    return lambda call: call.wrappers.add(name)


FEATURES: dict[str, Callable[[Call], None]] = {
    "one window": lambda call: None,
    "other lengths": other_lengths,
    "autoregressive": long("autoregressive", 8, 2),
    "at_a_time": long("at_a_time", 6, 3),
    "hierarchical": long("hierarchical", 10, 1, "times"),
    "rolling": long("rolling", 7, 1),
    "frame rate": frame_rate,
    "conditions": conditions,
    "text": text,
    "guidance": guidance,
    "guidance interval": guidance_interval,
    "history guidance": history_guidance,
    "known_noise": known_noise,
    "members": members,
    "stream": stream,
    "constraints": imposed,
    "codec": codec,
    "cascade": wrapped("cascade"),
    "distillation": distillation,
    "reconstruction": wrapped("reconstruction"),
    "autoguidance": wrapped("autoguidance"),
    "bound": wrapped("bound"),
}


def call_of(*names: str) -> Call:
    call = Call(how=dict(num_steps=STEPS, solver="dpmpp_2m", seed=5))
    for name in sorted(names, key=list(FEATURES).index):
        FEATURES[name](call)
    if "conditions" in call.features and "conditions" not in call.how:
        frames = call.num_frames
        call.how["conditions"] = {"kind": 1, "push": np.sin(np.arange(2.0 * frames)).reshape(frames, 2)}
    return call


def run(call: Call, of: Callable[[frozenset[str]], Sampler]) -> np.ndarray:
    """Make the call with samplers of one runtime."""
    features, how = frozenset(call.features), dict(call.how)
    sampler = of(features)
    if "reconstruction" in call.wrappers:
        network = model(features).denoiser if sampler is model(features).sampler else sampler.engine
        sampler = ReconstructionSampler(network, sampler.spec)
    if "autoguidance" in call.wrappers:
        sampler = GuidedSampler(sampler, model(features, seed=2).sampler, guidance=1.5)
    target: Any = sampler
    if "cascade" in call.wrappers:
        small = of(frozenset({"small"}))
        target = Cascade(sampler, Temporal(sampler, 3) if call.verb == "frame rate" else Spatial(small))
    if "bound" in call.wrappers:
        return bound(target, call)
    if "cascade" in call.wrappers:
        return in_stages(target, call, how)
    past = CLIPS[:, : call.past, :SIZE, :SIZE]
    if call.verb == "predict":
        return sampler.predict_frames(past, call.num_frames - call.past, **how)
    if call.verb == "rollout":
        return sampler.rollout(call.num_frames, past, **how)
    if call.verb == "stream":
        found = np.stack(list(sampler.stream(past, num_frames=call.num_frames, **how)), axis=1)
        np.testing.assert_array_equal(found, sampler.rollout(call.num_frames, past, **how)[:, call.past :])
        return found
    return sampler.increase_frame_rate(CLIPS[:, :4, :SIZE, :SIZE], 3, **how)


def in_stages(cascade: Cascade, call: Call, how: dict[str, Any]) -> np.ndarray:
    if call.verb == "generate":
        return cascade.generate(2, **how)
    if call.verb == "predict":
        return cascade.predict_frames(CLIPS[:, : call.past], **how)
    return cascade.generate(2, num_frames=call.num_frames if call.verb == "rollout" else FRAMES, **how)


def bound(target: Any, call: Call) -> np.ndarray:
    clips = CLIPS[:, :FRAMES, :SIZE, :SIZE]
    known = masks.every(FRAMES, 3) if call.verb == "frame rate" else masks.first(FRAMES, 2)
    how = {name: value for name, value in call.how.items() if name not in ("num_steps", "solver", "spacing", "seed")}
    if "conditions" in how:
        how["conditions"] = {"kind": 1, "push": how["conditions"]["push"][:FRAMES]}
    return bits_per_dim(target, clips, known, **how).terms


def check(text: str, made: Callable[[], np.ndarray], expected: Callable[[], np.ndarray]) -> np.ndarray | None:
    """Hold a call to what the page says of it."""
    if text != "yes":
        assert text.startswith("no: ")
        with pytest.raises((TypeError, ValueError), match=re.escape(text.removeprefix("no: "))):
            made()
        return None
    found = made()
    assert np.isfinite(found[~np.isnan(expected())]).all()
    np.testing.assert_allclose(found, expected(), rtol=0, atol=TOLERANCE)
    return found


@functools.cache
def of_keras(*names: str) -> np.ndarray:
    return run(call_of(*names), lambda features: model(features).sampler)


def named(rows: list[tuple[str, str, str]]) -> list[Any]:
    return [
        pytest.param(*row, id=f"{row[0]} - {row[1]}", marks=_SLOW if row[:2] in MORE_EXPORTS else ()) for row in rows
    ]


MORE_EXPORTS = {(feature, runtime) for feature in ("codec", "cascade") for runtime in ("LiteRT", "SavedModel")}
_SLOW = [pytest.mark.slow]


@pytest.mark.parametrize(("feature", "runtime", "text"), named(ON_RUNTIMES))
def test_on_every_runtime(feature: str, runtime: str, text: str, exported: Callable[..., Sampler]) -> None:
    # A network is exported with all that a call may use, but for what changes the clip.
    call, whole = call_of(feature), {"conditions", "times", "student"}
    if feature != "codec" and (feature, runtime) != ("reconstruction", "Keras"):
        call.features = whole
    if feature == "cascade":  # A prediction alone would be shorter than what LiteRT and SavedModel take.
        call.verb = "generate"
    check(text, lambda: run(call, lambda f: exported(runtime, f)), lambda: run(call, lambda f: model(f).sampler))


@pytest.mark.parametrize(("row", "column", "text"), named(PAIRS))
def test_each_with_each(row: str, column: str, text: str) -> None:
    names = (row, column)
    if "reconstruction" in names:  # Runs in Keras alone; the known frames are those that were given.
        found = check(text, lambda: of_keras(*names), lambda: of_keras(*names))
    else:
        found = check(text, lambda: run(call_of(*names), on_host), lambda: of_keras(*names))
    for alone in names if found is not None else ():
        without = of_keras(alone)
        implied = call_of(alone).summary == call_of(*names).summary
        if not implied and without.shape == found.shape:
            assert np.nanmax(np.abs(found - without)) > 1e-3, f"{names} is the same as {alone}"


def test_the_page_has_every_pair() -> None:
    columns = [name for name in FEATURES if name not in (*RUNTIMES_ALONE, *PLANS_ALONE)]
    assert {(row, column) for row, column, _ in PAIRS} == {
        (row, column)
        for row in FEATURES
        for column in columns
        if row not in RUNTIMES_ALONE and list(FEATURES).index(row) < list(FEATURES).index(column)
    }
    runtimes = {"Keras", "ONNX Runtime", "fused graph", "LiteRT", "SavedModel"}
    assert {(row, column) for row, column, _ in ON_RUNTIMES} == {(row, each) for row in FEATURES for each in runtimes}


RUNTIMES_ALONE = ("other lengths", "text", "guidance interval", "members", "stream", "constraints")
PLANS_ALONE = ("one window", "autoregressive", "at_a_time", "hierarchical", "rolling", "frame rate")


def test_a_call_has_one_plan() -> None:
    sampler = model(frozenset({"times"})).sampler
    past = CLIPS[:, :2, :SIZE, :SIZE]
    with pytest.raises(ValueError, match=r"`at_a_time`: expected no `plan` beside it"):
        sampler.rollout(8, past, plan="rolling", at_a_time=1, num_steps=STEPS)
    with pytest.raises(ValueError, match=r"`plan`: expected the first frames to be known"):
        sampler.increase_frame_rate(past, 3, plan="rolling", num_steps=STEPS)
    by_frames = sampler.increase_frame_rate(past, 3, at_a_time=1, num_steps=STEPS)
    assert by_frames.shape == (2, 4, SIZE, SIZE, 1) and (by_frames[:, ::3] == past).all()
    assert np.abs(by_frames - sampler.increase_frame_rate(past, 3, num_steps=STEPS)).max() > 1e-3


def test_a_clip_as_a_condition_goes_with_no_codec() -> None:
    with pytest.raises(ValueError, match=r"`codec`: expected none with conditions that are clips"):
        kvdiff.VideoDiffusion((FRAMES, LARGE, LARGE, 1), network(SMALL, 1), known_noise=0.2, codec=AveragePool(1))


def test_a_plan_of_shorter_windows_is_refused_where_lengths_are_fixed(exported: Callable[..., Sampler]) -> None:
    features = frozenset({"conditions", "times", "student"})
    for runtime in ("LiteRT", "SavedModel"):
        with pytest.raises(ValueError, match="the shape this model was exported for"):
            exported(runtime, features).rollout(6, at_a_time=1, num_steps=STEPS)
