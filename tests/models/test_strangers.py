"""A `.keras` file of a stranger's: nothing in it runs, and its numbers have the bounds that they have everywhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import pytest

import kvdiff


def saved(path: Path, layer: Callable[[], keras.layers.Layer] = lambda: keras.layers.Dense(1)) -> Path:
    shapes = {"noisy_clip": (None, None, None, 1), "noise_label": (None,)}
    inputs = {name: keras.Input(shape, name=name) for name, shape in shapes.items()}
    kvdiff.VideoDiffusion((4, 8, 8, 1), keras.Model(inputs, layer()(inputs["noisy_clip"]))).save(path)
    return path


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("sound") / "model.keras")


def changed(sound: Path, path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A copy with another configuration."""
    with zipfile.ZipFile(sound) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "config.json":
                config = json.loads(content)
                change(config["config"])
                content = json.dumps(config).encode()
            target.writestr(name, content)
    return path


def test_python_code_in_a_layer_does_not_run(tmp_path: Path) -> None:
    pwned, name = tmp_path / "pwned", str(tmp_path / "pwned")
    path = saved(tmp_path / "model.keras", lambda: keras.layers.Lambda(lambda x: (open(name, "w").close(), x)[1]))
    pwned.unlink()  # It ran here, where it was made.
    with pytest.raises(ValueError, match=r"expected a model that kvdiff saved\. .*Lambda"):
        kvdiff.load_model(path)
    assert not pwned.exists()


@pytest.mark.parametrize(("module", "name"), [("os", "system"), ("subprocess", "run"), ("builtins", "exec")])
def test_no_function_of_another_module_is_called(sound: Path, tmp_path: Path, module: str, name: str) -> None:
    pwned = tmp_path / "pwned"
    command = {"command": f"touch {pwned}", "args": ["touch", str(pwned)]}
    thing = {"module": module, "class_name": name, "config": command, "registered_name": name}
    with pytest.raises(ValueError, match="expected a model that kvdiff saved"):
        kvdiff.load_model(changed(sound, tmp_path / "model.keras", lambda config: config.update(denoiser=thing)))
    assert not pwned.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: c["spec"]["schedule"].update(num_timesteps=10**8),
            "`num_timesteps`: expected an integer from 1 to 1000000",
        ),
        (lambda c: c["spec"]["clip"].update(height=2**20, width=2**20), "clip: expected at most"),
        (lambda c: c["spec"]["prediction"].update(sigma_data=1e999), "`sigma_data`: expected a number"),
        (
            lambda c: c["spec"].update(known_frames={"mask": "first", "at_least": 10**400}),
            "`at_least`: expected an integer",
        ),
    ],
)
def test_its_numbers_have_bounds(sound: Path, tmp_path: Path, change: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kvdiff.load_model(changed(sound, tmp_path / "model.keras", change))
