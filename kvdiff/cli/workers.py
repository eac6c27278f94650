"""Several workers of one training on this machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

import typer

_GRACE = 10.0
"""Seconds between asking a worker to end and ending it."""


def run_workers(command: Sequence[str], count: int) -> int:
    """Run `command` in `count` processes that train together; the first exit code that is not 0, else 0.

    When one fails the others are ended: they wait for it in every step.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # So that the workers end too.
    workers = [subprocess.Popen(command, env=environment) for environment in worker_environments(count)]
    try:
        while any(worker.poll() is None for worker in workers):
            for number, worker in enumerate(workers):
                if worker.poll():
                    typer.echo(f"Error: worker {number} ended with exit code {worker.returncode}.", err=True)
                    return worker.returncode if worker.returncode > 0 else 128 - worker.returncode
            time.sleep(0.1)
        return max(abs(worker.returncode) for worker in workers)
    finally:
        _end(workers)


def worker_environments(count: int) -> list[dict[str, str]]:
    """The environments of `count` processes that find each other by `TF_CONFIG` on the loopback address.

    Each gets its share of the cores and of the GPUs that this process may use.
    """
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(count)))).split(",")
    environments = []
    for index in range(count):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        own = {"TF_CONFIG": json.dumps(config), "CUDA_VISIBLE_DEVICES": ",".join(gpus[index::count])}
        threads = {"TF_NUM_INTRAOP_THREADS": str(max(1, (os.cpu_count() or 1) // count))}
        environments.append({**threads, **os.environ, **own})
    return environments


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


def _end(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that still run."""
    for worker in workers:
        if worker.poll() is None:
            worker.terminate()
    deadline = time.monotonic() + _GRACE
    for worker in workers:
        try:
            worker.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
