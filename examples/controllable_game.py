"""Control on interactive video: record a game, train on its frames and actions, then ask "same past, other action".

    pip install "keras-video-diffusion[demo,games]"
    python examples/controllable_game.py --output game/

Records a walk through the rooms of ViZDoom's "My Way Home" (turn left or right, walk forward or backward) and trains a
model whose condition is every frame's action. Then it takes pasts from walks that the model never saw and predicts what
follows each action. The game is replayed from the same seed with each action, so every prediction has its truth. Writes
a GIF (truth above, prediction below, a column an action) and the numbers as JSON. A run that was cut off goes on where
it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import math
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np

import kvdiff
from kvdiff.diffusion.conditions import FrameVectors
from kvdiff.diffusion.tasks.known_frames import First
from kvdiff.evaluation import blend_known, conditioning_accuracy, psnr
from kvdiff.evaluation.pictures import GENERATED, KNOWN, PLAIN
from kvdiff.media import enlarge, framed, grid, labelled, side_by_side, write_clip
from kvdiff.system.environment import versions
from kvdiff.training import ClipBatches, TrainingCheckpoint

HEIGHT, WIDTH, PAST, FUTURE = 24, 32, 3, 5
TICS, DEGREES, SPEED = 4, 2.0, 8.0  # A frame is 4 of the game's 35 tics a second; a tic turns 2° or walks.
ACTIONS = {"turn left": (-DEGREES, 0.0), "turn right": (DEGREES, 0.0), "forward": (0.0, SPEED), "back": (0.0, -SPEED)}
MOVES = list(ACTIONS.values())
KEEP, FREQUENCY = 0.8, (0.3, 0.3, 0.25, 0.15)  # A walk keeps its action so often, or draws by these weights.
SAMPLING = dict(num_steps=16, solver="dpmpp_2m")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num-walks", type=int, default=500, help="training walks of 48 frames")
    parser.add_argument("--steps", type=int, default=4000, help="training steps, at most")
    parser.add_argument("--minutes", type=float, default=math.inf, help="training time, at most, of this run")
    parser.add_argument("--batch-size", type=int, default=8, help="clips a training step")
    parser.add_argument("--num-pasts", type=int, default=64, help="unseen pasts to continue")
    parser.add_argument("--output", type=Path, default=Path("game"), help="folder for the results")
    return parser.parse_args()


class Game:
    """My Way Home as small pictures; a walk is a function of its seed and its actions."""

    def __init__(self) -> None:
        import vizdoom

        game = vizdoom.DoomGame()
        game.load_config(os.path.join(vizdoom.scenarios_path, "my_way_home.cfg"))
        game.set_available_buttons([vizdoom.Button.TURN_LEFT_RIGHT_DELTA, vizdoom.Button.MOVE_FORWARD_BACKWARD_DELTA])
        game.set_screen_resolution(vizdoom.ScreenResolution.RES_160X120)
        game.set_screen_format(vizdoom.ScreenFormat.RGB24)
        game.set_render_hud(False)
        game.set_render_weapon(False)
        game.set_render_crosshair(False)
        game.set_window_visible(False)
        game.set_doom_config_path(os.devnull)
        self.folder = tempfile.TemporaryDirectory()
        with contextlib.chdir(self.folder.name):  # The game makes a folder where it is started.
            game.init()
        self.game = game

    def walk(self, seed: int, actions: np.ndarray) -> np.ndarray | None:
        """Frames uint8 [frames, height, width, 3], frame i being what action i led to; None where the goal is met."""
        self.game.set_seed(seed)
        self.game.new_episode()
        frames = []
        for action in actions:
            self.game.make_action(list(MOVES[action]), TICS)
            if self.game.is_episode_finished():
                return None
            screen = self.game.get_state().screen_buffer
            frames.append(screen.reshape(HEIGHT, 120 // HEIGHT, WIDTH, 160 // WIDTH, 3).mean(axis=(1, 3)))
        return np.stack(frames).round().astype(np.uint8)


def random_actions(seed: int, length: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    drawn, keep = rng.choice(len(ACTIONS), length, p=FREQUENCY), rng.random(length) < KEEP
    for i in np.flatnonzero(keep[1:]) + 1:
        drawn[i] = drawn[i - 1]
    return drawn


def walks(game: Game, first_seed: int, length: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(seed, actions, frames) of random walks without end."""
    seed = first_seed
    while True:
        actions = random_actions(seed, length)
        if (frames := game.walk(seed, actions)) is not None:
            yield seed, actions, frames
        seed += 1


def condition(actions: np.ndarray) -> np.ndarray:
    """The network's condition: each frame's action, and how often each was taken since the present.

    Args:
        actions: int [batch, PAST + FUTURE].

    Returns:
        float32 [batch, PAST + FUTURE, 2 · actions].
    """
    each = np.eye(len(ACTIONS), dtype=np.float32)[actions]
    taken = np.cumsum(each, axis=1)
    return np.concatenate([each, (taken - taken[:, PAST - 1 : PAST]) / FUTURE], axis=-1)


def training_clips(game: Game, num_walks: int, length: int = 48) -> tuple[np.ndarray, np.ndarray]:
    """Windows of random walks, one starting at every second frame: clips, and their conditions."""
    clips, actions = [], []
    for (_, acted, frames), _ in zip(walks(game, 1, length), range(num_walks), strict=False):
        for start in range(0, length - PAST - FUTURE + 1, 2):
            clips.append(frames[start : start + PAST + FUTURE])
            actions.append(acted[start : start + PAST + FUTURE])
    return np.stack(clips), condition(np.stack(actions))


def forks(game: Game, num_pasts: int, walked: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Unseen pasts, each continued with every action: clips and actions [pasts, actions, frames, …]."""
    clips, actions = [], []
    for seed, acted, frames in walks(game, 1_000_000, walked):
        ways = [np.concatenate([acted, np.full(FUTURE, action)]) for action in range(len(ACTIONS))]
        replays = [game.walk(seed, way) for way in ways]
        if any(replay is None for replay in replays):
            continue
        if not all((replay[:walked] == frames).all() for replay in replays):
            raise RuntimeError(f"Expected the walk of seed {seed} to be the same again. Received: another one")
        clips.append([replay[walked - PAST :] for replay in replays])
        actions.append([way[walked - PAST :] for way in ways])
        if len(clips) == num_pasts:
            return np.array(clips), np.array(actions)


class Anneal(keras.callbacks.Callback):
    """A warm-up, then a cosine to zero at `steps` or when `minutes` are over, whichever is sooner; stops there."""

    def __init__(self, rate: float, steps: int, minutes: float, warmup: int = 100) -> None:
        super().__init__()
        self.rate, self.steps, self.seconds, self.warmup = rate, steps, 60.0 * minutes, warmup
        self.began: float | None = None  # The first step's time goes into tracing.

    def on_train_batch_begin(self, batch: int, logs: dict | None = None) -> None:
        """Set this step's learning rate."""
        step = int(self.model.optimizer.iterations)
        elapsed = 0.0 if self.began is None else time.monotonic() - self.began
        progress = min(max(step / self.steps, elapsed / self.seconds), 1.0)
        ramp = min((step + 1) / min(self.warmup, self.steps), 1.0)
        self.model.optimizer.learning_rate = self.rate * ramp * (0.5 + 0.5 * math.cos(math.pi * progress))
        if progress == 1.0:
            self.model.stop_training = True

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Start the clock."""
        self.began = self.began or time.monotonic()


def build() -> kvdiff.VideoDiffusion:
    keras.utils.set_random_seed(0)
    denoiser = kvdiff.UNet3D(
        3, widths=(64, 96), blocks=1, patch_size=4, conditions={"action": FrameVectors(2 * len(ACTIONS))}
    )
    model = kvdiff.VideoDiffusion(
        (PAST + FUTURE, HEIGHT, WIDTH, 3),
        denoiser,
        schedule={"name": "cosine", "logsnr_shift": -2.0},  # More of the training on noisy clips, as in the demo.
        prediction="x0",  # Patches of 48 numbers: noise would not fit through (Li & He 2025, arXiv:2511.13720).
        known_frames=First(PAST, PAST),
    )
    optimizer = keras.optimizers.Muon(
        4e-3,
        adam_beta_2=0.99,
        weight_decay=0.0,
        adam_weight_decay=0.0,
        exclude_layers=["head"],
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=0.99,
    )
    model.compile(optimizer)
    return model


def train(model: kvdiff.VideoDiffusion, clips: np.ndarray, actions: np.ndarray, args: argparse.Namespace) -> None:
    batches = ClipBatches((clips, {"action": actions}), args.batch_size, steps_per_epoch=min(100, args.steps))
    checkpoint = TrainingCheckpoint(args.output / "checkpoints", batches)
    length = dict(epochs=-(-args.steps // batches.steps_per_epoch), steps_per_epoch=batches.steps_per_epoch)
    callbacks = [Anneal(4e-3, args.steps, args.minutes), checkpoint]
    model.fit(checkpoint.dataset(), shuffle=False, callbacks=callbacks, verbose=2, **length)


def predictions(model: kvdiff.VideoDiffusion, clips: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """For every past, what the model makes of each action, with the same noise: [pasts, actions, FUTURE, …]."""
    futures = [
        model.predict_frames(clips[:, action, :PAST], conditions={"action": condition(actions[:, action])}, **SAMPLING)
        for action in range(len(ACTIONS))
    ]
    return np.stack(futures, axis=1)


def decibels(generated: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of clips [pasts, actions, frames, height, width, channels], mean over pasts and actions."""
    return float(psnr(generated.reshape(-1, *generated.shape[2:]), truth.reshape(-1, *truth.shape[2:])).mean())


def with_another(generated: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of the frames of one action against those of another, mean over all pairs."""
    return float(np.mean([decibels(np.roll(generated, shift, axis=1), truth) for shift in range(1, len(ACTIONS))]))


def numbers(model: kvdiff.VideoDiffusion, clips: np.ndarray, actions: np.ndarray, generated: np.ndarray) -> dict:
    future = clips[:, :, PAST:]
    flat = clips.reshape(-1, *clips.shape[2:])
    own = {"action": condition(actions.reshape(len(flat), -1))}
    accuracy = conditioning_accuracy(model.sampler, flat, own, past=PAST, others=len(ACTIONS) - 1, **SAMPLING)
    repeated = blend_known(flat, np.arange(flat.shape[1]) < PAST)[:, PAST:].reshape(future.shape)
    by_action = {
        name: round(decibels(generated[:, i : i + 1], future[:, i : i + 1]), 2) for i, name in enumerate(ACTIONS)
    }
    return {
        "PSNR in dB": {
            "with the true action": round(decibels(generated, future), 2),
            "with another action": round(with_another(generated, future), 2),
            "last frame repeated": round(decibels(repeated, future), 2),
            "the game itself with another action": round(with_another(future, future), 2),
        },
        "PSNR in dB by action": by_action,
        "conditioning accuracy": accuracy.config,
    }


def picture(clips: np.ndarray, generated: np.ndarray, rows: int = 4, scale: int = 3) -> np.ndarray:
    """A column an action; for each past the truth above, the prediction below, generated frames in orange."""
    columns = []
    for action, name in enumerate(ACTIONS):
        panels = []
        for truth, predicted in zip(clips[:rows, action], generated[:rows, action], strict=True):
            whole = np.concatenate([truth[:PAST], predicted])
            for clip, colour in ((truth, PLAIN), (whole, GENERATED)):
                panels.append(framed(enlarge(clip, scale), [KNOWN] * PAST + [colour] * FUTURE, 2))
        columns.append(labelled(grid(panels, 1), name))
    clip = side_by_side(columns)
    return np.concatenate([clip, clip[-1:], clip[-1:]])  # The last frame stays for a while.


def main() -> None:
    args = arguments()
    args.output.mkdir(parents=True, exist_ok=True)
    game = Game()
    held_out, held_actions = forks(game, args.num_pasts)
    clips, actions = training_clips(game, args.num_walks)
    print(f"{len(clips)} training clips of {args.num_walks} walks, {len(held_out)} held-out pasts", flush=True)
    model = build()
    train(model, clips, actions, args)
    model.save(args.output / "model.keras")

    truth = held_out.astype(np.float32) / 127.5 - 1.0
    generated = predictions(model, truth, held_actions)
    results = numbers(model, truth, held_actions, generated)
    settings = {name: value for name, value in vars(args).items() if name != "output" and value != math.inf}
    found = versions() | {"vizdoom": importlib.metadata.version("vizdoom")}
    record = results | {"steps trained": int(model.optimizer.iterations), "settings": settings, "versions": found}
    write_clip(args.output / "controllable_game.gif", picture(truth, generated), fps=4)
    (args.output / "controllable_game.json").write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    print(json.dumps(results, indent=2))
    print(f"Wrote {args.output}/model.keras, controllable_game.gif and .json")


if __name__ == "__main__":
    main()
