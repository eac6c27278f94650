"""tune: which way to sample suits a run."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from kvdiff.cli.options import Links, Run
from kvdiff.cli.progress import progress_bars
from kvdiff.cli.runs import KERAS_FILE, keras_path, load_keras, save_keras

if TYPE_CHECKING:
    from kvdiff.models.video_diffusion import VideoDiffusion


def tune(
    run: Run,
    clips: Annotated[
        list[pathlib.Path],
        typer.Argument(metavar="CLIPS", help="Files or folders of clips that the model was not trained on."),
    ],
    num_clips: Annotated[
        int,
        typer.Option(metavar="N", min=16, help="Windows of them to sample; more choose more finely."),
    ] = 32,
    default_fps: Annotated[
        float | None,
        typer.Option(metavar="X", help="Frames a second of arrays and folders of frames, for a model with a clock."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of sampling.")] = 0,
    links: Links = None,
) -> None:
    """Search for the way to sample that suits a model, and make it the model's own default.

    Predicts and interpolates with few and many steps, one frame, two or all at a time. Chosen is the cheapest way whose
    error after the best shift is as good as the best's, among those that are as sharp as the truth. Writes
    RUN/tuning.json, a chart a task, and RUN/model.keras anew; export it again afterwards.

    Example: kvdiff tune saved_models/my_clips unseen_videos
    """
    from kvdiff.cli.train_data import windows_of
    from kvdiff.evaluation.charts import LIGHT, line_chart
    from kvdiff.evaluation.real import RealClips
    from kvdiff.evaluation.result import aligned
    from kvdiff.evaluation.tuning import tune as search
    from kvdiff.media.files import write_bytes
    from kvdiff.training.environment import write_json

    if (path := keras_path(run)).suffix != ".keras":
        other = "a training that has not ended" if path.suffix == ".npz" else "a preset, whose files stay as they are"
        raise FileNotFoundError(f"{run}: expected a {KERAS_FILE}. Received: {other}, {path.name}")
    model = load_keras(run)
    clip = model.spec.clip
    reading = dict(target_fps=clip.fps, default_fps=default_fps, cache="memory", shuffle=False, window_step=1)
    batches = windows_of(clips, clip.shape, num_clips, links=links, **reading)
    spread = np.unique(np.linspace(0, batches.num_samples - 1, num_clips).round().astype(int))
    truth = np.stack([batches.sample(0, number)[0] for number in spread])
    with progress_bars() as progress:
        found = search(model.sampler, RealClips(truth), seed=seed, progress=progress)
    typer.echo(aligned(found.rows()))
    write_json(path.with_name("tuning.json"), {"clips": len(truth), "seed": seed, **found.config})
    for task, lines in found.lines().items():
        chart = line_chart(lines, "frames through the network for a clip", "PSNR after the best shift, dB", LIGHT)
        write_bytes(path.with_name(f"tuning-{task}.png"), chart)
    save_keras(_with_sampling(model, {**model.spec.sampling, **found.sampling}), path.parent)
    typer.echo(f"Wrote {path} with its new defaults, and tuning.json and charts beside it. Exports still have the old.")


def _with_sampling(model: VideoDiffusion, sampling: dict[str, Any]) -> VideoDiffusion:
    """The same weights, uncompiled, with other defaults of sampling."""
    config = model.get_config()
    config["spec"] = {**config["spec"], "sampling": sampling}
    tuned = type(model).from_config(config)
    tuned.set_weights(model.get_weights())
    return tuned
