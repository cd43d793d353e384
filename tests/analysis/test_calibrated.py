"""The second uncertainty: which calibrations act on a result, and how it is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from opsicm.analysis.calibrated import CALIBRATIONS, calibrated
from opsicm.analysis.result import Result, failed
from opsicm.core.calibration import USUAL, Calibration, stored_calibration
from opsicm.core.errors import OutsideDomain
from opsicm.results.number_text import number, quantity, result_text

EVIDENCE = Path(__file__).parents[2] / "docs/reference/analysis-evidence.md"
OTHER = {  # of third-party files only, whose instrument states no calibration
    "distance at the stop",
    "surface position",
    "hyperbola coefficient C",
    "reduced chi-squared",
    "pipette resistance",
    "pipette resistance far from the sample",
    "pipette resistance stated in the file",
    "median *",
    "spread of *",
}


def test_every_quantity_says_which_calibrations_act_on_it() -> None:
    rows = [line.split("|")[1] for line in EVIDENCE.read_text("utf-8").splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
    assert named - set(CALIBRATIONS) - OTHER == set()


def test_factors_add_in_quadrature_an_offset_stands_alone_and_ratios_carry_none() -> None:
    given = [
        Result("expansion", 8.0, 0.01, "%", ""),
        Result("height_change", -2000.0, 0.5, "nm", ""),
        Result("peak_potential", 0.0503, 1e-4, "V", ""),
        Result("intercept_potential", 20.0, 1.0, "mV", ""),
        Result("rectification", 1.2, 1e-4, "1", ""),
        failed("charge", "mAh", "", "no current", "none flowed"),
        Result("something new", 1.0, 0.1, "nm", ""),
    ]
    expansion, height, peak, intercept, ratio, nothing, new = calibrated(given, Calibration(z=0.03, thickness=0.04))
    assert expansion.u_calibration == pytest.approx(0.05 * 8.0)
    assert (expansion.u, expansion.calibrations) == (0.01, ("z", "thickness"))
    assert height.u_calibration == pytest.approx(60.0)
    assert peak.u_calibration == pytest.approx(1e-3)
    assert intercept.u_calibration == pytest.approx(1.0)
    assert (ratio.u_calibration, ratio.calibrations) == (None, ())
    assert (nothing.u_calibration, nothing.calibrations) == (None, ("cell_current",))
    assert new == given[-1]
    assert expansion.record()["calibrations"] == ["z", "thickness"]


def test_a_run_without_a_calibration_has_the_usual_one_and_a_strange_one_is_refused() -> None:
    assert stored_calibration(None) == USUAL
    assert stored_calibration(Calibration(z=0.002).record()) == Calibration(z=0.002)
    with pytest.raises(OutsideDomain, match=r"calibration is humidity; a calibration is of area, .*; analyse with"):
        stored_calibration({"humidity": 1.0})


@pytest.mark.parametrize(
    ("value", "u", "common", "text"),
    [
        (0.067259666, 3.3e-8, 3.4e-4, "0.06726 (± 0.00034)"),
        (2231.82, 0.494, 22.3, "2232 (± 22)"),
        (8.0, 0.05, 0.41, "8.00 ± 0.05 (± 0.41)"),
        (12.34, 2.1, 0.12, "12.3 ± 2.1"),
        (12.34, 2.1, 0.32, "12.3 ± 2.1 (± 0.3)"),
        (1.23456, 0.0021, None, "1.2346 ± 0.0021"),
        (1.5e-9, 1e-12, 2e-11, "(1.500 (± 0.020))·10⁻⁹"),
    ],
)
def test_digits_follow_the_larger_uncertainty(value: float, u: float, common: float | None, text: str) -> None:
    assert number(value, u, u_calibration=common) == text
    assert result_text(Result("charge", value, u, "1", "", u_calibration=common)) == text


def test_a_sentence_has_one_digit_of_the_larger_uncertainty() -> None:
    assert quantity(0.067259666, 3.3e-8, "mAh", 3.4e-4) == "67.3 (± 0.3) µAh"
    assert quantity(2231.82, 0.494, "nm", 22.3) == "2230 (± 20) nm"
