"""What a newcomer types wrong: one line that names the option, before any work; and what an environment lacks."""

from __future__ import annotations

import re
import shlex
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("typer")
pytest.importorskip("av")

import typer
from typer.testing import CliRunner

from kvdiff import diffusion, media
from kvdiff.cli.app import app

ARTEFACTS = Path(__file__).parents[1] / "fixtures" / "artefacts_0_1_0" / "artefacts.tar.xz"
COMMANDS = typer.main.get_command(app).commands


@pytest.fixture
def _here(tmp_path, monkeypatch):
    """A folder with clips, and a run that answers at once."""
    monkeypatch.chdir(tmp_path)
    frames = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 1), dtype=np.uint8)
    (tmp_path / "videos").mkdir()
    (tmp_path / "empty").mkdir()
    for name in ("a.gif", "videos/a.gif", "videos/b.gif"):
        media.write_clip(name, frames)
    (tmp_path / "text.npy").write_text("no array", "utf-8")
    spec = diffusion.ModelSpec(diffusion.ClipSpec(8, 8, 8, 1), diffusion.schedules.cosine(100), diffusion.Prediction())
    engine = diffusion.DenoiserEngine(lambda noisy_clip, noise_label, inputs: np.zeros_like(noisy_clip))
    monkeypatch.setattr("kvdiff.cli.sampling.open_run", lambda *_: diffusion.Sampler(spec, engine))


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "rollout run a.gif --num-frames 2",
            "`--num-frames`: expected more than the 4 frames of the past (--past says",
        ),
        ("rollout run a.gif --num-frames 3 --past 3", "`--num-frames`: expected more than the 3 frames of the past"),
        ("rollout run --num-frames 9 --overlap 9", "`--overlap`: expected an integer from 1 to 7. Received: 9"),
        ("rollout run --num-frames 9 --at-a-time 9", "`--at-a-time`: expected an integer from 1 to 7. Received: 9"),
        ("rollout run --num-frames 9 --plan spiral --overlap 2", "`--plan`: expected one of"),
        ("rollout run --num-frames 9 --plan hierarchy_2 --window 3", "`--window`: expected an integer >= 4"),
        (
            "rollout run --num-frames 10 --plan rolling --num-steps 7",
            "`--num-steps`: expected a multiple of this plan's",
        ),
        (
            "rollout run --num-frames 9 --plan hierarchical --overlap 2",
            "`--overlap`: expected only with a `--plan` among",
        ),
        (
            "predict run videos",
            "videos: expected one clip: a file, or a folder of pictures. Received: one with 2 other",
        ),
        ("predict run empty", "empty: expected one clip: a file, or a folder of pictures. Received: an empty one"),
        ("predict run none.gif", "none.gif: no such file"),
        ("predict run a.gif --num-steps 101", "`--num-steps`: expected an integer from 1 to 100. Received: 101"),
        ("predict run a.gif --spacing even", "`--spacing`: expected one of"),
        ("predict run a.gif --plan rolling --at-a-time 2", "`--at-a-time`: expected no `--plan` beside it"),
        ("predict run a.gif --links none", "`--links`: expected None"),
        ("predict run a.gif --fps 60", "`--fps`: expected a number up to 50 for a .gif"),
        (
            "predict run a.gif --condition a=none.npy",
            "`--condition`: expected a .npy file. Received: none.npy, No such",
        ),
        ("predict run a.gif --condition a=text.npy", "`--condition`: expected a .npy file. Received: text.npy, other"),
        ("interpolate run a.gif a.gif --context 4", "or an explicit `--num-frames`"),
        ("infill run a.gif --known 0-9", "`--known`: expected frames from 0 to 5"),
    ],
)
def test_one_line_names_the_option(line, message):
    result = CliRunner().invoke(app, [*line.split(), "-o", "x.gif"])
    assert result.exit_code == 2 and not Path("x.gif").exists()
    assert result.output.startswith("Error: ") and result.output.count("\n") == 1, result.output
    assert message in result.output


@pytest.mark.usefixtures("_here")
def test_no_error_names_an_argument_that_the_command_line_lacks(monkeypatch):
    """Names of functions' arguments become those of options, and of options alone."""

    def fail(*_):
        raise ValueError("`num_frames`, `output`, `clip`, `run`, `eta`: expected better. Received: worse")

    monkeypatch.setattr("kvdiff.cli.sampling.open_run", fail)
    result = CliRunner().invoke(app, ["predict", "run", "a.gif", "-o", "x.gif"])
    assert result.output == (
        "Error: `--num-frames`, `--output`, `clip`, `run`, `eta`: expected better. Received: worse\n"
    )


def test_an_error_that_nobody_foresaw_says_where_it_came_from(monkeypatch):
    """One of the package names what it expected; another's text alone would tell nobody where to look."""

    def exporter(*_):
        return len(5)

    monkeypatch.setattr("kvdiff.cli.export.load_keras", exporter)
    result = CliRunner().invoke(app, ["export", "run"])
    where = rf"TypeError in {re.escape(__file__)}, line \d+; KVDIFF_DEBUG=1 shows how it came there"
    assert re.fullmatch(rf"Error: object of type 'int' has no len\(\) \({where}\)\n", result.output), result.output
    assert result.exit_code == 2
    monkeypatch.setenv("KVDIFF_DEBUG", "1")
    raised = CliRunner().invoke(app, ["export", "run"]).exception
    assert isinstance(raised, TypeError) and raised.__traceback__ is not None


def test_a_file_is_no_folder_to_inspect(tmp_path):
    path = media.write_clip(tmp_path / "a.npy", np.zeros((1, 2, 2, 1), np.uint8))
    result = CliRunner().invoke(app, ["data", "inspect", str(path)])
    assert "expected a folder. Received: a file" in result.output and result.exit_code == 2


# Help.


@pytest.mark.parametrize("name", [*COMMANDS, "data inspect", "data prepare"])
def test_the_example_in_the_help_is_valid(name):
    """It is parsed, not run: every argument and option in it exists, and none is missing."""
    group, _, inner = name.partition(" ")
    command = COMMANDS[group].commands[inner] if inner else COMMANDS[group]
    if hasattr(command, "commands"):
        assert set(command.commands) == {"inspect", "prepare"}
        return
    text = CliRunner().invoke(app, [*name.split(), "--help"]).output
    example = re.search(r"Example: (kvdiff .*?)\n *\n", text, re.DOTALL)  # Help breaks a long one over lines.
    assert example is not None, text
    words = shlex.split(" ".join(re.sub(r"-\n +", "-", example[1]).split()).split(", ")[0])
    assert words[1 : 1 + len(name.split())] == name.split()
    command.make_context(name, words[1 + len(name.split()) :])


def test_the_first_help_lists_every_command_and_where_to_start():
    text = CliRunner().invoke(app, ["--help"]).output
    assert "kvdiff demo" in text and all(re.search(rf"^ +{name} ", text, re.MULTILINE) for name in COMMANDS)


# An environment of [onnx,media,cli].

BLOCKED = """
import sys
from typer.testing import CliRunner

class Blocked:
    names = {"tensorflow", "keras", "tf_keras", "tf2onnx", "onnx", "sklearn", "matplotlib", "filelock"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
from kvdiff.cli.app import app
def kvdiff(line):
    result = CliRunner().invoke(app, line.split())
    print(result.exit_code, " ".join(result.output.split()), sep="|", flush=True)
"""


def test_without_tensorflow_sampling_works_and_the_rest_says_what_to_install(tmp_path, run_python):
    pytest.importorskip("onnxruntime")
    with tarfile.open(ARTEFACTS) as archive:
        for name in ("denoiser.onnx", "denoiser.onnx.manifest.json"):
            archive.extract(f"plain/{name}", tmp_path, filter="data")
    (tmp_path / "videos").mkdir()
    (tmp_path / "keras").mkdir()
    media.write_clip(tmp_path / "videos" / "a.gif", np.zeros((8, 8, 8, 1), np.uint8))
    (tmp_path / "keras" / "model.keras").write_bytes(b"")
    lines = [
        "--help",
        "generate plain -o new.gif --num-steps 2",
        "rollout plain --num-frames 6 -o long.mp4 --num-steps 2",
        "train videos -o run",
        "export keras",
        "verify keras",
        "generate keras -o other.gif",
        "demo",
    ]
    said = run_python(BLOCKED + "\n".join(f"kvdiff({line!r})" for line in lines)).splitlines()
    codes, texts = zip(*(line.split("|", 1) for line in said), strict=True)
    assert codes == ("0", "0", "0", "2", "2", "2", "2", "2"), said
    assert "Wrote new.gif" in texts[1] and "Wrote long.mp4" in texts[2]
    for text, command, extra in zip(
        texts[3:],
        ("train", "export", "verify", "generate", "demo"),
        ("train", "export", "export", "train", "demo"),
        strict=True,
    ):
        assert re.fullmatch(
            rf'Error: kvdiff {command} needs [a-z_]+: pip install "keras-video-diffusion\[{extra}\]"', text
        ), text
    assert not (tmp_path / "run").exists() and not (tmp_path / "other.gif").exists()
