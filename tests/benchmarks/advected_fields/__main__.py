"""Train the two networks, then score their forecasts beside the exact law: see README.md.

python -m tests.benchmarks.advected_fields train --work build/advected_fields
python -m tests.benchmarks.advected_fields measure --work build/advected_fields
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib

# One thread, so that processor time is what one core takes. TensorFlow reads these when it is loaded.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")

_STEPS = {"diffusion": 7000, "deterministic": 1800}
_CASES, _MEMBERS = 1000, 20
_SAMPLING = {"solver": "dpmpp_2m", "spacing": "uniform_logsnr", "num_steps": 32, "seed": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("train", "measure"))
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder of checkpoints, models and results")
    parser.add_argument("--kind", choices=tuple(_STEPS), help="which network to train; both without it")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    if args.verb == "train":
        for kind in [args.kind] if args.kind else _STEPS:
            _train(kind, args.work)
    else:
        _measure(args.work)


def _train(kind: str, work: pathlib.Path) -> None:
    from tests.benchmarks.advected_fields.law import AdvectedFields
    from tests.benchmarks.advected_fields.training import train

    model, seconds = train(kind, AdvectedFields(), _STEPS[kind], work / kind)
    model.save_weights(work / f"{kind}.weights.h5")
    (work / f"{kind}.json").write_text(
        json.dumps({"steps": _STEPS[kind], "cpu_s": round(seconds), "weights": model.denoiser.count_params()})
    )


def _measure(work: pathlib.Path) -> None:
    """Sample a hundred cases at a time, what is there already left out; then score, and write result.json."""
    import numpy as np

    from tests.benchmarks.advected_fields import measuring
    from tests.benchmarks.advected_fields.law import AdvectedFields
    from tests.benchmarks.advected_fields.training import built

    law = AdvectedFields()
    clips = law.sample(_CASES, seed=2)
    past, truth = clips[:, : law.past], clips[:, law.past :]
    model = built("diffusion", law, _STEPS["diffusion"])
    model.load_weights(work / "diffusion.weights.h5")
    parts = []
    for start in range(0, _CASES, 100):
        path = work / f"ensemble-{start}.npy"
        if not path.exists():
            how = dict(num_members=_MEMBERS, first_sample=start, batch_size=250, **_SAMPLING)
            np.save(path, model.predict_frames(past[start : start + 100], **how))
            print(f"{start + 100} of {_CASES} cases", flush=True)
        parts.append(np.load(path))
    network = built("deterministic", law, _STEPS["deterministic"])
    network.load_weights(work / "deterministic.weights.h5")
    result = {
        "training": {kind: json.loads((work / f"{kind}.json").read_text()) for kind in _STEPS},
        "sampling": _SAMPLING,
        "exact law": measuring.ensemble_scores(law, law.exact_ensemble(past, _MEMBERS, seed=3), truth),
        "diffusion": measuring.ensemble_scores(law, np.concatenate(parts, axis=1), truth),
        "deterministic": measuring.deterministic_scores(law, network.future(past), truth),
    }
    (work / "result.json").write_text(json.dumps(result, indent=1))
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
