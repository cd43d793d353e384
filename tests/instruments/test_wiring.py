"""Signs: the table, the relation, and the twin's own circuit, which does not share a line with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsicm.core.errors import OutsideDomain
from opsicm.core.facts import MEANING
from opsicm.instruments.wiring import GROUNDINGS, SIGNS, command_for, command_span, tip_potential_of
from opsicm.twin.circuit import nodes

VOLTS = st.floats(-5.0, 5.0, allow_nan=False)


@given(tip=VOLTS, cell=VOLTS)
def test_the_command_holds_the_tip_potential_of_the_twins_circuit(tip: float, cell: float) -> None:
    assert nodes(cell, command_for(tip, cell)).electrode_against_reference == pytest.approx(tip, abs=1e-12)
    assert tip_potential_of(command_for(tip, cell), cell) == pytest.approx(tip, abs=1e-12)


@pytest.mark.parametrize("grounding", GROUNDINGS)
@given(tip=VOLTS, cell=VOLTS)
def test_every_grounding_of_the_table_is_the_circuits(grounding: str, tip: float, cell: float) -> None:
    command = command_for(tip, cell, grounding)
    assert nodes(cell, command, grounding).electrode_against_reference == pytest.approx(tip, abs=1e-12)
    assert tip_potential_of(command, cell, grounding) == pytest.approx(tip, abs=1e-12)


def test_with_two_electrodes_the_command_is_the_tip_potential() -> None:
    assert command_for(0.7, 1.7, "two_electrode") == 0.7
    assert command_span(0.7, 0.0, 1.7, "two_electrode") == (0.7, 0.7)


def test_the_reference_sits_at_minus_the_cell_potential() -> None:
    assert nodes(1.7, 0.0).reference == -1.7
    assert nodes(1.7, 0.0).specimen == 0.0


def test_the_paper_needs_minus_one_to_plus_point_seven_volts() -> None:
    # 0.7 V at the pipette with E from 0 to 1.7 V: the arithmetic of the paper's facts page.
    assert command_span(0.7, 0.0, 1.7) == pytest.approx((-1.0, 0.7))


def test_a_descending_range_is_refused() -> None:
    with pytest.raises(OutsideDomain, match="must ascend"):
        command_span(0.7, 1.7, 0.0)


def test_every_sign_in_the_table_is_the_channels_own() -> None:
    assert "negative lithiates" in SIGNS["cell_current"]
    assert MEANING["cell_current"][2] == "negative lithiates"
    assert set(SIGNS) <= set(MEANING)
