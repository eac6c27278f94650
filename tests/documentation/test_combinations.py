"""Every cell of the tables in docs/combinations.md is run: a "yes" works, a "no" is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.documentation.pages import read
from tests.documentation.stand_ins import pixels

pytestmark = pytest.mark.slow

SHAPE = (4, 8, 8, 1)
SAMPLING = dict(num_steps=3, seed=3)  # A multiple of a rolling plan's parts.
CLIPS = pixels(2, *SHAPE)
CONDITIONS = {"label": np.array([0, 2]), "push": np.ones((2, 4, 2), np.float32)}
RUNTIMES = ("keras", "onnx", "onnx-sampler", "litert", "saved-model")


def tables() -> dict[tuple[str, str], str]:
    """The cells by row and column."""
    cells: dict[tuple[str, str], str] = {}
    head: list[str] = []
    for line in read("docs/combinations.md").splitlines():
        row = [cell.strip(" `") for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if row and not head:
            head = row[1:]
        elif row and set(row[0]) != {"-"}:
            cells |= {(row[0], column): cell for column, cell in zip(head, row[1:], strict=True)}
        elif not row:
            head = []
    return cells


def cascaded(sampler: Any) -> np.ndarray:
    """The runtime's model as the base of a cascade, whose second stage raises the frame rate."""
    from kvdiff.diffusion import Cascade, Temporal

    return Cascade(sampler, Temporal(sampler, factor=3)).generate(2, **SAMPLING)


def autoguided(sampler: Any) -> np.ndarray:
    from kvdiff.diffusion import GuidedSampler

    return GuidedSampler(sampler, sampler, guidance=2.0).generate(2, **SAMPLING)


COLUMNS: dict[str, Callable[[Any], np.ndarray]] = {
    "tasks": lambda sampler: sampler.interpolate(CLIPS[:, :1], CLIPS[:, -1:], **SAMPLING),
    "plans": lambda sampler: sampler.rollout(6, CLIPS[:, :2], **SAMPLING),
    "rolling plans": lambda sampler: sampler.rollout(6, num_clips=2, plan="rolling", **SAMPLING),
    "other lengths": lambda sampler: sampler.generate(2, num_frames=6, **SAMPLING),
    "conditions": lambda sampler: sampler.generate(2, conditions=CONDITIONS, **SAMPLING),
    "guidance": lambda sampler: sampler.generate(
        2, conditions=CONDITIONS, guidance=2.0, guidance_interval=(0.1, 1.0), guidance_rescale=0.5, **SAMPLING
    ),
    "noisy known frames": lambda sampler: sampler.predict_frames(CLIPS[:, :2], known_noise=0.2, **SAMPLING),
    "cascade": cascaded,
    "autoguidance": autoguided,
}


@pytest.fixture(scope="module")
def samplers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same random network on every runtime."""
    for package in ("tensorflow", "tf2onnx", "ai_edge_litert"):
        pytest.importorskip(package)
    import kvdiff
    from kvdiff.diffusion.conditions import ClassLabel, FrameVectors

    conditions = {"label": ClassLabel(3), "push": FrameVectors(2)}
    small = dict(widths=(8,), blocks=1, attention=(None,), known_noise=0.3)
    denoiser = kvdiff.UNet3D(1, conditions=conditions, **small)
    rng = np.random.default_rng(0)
    for weight in denoiser.trainable_variables:
        weight.assign(0.3 * rng.normal(size=weight.shape))
    schedule = {"name": "cosine", "num_timesteps": 32}
    model = kvdiff.VideoDiffusion(SHAPE, denoiser, schedule=schedule, known_noise=0.3, independent_noise=0.5)
    folder = tmp_path_factory.mktemp("combinations")
    kvdiff.export.export_onnx(model, folder)
    kvdiff.export.export_onnx_sampler(folder, folder)
    kvdiff.export.export_litert(model, folder)
    kvdiff.export.export_saved_model(model, folder / "serving")
    opened = {name: kvdiff.runtime.open_sampler(folder, runtime=name) for name in RUNTIMES if name != "keras"}
    return {"keras": model.sampler, **opened}


def test_the_tables_name_what_is_tested() -> None:
    cells = tables()
    assert set(cells.values()) <= {"yes", "no"}
    assert {row for row, _ in cells} == set(RUNTIMES)
    assert {column for _, column in cells} == set(COLUMNS)


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_runtime(samplers: dict[str, Any], runtime: str, column: str) -> None:
    run = COLUMNS[column]
    if tables()[runtime, column] == "no":
        with pytest.raises((NotImplementedError, TypeError, ValueError), match="FusedOrtEngine|exported for"):
            run(samplers[runtime])
    else:
        np.testing.assert_allclose(run(samplers[runtime]), run(samplers["keras"]), atol=1e-3)
