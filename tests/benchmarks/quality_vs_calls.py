"""Quality against network calls on the model that ships with kvdiff: solvers × spacings × calls.

    python -m tests.benchmarks.quality_vs_calls --work build/quality                      # half an hour of one core
    python -m tests.benchmarks.quality_vs_calls --work build/quality --students distilled/ --i3d

Every way to sample makes 256 clips from the same noise and predicts 64 futures of the same pasts. Generated clips are
compared with held-out ones by the Fréchet distance in the features of a classifier of digits (`digit_features`), which
is quick, and for chosen ways in I3D's too (`--i3d`, a minute each). Clips that were made lie in `--work`, so a run that
was cut off goes on. `--students` is what `examples/distil.py` wrote. Writes results/quality_vs_calls.json and .png.

A way's quality *equals* that of the reference, ancestral sampling with all 1,000 timesteps, where the 95 % interval of
the difference of their distances reaches down to 0; real clips and both sets are redrawn together, clip by clip.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import kvdiff
from kvdiff.demo.recipe import SHIPPED, held_out_clips
from kvdiff.evaluation import estimate_frechet, frechet_distance, psnr
from kvdiff.media import to_pixels
from kvdiff.system.environment import machine, versions
from kvdiff.training.environment import write_json
from tests.benchmarks.digit_features import DigitFeatures
from tests.benchmarks.feature_cache import caching_sampler

RESULTS = pathlib.Path(__file__).parent / "results"
NUM_CLIPS, NUM_PASTS, PAST = 256, 64, 4
FEW, MORE = (4, 6, 8, 10), (20, 30, 40)
REFERENCE_STEPS = 1000


@dataclasses.dataclass(frozen=True)
class Way:
    """A way to sample: whose weights, and the sampling keywords. `reuse` > 1 keeps deep features for so many calls."""

    solver: str
    spacing: str
    num_steps: int
    student: bool = False
    reuse: int = 1

    @property
    def name(self) -> str:
        """Of its curve."""
        if self.student:
            return "distilled"
        kept = f", features kept for {self.reuse}" if self.reuse > 1 else ""
        return f"{self.solver}, {self.spacing}{kept}"

    @property
    def calls(self) -> int:
        """Network calls: one a step. Solvers of two refuse to go from pure noise in so few."""
        return self.num_steps

    @property
    def sampling(self) -> dict[str, Any]:
        """The keywords."""
        return {"solver": self.solver, "spacing": self.spacing, "num_steps": self.num_steps, "seed": 0}


REFERENCE = Way("ddpm", "trailing", REFERENCE_STEPS)


def ways(students: list[int]) -> Iterator[Way]:
    """Everything that is compared, the reference first."""
    yield REFERENCE
    for count in students:
        yield Way("ddim", "trailing", count, student=True)
    for spacing in ("trailing", "uniform_logsnr"):
        yield from (Way("dpmpp_2m_sde", spacing, calls) for calls in (*FEW, 15, *MORE))
        yield from (Way("dpmpp_2m", spacing, calls) for calls in sorted((2, 3, 5, *FEW, 15, *MORE)))
    yield from (Way("ddim", "trailing", calls) for calls in sorted((2, 3, 5, *FEW, 20)))
    yield from (Way("dpmpp_2m", "trailing", steps, reuse=reuse) for reuse in (2, 3) for steps in (8, 10, 20))
    yield from (Way("ddpm", "trailing", calls) for calls in (20, 40))
    yield from (Way(solver, "trailing", calls) for solver in ("unipc", "dpmpp_3m") for calls in FEW)
    yield from (Way(solver, "uniform_logsnr", calls) for solver in ("ddim", "unipc") for calls in FEW)
    yield from (Way(solver, "linspace", calls) for solver in ("dpmpp_2m", "dpmpp_2m_sde") for calls in (*FEW, 15, 20))


def in_i3d(way: Way) -> bool:
    """Whether this way is worth a minute more."""
    best = way.solver == "dpmpp_2m" and way.spacing == "trailing" and way.reuse == 1
    return way == REFERENCE or way.student or (best and way.num_steps in (8, 10, 20, 40))


class Bench:
    """Makes and measures clips; what was made is kept in a folder."""

    def __init__(self, work: pathlib.Path, students: pathlib.Path | None, *, i3d: bool) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self.work, self.students = work, students
        self.model = kvdiff.load_model(SHIPPED, compile=False)
        truth, others = held_out_clips(NUM_CLIPS), held_out_clips(NUM_CLIPS, seed=1001)
        self.pasts = truth[:NUM_PASTS]
        self.digits = DigitFeatures()
        self.spaces: dict[str, Callable[[np.ndarray], np.ndarray]] = {"digits": self.digits}
        if i3d:
            self.spaces["i3d"] = self._i3d
        self.of_truth = {name: features(truth) for name, features in self.spaces.items()}
        self.floors = {
            name: _brief(estimate_frechet(self.of_truth[name], features(others)).config)
            for name, features in self.spaces.items()
        }

    def _i3d(self, clips: np.ndarray) -> np.ndarray:
        """Each frame held for two, as in the protocol `moving-digits-8@2`; computed once for the same clips."""
        path = self.work / f"i3d_{hashlib.sha256(clips.tobytes()).hexdigest()[:16]}.npy"
        if not path.exists():
            from kvdiff.evaluation.i3d import I3DFeatures

            np.save(path, I3DFeatures()(np.repeat(clips, 2, axis=1)))
        return np.load(path)

    def sampler(self, way: Way) -> Any:
        """What makes its clips."""
        if way.student:
            return kvdiff.load_model(self.students / f"{way.num_steps}_steps.keras", compile=False).sampler
        return self.model.sampler if way.reuse == 1 else caching_sampler(self.model, way.reuse)

    def path(self, way: Way) -> pathlib.Path:
        """Where its clips are kept."""
        return self.work / f"{way.name.replace(', ', '_').replace(' ', '_')}_{way.num_steps}.npz"

    def made(self, way: Way) -> tuple[np.ndarray, float | None]:
        """(generated clips uint8, PSNR of predicted frames in dB, which the slow reference goes without)."""
        path = self.path(way)
        if not path.exists():
            sampler = self.sampler(way)
            found = {"clips": to_pixels(sampler.generate(NUM_CLIPS, **way.sampling))}
            if way != REFERENCE:
                future = sampler.predict_frames(self.pasts[:, :PAST], **way.sampling)
                found["psnr"] = psnr(future, self.pasts[:, PAST:] / 127.5 - 1.0).mean()
            np.savez(path, **found)
        found = np.load(path)
        return found["clips"], float(found["psnr"]) if "psnr" in found else None

    def row(self, way: Way, reference: dict[str, np.ndarray]) -> dict[str, Any]:
        """One row of the results; `reference` holds the reference's features, and gets them from its own row."""
        clips, decibels = self.made(way)
        row = {"name": way.name, **way.sampling, "calls": way.calls, "cost": float(way.calls), "psnr": decibels}
        if way.reuse > 1:
            row["cost"] = self.sampler(way).engine.cost(way.num_steps)
        for space, features in self.spaces.items():
            if space == "i3d" and not in_i3d(way):
                continue
            mine, truth = features(clips), self.of_truth[space]
            reference.setdefault(space, mine)
            row[space] = _brief(estimate_frechet(truth, mine).config)
            row[space]["difference"] = paired_difference(truth, mine, reference[space])
        return row


def paired_difference(truth: np.ndarray, mine: np.ndarray, reference: np.ndarray, draws: int = 200) -> dict[str, float]:
    """The distance of `mine` minus that of `reference`, with a 95 % interval by the paired bootstrap."""
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(draws):
        real, made = rng.integers(0, len(truth), (2, len(truth)))
        differences.append(frechet_distance(truth[real], mine[made]) - frechet_distance(truth[real], reference[made]))
    low, high = np.quantile(differences, [0.025, 0.975])
    here = frechet_distance(truth, mine) - frechet_distance(truth, reference)
    return {"here": here, "low": float(low), "high": float(high)}


def _brief(estimate: dict[str, Any]) -> dict[str, Any]:
    return {name: estimate[name] for name in ("distance", "standard_error", "low", "high")}


def fewest_equal(rows: list[dict[str, Any]], space: str) -> dict[str, dict[str, Any]]:
    """By curve: the fewest calls from which on every measured number of calls equals the reference."""
    found = {}
    for name in dict.fromkeys(row["name"] for row in rows if row["calls"] < REFERENCE_STEPS):
        curve = sorted((row for row in rows if row["name"] == name and space in row), key=lambda row: -row["cost"])
        equal = []
        for row in curve:
            if row[space]["difference"]["low"] > 0 or row["calls"] == REFERENCE_STEPS:
                break
            equal.append(row)
        if equal:
            fewest = equal[-1]
            found[name] = {"calls": fewest["calls"], "cost": fewest["cost"], "times": REFERENCE_STEPS / fewest["cost"]}
    return found


def fewest_within_error(rows: list[dict[str, Any]], space: str) -> dict[str, Any] | None:
    """The cheapest way whose distance lies in the reference's own 95 % bootstrap interval: a weaker claim."""
    (limit,) = (row[space]["high"] for row in rows if row["calls"] == REFERENCE_STEPS)
    within = [row for row in rows if space in row and row["cost"] < REFERENCE_STEPS and row[space]["distance"] <= limit]
    if not within:
        return None
    best = min(within, key=lambda row: row["cost"])
    return {"name": best["name"], "calls": best["calls"], "times": REFERENCE_STEPS / best["cost"]}


def plot(results: dict[str, Any], path: pathlib.Path) -> None:
    """Fréchet distances and PSNR against cost in calls."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = results["rows"]
    panels = {"digits": "Fréchet distance, a digit classifier's features", "psnr": "PSNR of predicted frames, dB"}
    if any("i3d" in row for row in rows):
        panels = {"digits": panels["digits"], "i3d": "Fréchet distance, I3D's features", "psnr": panels["psnr"]}
    figure, axes = pyplot.subplots(1, len(panels), figsize=(5.2 * len(panels), 4.6), layout="constrained")
    for axis, (what, label) in zip(axes, panels.items(), strict=True):
        for number, name in enumerate(dict.fromkeys(row["name"] for row in rows)):
            curve = [row for row in rows if row["name"] == name and row.get(what) is not None]
            curve.sort(key=lambda row: row["cost"])
            values = [row[what] if what == "psnr" else row[what]["distance"] for row in curve]
            thick = 2.5 if name in ("distilled", "dpmpp_2m_sde, trailing") else 1.0  # The second is the default.
            style = ("-", "--", ":")[number // 10]
            axis.plot([row["cost"] for row in curve], values, style, marker="o", ms=3, lw=thick, label=name)
        if what in results["floors"]:
            axis.axhline(results["floors"][what]["distance"], color="black", ls=":", label="other real clips")
            axis.set_yscale("log")
        axis.set(xscale="log", xlabel="cost, network calls", ylabel=label)
        dearest = max(row["cost"] for row in rows if row.get(what) is not None)
        ticks = [calls for calls in (2, 4, 8, 20, 40, 200, 1000) if calls <= dearest]
        axis.set_xticks(ticks, labels=[str(calls) for calls in ticks])
        axis.set_xticks([], minor=True)
        axis.grid(alpha=0.3, which="both")
    axes[0].legend(fontsize=6)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for the clips that are made")
    parser.add_argument("--students", type=pathlib.Path, help="folder with 8_steps.keras and so on")
    parser.add_argument("--made-only", action="store_true", help="measure the ways whose clips --work holds already")
    parser.add_argument("--i3d", action="store_true", help="measure some ways in I3D's features too")
    args = parser.parse_args()
    students = [] if args.students is None else [int(p.stem.split("_")[0]) for p in args.students.glob("*_steps.keras")]
    bench = Bench(args.work, args.students, i3d=args.i3d)
    rows, reference = [], {}
    for way in ways(sorted(students)):
        if args.made_only and not way.student and not bench.path(way).exists():
            continue
        row = bench.row(way, reference)
        rows.append(row)
        shown = {space: round(row[space]["distance"], 1) for space in bench.spaces if space in row}
        print(f"{way.name:40} {way.calls:5} calls  {row['psnr'] or float('nan'):6.2f} dB  {shown}", flush=True)
    results = {
        "num_clips": NUM_CLIPS,
        "num_pasts": NUM_PASTS,
        "classifier_accuracy": bench.digits.accuracy,
        "floors": bench.floors,
        "fewest_equal": {space: fewest_equal(rows, space) for space in bench.spaces},
        "fewest_within_error": {space: fewest_within_error(rows, space) for space in bench.spaces},
        "rows": rows,
        "machine": machine(),
        "versions": versions(),
    }
    write_json(RESULTS / "quality_vs_calls.json", results)
    plot(results, RESULTS / "quality_vs_calls.png")
    print(results["fewest_equal"], results["fewest_within_error"])


if __name__ == "__main__":
    main()
