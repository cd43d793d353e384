"""Figures of the cell's side, whoever measured it: voltammogram, capacity, dQ/dV, titration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Curves, Series, View

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
    """Current against potential, dark to light in order of the sweeps, and the peaks that were found.

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
    panel = Curves(Axis("potential", "V"), Axis("current", f"{prefix}A"), tuple(family), _SIGN)
    return View("voltammogram", title, (panel,), "Sweeps at one rate only; holds and jumps are left out.")


def capacity_view(stretches: Mapping[str, xr.Dataset], title: str = "Capacity") -> View:
    """Potential against the charge that passed in each stretch of constant current.

    `stretches` name → `charge` [mAh], `potential` [V] (row,), attrs `kind`.
    """
    largest = max(float(np.max(one["charge"].values)) for one in stretches.values())
    factor, prefix = _scaled(largest * 1e-3, ((1.0, ""), (1e3, "m"), (1e6, "µ"), (1e9, "n")))
    factor *= 1e-3
    series = tuple(
        Series(name, factor * one["charge"].values, one["potential"].values, shade=k / max(len(stretches) - 1, 1))
        for k, (name, one) in enumerate(stretches.items())
    )
    note = "charge counts from the begin of each stretch, without sign"
    return View(
        "capacity", title, (Curves(Axis("charge passed", f"{prefix}Ah"), Axis("potential", "V"), series, note),)
    )


def incremental_view(stretches: Mapping[str, xr.DataArray], title: str = "Incremental capacity") -> View:
    """|dQ/dV| against potential of each stretch, with the smoothing that was used.

    `stretches` name → dQ/dV [mAh/V] over `potential` [V], attrs `smoothing`.
    """
    series = []
    for k, (name, one) in enumerate(stretches.items()):
        passed = np.cumsum(one.values)
        # Most of a half cell's potential is passed with hardly any charge: it would squeeze the peaks into a corner.
        inside = (passed > _TAIL * passed[-1]) & (passed < (1.0 - _TAIL) * passed[-1])
        series.append(
            Series(name, one["potential"].values[inside], one.values[inside], shade=k / max(len(stretches) - 1, 1))
        )
    smoothing = next(iter(stretches.values())).attrs["smoothing"]
    panel = Curves(Axis("potential", "V"), Axis("|dQ/dV|", "mAh/V"), tuple(series), str(smoothing))
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
        Curves(
            Axis("time", unit),
            Axis("potential", "V"),
            (
                Series("record", factor * t, record["potential"].values, "potential"),
                Series("relaxed", factor * settled, relaxed, "model", "marks"),
            ),
        ),
        Curves(
            Axis("charge passed", "mAh"),
            Axis("relaxed potential", "V"),
            (Series("end of each rest", passed, relaxed, "model", "marks", record["u_relaxed"].values),),
            f"bars: what would still come (k = 1); {_SIGN}",
        ),
    )
    return View("titration", title, panels)
