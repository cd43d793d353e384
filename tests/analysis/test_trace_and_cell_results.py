"""Results of traces and of cell programs, from arrays made by hand and from a file of another instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach.trace import trace_results
from opsicm.analysis.cell.steps import step_results, transition_results
from opsicm.analysis.hops.series import HopSeries
from opsicm.analysis.result import Result
from opsicm.results.third_party import analyse_file
from tests.fixtures.analytic_hops import made
from tests.fixtures.foreign_cells import MPT, platinum

F64 = NDArray[np.float64]


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


def test_a_csv_of_hops_is_analysed_as_hops(tmp_path: Path) -> None:
    truth = made(14, z_noise=0.1e-9)
    table = tmp_path / "foreign.csv"
    rows = np.column_stack((truth.t, truth.current * 1e12, truth.z * 1e6))[::4]
    np.savetxt(table, rows, fmt=("%.6f", "%.4f", "%.6f"), delimiter="\t")
    found = by_name(analyse_file(table, "t=s,I=pA,z=um"))
    assert found["hops"].value == 14
    # The last rows before the turn lie up to 60 samples (18 nm) below the stop of 2 %.
    assert 2.5 < (found["setpoint"].value or 0.0) < 4.5
    assert found["reference_current"].value == pytest.approx(2999.0, abs=1.0)
    assert found["hop_period"].value == pytest.approx(float(np.diff(truth.turn).mean()) * 0.01, rel=1e-3)
    assert found["ten_hop_bulk_change"].value == pytest.approx(0.0, abs=0.1)


def test_a_trace_without_hops_says_so() -> None:
    (result,) = trace_results(np.full(300, 1e-9), np.sin(np.arange(300.0)))
    assert result.outcome == "constant current"
    known = by_name(trace_results(made(6).current, made(6).z, None, 0.02))
    assert known["setpoint"].value == pytest.approx(2.0)
    assert known["overshoot"].value == pytest.approx(18.0, abs=5.0)
    assert "hop_period" not in known


def cell(t: F64, current: F64, potential: F64) -> xr.Dataset:
    return xr.Dataset({"t_ns": ("row", np.rint(t * 1e9)), "current": ("row", current), "potential": ("row", potential)})


def test_pulses_give_capacity_relaxation_and_the_split() -> None:
    t = 0.1 + 0.2 * np.arange(2600.0)
    on = (t > 100) & (t < 220)
    current = np.where(on, -4e-4, 0.0)
    potential = 0.5 - 0.01 * np.clip((t - 100) / 120, 0, 1) - 0.005 * on
    rng = np.random.default_rng(1)
    pipette = 3e-9 + 0.35e-9 * on + 1e-12 * rng.standard_normal(t.size)
    found = by_name(step_results(cell(t, current, potential), xr.Dataset({"pipette_current": ("row", pipette)})))
    assert found["capacity_lithiation_1"].value == pytest.approx(-4e-4 * 120 / 3.6, rel=2e-3)
    assert found["relaxed_potential_1"].value == pytest.approx(0.49, abs=1e-6)
    assert found["diffusivity_1"].outcome == "not identifiable"
    assert "no particle radius" in found["diffusivity_1"].reason
    # 0.35 nA is the paper's step (E5); here it was put in.
    ohmic, rest = found["pipette_step_ohmic"], found["pipette_step_diffusive"]
    assert ohmic.value == pytest.approx(350.0, abs=4 * (ohmic.u or 0.0))
    assert rest.value == pytest.approx(0.0, abs=4 * (rest.u or 0.0) + 0.5)


@pytest.mark.skipif(not MPT.is_file(), reason="not at hand: set OPSICM_DATA")
def test_a_measured_voltammogram_gives_its_peaks() -> None:
    p = platinum()
    slow = xr.Dataset({"pipette_current": ("row", np.zeros(p["t"].size))})
    found = step_results(cell(p["t"], p["I"], p["E"]), slow)
    names = [r.label for r in found]
    assert "peak_1_lithiation_potential" in names
    assert len(found) >= 8
    assert all(r.outcome == "ok" and r.unit == "V" for r in found)


def test_transitions_of_a_branch() -> None:
    t = np.linspace(0, 1000, 3000)
    charge = -1e-4 * t
    passed = t / 10.0
    potential = 0.2 - 0.05 * np.tanh((passed - 45.0) / 2.0) - 1e-4 * passed
    height = 5e-9 * np.minimum(passed, 48.0) + 20e-9 * np.maximum(passed - 48.0, 0.0)
    height = height + 1e-9 * np.random.default_rng(2).standard_normal(t.size)
    nothing = np.zeros(t.size)
    series = HopSeries(t, height, nothing + 3e-9, potential, nothing, 0.02, 0)
    found = by_name(transition_results(series, t, charge, potential))
    by_height = found["transition_lithiation_1_from_height"]
    by_potential = found["transition_lithiation_1_from_potential"]
    assert by_height.value == pytest.approx(48.0, abs=4 * (by_height.u or 0.0) + 0.05)
    assert by_potential.value == pytest.approx(45.0, abs=1.0)
    difference = (by_height.value or 0.0) - (by_potential.value or 0.0)
    assert f"height less potential is {difference:.2g} ±" in by_potential.method
