"""The step tables of a page are those of `step_table`, in float32, for generated and known frames."""

from __future__ import annotations

import dataclasses

import numpy as np

from kvdiff.diffusion import step_table
from kvdiff.runtime.format import COLUMNS, MEMORY, packed_rows
from kvdiff.web.tables import NUM_STEPS, SHOWN, Tables, table_of
from tests.web.models import SPEC


def test_a_table_is_where_it_is_said_to_be() -> None:
    tables = Tables()
    offered = tables.of_task(SPEC, "generate")
    numbers = np.frombuffer(tables.content, "<f4")
    assert list(offered) == list(SHOWN) and {int(n) for n in offered["ddim"]} == set(NUM_STEPS)
    for solver, by_steps in offered.items():
        for steps, place in by_steps.items():
            table = step_table(SPEC.schedule, SPEC.prediction, solver=solver, num_steps=int(steps))
            known = np.array([False, True])
            rows, b = packed_rows(table.with_known(known), COLUMNS, 1, 2)
            found = numbers[place["at"] :][: place["calls"] * 12].reshape(place["calls"], 12)
            np.testing.assert_array_equal(found, np.concatenate([rows, b], axis=1)[:, :, 0, 0])
            for row in np.concatenate([rows, b], axis=1)[:, :, 0, 1]:
                assert row.tolist() == tables.known
            assert place["initStd"] == np.float32(table.init_std)
    assert len(COLUMNS) + MEMORY == 12  # As graph.js has it.


def test_equal_tables_are_kept_once() -> None:
    tables = Tables()
    first = tables.of_task(SPEC, "generate")
    size = len(tables.content)
    assert tables.of_task(SPEC, "predict") == first and len(tables.content) == size


def test_the_models_own_solver_and_steps_are_offered_first() -> None:
    mine = {"solver": "ddim", "num_steps": 7, "eta": 0.5, "at_a_time": 1}
    own = dataclasses.replace(SPEC, sampling={"predict": mine})
    offered = Tables().of_task(own, "predict")
    assert next(iter(offered)) == "ddim" and "7" in offered["ddim"]
    table = table_of(own, "predict", "ddim", 7)
    assert table.std.any()  # With the model's own eta;
    assert not table_of(own, "predict", "unipc", 7).std.any()  # another solver does not take it over.
