"""A small training that can be killed: run in processes forked from one that has TensorFlow imported already."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

SHAPE = (3, 4, 4, 1)
NUM_CLIPS, BATCH = 26, 4  # 6 batches an epoch, 2 clips left out.
STEPS = NUM_CLIPS // BATCH

# In the trained process.


def tiny_denoiser() -> Any:
    """A network with hidden random state, traced in a second."""
    import keras

    clip, label = keras.Input((None, None, None, 1), name="noisy_clip"), keras.Input((None,), name="noise_label")
    x = keras.layers.Dense(6, activation="tanh")(clip)
    x = keras.layers.Dropout(0.2)(x)
    return keras.Model({"noisy_clip": clip, "noise_label": label}, keras.layers.Dense(1)(x))


def make_model(optimizer: Any = None, **options: Any) -> Any:
    import keras

    import kvdiff

    keras.utils.set_random_seed(0)
    model = kvdiff.VideoDiffusion(SHAPE, tiny_denoiser(), seed=3)
    inner = keras.optimizers.Adam(3e-2, use_ema=True, ema_momentum=0.9)
    model.compile(optimizer or keras.optimizers.LossScaleOptimizer(inner, dynamic_growth_steps=5), **options)
    return model


def clips() -> Any:
    import numpy as np

    return np.random.default_rng(0).uniform(-1, 1, (NUM_CLIPS, *SHAPE)).astype("float32")


def digest(variables: Any) -> str:
    """One hash of all of a list of variables."""
    import keras

    return hashlib.sha256(b"".join(keras.ops.convert_to_numpy(v).tobytes() for v in variables)).hexdigest()


def step_losses(path: pathlib.Path, pause: float = 0.0) -> Any:
    """A callback that appends a line with the exact loss of every step."""
    import keras

    class StepLosses(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            with path.open("a") as file:
                file.write(f"{float(logs['loss']).hex()} {int(self.model.optimizer.iterations)}\n")
            time.sleep(pause)

    return StepLosses()


def train(folder: str, epochs: int, *, every: int = 4, pause: float = 0.0, die: tuple[str, int] | None = None) -> None:
    """Train in `folder`, going on where it was cut off; `result.json` appears at the end."""
    import keras

    from kvdiff.training import ClipBatches, ImportanceSampling, TrainingCheckpoint

    path = pathlib.Path(folder)
    if die:
        die_while_saving(*die)
    plateau = keras.callbacks.ReduceLROnPlateau("loss", patience=0, min_delta=10.0)  # Reduces after every epoch.
    batches = ClipBatches(clips(), BATCH, seed=7)
    checkpoint = TrainingCheckpoint(path / "checkpoints", batches, every=every, callbacks=[plateau])
    model = make_model()
    callbacks = [plateau, ImportanceSampling(clips()[:4], 2), step_losses(path / "losses.txt", pause), checkpoint]
    model.fit(checkpoint.dataset(), steps_per_epoch=STEPS, epochs=epochs, callbacks=callbacks, verbose=0, shuffle=False)
    state = [*model.variables, *model.optimizer.variables, *model.metrics_variables, *model.timestep_draw.variables]
    (path / "result.json").write_text(json.dumps({"variables": digest(state), "plateau": plateau.best}))


def die_while_saving(stage: str, save: int) -> None:
    """Make the process kill itself in its `save`-th save: half-written, written, or renamed."""
    from kvdiff.training import checkpoint_file

    owner, name = {
        "half-written": (checkpoint_file, "_write"),
        "written": (os, "replace"),
        "renamed": (checkpoint_file, "sync_folder"),
    }[stage]
    function, calls = getattr(owner, name), iter(range(1, 1000))

    def killing(*args: Any) -> Any:
        if next(calls) == save:
            if stage == "half-written":
                function(*args)
                args[0].truncate(args[0].tell() // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args)

    setattr(owner, name, killing)


def serve() -> None:
    """Fork a training for each line of standard input; print its process id, then its exit status."""
    import tensorflow  # noqa: F401

    import kvdiff.models.video_diffusion
    import kvdiff.training.checkpoint  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                train(**json.loads(line))
                code = 0
            except SystemExit as end:
                code = end.code or 0
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                code = 1
            os._exit(code)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


# In the test.


class Trainings:
    """Starts trainings, one at a time."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self._server = server

    def run(self, folder: pathlib.Path, epochs: int, *, until: Callable[[], bool] | None = None, **options: Any) -> int:
        """Train; once `until()` holds, kill it with `options['signal']`. Returns the exit status (minus the signal)."""
        folder.mkdir(exist_ok=True)
        number = options.pop("number", signal.SIGKILL)
        self._server.stdin.write(json.dumps(dict(folder=str(folder), epochs=epochs, **options)) + "\n")
        self._server.stdin.flush()
        child = int(self._server.stdout.readline())
        while until is not None and not (folder / "result.json").exists():
            if until():
                os.kill(child, number)
                break
            time.sleep(0.001)
        return int(self._server.stdout.readline())


@contextlib.contextmanager
def trainings() -> Iterator[Trainings]:
    """A server of trainings, for as long as the block lasts."""
    environment = {**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2]), "TF_NUM_INTRAOP_THREADS": "1"}
    command = [sys.executable, __file__]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with subprocess.Popen(command, env=environment, **pipes) as server:
        yield Trainings(server)
        server.stdin.close()


if __name__ == "__main__":
    serve()
