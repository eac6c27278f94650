"""Quality against cost of networks that were trained alike: the peer's architecture and ours in several sizes.

    python -m tests.benchmarks.quality_vs_cost --work build/networks     # three quarters of an hour of one core

Every network learns moving digits (8 frames of 16×16) for the same number of steps on the same clips in the same order
with the same noise, in float32, by the same optimizer. Then: the loss on held-out clips with the same noise for all;
the Fréchet distance of generated clips in the features of a classifier of digits; the PSNR of predicted frames; and
what a network call costs, measured in interleaved rounds. A network that lies in `--work` is not trained again. Writes
results/quality_vs_cost.json and .png.
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import kvdiff
from kvdiff.data.moving_digits import moving_digits
from kvdiff.evaluation import estimate_frechet, psnr
from kvdiff.media import to_pixels
from kvdiff.system.environment import machine, versions
from kvdiff.training.environment import write_json
from tests.benchmarks.digit_features import DigitFeatures

RESULTS = pathlib.Path(__file__).parent / "results"
CLIP_SHAPE = (8, 16, 16, 1)
KNOWN_FRAMES = {"none": 0.2, "first": 0.35, "ends": 0.25, "random": 0.2}
STEPS, BATCH, LEARNING_RATE = 1000, 16, 1e-3
NUM_CLIPS, NUM_PASTS, PAST = 256, 64, 4
ROUNDS = 9


@dataclasses.dataclass(frozen=True)
class Network:
    """A network by name: whose architecture, and how it is made."""

    name: str
    architecture: str
    make: Callable[[], Any]


def _ours(*widths: int, **options: Any) -> Callable[[], Any]:
    return lambda: kvdiff.UNet3D(1, widths=widths, **options)


def _peer(width: int) -> Callable[[], Any]:
    return lambda: kvdiff.FactorisedUNet3D(1, width=width, multipliers=(1, 2, 4))


NETWORKS = (
    Network("FactorisedUNet3D, width 32", "peer", _peer(32)),
    Network("UNet3D, widths 24, 48", "ours", _ours(24, 48)),
    Network("UNet3D, widths 48, 96 (default)", "ours", _ours(48, 96)),
    Network("UNet3D, widths 72, 144", "ours", _ours(72, 144)),
)


def trained(network: Network, work: pathlib.Path) -> Any:
    """The network's model, trained unless it lies in `work`."""
    import keras

    from kvdiff.training import ClipBatches, FusedAdam

    path = work / f"{network.name.replace(', ', '_').replace(' ', '_')}.keras"
    if path.exists():
        return kvdiff.load_model(path, compile=False)
    keras.utils.set_random_seed(0)
    schedule = {"name": "cosine", "logsnr_shift": -3.0}
    model = kvdiff.VideoDiffusion(CLIP_SHAPE, network.make(), schedule=schedule, known_frames=KNOWN_FRAMES)
    rate = keras.optimizers.schedules.CosineDecay(
        LEARNING_RATE / 100, STEPS - 100, warmup_target=LEARNING_RATE, warmup_steps=100
    )
    model.compile(FusedAdam(rate, beta_2=0.99, global_clipnorm=1.0, use_ema=True, ema_momentum=0.99))
    clips = moving_digits(STEPS * BATCH, num_frames=CLIP_SHAPE[0], size=CLIP_SHAPE[1], seed=0)
    batches = ClipBatches(clips, BATCH, steps_per_epoch=STEPS // 10, seed=0)
    print(network.name, flush=True)
    model.fit(batches.dataset(), epochs=10, steps_per_epoch=STEPS // 10, shuffle=False, verbose=2)
    model.save(path)
    return model


def measure(model: Any, digits: DigitFeatures) -> dict[str, Any]:
    """Held-out loss, Fréchet distance of generated clips, PSNR of predictions."""
    truth = moving_digits(NUM_CLIPS, split="test", seed=1000)
    model.compile()
    loss = model.evaluate(truth.astype("float32") / 127.5 - 1.0, batch_size=64, verbose=0)
    made = to_pixels(model.generate(NUM_CLIPS, seed=0))
    future = model.predict_frames(truth[:NUM_PASTS, :PAST], seed=0)
    distance = estimate_frechet(digits(truth), digits(made)).config
    return {
        "loss": float(loss),
        "frechet": {name: distance[name] for name in ("distance", "standard_error", "low", "high")},
        "psnr": float(psnr(future, truth[:NUM_PASTS, PAST:] / 127.5 - 1.0).mean()),
        "weights": model.count_params(),
    }


def costs(models: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Milliseconds of a call on 8 clips: the median over rounds of all networks in turn, and that of their ratios."""
    rng, times = np.random.default_rng(0), {name: [] for name in models}
    label = np.full((8, CLIP_SHAPE[0]), 0.5, "float32")
    for index in range(ROUNDS + 1):
        for name, model in models.items():
            clips = rng.standard_normal((8, *CLIP_SHAPE), "float32")
            began = time.perf_counter()
            np.asarray(model.sampler.engine.denoise(clips, label))
            if index:
                times[name].append(1e3 * (time.perf_counter() - began))
    first = times[next(iter(models))]
    return {
        name: {
            "call_ms": statistics.median(mine),
            "ratio": statistics.median(a / b for a, b in zip(mine, first, strict=True)),
        }
        for name, mine in times.items()
    }


def plot(rows: list[dict[str, Any]], path: pathlib.Path) -> None:
    """Three measures of quality against the cost of a call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = {
        "loss": ("Loss on held-out clips", lambda row: row["loss"]),
        "frechet": ("Fréchet distance, a digit classifier's features", lambda row: row["frechet"]["distance"]),
        "psnr": ("PSNR of predicted frames, dB", lambda row: row["psnr"]),
    }
    figure, axes = pyplot.subplots(1, len(panels), figsize=(15, 4.4), layout="constrained")
    for axis, (title, value) in zip(axes, panels.values(), strict=True):
        for architecture, label in (("peer", "video-diffusion-pytorch's U-Net"), ("ours", "UNet3D")):
            mine = sorted((r for r in rows if r["architecture"] == architecture), key=lambda r: r["call_ms"])
            axis.plot([r["call_ms"] for r in mine], [value(r) for r in mine], "o-", label=label)
        axis.set(title=title, xlabel="a call on 8 clips, ms", xscale="log")
        axis.grid(alpha=0.3)
    axes[0].legend()
    figure.suptitle(f"{STEPS} steps of {BATCH} clips each")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/networks"))
    parser.add_argument("--train-only", action="store_true", help="measure another time")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    models = {network.name: trained(network, arguments.work) for network in NETWORKS}
    if arguments.train_only:
        return
    digits, spent = DigitFeatures(), costs(models)
    rows = [
        {"name": n.name, "architecture": n.architecture, **spent[n.name], **measure(models[n.name], digits)}
        for n in NETWORKS
    ]
    settings = {"steps": STEPS, "batch_size": BATCH, "learning_rate": LEARNING_RATE, "rounds": ROUNDS}
    write_json(
        RESULTS / "quality_vs_cost.json", {**settings, "machine": machine(), "versions": versions(), "rows": rows}
    )
    plot(rows, RESULTS / "quality_vs_cost.png")
    for row in rows:
        print(row)


if __name__ == "__main__":
    main()
