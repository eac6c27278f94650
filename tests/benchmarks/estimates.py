"""How near `kvdiff estimate` comes: its step and memory against those of the training that follows, for many settings.

    taskset -c 0 python -m tests.benchmarks.estimates --steps 30
    taskset -c 0 python -m tests.benchmarks.estimates 32x8/small/8 128x16/tiny/1     # pixels x frames/recipe/batch

Each setting has a process of its own, which makes the estimate, then trains for so many steps by `fit`. Time is that of
the processor, so that other work on the machine does not count. Exits with 1 where one is off by more than a quarter.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import types
from typing import Any

from tests.benchmarks.workers import ROOT

SETTINGS = (
    "16x8/tiny/16",
    "16x16/small/8",
    "32x8/small/16",
    "32x16/tiny/8",
    "64x8/tiny/8",
    "64x8/base/2",
    "64x16/small/2",
    "96x8/small/2",
    "128x8/tiny/2",
    "128x16/tiny/2",
)
ALLOWED = 0.25


def measured(setting: str, steps: int) -> dict[str, float]:
    """Seconds a step and MiB, estimated and found, in this process."""
    import numpy as np

    from kvdiff.diffusion import ClipSpec
    from kvdiff.models.recipes import RECIPES, seeded_model
    from kvdiff.training import ClipBatches, estimate, estimate_training
    from kvdiff.training.run_record import peak_memory_mib

    shape, recipe, batch = setting.split("/")
    pixels, frames = map(int, shape.split("x"))
    chosen = RECIPES[recipe].changed(batch_size=int(batch))
    model = seeded_model(chosen, ClipSpec(frames, pixels, pixels, 3), 0)
    model.compile(chosen.optimizer(chosen.rate(1000)))
    clips = np.random.default_rng(0).integers(0, 256, (chosen.batch_size, frames, pixels, pixels, 3), np.uint8)
    estimate.time = types.SimpleNamespace(perf_counter=time.process_time)  # type: ignore[assignment]
    said = estimate_training(model, (clips / 127.5 - 1.0).astype(np.float32))
    data = ClipBatches(np.concatenate([clips] * 4), chosen.batch_size, steps_per_epoch=steps, seed=0).dataset()
    model.fit(data, steps_per_epoch=1, verbose=0)  # Begins the data's threads.
    began = time.process_time()
    model.fit(data, steps_per_epoch=steps, verbose=0)
    found = (time.process_time() - began) / steps
    return dict(said=said.step, found=found, said_mib=said.memory_mib, found_mib=peak_memory_mib())


def row(setting: str, found: dict[str, float]) -> tuple[str, bool]:
    """A line of the table, and whether time and memory are near enough."""
    ratios = found["said"] / found["found"], found["said_mib"] / found["found_mib"]
    figures = (
        f"{found['said']:.3g} | {found['found']:.3g} | {ratios[0]:.2f}",
        f"{found['said_mib']:.0f} | {found['found_mib']:.0f} | {ratios[1]:.2f}",
    )
    return f"| {setting} | {' | '.join(figures)} |", all(abs(ratio - 1.0) <= ALLOWED for ratio in ratios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", default=SETTINGS, help="pixels x frames/recipe/batch")
    parser.add_argument("--steps", type=int, default=30, help="of the training that the estimate is held to")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    asked: Any = parser.parse_args()
    if asked.alone:
        print(json.dumps(measured(asked.settings[0], asked.steps)))
        return 0
    print("| setting | s a step, said | found | ratio | MiB, said | found | ratio |\n" + "|---" * 7 + "|", flush=True)
    near = []
    for setting in asked.settings:
        command = [sys.executable, "-m", "tests.benchmarks.estimates", setting, "--steps", str(asked.steps), "--alone"]
        reply = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        line, is_near = row(setting, json.loads(reply.splitlines()[-1]))
        near.append(is_near)
        print(line, flush=True)
    return 0 if all(near) else 1


if __name__ == "__main__":
    sys.exit(main())
