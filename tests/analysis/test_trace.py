"""A raw trace of hops whose answer is known in closed form: I = I0/(1 + C/d), falls at one speed, one latency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.approach.trace import trace_results
from opsicm.analysis.result import Result
from opsicm.core.errors import BadInput
from opsicm.results.third_party import analyse_file

F64 = NDArray[np.float64]
RATE, FALL, LATENCY, SETPOINT, AMPLITUDE = 20_000.0, 30e-6, 0.6e-3, 0.02, 1e-6
BULK, REACH = 1e-9, 3e-9


def trace(hops: int = 40, noise: float = 0.0) -> tuple[F64, F64, F64]:
    """(t [s], current [A], z [m]); the tip goes on by FALL·LATENCY = 18 nm after each stop."""
    lowest = REACH * (1.0 - SETPOINT) / SETPOINT - FALL * LATENCY
    down = AMPLITUDE - FALL / RATE * np.arange(1, round((AMPLITUDE - lowest) / FALL * RATE) + 1)
    up = np.arange(down[-1], AMPLITUDE, 4.0 * FALL / RATE)[1:]
    z = np.tile(np.concatenate([np.full(200, AMPLITUDE), down, up]), hops)
    current = BULK / (1.0 + REACH / z) + noise * np.random.default_rng(3).standard_normal(z.size)
    return np.arange(z.size) / RATE, current, z


def named(results: list[Result]) -> dict[str, Result]:
    return {result.label: result for result in results}


def test_an_overshoot_needs_the_setpoint() -> None:
    t, current, z = trace(noise=0.05e-12)
    unknown = named(trace_results(current, z, t))["overshoot"]
    assert unknown.outcome == "not identifiable"
    assert "give --setpoint" in unknown.reason
    reference = float(named(trace_results(current, z, t))["reference_current"].value or 0.0)
    drop = 1.0 - (1.0 - SETPOINT) * BULK * 1e12 / reference
    found = named(trace_results(current, z, t, drop))["overshoot"]
    assert found.value is not None
    assert found.u is not None
    assert abs(found.value - 18.0) <= 2.0 * found.u < 3.0


def test_time_that_stands_or_runs_back_has_no_period_and_a_pause_does_not_widen_it() -> None:
    t, current, z = trace()
    period = 1e3 * (t[-1] + 1.0 / RATE) / 40
    assert named(trace_results(current, z, t))["hop_period"].value == pytest.approx(period, rel=1e-3)
    assert named(trace_results(current, z, t[::-1]))["hop_period"].outcome == "reversed axis"
    paused = t + 100.0 * (np.arange(t.size) > t.size // 2)
    found = named(trace_results(current, z, paused))["hop_period"]
    assert found.value == pytest.approx(period, rel=1e-3)
    assert found.u is not None
    assert found.u < 0.1
    assert found.flags["gaps"] == 1


def test_a_trace_of_hops_says_by_itself_what_is_wrong_with_it(tmp_path: Path) -> None:
    t, current, z = trace()
    holed = current.copy()
    holed[5000] = np.nan
    clipped = np.minimum(current, 0.985 * BULK)
    for values, heights, outcome in ((holed, z, "gaps"), (clipped, z, "saturated"), (current, -z, "reversed axis")):
        path = tmp_path / "trace.txt"
        columns = np.column_stack([t, 1e12 * values, 1e6 * heights])
        np.savetxt(path, columns, header="t [s]\tI [pA]\tz [um]", comments="", delimiter="\t", fmt="%.9g")
        assert analyse_file(path)[0].outcome == outcome


def test_a_unit_that_contradicts_the_title_is_refused(tmp_path: Path) -> None:
    t, current, z = trace(3)
    path = tmp_path / "trace.csv"
    header = "Time (s);Current (nA);Height (um)"
    np.savetxt(path, np.column_stack([t, 1e9 * current, 1e6 * z]), header=header, comments="", delimiter=";")
    with pytest.raises(BadInput, match=r"I=pA.*'Current \(nA\)'.*write I=nA"):
        analyse_file(path, "t=s,I=pA,z=um")
    assert named(analyse_file(path, "t=s,I=nA,z=um"))["reference_current"].value == pytest.approx(997.0, rel=1e-3)
