"""What samplers say of arguments of another kind."""

from __future__ import annotations

import numpy as np

from kvdiff import diffusion as d
from kvdiff.diffusion.tasks.known_frames import Every
from tests.wrong_types import CLIP, KNOWN, LARGE, PAST, SCHEDULE, SMALL, SPEC, Case, failures, rows, sampler

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
    history_guidance="number",
    known_noise="number",
    augmentation="number",
    plan="optional_choice",
    at_a_time="optional_count",
)


def verbs() -> list[Case]:
    made, few = sampler(), dict(num_steps=2)
    infill = dict(clip=np.zeros((1, *CLIP.shape), np.float32), known=KNOWN, **few)
    few_of_past = dict(past=PAST, num_frames=4, **few)
    cascade = d.Cascade(sampler(SMALL), d.Spatial(sampler(LARGE)))
    return [
        *rows("generate", made.generate, few, num_clips="count", num_frames="optional_count", **SAMPLING),
        *rows("predict_frames", made.predict_frames, dict(past=PAST, **few), past="clips", num_frames="optional_count"),
        *rows("interpolate", made.interpolate, dict(before=PAST[:, :1], after=PAST[:, :1], **few), before="clips"),
        *rows("interpolate", made.interpolate, dict(before=PAST[:, :1], after=PAST[:, :1], **few), after="clips"),
        *rows("rate", made.increase_frame_rate, dict(clip=PAST, factor=2, **few), clip="clips", factor="count"),
        *rows("rollout", made.rollout, dict(num_frames=6, **few), num_frames="count", num_clips="count"),
        *rows("rollout", made.rollout, dict(num_frames=6, **few), at_a_time="optional_count", plan="optional_choice"),
        *rows("stream", made.stream, few_of_past, past="optional_clips", num_frames="optional_count", **SAMPLING),
        *rows("stream", made.stream, dict(num_frames=4, **few), num_clips="count"),
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


def test_an_argument_of_another_kind_is_refused_by_name() -> None:
    wrong = failures(verbs())
    assert not wrong, "\n".join(wrong)


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
