"""The card of a preset: what others must know of trained weights before they use them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from kvdiff.diffusion.checks import check_kind, check_mapping, check_real

_SECTIONS = {"data": "Data", "training": "Training", "flaws": "Known flaws"}
_NOT_SAID = "Not said."


@dataclasses.dataclass(frozen=True)
class PresetCard:
    """What a preset says of itself, in `metadata.json` and, to be read, in `README.md`.

    ```python
    card = kvdiff.PresetCard(
        summary="Continues clips of our microscope by four frames.",
        license="CC-BY-4.0",
        data="1,200 clips of dividing cells, by our laboratory.",
        data_license="CC-BY-4.0",
        training="kvdiff train cells/ --minutes 60, on one core.",
        flaws="Cells that touch merge.",
    )
    model.save_to_preset("cells-8x64", card=card)
    ```

    What is left out reads "Not said" in the README.

    Attributes:
        summary: what the model does, in a sentence or two.
        license: of the weights: an SPDX identifier, e.g. "Apache-2.0".
        data: what it was trained on, and where that came from.
        data_license: the licence of the data.
        training: how it was trained: command or settings, steps, time, machine.
        flaws: what is known to go wrong.
        figures: what was measured: numbers by name, by task, by protocol, e.g.
            `{"moving-digits-8@2": {"prediction": {"psnr": 29.4}}}`; see `kvdiff.evaluation.figures_of`.

    Raises:
        TypeError, ValueError: a text that is none, or figures that are not finite numbers.
    """

    summary: str = ""
    license: str = ""
    data: str = ""
    data_license: str = ""
    training: str = ""
    flaws: str = ""
    figures: Mapping[str, Mapping[str, Mapping[str, float]]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("summary", "license", "data", "data_license", "training", "flaws"):
            check_kind(name, getattr(self, name), str, "a text")
        check_mapping("figures", self.figures, Mapping, "tasks, one for each protocol,")
        for protocol, tasks in self.figures.items():
            check_mapping(f"figures[{protocol!r}]", tasks, Mapping, "figures, one for each task,")
            for task, figures in tasks.items():
                said = f"figures[{protocol!r}][{task!r}]"
                for name, value in check_mapping(said, figures, wanted="numbers").items():
                    check_real(f"{said}[{name!r}]", value)

    @property
    def config(self) -> dict[str, Any]:
        """The attributes, as JSON holds them."""
        return dataclasses.asdict(self)

    def readme(self, name: str, facts: str) -> str:
        """The content of `README.md`, in Markdown, with the heading that model hubs read.

        Args:
            name: the preset's.
            facts: a sentence on the shape of clips and the number of weights.
        """
        license = [f"license: {json.dumps(self.license.lower())}"] if self.license else []
        heading = ["---", "library_name: keras", *license, "tags:", "- kvdiff", "- video-diffusion", "---"]
        said = {title: getattr(self, field) or _NOT_SAID for field, title in _SECTIONS.items()}
        said["Data"] += f"\n\nLicence of the data: {self.data_license or _NOT_SAID}"
        said["Known flaws"] += f"\n\n## Figures\n\n{self._tables()}"
        said["Licence"] = self.license or _NOT_SAID
        opened = f'```python\nimport kvdiff\n\nmodel = kvdiff.VideoDiffusion.from_preset("{name}")\n```'
        parts = ["\n".join(heading), f"# {name}", self.summary or _NOT_SAID, facts, opened]
        return "\n\n".join(parts + [f"## {title}\n\n{text}" for title, text in said.items()]) + "\n"

    def _tables(self) -> str:
        """A table a protocol: a row for each number, a column for each task."""
        tables = []
        for protocol, tasks in self.figures.items():
            rows = [["", *tasks], ["---"] * (len(tasks) + 1)]
            for name in dict.fromkeys(name for figures in tasks.values() for name in figures):
                cells = [format(figures[name], ".4g") if name in figures else "" for figures in tasks.values()]
                rows.append([name, *cells])
            tables.append(f"Under `{protocol}`:\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows))
        return "\n\n".join(tables) or "Not measured."
