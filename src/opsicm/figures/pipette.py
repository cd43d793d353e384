"""Figures of the pipette: approach curves, calibration in baths, modulation, tip response, parked above a specimen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.figures.colours import Role
from opsicm.figures.view import CELL_SIGN, PIPETTE_SIGN, POTENTIAL, Axis, CurvePanel, Series, View, thinned, time_axis
from opsicm.physics.pipette.approach import hyperbola_constant, hyperbola_relative_current
from opsicm.physics.pipette.lateral import PointSpread
from opsicm.physics.pipette.tip_field import ApproachCurve

F64 = NDArray[np.float64]
_NEAR: Final = "disturbed (current recovered)"
_BEYOND: Final = "from contact on"
_BIAS: Final = Axis("bias", "V")
_PIPETTE: Final = Axis("pipette current", "nA")
_CELL: Final = Axis("cell current", "mA")
_DISTANCE: Final = Axis("distance from a flat sample", "nm")


def approach_curve_view(trace: xr.Dataset, title: str = "Approach") -> View:
    """Current against distance from the fitted surface, with the hyperbola; below, the residual in units of sigma.

    `trace` as `analysis.approach_results` leaves it. The current's axis spans the points of the fit: a
    contact spike far below is outside the frame and counted in the note.
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
    note = f"distance at the stop {1e9 * (attrs['z_stop'] - attrs['z0']):.3g} nm"
    note += f"; outside the frame: {outside} of the points left out" if outside else ""
    points = [Series("measured", distance[used], current[used], "pipette", "points")]
    for label, mask in ((_NEAR, disturbed), (_BEYOND, beyond)):
        shown = mask & (current >= limits[0]) & (current <= limits[1])
        if shown.any():
            points.append(
                Series(label, distance[shown], current[shown], "cell" if label == _BEYOND else "limit", "points")
            )
    x = Axis("distance from the fitted surface", "nm")
    upper = CurvePanel(
        x,
        Axis("pipette current", "nA") if in_amperes else Axis("pipette current / bulk current", ""),
        (*points, Series("hyperbola", fine, model, "model")),
        note,
        limits,
    )
    residual = np.asarray(trace["residual"].values)
    ends = np.array([distance[used].min(), distance[used].max()])
    lower = CurvePanel(
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


def calibration_view(
    curves: Sequence[tuple[str, F64, F64]],
    points: Sequence[tuple[str, F64, F64]],
    lines: Sequence[tuple[str, F64, F64, F64]],
    at: float | None,
) -> View:
    """I-V curves at several outside concentrations, and the current at one bias against the concentration.

    `curves` (label, bias [V], current [A]) of one pipette; `points` (label, salt [mol/m³], current [A]) of a set at the
    bias `at` [V] (None: not stated), every pipette over its own factor; `lines` (label, salt, current, half width of
    the 95 % band [A]) as fitted, one a set. Without curves the points stand alone.
    """
    family = tuple(
        Series(label, bias, 1e9 * i, shade=k / max(len(curves) - 1, 1)) for k, (label, bias, i) in enumerate(curves)
    )
    roles: tuple[Role, ...] = ("pipette", "delithiation")
    dots = [Series(label, 1e-3 * c, 1e9 * i, roles[k % 2], "marks") for k, (label, c, i) in enumerate(points)]
    fits = [
        Series(label, 1e-3 * c, 1e9 * i, roles[k % 2], band=1e9 * band) for k, (label, c, i, band) in enumerate(lines)
    ]
    bias = "" if at is None else f"at {at:+g} V, "
    own = "each pipette over its own factor; " if len(points) > 1 else ""
    against_salt = CurvePanel(Axis("salt outside", "M"), _PIPETTE, (*dots, *fits), f"{bias}{own}line and its 95 % band")
    panels = (CurvePanel(_BIAS, _PIPETTE, family, PIPETTE_SIGN), against_salt) if family else (against_salt,)
    return View("calibration", "Current against the salt outside", panels)


def pipettes_view(curves: Sequence[tuple[str, F64, F64]], resistances: F64, t: F64, current: F64) -> View:
    """I-V by aperture, the resistance of pipettes made alike, and the current at constant bias over hours.

    `curves` (label, bias [V], current [A]); `resistances` [Ohm] (n,), may be empty; `t` [s], `current` [A] (m,), may be
    empty: a panel without data is left out.
    """
    family = tuple(
        Series(label, bias, 1e9 * i, shade=k / max(len(curves) - 1, 1)) for k, (label, bias, i) in enumerate(curves)
    )
    panels = [CurvePanel(_BIAS, _PIPETTE, family, PIPETTE_SIGN)]
    if resistances.size:
        number = np.arange(1.0, resistances.size + 1.0)
        mean = np.full(resistances.size, 1e-6 * resistances.mean())
        panels.append(
            CurvePanel(
                Axis("pipette", ""),
                Axis("resistance", "MΩ"),
                (
                    Series("each", number, 1e-6 * resistances, "pipette", "marks"),
                    Series("mean", number, mean, "limit", "dashed"),
                ),
            )
        )
    if t.size:
        time, unit = time_axis(float(np.ptp(t)))
        series = Series("at constant bias", *thinned(unit * t, 1e9 * current), "pipette")
        panels.append(CurvePanel(time, _PIPETTE, (series,), PIPETTE_SIGN))
    return View("pipettes", "Pipettes: aperture, reproducibility, drift", tuple(panels))


def current_voltage_view(trace: xr.DataArray, resistance: float, title: str = "Current-voltage curve") -> View:
    """Current against bias as measured, and the line of `resistance` [Ohm] through the middle of the sweep.

    `trace` [A] over `bias` [V], as `iv_results` leaves it.
    """
    v, i = trace["bias"].values, trace.values
    middle = 0.5 * float(v.max() + v.min())
    near = np.abs(v - middle) <= 0.25 * float(np.ptp(v))
    through = float(np.mean(i[near])) - float(np.mean(v[near]) - middle) / resistance
    ends = np.array([v.min(), v.max()])
    panel = CurvePanel(
        Axis("bias", "V"),
        Axis("pipette current", "nA"),
        (
            Series("measured", v, 1e9 * i, "pipette", "points"),
            Series(f"{1e-6 * resistance:.4g} MΩ", ends, 1e9 * (through + (ends - middle) / resistance), "model"),
        ),
        PIPETTE_SIGN,
    )
    return View("current_voltage", title, (panel,))


def conductance_view(hops: xr.Dataset) -> View:
    """Conductance and zero-current potential of every hop against time, with bands of one u.

    `hops` as the trace of `modulation_results`: `conductance`, `u_conductance` [S], `intercept`, `u_intercept` [V].
    """
    time, unit = time_axis(float(np.ptp(hops["t"].values)))
    t = unit * hops["t"].values
    levels = ", ".join(f"{level:g}" for level in hops.attrs["levels"])
    panels = (
        CurvePanel(
            time,
            Axis("conductance", "nS"),
            (
                Series(
                    "slope of I on V",
                    t,
                    1e9 * hops["conductance"].values,
                    "pipette",
                    band=1e9 * hops["u_conductance"].values,
                ),
            ),
            f"pipette electrode at {levels} V against the reference; band: u of one hop (k = 1)",
        ),
        CurvePanel(
            time,
            Axis("potential without current", "mV"),
            (
                Series(
                    "intercept", t, 1e3 * hops["intercept"].values, "potential", band=1e3 * hops["u_intercept"].values
                ),
            ),
            "where the line through the levels meets zero current; against the reference",
        ),
    )
    return View("modulation", "Conductance from the bias levels", panels, share_x=True)


def concentration_view(hops: xr.Dataset, title: str = "Salt at the pipette") -> View:
    """Concentration of every hop, with its u as a band; the u of the calibration, common to all, is in the note.

    `hops` as the trace of `concentration_results`: `concentration`, `u` [mol/m³], NaN where not identifiable.
    """
    time, unit = time_axis(float(np.ptp(hops["t"].values)))
    t, c = unit * hops["t"].values, hops["concentration"].values
    blank = int((~np.isfinite(c)).sum())
    note = f"the calibration adds ±{hops.attrs['u_common']:.3g} mM to all alike (k = 1)"
    note += f"; {blank} hops not identifiable are blank" if blank else ""
    series = Series("from conductance", t, c, "pipette", band=hops["u"].values)
    return View("concentration", title, (CurvePanel(time, Axis("concentration", "mM"), (series,), note),))


def kernel_view(curve: ApproachCurve, spread: PointSpread) -> View:
    """The approach curve and the point-spread function at the 98 % distance, with its edge response."""
    tip = curve.pipette
    at_98 = spread.distance
    d = np.linspace(0.0, 12.0 * at_98, 600)
    C = hyperbola_constant(at_98)
    quick = np.array([hyperbola_relative_current(float(value), C) for value in d])
    fem = Series("finite elements", d * 1e9, 100.0 * curve.relative_current(d), "pipette")
    hyperbola = Series("hyperbola through 98 %", d * 1e9, 100.0 * quick, "model", "dashed")
    setpoint = Series("98 %", np.array([0.0, d[-1] * 1e9]), np.array([98.0, 98.0]), "limit", "dashed")
    r = np.linspace(0.0, 6.0 * tip.radius, 500)
    density = np.interp(r, spread.radius, spread.density)
    x = np.linspace(-5.0 * tip.radius, 5.0 * tip.radius, 500)
    half = 0.5 * spread.edge_width()
    return View(
        name="kernel",
        title=f"Pipette of {tip.radius * 1e9:g} nm, b/a {tip.wall:g}, {math.degrees(tip.cone_angle):g}°, "
        f"shank {tip.length * 1e6:g} µm",
        panels=(
            CurvePanel(
                _DISTANCE,
                Axis("I over I far away", "%"),
                (fem, hyperbola, setpoint),
                note=f"98 % at {at_98 * 1e9:.1f} nm for a shank of {tip.length * 1e6:g} µm",
                y_limits=(90.0, 100.2),
            ),
            CurvePanel(
                Axis("radius on the sample", "nm"),
                Axis("response", "1/µm²"),
                (Series("point-spread function", r * 1e9, density * 1e-12, "height"),),
                note=f"a ring with its peak at {spread.peak_radius / tip.radius:.2f} a; tip at the 98 % distance",
            ),
            CurvePanel(
                Axis("position across a low step", "nm"),
                Axis("apparent height", "% of step"),
                (
                    Series("edge response", x * 1e9, 100.0 * spread.edge_response(x), "height"),
                    Series("10 % and 90 %", np.array([-half, half]) * 1e9, np.array([10.0, 90.0]), "limit", "points"),
                ),
                note=f"10–90 % over {2e9 * half:.0f} nm = {2.0 * half / tip.radius:.1f} inner radii",
            ),
        ),
        caption="Flat insulating sample, uncharged glass, uniform electrolyte; the shank enters the first panel only.",
    )


@dataclass(frozen=True, slots=True)
class ParkedPipette:
    """A run with the pipette parked above the specimen, all (n,): `t` [s], `potential` [V], currents [A].

    `label` distinguishes it in a figure ("10 µm", "ohmic off"); `rest` [A] is the pipette current before the first cell
    current.
    """

    label: str
    t: F64
    potential: F64
    pipette: F64
    cell: F64
    rest: float


def parked_voltammograms_view(runs: Sequence[ParkedPipette], title: str) -> View:
    """Pipette current and cell current against potential, one curve per run, in the order given (Figures 3a, b, S4)."""
    pipette = _family(runs, lambda run: (run.potential, 1e9 * run.pipette))
    cell = _family(runs, lambda run: (run.potential, 1e3 * run.cell))
    panels = (CurvePanel(POTENTIAL, _PIPETTE, pipette, PIPETTE_SIGN), CurvePanel(POTENTIAL, _CELL, cell, CELL_SIGN))
    return View("voltammograms", title, panels, share_x=True)


def parked_time_view(run: ParkedPipette, title: str) -> View:
    """Pipette current, potential and cell current against time (Figures 3c, d and e)."""
    time, unit = time_axis(float(np.ptp(run.t)))
    t = unit * run.t
    panels = (
        CurvePanel(
            time, _PIPETTE, (Series("pipette current", *thinned(t, 1e9 * run.pipette), "pipette"),), PIPETTE_SIGN
        ),
        CurvePanel(time, POTENTIAL, (Series("potential", *thinned(t, run.potential), "potential"),)),
        CurvePanel(time, _CELL, (Series("cell current", *thinned(t, 1e3 * run.cell), "cell"),), CELL_SIGN),
    )
    return View("against_time", title, panels, share_x=True)


def contributions_view(runs: Sequence[ParkedPipette], title: str, against_potential: bool) -> View:
    """The contributions to the pipette signal: all terms of the physics, and what is lost without each.

    `runs`: first with all terms, then with one term off each. Above, the change since rest; below, all terms less the
    run without the term (interpolated in time), the largest contribution in a panel of its own. Frames contain 98 % of
    the rows: where a switch falls on different rows there is a spike beyond them.
    """
    whole, *without = runs
    time, per_second = time_axis(float(np.ptp(whole.t)))
    axis = POTENTIAL if against_potential else time
    x = whole.potential if against_potential else per_second * whole.t
    change = 1e9 * (whole.pipette - whole.rest)
    upper = [Series(whole.label, x, change)]
    parts = []
    for k, run in enumerate(without):
        alone = np.interp(whole.t, run.t, 1e9 * (run.pipette - run.rest))
        upper.append(Series(run.label, x, alone, style="dashed", shade=_shade(k, len(without))))
        parts.append(Series(run.label.removesuffix(" off"), x, change - alone, shade=_shade(k, len(without))))
    parts.sort(key=lambda part: float(np.ptp(np.percentile(part.y, (1.0, 99.0)))))
    panels = [CurvePanel(axis, Axis("change since rest", "nA"), tuple(upper), PIPETTE_SIGN, _frame(upper))]
    for shown, unit, scale in ((parts[-1:], "nA", 1.0), (parts[:-1], "pA", 1e3)):
        if shown:
            scaled = [replace(part, y=scale * part.y) for part in shown]
            named = "what " + " and ".join(part.label for part in scaled) + " add" + ("s" if len(scaled) == 1 else "")
            panels.append(CurvePanel(axis, Axis("contribution", unit), tuple(scaled), named, _frame(scaled)))
    return View("made_of", title, tuple(panels), share_x=True)


def _frame(series: Sequence[Series]) -> tuple[float, float] | None:
    low = min(float(np.percentile(one.y, 1.0)) for one in series)
    high = max(float(np.percentile(one.y, 99.0)) for one in series)
    margin = 0.15 * (high - low)
    return (low - margin, high + margin) if margin > 0.0 else None


def _family(runs: Sequence[ParkedPipette], xy: Callable[[ParkedPipette], tuple[F64, F64]]) -> tuple[Series, ...]:
    return tuple(
        Series(run.label, *xy(run), shade=_shade(k, len(runs)) if len(runs) > 1 else 0.5) for k, run in enumerate(runs)
    )


def _shade(k: int, count: int) -> float:
    return k / max(count - 1, 1)
