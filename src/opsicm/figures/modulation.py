"""Figures of modulated hops: conductance and reversal potential of each, and the concentration read from them."""

from __future__ import annotations

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Curves, Series, View

_TIME = Axis("time", "s")


def conductance_view(places: xr.Dataset) -> View:
    """Conductance and potential without current of every place against time, bands of one u.

    `places` as the trace of `modulation_results`: `conductance`, `u_conductance` [S], `intercept`, `u_intercept` [V].
    """
    t = places["t"].values
    levels = ", ".join(f"{level:g}" for level in places.attrs["levels"])
    panels = (
        Curves(
            _TIME,
            Axis("conductance", "nS"),
            (
                Series("slope of I on V", t, 1e9 * places["conductance"].values, "pipette",
                       band=1e9 * places["u_conductance"].values),
            ),
            f"wire at {levels} V against the reference; band: u of one hop (k = 1)",
        ),
        Curves(
            _TIME,
            Axis("potential without current", "mV"),
            (
                Series("intercept", t, 1e3 * places["intercept"].values, "potential",
                       band=1e3 * places["u_intercept"].values),
            ),
            "where the line through the levels meets zero current; against the reference",
        ),
    )  # fmt: skip
    return View("modulation", "Conductance from the wire's levels", panels, share_x=True)


def concentration_view(places: xr.Dataset, title: str = "Salt at the pipette") -> View:
    """Concentration of every place, with its own u as a band; the calibration's, common to all, stands in the note.

    `places` as the trace of `concentration_results`: `concentration`, `u` [mol/m³], NaN where not identifiable.
    """
    t, c = places["t"].values, places["concentration"].values
    blank = int((~np.isfinite(c)).sum())
    note = f"the calibration adds ±{places.attrs['u_common']:.3g} mM to all alike (k = 1)"
    note += f"; {blank} places not identifiable are blank" if blank else ""
    series = Series("from conductance", t, c, "pipette", band=places["u"].values)
    return View("concentration", title, (Curves(_TIME, Axis("concentration", "mM"), (series,), note),))
