"""What public calls say of arguments of another kind: which one, what was expected, what was received."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import kvdiff
from kvdiff import data, media
from kvdiff import diffusion as d
from kvdiff.diffusion.checks import received
from kvdiff.diffusion.process import timestep_sampling, weights
from kvdiff.diffusion.tasks.known_frames import Every, First, Gap, Mixture
from kvdiff.diffusion.tasks.plan import Window

NAN = float("nan")
WRONG: dict[str, tuple[Any, ...]] = {
    "count": (None, True, "x", 1.5, NAN, -1, [1], {}, np.zeros(2), object()),
    "optional count": (True, "x", 1.5, NAN, -1, [1], {}, np.zeros(2), object()),
    "number": (None, True, "x", NAN, float("inf"), [0.5], {}, np.zeros(2), 1j, object()),
    "optional number": (True, "x", NAN, float("inf"), [0.5], {}, np.zeros(2), 1j, object()),
    "choice": (None, True, 5, "nope", ["v"], {}, np.zeros(2), object()),
    "optional choice": (True, 5, "nope", ["v"], {}, np.zeros(2), object()),
    "interval": (None, True, 0.5, "ab", (0.1,), (0.9, 0.1), (NAN, 1), (None, 1), {}, {0.1, 0.2}, object()),
    "clips": (None, True, 5, "x", [1], [[1], [1, 2]], {}, np.zeros(2), np.zeros((1, 2, 2, 2, 1), complex), object()),
    "object": (None, True, 5, 1.5, "nope", [1], {}, np.zeros(2), object()),
    "optional object": (True, 5, 1.5, "nope", [1], {"a": 1}, np.zeros(2), object()),
    "mapping": (True, 5, "x", [1], np.zeros(2), {"nope": 1}, object()),
    "keywords": (True, 5, "x", [1], np.zeros(2), {1: 1}, object()),
    "config": (None, True, 5, 1.5, "nope", [1], np.zeros(2), {"nope": 1}, object()),
    "no mapping": (None, True, 5, 1.5, "nope", [1], np.zeros(2), object()),
    "array": (None, True, 5, "nope", [[1], [1, 2]], ["a"], object()),
    "flag": (None, 5, "yes", [], object()),
    "function": (5, "x", [1], {}),
    "path": (True, 5, [1], {}, object()),
}

CLIP = d.ClipSpec(4, 2, 2, 1)
SCHEDULE = d.schedules.cosine(10)
SPEC = d.ModelSpec(CLIP, SCHEDULE, d.Prediction(), conditions={"label": d.ClassLabel(3), "action": d.FrameVectors(2)})
SMALL = d.ModelSpec(d.ClipSpec(4, 1, 1, 1), SCHEDULE, d.Prediction())
LARGE = d.ModelSpec(CLIP, SCHEDULE, d.Prediction(), conditions={"small": d.LowResolution(2)})
PAST = np.zeros((1, 2, 2, 2, 1), np.float32)
KNOWN = np.array([True, False, False, False])


def sampler(spec: d.ModelSpec = SPEC) -> d.Sampler:
    return d.Sampler(spec, d.DenoiserEngine(lambda noisy_clip, noise_label, inputs: np.zeros_like(noisy_clip)))


def with_one(call: Callable[..., Any], **fixed: Any) -> Callable[[str], Callable[[Any], Any]]:
    """From an argument's name to the call with that argument alone to be said."""
    return lambda name: lambda value: call(**{**fixed, name: value})


Case = tuple[str, str, str, Callable[[Any], Any]]


def rows(label: str, call: Callable[..., Any], fixed: dict[str, Any], **kinds: str) -> list[Case]:
    """A case for each argument of a call: its kind of wrong values, and the other arguments, which are right."""
    one = with_one(call, **fixed)
    return [(label, name, kind.replace("_", " "), one(name)) for name, kind in kinds.items()]


SAMPLING = dict(
    num_steps="count",
    solver="choice",
    spacing="optional_choice",
    seed="count",
    first_sample="count",
    batch_size="count",
    progress="function",
    conditions="mapping",
    guidance="number",
    guidance_interval="interval",
    guidance_rescale="number",
    known_noise="number",
    augmentation="number",
    plan="optional_choice",
    at_a_time="optional_count",
)


def verbs() -> list[Case]:
    made, few = sampler(), dict(num_steps=2)
    infill = dict(clip=np.zeros((1, *CLIP.shape), np.float32), known=KNOWN, **few)
    cascade = d.Cascade(sampler(SMALL), d.Spatial(sampler(LARGE)))
    return [
        *rows("generate", made.generate, few, num_clips="count", num_frames="optional_count", **SAMPLING),
        *rows("predict_frames", made.predict_frames, dict(past=PAST, **few), past="clips", num_frames="optional_count"),
        *rows("interpolate", made.interpolate, dict(before=PAST[:, :1], after=PAST[:, :1], **few), before="clips"),
        *rows("interpolate", made.interpolate, dict(before=PAST[:, :1], after=PAST[:, :1], **few), after="clips"),
        *rows("rate", made.increase_frame_rate, dict(clip=PAST, factor=2, **few), clip="clips", factor="count"),
        *rows("rollout", made.rollout, dict(num_frames=6, **few), num_frames="count", num_clips="count"),
        *rows("rollout", made.rollout, dict(num_frames=6, **few), at_a_time="optional_count", plan="optional_choice"),
        *rows("infill", made.infill, infill, clip="clips", known="object"),
        *rows("ddim", made.generate, dict(solver="ddim", **few), eta="number"),
        *rows("Cascade", cascade.generate, few, num_clips="count", num_frames="optional_count", seed="count"),
        *rows("Cascade.predict_frames", cascade.predict_frames, dict(past=PAST, **few), past="clips"),
        ("Cascade", "base", "object", lambda value: d.Cascade(value)),
        ("Cascade", "stages", "object", lambda value: d.Cascade(sampler(SMALL), value)),
        *rows("Spatial", d.Spatial, dict(sampler=sampler(LARGE)), sampler="object", augmentation="number"),
        *rows("Spatial", d.Spatial, dict(sampler=sampler(LARGE)), sampling="keywords"),
        *rows("Temporal", d.Temporal, dict(sampler=made), sampler="object", factor="count", sampling="keywords"),
        *rows("Sampler", d.Sampler, dict(spec=SPEC, engine=made.engine), spec="object", engine="object"),
        *rows(
            "GuidedSampler",
            d.GuidedSampler,
            dict(main=made, guide=made, guidance=2.0),
            main="object",
            guide="object",
            guidance="number",
            interval="interval",
            rescale="number",
        ),
        *rows(
            "bits_per_dim",
            d.bits_per_dim,
            dict(sampler=made, clips=infill["clip"]),
            sampler="object",
            clips="clips",
            variance="choice",
            seed="count",
        ),
        *rows(
            "OracleSampler",
            d.OracleSampler,
            dict(data=None, clip=CLIP, schedule=SCHEDULE, prediction=d.Prediction()),
            clip="object",
            schedule="object",
            prediction="object",
            codec="optional_object",
        ),
    ]


def values() -> list[Case]:
    spec = dict(clip=CLIP, schedule=SCHEDULE, prediction=d.Prediction())
    size = dict(num_frames=4, height=2, width=2, channels=1)
    table = dict(schedule=SCHEDULE, prediction=d.Prediction(), num_steps=2)
    return [
        *rows("ClipSpec", d.ClipSpec, size, num_frames="count", height="count", width="count", channels="count"),
        *rows("ClipSpec", d.ClipSpec, size, fps="optional_number", channel_names="names"),
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


WRONG["names"] = (True, 5, "abc", [1], {"a": 1}, object())
WRONG["size"] = (True, "x", 1.5, (2,), (2, 2.5), {}, np.zeros(2), object())
WRONG["channels"] = (True, "x", 2, 1.5, [1], {}, object())
WRONG["optional path"] = (True, 5, [1], {}, object())
WRONG["paths"] = (None, True, 5, [5], "x", b"x", object())
WRONG["colour"] = (None, True, "red", (1, 2), (1, 2, 300), (0.5, 0, 0), {}, object())
WRONG["text"] = (None, True, 5, [1], {}, object())
WRONG["labels"] = (True, 5, "nope", [1.5], {}, object())


def files(folder: pathlib.Path) -> list[Case]:
    clip, clips = np.zeros((2, 4, 4, 1), np.uint8), np.zeros((1, 2, 4, 4, 1), np.uint8)
    path = media.write_clip(folder / "clip.npy", clip)
    target, listing = folder / "out.npy", data.list_directory(folder, None)
    reading = dict(
        size="size", channels="channels", max_frames="optional_count", limits="optional_object", links="optional_path"
    )
    written = dict(path="path", fps="number", scale="count")
    return [
        *rows("write_clip", media.write_clip, dict(path=target, clip=clip), clip="clips", **written),
        *rows("write_clips", media.write_clips, dict(path=target, clips=clips), clips="clips", **written),
        *rows("check_writable", media.check_writable, dict(path=target), path="path", fps="number"),
        *rows(
            "encode_clip",
            media.encode_clip,
            dict(clip=clip, suffix=".npy"),
            clip="clips",
            suffix="choice",
            fps="number",
        ),
        ("encode_png", "picture", "clips", media.encode_png),
        *rows("enlarge", media.enlarge, dict(clip=clip), scale="count"),
        *rows(
            "grid",
            media.grid,
            dict(clips=[clip], columns=1),
            clips="object",
            columns="count",
            gap="count",
            colour="colour",
        ),
        *rows("side_by_side", media.side_by_side, dict(clips=[clip]), clips="object", gap="count", colour="colour"),
        *rows("filmstrip", media.filmstrip, dict(clips=[clip]), clips="object", gap="count", colour="colour"),
        *rows(
            "framed",
            media.framed,
            dict(clip=clip, colours=[(0, 0, 0)] * 2),
            clip="clips",
            colours="object",
            width="count",
        ),
        *rows(
            "labelled",
            media.labelled,
            dict(clip=clip, text="a"),
            clip="clips",
            text="text",
            size="count",
            colour="colour",
        ),
        *rows("read_clip", media.read_clip, dict(path=path), path="path", **reading),
        *rows("read_clips", media.read_clips, dict(path=path), path="path", **reading),
        *rows("num_clips", media.num_clips, {}, path="path"),
        *rows(
            "ReadLimits",
            media.ReadLimits,
            {},
            file_bytes="count",
            frame_pixels="count",
            frames="count",
            clip_bytes="count",
            seconds="number",
            memory_bytes="count",
        ),
        *rows("ClipReader", media.ClipReader, {}, num_workers="optional_count", limits="optional_object"),
        *rows(
            "list_directory",
            data.list_directory,
            dict(directory=folder, labels=None),
            directory="path",
            labels="labels",
            links="optional_path",
        ),
        *rows("list_directory", data.list_directory, dict(directory=folder, labels="inferred"), class_names="names"),
        *rows("list_paths", data.list_paths, dict(paths=[path]), paths="paths", links="optional_path"),
        *rows(
            "video_batches",
            data.video_batches,
            dict(listing=listing, num_frames=2),
            listing="object",
            label_mode="optional_choice",
            num_frames="count",
            frame_stride="count",
            target_fps="optional_number",
            image_size="size",
            crop_to_aspect_ratio="flag",
            clip_sampling="choice",
            clips_per_video="count",
            window_step="optional_count",
            color_mode="choice",
            batch_size="count",
            shuffle="flag",
            seed="count",
            cache="optional_path",
            default_fps="optional_number",
            num_workers="optional_count",
            limits="optional_object",
            on_bad="choice",
            max_bad_share="number",
            report="optional_path",
            announce="function",
        ),
        *rows(
            "clip_dataset",
            data.clip_dataset,
            dict(listing=listing, num_frames=2, verbose=False),
            drop_remainder="flag",
            verbose="flag",
        ),
        *rows(
            "split",
            listing.split,
            dict(validation_split=0.5, subset="training", seed=0),
            validation_split="number",
            subset="choice",
            seed="count",
        ),
        *rows(
            "bouncing_shapes",
            data.bouncing_shapes,
            dict(num_clips=1),
            num_clips="count",
            num_frames="count",
            size="count",
            channels="count",
            seed="count",
        ),
        *rows(
            "moving_digits",
            data.moving_digits,
            dict(num_clips=1),
            num_clips="count",
            num_frames="count",
            size="count",
            split="choice",
            seed="count",
            min_speed="number",
            max_speed="number",
            return_labels="flag",
        ),
        *rows(
            "moving_mnist",
            data.moving_mnist,
            dict(num_clips=1, path=folder / "none.npz"),
            num_clips="count",
            num_frames="count",
            size="count",
            num_digits="count",
            velocity="number",
            split="choice",
            seed="count",
            path="optional_path",
        ),
    ]


def opened(folder: pathlib.Path) -> list[Case]:
    r = kvdiff.runtime
    return [
        *rows(
            "open_sampler",
            r.open_sampler,
            dict(path=folder),
            path="path",
            runtime="optional_choice",
            precision="optional_path",
        ),
        *rows("find_artefacts", r.find_artefacts, {}, run="path"),
        *(
            (name, "path", "path", getattr(r, name))
            for name in ("OrtSampler", "FusedOrtSampler", "LiteRtSampler", "SavedModelSampler")
        ),
        *rows("cuda", r.cuda, {}, device_id="count", cuda_graph="flag"),
        *rows(
            "tensorrt",
            r.tensorrt,
            dict(cache=folder),
            cache="path",
            device_id="count",
            float16="flag",
            cuda_graph="flag",
        ),
    ]


def measured() -> list[Case]:
    e, made = kvdiff.evaluation, sampler()
    clips = np.zeros((9, *CLIP.shape), np.float32)
    protocol = e.protocol_for(clips)
    two = dict(generated=clips, truth=clips)
    features = np.random.default_rng(0).normal(size=(9, 3))
    return [
        *rows("psnr", e.psnr, two, generated="clips", truth="clips", per_frame="flag"),
        *rows("ssim", e.ssim, two, generated="clips", truth="clips"),
        *rows("frechet_distance", e.frechet_distance, dict(a=features, b=features), a="object", b="object"),
        *rows(
            "estimate_frechet",
            e.estimate_frechet,
            dict(a=features, b=features, bootstrap=2),
            a="object",
            bootstrap="count",
            seed="count",
        ),
        *rows(
            "manifold_score",
            e.manifold_score,
            dict(real=features, generated=features),
            real="object",
            generated="object",
            k="count",
        ),
        *rows(
            "memorisation",
            e.memorisation,
            dict(generated=clips, training=clips, unseen=clips),
            generated="clips",
            training="clips",
            unseen="clips",
        ),
        ("protocol_named", "protocol", "choice", e.protocol_named),
        *rows("protocol_for", e.protocol_for, dict(clips=clips), clips="clips", name="text"),
        *rows(
            "evaluate",
            e.evaluate,
            dict(sampler=made, protocol=protocol, clips=None),
            sampler="object",
            protocol="object",
            clips="object",
        ),
        *rows(
            "conditioning_accuracy",
            e.conditioning_accuracy,
            dict(sampler=made, clips=clips, conditions={}),
            sampler="object",
            clips="clips",
            conditions="no_mapping",
            past="count",
            others="count",
            swapped="names",
            seed="count",
        ),
        *rows("read_result", e.read_result, {}, path="path"),
        *rows("real_clips", e.real_clips, dict(protocol=protocol), protocol="object", data="optional_path"),
    ]


def shown(value: Any) -> str:
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))[:40].replace("\n", " ")


def named(text: str, argument: str) -> bool:
    """Whether a message names the argument, and says what was expected and what was received."""
    return (
        (f"`{argument}" in text or re.match("[A-Z][A-Za-z]+: ", text) is not None)
        and "expected" in text
        and "Received" in text
    )


GROUPS: dict[str, Callable[[pathlib.Path], list[Case]]] = {
    "verbs": lambda folder: verbs(),
    "values": lambda folder: values(),
    "plans": lambda folder: plans(),
    "files": files,
    "opened": opened,
    "measured": lambda folder: measured(),
}


@pytest.mark.parametrize("group", GROUPS)
def test_an_argument_of_another_kind_is_refused_by_name(group: str, tmp_path: pathlib.Path) -> None:
    """Every argument of every public call, with every kind of wrong value: some 3,000 calls."""
    wrong = []
    for label, argument, kind, call in GROUPS[group](tmp_path):
        for value in WRONG[kind]:
            try:
                call(value)
            except (TypeError, ValueError) as error:
                said = "" if named(str(error), argument) else f"{type(error).__name__}: {error}"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            else:
                said = "accepted"
            wrong += [f"{label}({argument}={shown(value)}): {said}"] if said else []
    assert not wrong, "\n".join(wrong)


def test_what_was_received_is_shown_in_short() -> None:
    assert received("x" * 500).endswith("... (str)") and len(received("x" * 500)) < 100
    assert received(np.zeros((2, 3))) == "dtype float64, shape [2, 3]"
    assert received([1]) == "[1] (list)"


def test_numbers_of_numpy_and_lists_for_arrays_are_taken() -> None:
    """What is refused is of another kind; other spellings of the right one are not."""
    made = sampler().generate(np.int64(1), num_steps=np.int32(2), seed=np.uint64(3), guidance_rescale=np.float32(0.0))
    assert made.shape == (1, *CLIP.shape)
    assert (
        sampler().infill(np.zeros((1, *CLIP.shape)).tolist(), KNOWN.tolist(), num_steps=2, spacing=[9, 3]).shape[1] == 4
    )
    assert d.ClipSpec(4, 2, 2, 2, channel_names=["u", "v"]).channel_names == ("u", "v")
    assert Every([2, 3]).strides == Every(np.array([2, 3])).strides == (2, 3)
    assert d.plans.whole([True, False]).num_frames == 2


def test_a_mask_of_another_kind_cannot_make_a_plan_run_for_ever() -> None:
    with pytest.raises(TypeError, match="`known`: expected booleans"):
        d.plans.in_order("nope", 4, at_a_time=1)  # It looked for frames in a text, without end.
