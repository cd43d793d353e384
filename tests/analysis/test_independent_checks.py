"""Quantities checked against other instruments' files, SciPy, or arithmetic by hand."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import linregress

from opsicm.analysis.cell.steps import step_results
from opsicm.analysis.cell.voltammogram import cell_results
from opsicm.analysis.result import Result
from opsicm.analysis.topography.image_series import irreversible_change
from opsicm.results.calibration_across_runs import calibration_results
from opsicm.results.third_party import analyse_file
from tests.fixtures.foreign_cells import ARBIN, MPT, arbin, platinum
from tests.fixtures.foreign_images import NID, nid

F64 = NDArray[np.float64]


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


@pytest.mark.skipif(not ARBIN.is_file(), reason="not at hand: set OPSICM_DATA")
def test_the_highest_incremental_capacity_is_the_fullest_bin_of_a_histogram() -> None:
    """Arbin half-cell: the charge that the instrument's rows carry, counted into bins of 3 mV by NumPy."""
    found = by_name(analyse_file(ARBIN))
    rows = arbin()
    t, e, i = rows["Test_Time(s)"], rows["Voltage(V)"], rows["Current(A)"]
    for name, sign in (("dq_dv_highest_cathodic_1", -1.0), ("dq_dv_highest_anodic_2", 1.0)):
        seen = found[name]
        assert seen.value is not None
        part = np.flatnonzero(sign * i[1:] > 1e-6)
        first = part[: int(np.argmax(np.diff(part) > 1)) + 1] if np.any(np.diff(part) > 1) else part
        moved = np.abs(0.5 * (i[first + 1] + i[first]) * np.diff(t)[first])
        # Some rows of the first half-cycle are the cell's fall from its rest, where a bin holds next to nothing.
        counted, edges = np.histogram(e[first], np.arange(0.02, 0.4, 0.003), weights=moved)
        fullest = int(np.argmax(counted))
        assert seen.value == pytest.approx(0.5 * (edges[fullest] + edges[fullest + 1]), abs=0.006), name


@pytest.mark.skipif(not MPT.is_file(), reason="not at hand: set OPSICM_DATA")
def test_the_charge_of_a_sweep_is_the_potentiostat_s_own() -> None:
    """EC-Lab prints (Q-Qo): from turn to turn it is what we integrate from its currents, to 1 % of what flows."""
    found = by_name(analyse_file(MPT))
    p = platinum()
    turns = [0, *(np.flatnonzero(np.diff(np.sign(np.diff(p["E"]))) != 0) + 1), p["E"].size - 1]
    turns = [k for n, k in enumerate(turns) if n == 0 or abs(p["E"][k] - p["E"][turns[n - 1]]) > 0.2]
    own = [(p["Q"][b] - p["Q"][a]) / 3.6 for a, b in pairwise(turns)]
    ours = [r.value for name, r in found.items() if name.startswith("charge_sweep_")]
    assert len(ours) == len(own) == 10
    flows = float(np.max(np.abs(own)))
    for mine, theirs in zip(ours, own, strict=True):
        assert mine == pytest.approx(theirs, abs=0.01 * flows)


def results_of(t: F64, current: F64, pipette: F64) -> dict[str, Result]:
    """Results of a record of constant currents and rests whose potential follows the charge."""
    potential = 0.6 + np.cumsum(current) * (t[1] - t[0]) * 0.5 + 0.02 * np.sign(current)
    cell = xr.Dataset({"t_ns": ("row", np.rint(t * 1e9)), "current": ("row", current), "potential": ("row", potential)})
    return by_name(step_results(cell, xr.Dataset({"pipette_current": ("row", pipette)})))


def test_the_pipette_s_slope_is_scipy_s() -> None:
    """-0.2 pA/s while lithiating, white noise of 1 pA: `linregress` on the rows after the first tenth."""
    t = 0.5 + np.arange(1200.0)
    current = np.where((t > 100) & (t < 700), -3e-4, np.where((t >= 800) & (t < 1100), 3e-4, 0.0))
    noise = 1e-12 * np.random.default_rng(4).standard_normal(t.size)
    pipette = 3e-9 - 0.2e-12 * np.clip(t - 100, 0, 600) + noise
    found = results_of(t, current, pipette)["pipette_slope_lithiation_1"]
    inside = np.flatnonzero((t > 100) & (t < 700))
    inside = inside[t[inside] >= t[inside[0]] + 0.1 * (t[inside[-1]] - t[inside[0]])]
    theirs = linregress(t[inside], pipette[inside])
    assert found.value == pytest.approx(1e12 * theirs.slope, rel=1e-3)
    assert found.u == pytest.approx(1e12 * theirs.stderr, rel=0.1)


def test_the_drift_over_rests_is_the_one_put_in() -> None:
    """Rests of 100 s with 0.05 pA/s: a change of 5 pA, a tenth of the rest left out or not."""
    t = 0.5 + np.arange(2000.0)
    phase = t % 200.0
    current = np.where(phase < 100.0, -3e-4, 0.0)
    noise = 0.2e-12 * np.random.default_rng(5).standard_normal(t.size)
    pipette = 3e-9 + np.where(phase < 100.0, 0.3e-9, 0.05e-12 * (phase - 100.0)) + noise
    found = results_of(t, current, pipette)["pipette_change_over_rests"]
    assert found.u is not None
    assert found.value == pytest.approx(5.0, abs=0.05 + 4.0 * found.u)
    assert found.u < 0.5


def test_the_pipette_s_change_at_a_peak_is_the_one_put_in() -> None:
    """A bell of 1 mA after a rest; the pipette falls with it by 40 pA per mA, from a level of 3 nA."""
    t = np.arange(400.0)
    bell = np.exp(-(((t - 250.0) / 20.0) ** 2))
    current = np.where(t < 150.0, 0.0, -1e-3 * bell)
    rng = np.random.default_rng(6)
    pipette = 3e-9 + 40e-9 * current / 1e-3 * 1e-3 + 0.1e-12 * rng.standard_normal(t.size)
    cell = xr.Dataset(
        {
            "t_ns": ("row", np.rint(t * 1e9)),
            "current": ("row", current),
            "charge": ("row", np.cumsum(current)),
            "potential": ("row", 1.2 - 1e-3 * t),
            "control": ("row", np.full(t.size, "potential", object)),
        }
    )
    slow = xr.Dataset({"pipette_current": ("row", pipette), "coarse_z": ("row", np.zeros(t.size))})
    found = by_name(cell_results(cell, slow, 1e-6, 1e-6))["pipette_change_at_peak_lithiation"]
    assert found.u is not None
    assert found.value == pytest.approx(-40.0, abs=4.0 * found.u)
    assert found.u < 1.0


@pytest.mark.skipif(not NID.is_file(), reason="not at hand: set OPSICM_DATA")
def test_the_irreversible_share_of_a_measured_surface() -> None:
    """Somebody's scan lifted by 100 nm times its own texture, of which a quarter stays."""
    first = nid() * 1e-9
    lift = 100e-9 * (0.5 + np.clip((first - first.min()) / np.ptp(first), 0.0, 1.0))
    found = irreversible_change(first, first + lift, first + 0.25 * lift, 1e-9)
    assert np.nanmedian(found.fraction_of_change) == pytest.approx(0.25, abs=1e-9)
    assert found.area_fraction == 1.0


def test_the_largest_residual_of_a_calibration_is_numpy_s() -> None:
    rng = np.random.default_rng(7)
    c = np.array([250.0, 500.0, 750.0, 1000.0, 1250.0, 1500.0])
    current = 3e-12 * c + 4e-12 * rng.standard_normal(c.size)
    found = by_name(calibration_results(c, current, np.zeros(c.size, np.int64)))["calibration_largest_residual"]
    theirs = current - np.polyval(np.polyfit(c, current, 1), c)
    assert found.value == pytest.approx(1e12 * np.max(np.abs(theirs)), rel=1e-9)
    assert found.u == pytest.approx(1e12 * (theirs @ theirs / (c.size - 2)) ** 0.5, rel=1e-9)
