"""What specs, schedules, conditions, plans and masks say of arguments of another kind."""

from __future__ import annotations

import numpy as np
import pytest

from kvdiff import diffusion as d
from kvdiff.diffusion.checks import received
from kvdiff.diffusion.process import timestep_sampling, weights
from kvdiff.diffusion.tasks.known_frames import Every, First, Gap, Mixture
from kvdiff.diffusion.tasks.plan import Window
from tests.wrong_types import CLIP, KNOWN, SCHEDULE, SPEC, Case, failures, rows


def values() -> list[Case]:
    spec = dict(clip=CLIP, schedule=SCHEDULE, prediction=d.Prediction())
    size = dict(num_frames=4, height=2, width=2, channels=1)
    table = dict(schedule=SCHEDULE, prediction=d.Prediction(), num_steps=2)
    return [
        *rows("ClipSpec", d.ClipSpec, size, num_frames="count", height="count", width="count", channels="count"),
        *rows("ClipSpec", d.ClipSpec, size, fps="optional_number", channel_names="names", units="names"),
        *rows(
            "ModelSpec",
            d.ModelSpec,
            spec,
            clip="object",
            schedule="object",
            prediction="object",
            values="object",
            codec="optional_object",
            conditions="mapping",
            known_frames="optional_object",
            known_noise="optional_number",
            independent_noise="optional_number",
            sampling="mapping",
        ),
        ("ModelSpec.from_config", "config", "no mapping", d.ModelSpec.from_config),
        (
            "ModelSpec.from_config",
            "conditions",
            "no mapping",
            lambda value: d.ModelSpec.from_config({**SPEC.config, "conditions": value}),
        ),
        *(
            (
                "ModelSpec.from_config",
                name,
                "config",
                lambda value, name=name: d.ModelSpec.from_config({**SPEC.config, name: value}),
            )
            for name in ("clip", "schedule", "prediction", "values", "sampling")
        ),
        ("Prediction", "prediction", "choice", d.Prediction),
        *rows("Prediction", d.Prediction, {}, sigma_data="number"),
        ("Prediction.from_config", "prediction", "config", d.Prediction.from_config),
        ("NoiseSchedule.from_config", "schedule", "config", d.NoiseSchedule.from_config),
        *rows(
            "NoiseSchedule",
            d.NoiseSchedule,
            dict(alpha=SCHEDULE.alpha, sigma=SCHEDULE.sigma),
            alpha="array",
            sigma="array",
            config="keywords",
        ),
        ("NoiseSchedule.from_betas", "betas", "array", d.NoiseSchedule.from_betas),
        *rows("shifted", SCHEDULE.shifted, {}, logsnr_shift="number"),
        *rows("levels", SCHEDULE.levels, {}, timesteps="array"),
        *rows("levels_at", SCHEDULE.levels_at, {}, logsnr="array"),
        *rows("linear", d.schedules.linear, {}, num_timesteps="count", beta_start="number", beta_end="number"),
        *rows("cosine", d.schedules.cosine, {}, num_timesteps="count", offset="number", max_beta="number"),
        *rows("sigmoid", d.schedules.sigmoid, {}, num_timesteps="count", start="number", end="number", tau="number"),
        *rows(
            "logsnr",
            d.schedules.logsnr,
            {},
            num_timesteps="count",
            logsnr_min="number",
            logsnr_max="number",
            path="choice",
        ),
        *rows(
            "karras",
            d.schedules.karras,
            {},
            num_timesteps="count",
            sigma_min="number",
            sigma_max="number",
            rho="number",
        ),
        *rows("flow", d.schedules.flow, {}, num_timesteps="count"),
        *rows(
            "step_table",
            d.step_table,
            table,
            schedule="object",
            prediction="object",
            solver="choice",
            num_steps="count",
            spacing="optional_choice",
            init_std="optional_number",
        ),
        *rows(
            "spacing.timesteps",
            d.spacing.timesteps,
            dict(num_timesteps=10, num_steps=2),
            num_timesteps="count",
            num_steps="count",
            spacing="choice",
        ),
        *rows(
            "sampling_levels",
            d.spacing.sampling_levels,
            dict(schedule=SCHEDULE, num_steps=2),
            schedule="object",
            num_steps="count",
            spacing="choice",
        ),
        *rows("ClassLabel", d.ClassLabel, {}, num_classes="count"),
        *rows("ClipVector", d.ClipVector, {}, size="count"),
        *rows("TokenIds", d.TokenIds, dict(max_tokens=2, vocabulary=3), max_tokens="count", vocabulary="count"),
        *rows("TokenIds", d.TokenIds, dict(max_tokens=2, vocabulary=3), blocks="count"),
        *rows("TokenSequence", d.TokenSequence, dict(max_tokens=2, size=3), max_tokens="count", size="count"),
        *rows("TokenSequence", d.TokenSequence, dict(max_tokens=2, size=3), blocks="count"),
        *rows("FrameVectors", d.FrameVectors, {}, size="count"),
        *rows("LowResolution", d.LowResolution, {}, scale="count", max_noise="number"),
        *rows("Linear", d.Linear, dict(low=0.0, high=1.0), low="number", high="number"),
        *rows("AveragePool", d.AveragePool, {}, factor="count"),
        *rows(
            "lognormal",
            timestep_sampling.lognormal,
            dict(schedule=SCHEDULE),
            schedule="object",
            mean="number",
            std="number",
        ),
        *rows(
            "timestep_distribution",
            timestep_sampling.timestep_distribution,
            dict(schedule=SCHEDULE),
            schedule="object",
            name="choice",
        ),
        *rows(
            "by_loss",
            timestep_sampling.by_loss,
            dict(second_moments=np.ones(3)),
            second_moments="array",
            uniform_share="number",
        ),
        *rows(
            "loss_weights",
            weights.loss_weights,
            dict(schedule=SCHEDULE, prediction=d.Prediction()),
            schedule="object",
            prediction="object",
            name="choice",
        ),
        *rows("min_snr", weights.min_snr, dict(schedule=SCHEDULE, prediction=d.Prediction()), gamma="number"),
    ]


def plans() -> list[Case]:
    p, long = d.plans, dict(num_frames=9, window=4)
    numbers = dict(num_frames="count", window="count", known="count")
    return [
        *rows(
            "autoregressive", p.autoregressive, long, overlap="optional_count", at_a_time="optional_count", **numbers
        ),
        *rows("hierarchical", p.hierarchical, long, anchor_step="optional_count", **numbers),
        *rows("hierarchy_2", p.hierarchy_2, long, anchor_step="optional_count", **numbers),
        *rows("rolling", p.rolling, long, context="optional_count", **numbers),
        *rows("frame_rate", p.frame_rate, dict(factor=2, **long), factor="count", num_frames="count", window="count"),
        *rows(
            "in_order",
            p.in_order,
            dict(known=KNOWN, window=4, at_a_time=1),
            known="object",
            window="count",
            at_a_time="count",
        ),
        ("whole", "known", "object", p.whole),
        *rows(
            "Plan",
            d.Plan,
            dict(num_frames=4, known=KNOWN, windows=p.whole(KNOWN).windows),
            num_frames="count",
            known="object",
            windows="object",
        ),
        *rows("Window.of", Window.of, dict(frames=[0, 1], new=[1]), frames="array", new="array"),
        *rows("masks.none", d.masks.none, {}, frames="count"),
        *rows("masks.first", d.masks.first, dict(frames=4, count=1), frames="count", count="count"),
        *rows("masks.last", d.masks.last, dict(frames=4, count=1), frames="count", count="count"),
        *rows("masks.ends", d.masks.ends, dict(frames=4, left=1, right=1), frames="count", left="count", right="count"),
        *rows("masks.every", d.masks.every, dict(frames=4, stride=2), frames="count", stride="count"),
        *rows("First", First, {}, at_least="count", at_most="optional_count"),
        *rows("Gap", Gap, {}, at_least="count", at_most="optional_count"),
        *rows("Every", Every, {}, strides="object"),
        *rows("Mixture", Mixture, {}, weights="object"),
        *rows(
            "KnownFrames",
            d.KnownFrames,
            {},
            none="number",
            first="number",
            ends="number",
            random="number",
            last="number",
            every="number",
            block="number",
            gap="number",
        ),
        ("mask_from_config", "known_frames", "config", d.known_frames.mask_from_config),
    ]


def test_an_argument_of_another_kind_is_refused_by_name() -> None:
    wrong = failures([*values(), *plans()])
    assert not wrong, "\n".join(wrong)


def test_what_was_received_is_shown_in_short() -> None:
    assert received("x" * 500).endswith("... (str)") and len(received("x" * 500)) < 100
    assert received(np.zeros((2, 3))) == "dtype float64, shape [2, 3]"
    assert received([1]) == "[1] (list)"


def test_a_mask_of_another_kind_cannot_make_a_plan_run_for_ever() -> None:
    with pytest.raises(TypeError, match="`known`: expected booleans"):
        d.plans.in_order("nope", 4, at_a_time=1)  # It looked for frames in a text, without end.
