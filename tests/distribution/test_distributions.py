"""What `make dist` built: what is inside, how large it is, and that it works far from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DIST = ROOT / "dist"
CODE, PRESETS = "keras_video_diffusion", "keras_video_diffusion_presets"
MEGABYTES = {CODE: 1.0, PRESETS: 8.0}
"""The most that a wheel or an sdist may be."""

pytestmark = pytest.mark.dist


def the(name: str, ending: str) -> Path:
    found = [path for path in DIST.glob(f"{name}-*{ending}") if path.name.startswith(f"{name}-")]
    assert len(found) == 1, f"expected one {name}-*{ending} in {DIST}, from `make dist`. Received: {found}"
    return found[0]


def inside(path: Path) -> set[str]:
    """The files of a wheel, or of an sdist below its folder."""
    if path.suffix == ".whl":
        return {name for name in zipfile.ZipFile(path).namelist() if not name.endswith("/")}
    return {member.name.split("/", 1)[1] for member in tarfile.open(path) if member.isfile()}


def sources() -> set[str]:
    """What the package has in the checkout, but for what Node's tests need."""
    git = subprocess.run(["git", "ls-files", "kvdiff"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(git.stdout.splitlines()) - {"kvdiff/web/package.json"}


def metadata(path: Path):
    name = next(name for name in inside(path) if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(zipfile.ZipFile(path).read(name).decode())


@pytest.mark.parametrize("name", MEGABYTES)
@pytest.mark.parametrize("ending", [".whl", ".tar.gz"])
def test_sizes(name, ending):
    assert the(name, ending).stat().st_size < 1e6 * MEGABYTES[name]


def test_the_wheel_is_the_package_and_nothing_else():
    found = inside(the(CODE, ".whl"))
    assert {name for name in found if ".dist-info/" not in name} == sources()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in found)


def test_the_sdist_builds_the_same():
    found = inside(the(CODE, ".tar.gz"))
    assert sources() | {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff"} <= found
    folders = {"kvdiff", "keras_video_diffusion.egg-info"}
    assert {name.split("/")[0] for name in found if "/" in name} == folders


def test_the_presets_are_data_alone():
    found = {name for name in inside(the(PRESETS, ".whl")) if ".dist-info/" not in name}
    files = "config.json", "metadata.json", "model.weights.h5", "README.md", "record.json"
    assert found == {f"kvdiff_presets/moving_digits/{name}" for name in files}


def test_the_presets_are_those_of_the_checkout():
    wheel = zipfile.ZipFile(the(PRESETS, ".whl"))
    for name in ("config.json", "metadata.json", "model.weights.h5"):
        expected = (ROOT / "saved_models" / "moving_digits" / name).read_bytes()
        assert wheel.read(f"kvdiff_presets/moving_digits/{name}") == expected


def test_only_the_demo_pays_for_the_presets():
    of_code, of_presets = metadata(the(CODE, ".whl")), metadata(the(PRESETS, ".whl"))
    needing = [line for line in of_code.get_all("Requires-Dist") if line.startswith("keras-video-diffusion-presets")]
    assert len(needing) == 1 and needing[0].endswith('; extra == "demo"')
    assert of_presets.get_all("Requires-Dist") is None
    version = tomllib.loads((ROOT / "saved_models" / "pyproject.toml").read_text())["project"]["version"]
    assert of_presets["Version"] == version and version.split(".")[0] == "1"
    assert of_code["License-Expression"] == of_presets["License-Expression"] == "Apache-2.0"


# Far from the checkout.

USE = """
import pathlib, sys
import numpy as np
import kvdiff
here = pathlib.Path(sys.argv[1])
assert pathlib.Path(kvdiff.__file__).is_relative_to(here), kvdiff.__file__
(name, preset), = kvdiff.presets().items()
assert name == "moving_digits" and preset.folder.is_relative_to(here), preset.folder
model = kvdiff.VideoDiffusion.from_preset("moving_digits", digest=preset.digest)
clips = kvdiff.data.moving_digits(2, size=32, split="test", seed=5)
future = model.predict_frames(clips[:, :4])
truth = kvdiff.diffusion.Pixels().encode(clips[:, 4:])
error, still = (float(np.mean((frames - truth) ** 2)) for frames in (future, np.repeat(truth[:, :1], 4, axis=1)))
assert error < 0.2 * still, (error, still)
kvdiff.export.export_onnx(model, "exported")
again = kvdiff.runtime.open_sampler("exported").predict_frames(clips[:, :4])
assert np.abs(again - future).max() < 1e-3
from kvdiff.demo import recipe
assert recipe.SHIPPED in kvdiff.presets()
print("works")
"""


def installed(folder: Path, *names: str) -> dict[str, str]:
    """Wheels unpacked into `folder`, as pip does, and an environment that has them before all else."""
    for name in names:
        zipfile.ZipFile(the(name, ".whl")).extractall(folder)
    return {**os.environ, "PYTHONPATH": str(folder), "TF_CPP_MIN_LOG_LEVEL": "3"}


def run(arguments: list[str], folder: Path, environment: dict[str, str], code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def test_presets_sampling_and_export_work_without_the_checkout(tmp_path):
    environment = installed(tmp_path / "site", CODE, PRESETS)
    assert "works" in run(["-c", USE, str(tmp_path / "site")], tmp_path, environment)
    assert "Wrote new.npy" in run(["-m", "kvdiff", "generate", "moving_digits", "-o", "new.npy"], tmp_path, environment)


def test_without_the_presets_the_command_says_what_to_install(tmp_path):
    environment = installed(tmp_path / "site", CODE)
    said = run(["-m", "kvdiff", "demo"], tmp_path, environment, code=2)
    assert 'pip install "keras-video-diffusion[demo]"' in said and "kvdiff demo --from-scratch" in said
