"""Errors that travel: from a worker process to the one that waits for it."""

from __future__ import annotations

import pickle

import pytest

from opsicm.core.errors import BadInput, InstrumentLost, OpsicmError, OutsideDomain, Problem
from opsicm.experiment.parameter_file import DEFAULT_SET, parameter_set
from opsicm.physics.cell.cell import CellStopped
from opsicm.physics.cell.kernel import DEPLETED_SPECIMEN

PROBLEMS = [
    Problem("rate", "0", "it is positive", "give one", "e.yaml", 3),
    Problem("area", "", "is missing", "add it"),
]
GRAPHITE = parameter_set(DEFAULT_SET).values.material


@pytest.mark.parametrize(
    "error",
    [
        BadInput(PROBLEMS),
        OutsideDomain(PROBLEMS[0]),
        InstrumentLost("amplifier", PROBLEMS, outcome=(1, 2)),
        CellStopped(DEPLETED_SPECIMEN, 12.0, GRAPHITE),
    ],
)
def test_an_error_arrives_in_another_process_as_it_was(error: OpsicmError) -> None:
    error.add_note("seen in a worker")
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is type(error)
    assert str(arrived) == str(error)
    assert arrived.__dict__ == error.__dict__
    assert "; " in str(arrived)
