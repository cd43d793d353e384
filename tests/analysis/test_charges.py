"""Charges whose u is knowledge and not round-off."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from opsicm.analysis.cell.voltammogram import cell_results


def pulse(current: float, noise: float, count: float, rows: int = 201) -> xr.Dataset:
    t = np.arange(rows, dtype=np.int64) * 10**9
    i = np.where((np.arange(rows) > 50) & (np.arange(rows) <= 150), current, 0.0)
    i = i + noise * np.random.default_rng(1).standard_normal(rows)
    seen = np.round(i / count) * count if count else i
    # The potentiostat counts what flowed; the rows hold what it printed.
    charge = np.append(0.0, np.cumsum(i[1:]))
    data = {
        "t_ns": t,
        "current": seen,
        "charge": charge,
        "potential": np.full(rows, 0.3),
        "control": np.full(rows, "current", object),
        "soc": np.full(rows, np.nan),
    }
    return xr.Dataset({name: ("row", values) for name, values in data.items()})


def charge_of(cell: xr.Dataset) -> tuple[float, float]:
    slow = xr.Dataset({name: ("row", np.zeros(cell.sizes["row"])) for name in ("pipette_current", "coarse_z")})
    found = {r.label: r for r in cell_results(cell, slow, 1e-6, 1e-9)}
    one = found["charge_lithiation"]
    assert one.value is not None
    assert one.u is not None
    assert found["soc_at_end"].outcome == "no cut-offs"
    assert "conditioning" in found["soc_at_end"].reason
    return one.value, one.u


def test_u_of_a_charge_is_more_than_round_off() -> None:
    value, u = charge_of(pulse(-0.4e-3, 0.0, 0.0))
    assert value == pytest.approx(-0.4e-3 * 100 / 3.6, rel=1e-12)
    # Where in a row the current began: half a row at its ends.
    assert 1e-4 < u / abs(value) < 0.02
    coarse = charge_of(pulse(-0.4e-3, 0.0, 0.03e-3))
    # Printed to 0.03 mA, 0.4 becomes 0.39: u must hold the 2.5 % between them.
    assert coarse[1] > 0.02 * abs(coarse[0])
    noisy = charge_of(pulse(-0.4e-3, 1e-5, 0.0))
    assert noisy[1] >= 1e-5 * 100**0.5 / 3.6 * 0.8


def test_u_of_a_state_of_charge_is_that_of_the_charge_behind_it() -> None:
    """500 pulses of a counter with white noise that the rows do not share: 95 % of them within 1.96 u."""
    rng = np.random.default_rng(3)
    capacity, rows, noise = 0.1, 201, 1e-5
    true = np.where((np.arange(rows) > 50) & (np.arange(rows) <= 150), -0.4e-3, 0.0)
    inside = 0
    for _ in range(500):
        cell = pulse(-0.4e-3, 0.0, 0.0)
        counted = np.cumsum(np.append(0.0, (true + noise * rng.standard_normal(rows))[1:]))
        seen = true + noise * rng.standard_normal(rows)
        cell = cell.assign(current=("row", seen), charge=("row", counted), soc=("row", -counted / capacity))
        slow = xr.Dataset({name: ("row", np.zeros(rows)) for name in ("pipette_current", "coarse_z")})
        soc = {r.label: r for r in cell_results(cell, slow, 1e-6, 1e-9)}["soc_at_end"]
        assert soc.value is not None
        assert soc.u is not None
        inside += abs(soc.value - 100.0 * 0.04 / capacity) <= 1.96 * soc.u
    # The difference between counter and rows is in u whole, so it covers rather more than it must.
    assert inside >= 465


def test_the_decay_after_a_jump_has_no_peak_although_it_is_noisy() -> None:
    """A hold at 0.1 V after one at 1.2 V: the current falls as 1/sqrt(t) from row to row, but for its noise."""
    rng = np.random.default_rng(8)
    rows = 400
    t = np.arange(rows) * 1.0
    current = np.where(t < 50, 0.0, -1e-3 / np.sqrt(np.maximum(t - 49.0, 1.0))) + 1e-6 * rng.standard_normal(rows)
    data = {
        "t_ns": (t * 1e9).astype(np.int64),
        "current": current,
        "charge": np.append(0.0, np.cumsum(current[1:])),
        "potential": np.where(t < 50, 1.2, 0.1),
        "control": np.full(rows, "potential", object),
        "soc": np.full(rows, np.nan),
    }
    cell = xr.Dataset({name: ("row", values) for name, values in data.items()})
    slow = xr.Dataset({name: ("row", np.zeros(rows)) for name in ("pipette_current", "coarse_z")})
    assert not [r for r in cell_results(cell, slow, 1e-4, 2e-5) if r.name == "peak_current"]
