"""What loaders, writers, runtimes and measures say of arguments of another kind."""

from __future__ import annotations

import pathlib

import numpy as np

import kvdiff
from kvdiff import data, media
from tests.wrong_types import CLIP, Case, failures, rows, sampler


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
        *rows(
            "write_frames",
            media.write_frames,
            dict(path=folder / "out.gif", frames=clips),
            frames="clips",
            scale="count",
        ),
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
            balance="optional_choice",
            window_step="optional_count",
            color_mode="choice",
            batch_size="count",
            shuffle="flag",
            seed="count",
            cache="optional_path",
            index="optional_path",
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
            digit_size="optional_count",
            split="choice",
            seed="count",
            min_speed="optional_number",
            max_speed="optional_number",
            bounce="flag",
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


def test_an_argument_of_another_kind_is_refused_by_name(tmp_path: pathlib.Path) -> None:
    wrong = failures([*files(tmp_path), *opened(tmp_path), *measured()])
    assert not wrong, "\n".join(wrong)
