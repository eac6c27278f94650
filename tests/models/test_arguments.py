"""What `VideoDiffusion` and what it trains with are given is refused by name where it is of another kind."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import kvdiff
from kvdiff.training.noising import parts_of
from tests.training.trainings import SHAPE, clips, tiny_denoiser


@pytest.fixture(scope="module")
def denoiser():
    return tiny_denoiser()


@pytest.mark.parametrize("shape", [None, 5, "clip", (3, 4, 4), (3, 4, 4, 1, 1)])
def test_a_clip_shape_is_four_numbers(denoiser, shape):
    with pytest.raises(ValueError, match="`clip_shape`: expected shape .frames, height, width, channels.. Received"):
        kvdiff.VideoDiffusion(shape, denoiser)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (dict(known_frames=[1]), "`known_frames`: expected KnownFrames"),
        (dict(known_frames="first"), "`known_frames`: expected KnownFrames"),
        (dict(known_frames={"frist": 1}), "`known_frames`: expected .* Received: {'frist': 1}"),
        (dict(schedule=5), "`schedule`: expected a name"),
        (dict(schedule="nope"), "`schedule`: .*expected a `name` among"),
        (dict(prediction=5), "`prediction`: expected a name"),
        (dict(prediction="nope"), "`prediction`: expected one of"),
        (dict(loss_weight=5), "`loss_weight`: expected a name"),
        (dict(loss_weight="nope"), "`loss_weight`: .*expected one of"),
        (dict(loss_weight={"name": "min_snr", "gama": 5}), "`loss_weight`: expected .*other options.*gama"),
        (dict(timesteps=[5]), "`timesteps`: expected a name"),
        (dict(timesteps={"name": "lognormal", "men": 5}), "`timesteps`: expected .*other options.*men"),
        (dict(seed="x"), "`seed`: expected an integer"),
        (dict(seed=-1), "`seed`: expected an integer from 0"),
        (dict(learned_variance="no"), "`learned_variance`: expected True or False. Received: 'no'"),
        (dict(known_noise="x"), "`known_noise`: expected a number"),
        (dict(independent_noise=2), "`independent_noise`: expected a number"),
        (dict(values=5), "`values`: expected values, e.g. Pixels.., or their `config`. Received: 5"),
        (dict(codec=5), "`codec`: expected a codec"),
        (dict(condition_dropout="all"), "`condition_dropout`: expected a number"),
    ],
)
def test_an_option_of_another_kind_is_refused_by_name(denoiser, option, text):
    with pytest.raises((TypeError, ValueError), match=text):
        kvdiff.VideoDiffusion(SHAPE, denoiser, **option)


def test_a_schedule_may_be_named(denoiser):
    assert (
        kvdiff.VideoDiffusion(SHAPE, denoiser, schedule="linear").forward_diffusion.schedule.config["name"] == "linear"
    )


def test_a_denoiser_has_inputs_by_name():
    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    output = keras.layers.Dense(1)(clip)
    wrong = {
        "expected a Keras model. Received: int": 5,
        "expected inputs by name.* Received: .*": keras.Model([clip, label], output),
        "expected inputs by name.* Received: .'noisy_clip'.": keras.Model({"noisy_clip": clip}, output),
    }
    for received, denoiser in wrong.items():
        with pytest.raises(TypeError, match=f"`denoiser`: {received}"):
            kvdiff.VideoDiffusion(SHAPE, denoiser)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (dict(loss="nope"), "`loss`: expected a name that Keras knows.* Received: 'nope'"),
        (dict(loss=5), "`loss`: expected a name that Keras knows.* Received: 5"),
        (dict(loss=["mse"]), "`loss`: expected one loss"),
        (dict(optimizer="nope"), "`optimizer`: expected a name that Keras knows.* Received: 'nope'"),
        (dict(optimizer=5), "`optimizer`: expected a name that Keras knows"),
        (dict(steps_per_execution=0), "`steps_per_execution`: expected an integer >= 1"),
        (dict(jit_compile="x"), "`jit_compile`: expected True, False or"),
        (dict(micro_batches="x"), "`micro_batches`: expected an integer"),
    ],
)
def test_compile_refuses_by_name(denoiser, option, text):
    with pytest.raises((TypeError, ValueError), match=text):
        kvdiff.VideoDiffusion(SHAPE, denoiser).compile(**option)


def test_calling_the_model_with_clips_says_what_to_call(denoiser):
    model = kvdiff.VideoDiffusion(SHAPE, denoiser)
    for call in (model.predict, model.predict_on_batch):
        with pytest.raises(TypeError, match=r"model.predict: .* call generate\(num_clips\), predict_frames\(past\)"):
            call(clips())
    for inputs in (clips(), {"noisy_clip": clips()}):
        with pytest.raises(TypeError, match=r"inputs by name, .'noise_label', 'noisy_clip'.. Received: .*fit\(clips\)"):
            model(inputs)


def test_what_watches_and_teaches_refuses_by_name(tmp_path):
    from kvdiff import training

    wrong = {
        "`clips`: expected 2 clips or more": lambda: training.SampleMonitor(5, clips()),
        "`held_out`: expected 1 clips or more": lambda: training.SampleMonitor(clips(), clips()[:0]),
        "`past`: expected 1 clips or more": lambda: training.Previews(tmp_path, past=5),
        "`num_timesteps`: expected an integer": lambda: training.HybridLoss("x"),
        "`vlb_weight`: expected a number": lambda: training.HybridLoss(10, vlb_weight=-1.0),
        "`clips`: expected .batch": lambda: training.ImportanceSampling(5),
        "`num_levels`: expected an integer": lambda: training.ImportanceSampling(clips(), 0),
        "`sigma_rels`: expected a list": lambda: training.PostHocEMA(tmp_path, every=1, sigma_rels=0.05),
        "`teacher`: expected a VideoDiffusion": lambda: training.ProgressiveDistillation(5, 2),
    }
    for text, make in wrong.items():
        with pytest.raises((TypeError, ValueError), match=text):
            make()


def test_the_parts_of_keras_data():
    x, y, w = np.zeros(1), {"a": np.ones(1)}, np.full(1, 2.0)
    for data, parts in (
        (x, (x, None, None)),
        ((x,), (x, None, None)),
        ((x, y), (x, y, None)),
        ((x, None, w), (x, None, w)),
        (((x, y, w),), (x, y, w)),
        (((x,), y), (x, y, None)),
    ):
        assert all(found is part for found, part in zip(parts_of(data), parts, strict=True))
