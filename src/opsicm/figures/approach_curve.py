"""The view of an approach curve with its fit and the residual."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr

from opsicm.figures.view import Axis, Curves, Series, View

_NEAR: Final = "disturbed (current recovered)"
_BEYOND: Final = "from contact on"


def view(trace: xr.Dataset, title: str = "Approach") -> View:
    """Current against distance from the fitted surface, with the hyperbola; below, the residual in units of sigma.

    `trace` as `analysis.approach_results` leaves it. The current's axis spans the points of the fit: a
    contact spike far below is outside the frame and counted in the note. The tip comes from the right.
    """
    attrs = trace.attrs
    distance = 1e9 * (np.asarray(trace["z"].values) - attrs["z0"])
    in_amperes = bool(attrs["current_in_A"])
    scale = 1e9 if in_amperes else 1.0 / attrs["I_inf"]
    current = scale * np.asarray(trace["current"].values)
    used = np.asarray(trace["used"].values, dtype=bool)
    disturbed = np.asarray(trace["disturbed"].values, dtype=bool)
    beyond = np.asarray(trace["from_contact_on"].values, dtype=bool)
    fine = np.geomspace(max(float(distance[used].min()) * 0.6, 1e-3), float(distance[used].max()), 400)
    model = scale * attrs["I_inf"] / (1.0 + 1e9 * attrs["C"] / fine)
    low, high = float(current[used].min()), float(current[used].max())
    margin = 0.08 * (high - low)
    limits = (low - 3 * margin, high + margin)
    outside = int(np.count_nonzero((disturbed | beyond) & ((current < limits[0]) | (current > limits[1]))))
    note = f"distance at the stop {1e9 * (attrs['z_stop'] - attrs['z0']):.3g} ± {1e9 * attrs['u_z0']:.2g} nm (k = 1)"
    note += f"; outside the frame: {outside} of the points left out" if outside else ""
    points = [Series("measured", distance[used], current[used], "pipette", "points")]
    for label, mask in ((_NEAR, disturbed), (_BEYOND, beyond)):
        shown = mask & (current >= limits[0]) & (current <= limits[1])
        if shown.any():
            points.append(
                Series(label, distance[shown], current[shown], "cell" if label == _BEYOND else "limit", "points")
            )
    x = Axis("distance from the fitted surface", "nm")
    upper = Curves(
        x,
        Axis("pipette current", "nA") if in_amperes else Axis("pipette current / bulk current", ""),
        (*points, Series("hyperbola", fine, model, "model")),
        note,
        limits,
    )
    residual = np.asarray(trace["residual"].values)
    ends = np.array([distance[used].min(), distance[used].max()])
    lower = Curves(
        x,
        Axis("residual / sigma", ""),
        (
            Series("measured - hyperbola", distance[used], residual[used], "pipette", "points"),
            Series("zero", ends, np.zeros(2), "limit", "dashed"),
        ),
        f"sigma is the scatter of the far half; chi-squared per degree of freedom {attrs['chi2_per_dof']:.3g}",
    )
    caption = "Hyperbola I = I_inf/(1 + C/d); its distance is biased by about 12 nm for a 50 nm pipette."
    return View("approach_curve", title, (upper, lower), caption, share_x=True)
