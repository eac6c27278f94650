"""How training scales: measured here with one and two replicas or workers, and computed for many devices.

    python -m tests.benchmarks.scaling measure     # five minutes on idle cores; writes results/scaling.json
    python -m tests.benchmarks.scaling cost        # the tables of docs/scaling.md, from that file and the assumptions

Every configuration runs in processes of its own with one thread a replica or worker, 4 clips each, so that perfect
scaling would double the clips a second.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

from kvdiff.cli.workers import worker_environments
from kvdiff.system.environment import machine, versions
from tests.benchmarks.results import Row, load, write_document

RESULTS = pathlib.Path(__file__).parent / "results" / "scaling.json"
SHAPE = (8, 32, 32, 3)
LARGE = (16, 64, 64, 3)
LARGE_NETWORK = dict(widths=(96, 192, 384), attention=(None, None, "space_time"))
CLIPS_EACH, STEPS = 4, 12


# Measured in processes of their own.


def throughput(kind: str) -> dict[str, float]:
    """Seconds a step and a reduction, the best of several, of one of "one", "replicas" and "workers"."""
    import numpy as np
    import tensorflow as tf

    import kvdiff
    from kvdiff.training.cluster import training_strategy

    if kind == "replicas":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy: Any = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        strategy = training_strategy()
    with strategy.scope():
        model = kvdiff.VideoDiffusion(SHAPE, kvdiff.UNet3D(3))
        model.compile()
    batch = CLIPS_EACH * strategy.num_replicas_in_sync
    clips = np.random.default_rng(0).uniform(-1, 1, (batch, *SHAPE)).astype("float32")
    data = tf.data.Dataset.from_tensors(clips).repeat(STEPS)
    marks: list[tuple[float, float]] = []
    model.fit(data, verbose=0, shuffle=False, callbacks=[_marks(marks)])
    steps, cpu = np.diff(marks, axis=0).T
    shapes = [tuple(v.shape) for v in model.trainable_variables]
    return {
        "replicas": strategy.num_replicas_in_sync,
        "batch_size": batch,
        "step_seconds": float(steps.min()),
        "step_seconds_median": float(np.median(steps)),
        "cpu_seconds_a_clip": float(np.median(cpu)) / (batch if kind == "replicas" else CLIPS_EACH),
        "clips_per_second": float(batch / steps.min()),
        "reduce_seconds": _reduce_seconds(strategy, shapes),
        "gradient_bytes": float(4 * sum(np.prod(shape) for shape in shapes)),
    }


def _marks(marks: list[tuple[float, float]]) -> Any:
    """A callback that notes when each step was done, by the clock and in this process' CPU time."""
    import keras

    def note(batch: int, logs: Any) -> None:
        marks.append((time.perf_counter(), time.process_time()))

    return keras.callbacks.LambdaCallback(on_train_batch_end=note)


def _reduce_seconds(strategy: Any, shapes: list[tuple[int, ...]]) -> float:
    """The quickest of ten sums of gradients over the replicas, alone."""
    import tensorflow as tf

    from kvdiff.training.replicas import sum_over_replicas

    @tf.function
    def reduce() -> Any:
        return strategy.run(lambda: sum_over_replicas([tf.ones(shape) for shape in shapes]))

    reduce()
    seconds = []
    for _ in range(10):
        began = time.perf_counter()
        strategy.experimental_local_results(reduce()[-1])[0].numpy()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def large_step(kind: str) -> dict[str, float]:
    """One clip of 16×64×64 through the larger network, forward and backward, on one thread."""
    import numpy as np
    import tensorflow as tf

    import kvdiff

    model = kvdiff.VideoDiffusion(LARGE, kvdiff.UNet3D(3, **LARGE_NETWORK))
    model.compile()
    marks: list[tuple[float, float]] = []
    clips = np.zeros((1, *LARGE), "float32")
    model.fit(tf.data.Dataset.from_tensors(clips).repeat(4), verbose=0, shuffle=False, callbacks=[_marks(marks)])
    seconds = float(np.diff(marks, axis=0)[:, 1].min())  # One thread: CPU time is what an idle machine would take.
    flops = 3 * _forward_flops(model)  # The backward pass costs two forward ones.
    parameters = sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    return {
        "clip_seconds": seconds,
        "flops": flops,
        "gradient_bytes": 4.0 * parameters,
        "flops_per_second": flops / seconds,
    }


def _forward_flops(model: Any) -> float:
    """Floating-point operations of the denoiser for one clip, counted in its graph."""
    import tensorflow as tf

    specs = [
        {"noisy_clip": tf.TensorSpec((1, *LARGE)), "noise_label": tf.TensorSpec((1, LARGE[0]))},
    ]
    graph = tf.function(lambda inputs: model(inputs, training=False)).get_concrete_function(*specs).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    return float(tf.compat.v1.profiler.profile(graph, options=options).total_float_ops)


# The two commands.


def measure() -> None:
    """Run every configuration and write the results."""
    one = {**os.environ, "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    two = {**one, "TF_NUM_INTEROP_THREADS": "2"}  # Two replicas of one process run side by side.
    results = {
        "shape": SHAPE,
        "large_shape": LARGE,
        "large_network": LARGE_NETWORK,
        "cores": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "one": _run("one", [one])[0],
        "two_replicas": _run("replicas", [two])[0],
        "two_workers": _run("workers", [{**one, **_cluster(e)} for e in worker_environments(2)])[0],
        "large": _run("large", [one])[0],
        "load_after": os.getloadavg()[0],
    }
    one_result = results["one"]
    for name in ("two_replicas", "two_workers"):
        found = results[name]
        found["speedup_by_clock"] = found["clips_per_second"] / one_result["clips_per_second"]
        # What two idle cores would reach; the clock says so too where nothing else runs (see the load).
        found["speedup_by_cpu_time"] = 2 * one_result["cpu_seconds_a_clip"] / found["cpu_seconds_a_clip"]
    about = {"machine": machine(), "versions": versions(), "load": load(), "details": results}
    write_document(RESULTS, [_row(name, results) for name in ("two_replicas", "two_workers")], about)
    print(RESULTS.read_text())


def _row(name: str, results: dict[str, Any]) -> Row:
    """Two against one."""
    one, two = results["one"], results[name]
    rates = {"ours": two["clips_per_second"], "peer": one["clips_per_second"], "ratio": two["speedup_by_clock"]}
    modes = {"ours_mode": name, "peer_mode": "one", "cpu": {"ratio": two["speedup_by_cpu_time"]}}
    size = "x".join(map(str, (CLIPS_EACH, *SHAPE)))
    return Row("scaling", size, "clips a second", rounds=STEPS - 1, load=results["load_after"], **rates, **modes)


def _cluster(environment: dict[str, str]) -> dict[str, str]:
    return {"TF_CONFIG": environment["TF_CONFIG"]}


def _run(kind: str, environments: list[dict[str, str]]) -> list[dict[str, float]]:
    """`kind` in one process for each environment."""
    command = [sys.executable, "-m", "tests.benchmarks.scaling", "process", kind]
    processes = [subprocess.Popen(command, env=e, stdout=subprocess.PIPE, text=True) for e in environments]
    outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise SystemExit(f"{kind}: a process failed")
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def cost(arguments: argparse.Namespace) -> None:
    """Print hours, efficiency and price of two trainings on 1 to 256 devices."""
    from kvdiff.training.cost import training_cost

    large = json.loads(RESULTS.read_text())["details"]["large"]
    clip_seconds = large["flops"] / (arguments.tflops * 1e12 * arguments.utilisation)
    if arguments.clip_ms:
        clip_seconds = arguments.clip_ms / 1e3
    print(f"{clip_seconds * 1e3:.2f} ms a clip, {large['gradient_bytes'] / 1e6:.0f} MB of gradients a step\n")
    for name, num_steps in (("UCF-101", arguments.ucf_steps), ("Kinetics-400", arguments.kinetics_steps)):
        print(f"{name}, {num_steps:,} steps of {arguments.batch_size} clips\n")
        print("| GPUs | step, ms | hours | GPU-hours | efficiency | price |\n|---|---|---|---|---|---|")
        for num_devices in (1, 4, 8, 16, 64, 256):
            inside = num_devices <= arguments.gpus_per_machine
            found = training_cost(
                clip_seconds,
                large["gradient_bytes"],
                num_steps=num_steps,
                batch_size=arguments.batch_size,
                num_devices=num_devices,
                bandwidth=1e9 * (arguments.inside_gbs if inside else arguments.between_gbs),
                latency=1e-6 * arguments.latency_us,
                price=arguments.price,
            )
            print(
                f"| {num_devices} | {found.step_seconds * 1e3:.0f} | {found.hours:,.1f} | {found.device_hours:,.0f} | "
                f"{found.efficiency:.0%} | {found.price:,.0f} |"
            )
        print()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("measure")
    commands.add_parser("process").add_argument("kind")
    planned = commands.add_parser("cost", formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    planned.add_argument("--tflops", type=float, default=989.0, help="peak of a GPU: H100 SXM, bfloat16, dense")
    planned.add_argument("--utilisation", type=float, default=0.2, help="share of the peak that is reached")
    planned.add_argument("--clip-ms", type=float, help="measured, in place of the two above")
    planned.add_argument("--batch-size", type=int, default=256, help="clips a step, all GPUs together")
    planned.add_argument("--ucf-steps", type=int, default=200_000, help="updates on UCF-101")
    planned.add_argument("--kinetics-steps", type=int, default=500_000, help="updates on Kinetics-400")
    planned.add_argument("--gpus-per-machine", type=int, default=8, help="up to so many share a machine")
    planned.add_argument("--inside-gbs", type=float, default=300.0, help="GB/s between GPUs of one machine")
    planned.add_argument("--between-gbs", type=float, default=25.0, help="GB/s between machines")
    planned.add_argument("--latency-us", type=float, default=10.0, help="microseconds a message of the ring")
    planned.add_argument("--price", type=float, default=3.0, help="of a GPU for an hour")
    arguments = parser.parse_args()
    if arguments.command == "measure":
        measure()
    elif arguments.command == "process":
        print(json.dumps((large_step if arguments.kind == "large" else throughput)(arguments.kind)))
    else:
        cost(arguments)


if __name__ == "__main__":
    main()
