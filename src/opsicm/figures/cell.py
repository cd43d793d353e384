"""Figures of the cell, from any instrument: voltammogram, capacity, dQ/dV, titration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, CurvePanel, Series, View

_TAIL: Final = 0.02  # of the charge
_SIGN: Final = "negative current is cathodic (lithiates)"


def _scaled(largest: float, prefixes: Sequence[tuple[float, str]]) -> tuple[float, str]:
    """The factor and prefix that bring `largest` to between 1 and 1000."""
    for factor, prefix in prefixes:
        if largest * factor >= 1.0:
            return factor, prefix
    return prefixes[-1]


def voltammogram_view(
    sweeps: xr.Dataset, marks: Mapping[str, tuple[float, float]], title: str = "Voltammogram"
) -> View:
    """Current against potential, dark to light in order of the sweeps, with the peaks.

    `sweeps` with `potential` [V], `current` [A], `sweep` (row,); `marks` name → (potential [V], current [A]).
    """
    number = sweeps["sweep"].values
    e, i = sweeps["potential"].values, sweeps["current"].values
    factor, prefix = _scaled(float(np.max(np.abs(i))), ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n"), (1e12, "p")))
    last = max(int(number.max()), 1)
    family = [
        Series(f"sweep {k + 1}", e[number == k], factor * i[number == k], shade=k / last) for k in np.unique(number)
    ]
    if marks:
        at = np.array(list(marks.values()))
        family.append(Series("peaks", at[:, 0], factor * at[:, 1], "model", "marks"))
    panel = CurvePanel(Axis("potential", "V"), Axis("current", f"{prefix}A"), tuple(family), _SIGN)
    return View("voltammogram", title, (panel,), "Sweeps at one rate only; holds and jumps are left out.")


def capacity_view(half_cycles: Mapping[str, xr.Dataset], title: str = "Capacity") -> View:
    """Potential against the charge that passed in each constant-current half-cycle.

    `half_cycles` name → `charge` [mAh], `potential` [V] (row,), attrs `kind`.
    """
    largest = max(float(np.max(one["charge"].values)) for one in half_cycles.values())
    factor, prefix = _scaled(largest * 1e-3, ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n")))
    factor *= 1e-3
    series = tuple(
        Series(name, factor * one["charge"].values, one["potential"].values, shade=k / max(len(half_cycles) - 1, 1))
        for k, (name, one) in enumerate(half_cycles.items())
    )
    note = "charge counts from the start of each half-cycle, without sign"
    return View(
        "capacity", title, (CurvePanel(Axis("charge passed", f"{prefix}Ah"), Axis("potential", "V"), series, note),)
    )


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
    t, settled = record["t"].values, record["settled"].values
    factor, unit = (1.0 / 3600.0, "h") if float(np.ptp(t)) > 7200.0 else (1.0, "s")
    relaxed, passed = record["relaxed"].values, record["passed"].values
    panels = (
        CurvePanel(
            Axis("time", unit),
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
