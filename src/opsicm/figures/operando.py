"""Figures of an operando run at one point: against time, against potential, the ten-hop check, and one hop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.view import Axis, Curves, Series, View

_TIME: Final = Axis("time", "s")
_POTENTIAL: Final = Axis("potential vs Li/Li+", "V")
_LITHIATES: Final = "negative cell current lithiates"
_SIGN_I: Final = "positive pipette current flows out of the pipette"


def _good(hops: xr.Dataset) -> xr.Dataset:
    return hops.isel(hop=np.flatnonzero(hops["outcome"].values == 0))


def program_potential(cell: xr.Dataset, t_ns: NDArray[np.int64]) -> tuple[NDArray[np.float64], str]:
    """The program's potential at `t_ns` where one was controlled throughout, else the measured one; and which it is."""
    set_point = cell["set_point"].values
    if not set_point.size:
        return np.full(t_ns.size, np.nan), "potential"
    if set_point.size and np.all(np.isfinite(set_point)):
        return np.interp(t_ns, cell["t_ns"].values, set_point), "set potential"
    return np.interp(t_ns, cell["t_ns"].values, cell["potential"].values), "potential"


def time_view(hops: xr.Dataset, cell: xr.Dataset, slow: xr.Dataset) -> View:
    """Height, potential, pipette current and cell current against time, one above the other."""
    good = _good(hops)
    t = cell["t_ns"].values * 1e-9
    panels: list[Curves] = []
    if good.sizes["hop"]:
        th, h = good["t_ns"].values * 1e-9, good["z_stop"].values
        height = Series("height", th, (h - h[0]) * 1e9, "height", "points")
        note = "height at the stop, since the first hop; up is positive"
        panels.append(Curves(_TIME, Axis("height change", "nm"), (height,), note))
        pipette = Series("reference current", th, good["i_ref"].values * 1e9, "pipette", "points")
    else:
        pipette = Series("pipette current", t, slow["pipette_current"].values * 1e9, "pipette")
    potential = [Series("measured", t, cell["potential"].values, "potential")]
    if np.any(np.isfinite(cell["set_point"].values)):
        potential.append(Series("program", t, cell["set_point"].values, "limit", "dashed"))
    panels.append(Curves(_TIME, Axis("potential", "V"), tuple(potential), "specimen against Li/Li+ at the reference"))
    panels.append(Curves(_TIME, Axis("pipette current", "nA"), (pipette,), _SIGN_I))
    current = Series("cell current", t, cell["current"].values * 1e3, "cell")
    panels.append(Curves(_TIME, Axis("cell current", "mA"), (current,), _LITHIATES))
    return View("time", "The run against time", tuple(panels), share_x=True)


def potential_view(hops: xr.Dataset, cell: xr.Dataset, thickness: float) -> View:
    """Volume change, pipette current and cell current against potential, coloured by the sign of the cell current."""
    good = _good(hops)
    e, which = program_potential(cell, good["t_ns"].values)
    axis = Axis(f"{which} vs Li/Li+", "V")
    percent = (good["z_stop"].values - good["z_stop"].values[0]) / thickness * 100.0
    down = good["cell_current"].values <= 0.0
    cell_e, _ = program_potential(cell, cell["t_ns"].values)
    cell_down = cell["current"].values <= 0.0

    def split(x: NDArray[np.float64], y: NDArray[np.float64], lithiates: NDArray[np.bool_]) -> tuple[Series, Series]:
        return (
            Series("lithiation or rest", x[lithiates], y[lithiates], "lithiation", "points"),
            Series("delithiation", x[~lithiates], y[~lithiates], "delithiation", "points"),
        )

    um = f"height change over a thickness of {thickness * 1e6:g} µm"
    panels = (
        Curves(axis, Axis("volume change", "%"), split(e, percent, down), um),
        Curves(axis, Axis("pipette current", "nA"), split(e, good["i_ref"].values * 1e9, down), _SIGN_I),
        Curves(axis, Axis("cell current", "mA"), split(cell_e, cell["current"].values * 1e3, cell_down), _LITHIATES),
    )
    return View("potential", "The run against potential", panels, share_x=True)


def ten_hop_view(change: xr.DataArray, setpoint: float) -> View:
    """The bulk current's change over ten hops against time, with the setpoint it must stay below."""
    t = change["t"].values
    limit = np.full(2, setpoint * 100.0)
    panel = Curves(
        _TIME,
        Axis("change over ten hops", "%"),
        (
            Series("bulk current", t, change.values, "pipette", "points"),
            Series("setpoint", t[[0, -1]], limit, "limit", "dashed"),
        ),
        "(max - min)/mean of the reference current over ten hops in a row",
        y_limits=(0.0, 1.15 * max(setpoint * 100.0, float(change.values.max()))),
    )
    return View("ten_hop", "Ten-hop check", (panel,))


def hop_view(trace: xr.Dataset, record: Mapping[str, float]) -> View:
    """One hop as sampled: pipette current and height against time, with reference, threshold and stop."""
    t = (trace["t_ns"].values - trace["t_ns"].values[0]) * 1e-6
    ends = t[[0, -1]]
    threshold = record["i_ref"] * (1.0 - record["setpoint"])
    axis = Axis("time in the hop", "ms")
    i = trace["pipette_current"].values * 1e9
    stop = np.array([(record["t_ns"] - trace["t_ns"].values[0]) * 1e-6])
    current = Curves(
        axis,
        Axis("pipette current", "nA"),
        (
            Series("samples", t, i, "pipette"),
            Series("reference", ends, np.full(2, record["i_ref"] * 1e9), "neutral", "dashed"),
            Series("threshold", ends, np.full(2, threshold * 1e9), "limit", "dashed"),
        ),
        _SIGN_I,
    )
    z = trace["z"].values * 1e9
    height = Curves(
        axis,
        Axis("z", "nm"),
        (Series("samples", t, z, "height"), Series("stop", stop, np.array([record["z_stop"] * 1e9]), "cell", "points")),
        "up is positive",
    )
    return View("hop", f"Hop {int(record['hop'])} as sampled", (current, height), share_x=True)
