"""Small records of cells after public reports of wrong numbers, each with its right values: tests/data/cases."""

from __future__ import annotations

from pathlib import Path

import pytest

from opsicm.analysis.result import Result
from opsicm.results.third_party import analyse_file, identified

CASES = Path(__file__).parents[1] / "data" / "cases"
# The kinds of control that a file holds, and each charge [mAh] that passed in it, with the relative difference allowed
# where u is not it: half a row that nobody recorded.
CHARGES: dict[str, dict[str, float]] = {
    "blocks_gap.txt": {"charge": 0.00313},
    "ca_jump.txt": {"charge_hold_anodic_1": 2.0 * 0.1 * (600.0**0.5 - 1.0) / 3600.0},
    "cc_noisy_short.txt": {"capacity_cathodic_1": -0.0220},
    "cccv_sparse_cv.txt": {"capacity_cathodic_1": -8000.0 / 3600.0, "charge_hold_cathodic_1": -0.7858},
    "levels.txt": {"capacity_anodic_1": 0.008333, "capacity_anodic_2": 0.016667, "capacity_anodic_3": 0.025},
    "one_digit_current.txt": {"capacity_anodic_1": 1.7611},
    "overload_row.txt": {"capacity_cathodic_1": -0.05, "capacity_anodic_2": 0.05},
    "pulse_then_slow.txt": {"capacity_cathodic_1": -0.2778, "capacity_cathodic_2": -0.8889},
}


def named(name: str) -> dict[str, Result]:
    return {result.label: result for result in analyse_file(CASES / name)}


@pytest.mark.parametrize("name", CHARGES)
def test_charges_are_those_that_passed(name: str) -> None:
    results = named(name)
    for label, true in CHARGES[name].items():
        found = results[label]
        assert found.value is not None
        assert found.u is not None
        assert abs(found.value - true) < 2.0 * found.u + 2e-3 * abs(true), label
        # A row's digits or half a row, never more than the charge.
        assert found.u < 0.2 * abs(true)


@pytest.mark.parametrize("name", [n for n in CHARGES if n not in ("blocks_gap.txt", "ca_jump.txt")])
def test_a_constant_current_has_neither_sweeps_nor_stages_of_a_straight_line(name: str) -> None:
    results = named(name)
    assert not {"cycles", "scan_rate"} & set(results)
    assert not [label for label in results if label.startswith(("peak", "stage_end"))]
    assert all(r.value is None for label, r in results.items() if label.startswith("dq_dv"))


def test_a_jump_of_the_potential_is_no_sweep() -> None:
    for name in ("ca_jump.txt", "blocks_gap.txt"):
        results = named(name)
        assert results["voltammogram"].outcome == "no sweep"
        assert "cycles" not in results


def test_what_was_not_recorded_is_said() -> None:
    results = named("blocks_gap.txt")
    assert results["charge"].flags == {"gaps": 1}
    assert "190.25 s" in results["plausibility_1"].reason


@pytest.mark.parametrize(
    ("name", "cathodic", "anodic"), [("cv_from_ocp.txt", 0.07, 0.13), ("cv_one_cycle_from_ocp.txt", 0.07, 0.13)]
)
def test_a_voltammogram_from_open_circuit_is_one_cycle_with_its_peaks(
    name: str, cathodic: float, anodic: float
) -> None:
    results = named(name)
    assert results["cycles"].value == pytest.approx(1.0, abs=1e-3)
    assert results["scan_rate"].value == pytest.approx(5.0, rel=1e-4)
    assert results["peak_1_cathodic_potential"].value == pytest.approx(cathodic, abs=1e-3)
    assert results["peak_2_anodic_potential"].value == pytest.approx(anodic, abs=1e-3)
    assert not [label for label in results if label.startswith("capacity")]


def test_the_american_sign_is_said_and_its_peaks_are_found() -> None:
    results = named("cv_cathodic_positive.txt")
    assert (results["charge_sweep_1_cathodic"].value or 0.0) < 0.0
    assert {"peak_1_cathodic_potential", "peak_2_anodic_potential"} <= set(results)
    assert results["plausibility_1"].outcome == "sign of the current"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("milliseconds_as_seconds.csv", "in ms they would be 100 s apart"),
        ("one_digit_current.txt", "known to 14 % at best"),
        ("overload_row.txt", "1 row is far beyond all others"),
        ("cv_cathodic_positive.txt", "positive currents lower the potential"),
        ("blocks_gap.txt", "not integrated"),
    ],
)
def test_identify_looks_where_a_person_would(name: str, says: str) -> None:
    looks = [finding.text for finding in identified(CASES / name).findings if not finding.ok]
    assert any(says in text for text in looks)


def test_a_cell_is_held_against_the_limits_of_a_cell(tmp_path: Path) -> None:
    """Currents of mA and a constant current are usual for a cell; 3700 V is not."""
    assert all(finding.ok for finding in identified(CASES / "levels.txt").findings)
    written = (CASES / "levels.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split("\t") for line in written[1:]]
    wrong = tmp_path / "millivolts.txt"
    lines = [written[0], *(f"{t}\t{1e3 * float(e):.2f}\t{i}" for t, e, i in rows)]
    wrong.write_text("\n".join(lines), encoding="utf-8")
    looks = [finding.text for finding in identified(wrong).findings if not finding.ok]
    assert any("write mV in its title" in text for text in looks)
