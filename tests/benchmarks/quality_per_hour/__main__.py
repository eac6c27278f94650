"""One row of the table: see README.md.

python -m tests.benchmarks.quality_per_hour train VARIANT --minutes 10 --work build/quality_per_hour
python -m tests.benchmarks.quality_per_hour measure MODEL.keras --work build/quality_per_hour
python -m tests.benchmarks.quality_per_hour plans MODEL.keras --work build/quality_per_hour
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

# One thread, so that processor time is what one core takes. TensorFlow reads these when it is loaded.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("train", "measure", "plans"))
    parser.add_argument("what", help="a variant's name, or a model file")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints, models and rows")
    parser.add_argument("--minutes", type=float, default=10.0, help="of processor time, to train")
    parser.add_argument("--steps", type=int, help="training steps, in place of minutes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=2, help="draws of clips and noise, to measure")
    parser.add_argument("--clips", type=int, default=128, help="clips a draw")
    parser.add_argument("--split", default="validation", choices=("validation", "test"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    {"train": _train, "measure": _measure, "plans": _plans}[args.verb](args)


def _train(args: argparse.Namespace) -> None:
    from tests.benchmarks.quality_per_hour import training
    from tests.benchmarks.quality_per_hour.variants import VARIANTS

    variant = VARIANTS[args.what]
    name = f"{args.what}_{args.steps or f'{args.minutes:g}min'}_{args.seed}"
    steps = args.steps or _remembered(args.work / f"{name}.steps", lambda: training.steps_in(variant, args.minutes))
    model, seconds = training.train(variant, steps, args.work / name, seed=args.seed)
    path = args.work / f"{name}.keras"
    model.save(path)
    facts = {"variant": args.what, "seed": args.seed, "steps": steps, "cpu_s": round(seconds)}
    _write(args, _standard(args, path, facts))


def _remembered(path: pathlib.Path, count: Callable[[], int]) -> int:
    """A number that is measured once: a training that goes on keeps its length."""
    if not path.exists():
        path.write_text(str(count()))
    return int(path.read_text())


def _measure(args: argparse.Namespace) -> None:
    _write(args, _standard(args, pathlib.Path(args.what), {"variant": pathlib.Path(args.what).stem}))


def _standard(args: argparse.Namespace, path: pathlib.Path, facts: dict[str, Any]) -> dict[str, Any]:
    import kvdiff
    from tests.benchmarks.quality_per_hour import digits, measures

    model = kvdiff.load_model(path, compile=False)
    classifier = digits.load_classifier(args.work / "classifier.keras")
    row = {**facts, "weights": model.denoiser.count_params(), "split": args.split}
    for name, way in measures.STANDARD.items():
        row[name] = measures.measure(model, classifier, way, split=args.split, num_clips=args.clips, seeds=args.seeds)
    measures.pictures(model, args.work / f"{path.stem}.png")
    return row


def _plans(args: argparse.Namespace) -> None:
    import kvdiff
    from tests.benchmarks.quality_per_hour import digits, measures

    model = kvdiff.load_model(args.what, compile=False)
    classifier = digits.load_classifier(args.work / "classifier.keras")
    for way in measures.all_ways():
        options = dict(split=args.split, num_clips=args.clips, seeds=args.seeds)
        facts = {"plans": pathlib.Path(args.what).stem, **dataclasses.asdict(way), "frame_calls": way.frame_calls}
        _write(args, {**facts, **options, **measures.measure(model, classifier, way, **options)})


def _write(args: argparse.Namespace, row: dict[str, Any]) -> None:
    text = json.dumps(row)
    print(text, flush=True)
    with open(args.work / "results.jsonl", "a") as file:
        file.write(text + "\n")


if __name__ == "__main__":
    main()
