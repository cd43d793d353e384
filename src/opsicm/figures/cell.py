"""Figures of the cell, from any instrument: voltammogram, capacity, dQ/dV, titration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.view import PIPETTE_SIGN, Axis, CurvePanel, Series, View, scaled_axis, thinned, time_axis

F64 = NDArray[np.float64]
_TAIL: Final = 0.02  # of the charge
_SIGN: Final = "negative current is cathodic (lithiates)"


def voltammogram_view(
    sweeps: xr.Dataset, marks: Mapping[str, tuple[float, float]], title: str = "Voltammogram"
) -> View:
    """Current against potential, dark to light in order of the sweeps, with the peaks; the pipette current below.

    `sweeps` with `potential` [V], `current` [A], `sweep` (row,), and `pipette` [A] where there was one; `marks` name →
    (potential [V], current [A]).
    """
    number = sweeps["sweep"].values
    e, i = sweeps["potential"].values, sweeps["current"].values
    axis, factor = scaled_axis("current", "A", float(np.max(np.abs(i))))
    last = max(int(number.max()), 1)

    def family(values: F64) -> list[Series]:
        return [Series(f"sweep {k + 1}", *_whole(e, values, number, int(k)), shade=k / last) for k in np.unique(number)]

    curves = family(factor * i)
    if marks:
        at = np.array(list(marks.values()))
        curves.append(Series("peaks", at[:, 0], factor * at[:, 1], "model", "marks"))
    potential = Axis(sweeps.attrs.get("potential", "potential"), "V")
    panels = [CurvePanel(potential, axis, tuple(curves), _SIGN)]
    if "pipette" in sweeps:
        below = tuple(family(1e9 * sweeps["pipette"].values))
        panels.append(CurvePanel(potential, Axis("pipette current", "nA"), below, PIPETTE_SIGN))
    return View(
        "voltammogram", title, tuple(panels), "Sweeps at one rate only; holds and jumps are left out.", share_x=True
    )


def _whole(e: F64, values: F64, number: NDArray[np.int64], k: int) -> tuple[F64, F64]:
    rows = np.flatnonzero(number == k)
    return thinned(e[rows], values[rows])


def capacity_view(half_cycles: Mapping[str, xr.Dataset], title: str = "Capacity") -> View:
    """Potential against the charge that passed in each constant-current half-cycle.

    `half_cycles` name → `charge` [mAh], `potential` [V] (row,), attrs `kind`.
    """
    largest = max(float(np.max(one["charge"].values)) for one in half_cycles.values())
    axis, factor = scaled_axis("charge passed", "Ah", 1e-3 * largest)
    factor *= 1e-3
    series = tuple(
        Series(name, factor * one["charge"].values, one["potential"].values, shade=k / max(len(half_cycles) - 1, 1))
        for k, (name, one) in enumerate(half_cycles.items())
    )
    note = "charge counts from the start of each half-cycle, without sign"
    return View("capacity", title, (CurvePanel(axis, Axis("potential", "V"), series, note),))


def incremental_view(half_cycles: Mapping[str, xr.DataArray], title: str = "Incremental capacity") -> View:
    """|dQ/dV| against potential of each half-cycle, with the smoothing that was used.

    `half_cycles` name → dQ/dV [mAh/V] over `potential` [V], attrs `smoothing`.
    """
    series = []
    for k, (name, one) in enumerate(half_cycles.items()):
        passed = np.cumsum(one.values)
        # Most of the potential range of a half-cell holds hardly any charge and would squeeze the peaks into a corner.
        inside = (passed > _TAIL * passed[-1]) & (passed < (1.0 - _TAIL) * passed[-1])
        series.append(
            Series(name, one["potential"].values[inside], one.values[inside], shade=k / max(len(half_cycles) - 1, 1))
        )
    smoothing = next(iter(half_cycles.values())).attrs["smoothing"]
    panel = CurvePanel(Axis("potential", "V"), Axis("|dQ/dV|", "mAh/V"), tuple(series), str(smoothing))
    caption = f"Without the potentials at either end over which {100 * _TAIL:g} % of the charge pass."
    return View("incremental_capacity", title, (panel,), caption)


def titration_view(record: xr.Dataset, title: str = "Titration (GITT)") -> View:
    """The potential with the end of each rest marked, and the relaxed potentials against the charge passed.

    `record`: `potential` [V] over `t` [s]; `relaxed`, `u_relaxed` [V], `passed` [mAh], `settled` [s] of each pulse.
    """
    settled = record["settled"].values
    # What came before the first pulse, a conditioning say, would squeeze the steps.
    before = 1.2 * float(np.median(np.diff(settled))) if settled.size > 1 else np.inf
    record = record.isel(row=np.flatnonzero(record["t"].values >= settled[0] - before))
    t = record["t"].values
    time, factor = time_axis(float(np.ptp(t)))
    relaxed, passed = record["relaxed"].values, record["passed"].values
    panels = (
        CurvePanel(
            time,
            Axis("potential", "V"),
            (
                Series("record", factor * t, record["potential"].values, "potential"),
                Series("relaxed", factor * settled, relaxed, "model", "marks"),
            ),
        ),
        CurvePanel(
            Axis("charge passed", "mAh"),
            Axis("relaxed potential", "V"),
            (Series("end of each rest", passed, relaxed, "model", "marks", record["u_relaxed"].values),),
            f"bars: relaxation still to come (k = 1); {_SIGN}",
        ),
    )
    return View("titration", title, panels)
