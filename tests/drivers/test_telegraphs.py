"""Telegraph voltages to positions, of the published tables and of one's own."""

from __future__ import annotations

import itertools

import pytest

from opsicm.drivers.telegraphs import PUBLISHED, parsed, position, tolerance

AXOPATCH = PUBLISHED["axopatch_200b"]


@pytest.mark.parametrize(
    ("volts", "gain"), [(0.5, 0.05), (2.0, 0.5), (2.5, 1.0), (4.08, 10.0), (6.5, 500.0), (2.75, None), (0.0, None)]
)
def test_the_gain_of_an_axopatch(volts: float, gain: float | None) -> None:
    assert position(AXOPATCH.gain, volts) == gain


@pytest.mark.parametrize(
    ("volts", "mode"), [(6.0, "voltage_clamp"), (4.0, "track"), (2.1, "current_clamp"), (5.0, None)]
)
def test_the_mode_of_an_axopatch_is_that_of_its_manual(volts: float, mode: str | None) -> None:
    assert position(AXOPATCH.mode, volts) == mode


def test_no_voltage_is_two_positions() -> None:
    for telegraphs in PUBLISHED.values():
        for table in (telegraphs.gain, telegraphs.filter, telegraphs.mode):
            codes = sorted(table)
            assert all(after - before > 2.0 * tolerance(table) for before, after in itertools.pairwise(codes))


def test_the_gains_of_an_epc_8_span_its_three_ranges() -> None:
    gains = sorted(value for value in PUBLISHED["epc_8"].gain.values() if isinstance(value, float))
    assert (gains[0], gains[6], gains[-1], len(gains)) == (0.005, 0.5, 2000.0, 18)


def test_a_table_of_ones_own() -> None:
    assert parsed("0.5:0.05, 1.0:0.1", words=False) == {0.5: 0.05, 1.0: 0.1}
    assert parsed("0:voltage_clamp,1: current_clamp", words=True) == {0.0: "voltage_clamp", 1.0: "current_clamp"}


@pytest.mark.parametrize("text", ["", "0.5", "0.5:0", "0.5:x", "0.5:1, 0.5:2", "nan:1", "1:inf", "1:-2"])
def test_what_is_no_table(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parsed(text, words=False)
