"""How much main memory a training step takes: plain, in micro-batches, and with blocks computed twice.

python tests/benchmarks/memory.py     # four processes, one after the other; writes results/memory.json
"""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys

RESULTS = pathlib.Path(__file__).parent / "results" / "memory.json"
SHAPE, BATCH = (16, 32, 32, 3), 8
KINDS = {
    "plain": {},
    "micro_batches": {"micro_batches": 4},
    "remat": {"remat": True},
    "both": {"micro_batches": 4, "remat": True},
}


def measure(micro_batches: int = 1, remat: bool = False) -> dict[str, float]:
    """MiB by which the process grows from a built model to the end of four steps, and their seconds of CPU time."""
    import time

    import numpy as np

    import kvdiff
    from kvdiff.training.run_record import peak_memory_mib

    model = kvdiff.VideoDiffusion(SHAPE, kvdiff.UNet3D(3, remat=remat))
    model.compile(micro_batches=micro_batches)
    clips = np.zeros((4 * BATCH, *SHAPE), "float32")
    before = peak_memory_mib()
    model.fit(clips[:BATCH], batch_size=BATCH, verbose=0, shuffle=False)
    began = time.process_time()
    model.fit(clips, batch_size=BATCH, verbose=0, shuffle=False)
    seconds = (time.process_time() - began) / 4
    return {"grown_mib": peak_memory_mib() - before, "cpu_seconds_a_step": seconds}


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(measure(**KINDS[sys.argv[1]])))
        return
    results = {"shape": SHAPE, "batch_size": BATCH}
    for kind in KINDS:
        output = subprocess.run([sys.executable, __file__, kind], stdout=subprocess.PIPE, text=True, check=True).stdout
        results[kind] = {**KINDS[kind], **json.loads(output.splitlines()[-1])}
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    print(RESULTS.read_text())


if __name__ == "__main__":
    main()
