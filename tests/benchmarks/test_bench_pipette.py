"""The quick bench rows of the pipette: they run, and the ratio that gates holds."""

from __future__ import annotations

from benchmarks import approach_spline, gaussian


def test_the_compiled_spline_is_twenty_times_scipy() -> None:
    (row,) = approach_spline.row()
    assert row.met, row
    assert row.goal == ">= 20"


def test_gaussian_numbers_come_faster_than_numpys() -> None:
    """The absolute goal (400 M/s) is the bench's to judge; a ratio in one run holds on a loaded machine too."""
    (row,) = gaussian.row()
    peer = float(row.peer.split()[2])
    assert row.value > 2.0 * peer, row
