"""Figures of hops: against time and potential, the ten-hop check, one hop, a point, a line."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.height_change import StepPasses
from opsicm.core.facts import Outcome
from opsicm.figures.colours import Role
from opsicm.figures.images import even_times
from opsicm.figures.view import (
    CELL_SIGN,
    PIPETTE_SIGN,
    POTENTIAL,
    Axis,
    CurvePanel,
    ImagePanel,
    Series,
    View,
    scaled_axis,
    thinned,
    time_axis,
)

F64 = NDArray[np.float64]
_SIGN: Final = f"{PIPETTE_SIGN}; far from the surface"
_PIPETTE: Final = Axis("pipette current", "nA")
_FEW: Final = 60  # passes: that many are marks, more are a line
_FEWEST_ROWS: Final = 5
_SOC_MOVES: Final = 0.5  # [%]
_NO_CURRENT: Final = 1e-12  # [A] of a cell: a panel of less shows the converter
_MICROMETRES: Final = 2e-6  # [m]: larger changes of height are drawn in µm


def program_potential(cell: xr.Dataset, t_ns: NDArray[Any]) -> tuple[F64, str]:
    """The program's potential at `t_ns` where one was controlled, the measured one elsewhere; and the quantity's name.

    Under compensation of the ohmic drop the measured potential is ahead of the program by the drop.
    """
    if not cell.sizes["row"]:
        return np.full(t_ns.size, np.nan), "potential"
    controlled = (cell["control"].values == "potential") & np.isfinite(cell["set_point"].values)
    potential = np.where(controlled, cell["set_point"].values, cell["potential"].values)
    name = "potential of the program" if controlled.mean() > 0.5 else "potential"
    return np.interp(t_ns, cell["t_ns"].values, potential), name


def run_time_view(
    hops: xr.Dataset,
    cell: xr.Dataset,
    slow: xr.Dataset,
    passes: Sequence[StepPasses] = (),
    name: str = "time",
    title: str = "The run against time",
) -> View:
    """Height change, potential, state of charge, pipette current and cell current against time, one above the other.

    `hops`, `cell`, `slow` as the run file holds them; `passes` of the steps with hops (`step_passes`): where no point
    was hopped again there is no change of height. The pipette current is the reference of the hops and, while the
    pipette did not hop, that of the slow rows. A state of charge is drawn where it is known.
    """
    t = cell["t_ns"].values * 1e-9
    begin = float(t[0]) if t.size else 0.0
    time, unit = time_axis(float(np.ptp(t)) if t.size else 0.0)
    tc = unit * (t - begin)
    panels: list[CurvePanel] = []
    if returned := [one for one in passes if one.returned]:
        panels.append(_height_panel(returned, time, unit, begin))
    controlled = np.where(cell["control"].values == "potential", cell["set_point"].values, np.nan)
    largest = float(np.max(np.abs(cell["current"].values), initial=0.0))
    if largest > _NO_CURRENT or np.any(np.isfinite(controlled)):  # else nothing is connected to the specimen
        potential = [Series("measured", *thinned(tc, cell["potential"].values), "potential")]
        if np.any(np.isfinite(controlled)):
            potential.append(Series("program", *thinned(tc, controlled), "limit", "dashed"))
        panels.append(CurvePanel(time, POTENTIAL, tuple(potential), "of the specimen, at the reference electrode"))
    if (soc := _moving_soc(cell)) is not None:
        note = "charge since the last delithiated cut-off over the reversible capacity"
        panels.append(CurvePanel(time, Axis("SOC", "%"), (Series("SOC", *thinned(tc, soc)),), note))
    current = pipette_series(hops, slow, unit, begin)
    if current:
        note = f"{PIPETTE_SIGN}; reference: far from the surface, before each approach"
        panels.append(CurvePanel(time, _PIPETTE, current, note if len(current) > 1 else PIPETTE_SIGN))
    if largest > _NO_CURRENT:
        axis, factor = scaled_axis("cell current", "A", largest)
        series = Series("cell current", *thinned(tc, factor * cell["current"].values), "cell")
        panels.append(CurvePanel(time, axis, (series,), CELL_SIGN))
    return View(name, title, tuple(panels), share_x=True)


def _moving_soc(cell: xr.Dataset) -> F64 | None:
    """State of charge [%] (row,), NaN where unknown; None where it is unknown or does not move."""
    if "soc" not in cell or not np.isfinite(cell["soc"].values).any():
        return None
    soc: F64 = 100.0 * cell["soc"].values
    return soc if np.nanmax(soc) - np.nanmin(soc) > _SOC_MOVES else None


def _height_panel(passes: Sequence[StepPasses], time: Axis, unit: float, begin: float) -> CurvePanel:
    largest = max(float(np.max(np.abs(one.change))) for one in passes)
    length, factor = ("µm", 1e6) if largest > _MICROMETRES else ("nm", 1e9)
    series = tuple(
        replace(one, shade=k / (len(passes) - 1) if len(passes) > 1 else None)
        for k, one in enumerate(
            _changes(one, unit * (one.t - begin), factor, "height" if len(passes) == 1 else one.step) for one in passes
        )
    )
    return CurvePanel(time, Axis("height change", length), series, _changes_note(passes))


def _changes(one: StepPasses, x: F64, factor: float, label: str) -> Series:
    """The change of a step's passes: dots of a point, the median of several points with a band of half of them."""
    if one.points == 1:
        return Series(label, *thinned(x, factor * one.change), "height", "points")
    band = factor * np.abs(one.quartiles - one.change)
    return Series(label, x, factor * one.change, "height", "marks" if one.t.size <= _FEW else "line", band)


def _changes_note(passes: Sequence[StepPasses]) -> str:
    if all(one.points == 1 for one in passes):
        return "since the first hop; up is positive"
    points = ", ".join(sorted({f"{one.points}" for one in passes if one.points > 1}))
    return f"of each point since its own first hop: median of {points} points, band: half of them; up is positive"


def pipette_series(hops: xr.Dataset, slow: xr.Dataset, unit: float, begin: float) -> tuple[Series, ...]:
    """The pipette current [nA] against time: the reference of the hops in contact, and the slow rows between hops.

    `unit` from seconds to the axis, which counts from `begin` [s].
    """
    good = hops.isel(hop=np.flatnonzero(hops["outcome"].values == 0))
    x, y = slow["t_ns"].values * 1e-9, 1e9 * slow["pipette_current"].values
    parked = np.where(hopping_rows(hops, slow["t_ns"].values), np.nan, y)
    series: list[Series] = []
    hopped = good.sizes["hop"] > 0
    if hopped:
        th = unit * (good["t_ns"].values * 1e-9 - begin)
        series.append(Series("reference of the hops", *thinned(th, 1e9 * good["i_ref"].values), "pipette", "points"))
    if np.isfinite(parked).sum() > (_FEW if hopped else 0):  # a start before the first hop is no parking
        label = "parked or travelling" if hopped else "pipette current"
        series.append(Series(label, *thinned(unit * (x - begin), parked), "neutral" if hopped else "pipette"))
    return tuple(series)


def hopping_rows(hops: xr.Dataset, t_ns: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows at `t_ns` lie within a segment of hops: their pipette current is that of a moving pipette."""
    inside = np.zeros(t_ns.size, dtype=bool)
    at, segments = hops["t_ns"].values, hops["segment"].values
    for segment in np.unique(segments):
        of = at[segments == segment]
        period = np.median(np.diff(of)) if of.size > 1 else 0.0
        inside |= (t_ns >= of.min() - period) & (t_ns <= of.max() + period)
    return inside


def potential_view(hops: xr.Dataset, cell: xr.Dataset, passes: Sequence[StepPasses], thickness: float) -> View:
    """Swelling, pipette current and cell current against potential, coloured by the sign of the cell current.

    As `run_time_view`, for a run that hopped some point again; `thickness` [m] of the specimen, NaN where unknown.
    Against the program's potential where one was controlled.
    """
    t_ns = cell["t_ns"].values
    cell_e, which = program_potential(cell, t_ns)
    axis = Axis(f"{which} vs Li/Li+", "V")
    swelling = _swelling_panel(axis, passes, thickness, lambda t: program_potential(cell, 1e9 * t)[0])
    good = hops.isel(hop=np.flatnonzero(hops["outcome"].values == 0))
    e, _ = program_potential(cell, good["t_ns"].values)
    reference = _by_direction(e, 1e9 * good["i_ref"].values, good["cell_current"].values <= 0.0)
    current, factor = scaled_axis("cell current", "A", float(np.max(np.abs(cell["current"].values), initial=0.0)))
    flowing = _by_direction(cell_e, factor * cell["current"].values, cell["current"].values <= 0.0)
    note = f"{PIPETTE_SIGN}; far from the surface, before each approach"
    panels = (
        swelling,
        CurvePanel(axis, _PIPETTE, _joined(reference), note),
        CurvePanel(axis, current, _joined(flowing), CELL_SIGN),
    )
    return View("potential", "The run against potential", panels, share_x=True)


def charge_view(cell: xr.Dataset, passes: Sequence[StepPasses], thickness: float) -> View | None:
    """Swelling and potential against the state of charge, or the charge passed where that is unknown, during the hops.

    As `potential_view`. None where no charge passed between the first and the last hop.
    """
    t, charge = cell["t_ns"].values * 1e-9, cell["charge"].values / 3.6
    returned = [one for one in passes if one.returned]
    begin, end = min(one.t[0] for one in returned), max(one.t[-1] for one in returned)
    during = (t >= begin) & (t <= end)
    if during.sum() < _FEWEST_ROWS or np.ptp(charge[during]) <= 0.0:
        return None
    soc = _moving_soc(cell.isel(row=np.flatnonzero(during)))
    if soc is not None and np.isfinite(soc).all():
        axis, x = Axis("SOC", "%"), 100.0 * cell["soc"].values
        note = "charge since the last delithiated cut-off over the reversible capacity"
    else:
        passed = charge[during][0] - charge
        scaled, factor = scaled_axis("charge", "Ah", 1e-3 * float(np.max(np.abs(passed[during]))))
        axis, x = Axis("charge lithiated since the first hop", scaled.unit), 1e-3 * factor * passed
        note = "the state of charge is not known"
    panels = (
        _swelling_panel(axis, returned, thickness, lambda at: np.interp(at, t, x)),
        CurvePanel(
            axis,
            POTENTIAL,
            _joined(_by_direction(x[during], cell["potential"].values[during], cell["current"].values[during] <= 0.0)),
            f"measured; {note}",
        ),
    )
    return View("charge", "Expansion against charge", panels, share_x=True)


def _swelling_panel(axis: Axis, passes: Sequence[StepPasses], thickness: float, at: Callable[[F64], F64]) -> CurvePanel:
    """Swelling of all passes against `axis`: `at` of their times [s]; the height change where no thickness is known."""
    returned = [one for one in passes if one.returned]
    known = bool(np.isfinite(thickness))
    scale = 100.0 / thickness if known else 1e9
    series = [
        part for one in returned for part in _by_direction(at(one.t), scale * one.change, one.cell_current <= 0.0)
    ]
    over = f"height change over a thickness of {thickness * 1e6:g} µm; " if known else ""
    quantity = Axis("expansion", "%") if known else Axis("height change", "nm")
    return CurvePanel(axis, quantity, _joined(series), f"{over}{_changes_note(returned)}")


def _by_direction(x: F64, y: F64, lithiates: NDArray[np.bool_]) -> list[Series]:
    return [
        Series("lithiation or rest", x[lithiates], y[lithiates], "lithiation", "points"),
        Series("delithiation", x[~lithiates], y[~lithiates], "delithiation", "points"),
    ]


def _joined(series: Sequence[Series]) -> tuple[Series, ...]:
    """One series a label, in the order of their first points."""
    by_label: dict[str, list[Series]] = {}
    for one in series:
        by_label.setdefault(one.label, []).append(one)
    joined = [
        replace(group[0], x=np.concatenate([one.x for one in group]), y=np.concatenate([one.y for one in group]))
        for group in by_label.values()
    ]
    return tuple(replace(one, x=x, y=y) for one in joined for x, y in (thinned(one.x, one.y),) if x.size)


def ten_hop_view(change: xr.DataArray, setpoint: float) -> View:
    """The bulk current's change over ten hops against time, with the setpoint as its limit."""
    time, unit = time_axis(float(change["t"].values[-1]))
    t = unit * change["t"].values
    limit = np.full(2, setpoint * 100.0)
    panel = CurvePanel(
        time,
        Axis("change over ten hops", "%"),
        (
            Series("bulk current", *thinned(t, change.values), "pipette", "points"),
            Series("setpoint", t[[0, -1]], limit, "limit", "dashed"),
        ),
        "(max - min)/mean of the reference current over ten successive hops",
        y_limits=(0.0, 1.15 * max(setpoint * 100.0, float(change.values.max()))),
    )
    return View("ten_hop", "Ten-hop check", (panel,))


def hop_view(trace: xr.Dataset, record: Mapping[str, float]) -> View:
    """One hop as sampled: pipette current and height against time, with reference, threshold and stop.

    `record` is the hop's row: `hop`, `i_ref`, `z_stop`, `t_ns`, `setpoint`, `outcome`. A hop that ended without contact
    has no stop: its heights are above its lowest sample.
    """
    contact = record["outcome"] == Outcome.CONTACT
    t = (trace["t_ns"].values - trace["t_ns"].values[0]) * 1e-6
    ends = t[[0, -1]]
    threshold = record["i_ref"] * (1.0 - record["setpoint"])
    axis = Axis("time in the hop", "ms")
    i = trace["pipette_current"].values * 1e9
    stop = np.array([(record["t_ns"] - trace["t_ns"].values[0]) * 1e-6])
    current = CurvePanel(
        axis,
        Axis("pipette current", "nA"),
        (
            Series("samples", t, i, "pipette"),
            Series("reference", ends, np.full(2, record["i_ref"] * 1e9), "neutral", "dashed"),
            Series("threshold", ends, np.full(2, threshold * 1e9), "limit", "dashed"),
        ),
        PIPETTE_SIGN,
    )
    lowest = record["z_stop"] if contact else float(np.nanmin(trace["z"].values))
    sampled = Series("samples", t, (trace["z"].values - lowest) * 1e9, "height")
    height = CurvePanel(
        axis,
        Axis("height above the stop" if contact else "height above the lowest sample", "nm"),
        (sampled, Series("stop", stop, np.zeros(1), "cell", "marks")) if contact else (sampled,),
        f"{'stop' if contact else 'no contact: lowest'} at z = {1e6 * lowest:.3f} µm; up is positive",
    )
    return View("hop", f"Hop {int(record['hop'])} as sampled", (current, height), share_x=True)


def approach_view(
    samples: tuple[F64, F64], predicted: tuple[F64, F64], stop: float, predicted_stop: float, reach: float, caption: str
) -> View:
    """An approach as sampled, and as predicted for the pipette: current against the distance from the fitted surface.

    `samples` and `predicted`: distance [m], rising, and current [A]; `stop` is the distance at which the hop stopped,
    `predicted_stop` that at which the predicted curve reaches the setpoint, `reach` how far is shown, all [m].
    """
    d, i = samples
    curve_d, curve_i = predicted

    def mark(label: str, at: float, role: Role) -> Series:
        return Series(label, np.array([1e9 * at]), np.interp([at], curve_d, 1e9 * curve_i), role, "marks")

    series = (
        Series("samples", 1e9 * d, 1e9 * i, "pipette", "points"),
        Series("predicted", 1e9 * curve_d, 1e9 * curve_i, "model"),
        mark("stop predicted for the setpoint", predicted_stop, "model"),
        mark("stop", stop, "cell"),
    )
    axis = Axis("distance from the fitted surface", "nm")
    panel = CurvePanel(axis, _PIPETTE, series, PIPETTE_SIGN, x_limits=(0.0, 1e9 * reach))
    return View("approach", "Approach against its prediction", (panel,), caption)


def line_profile_view(x: F64, height: F64, title: str, caption: str) -> View:
    """Heights along one line: `x` [m] along it, `height` [m] about any zero, NaN without contact."""
    panel = CurvePanel(
        Axis("position along the line", "µm"),
        Axis("height", "nm"),
        (Series("height", 1e6 * x, 1e9 * (height - np.nanmean(height)), "height"),),
        "about the mean of the line; up is positive",
    )
    return View("line_profile", title, (panel,), caption)


def point_view(
    t: F64, height: F64, reference: F64, cell_t: F64, potential: F64, soc: F64, cell: F64, title: str
) -> View:
    """Potential, height, state of charge, cell current and pipette current against time: the panels of Figure 5b.

    Hops: `t` [s], `height` [m] (any zero), `reference` current [A], (n,). Cell: `cell_t` [s], `potential` [V],
    `soc` [1] (NaN where unknown), the share of the watched lithiation's charge, `cell` current [A], (m,). Time counts
    from the first hop.
    """
    start = float(t[0])
    during = cell_t >= start
    time, unit = time_axis(max(float(t[-1]), float(cell_t[-1])) - start)
    th, tc = unit * (t - start), unit * (cell_t[during] - start)
    panels = [
        CurvePanel(time, POTENTIAL, (Series("program", *thinned(tc, potential[during]), "potential"),)),
        CurvePanel(
            time,
            Axis("height change", "µm"),
            (Series("height", *thinned(th, 1e6 * (height - height[0])), "height", "points"),),
            "since the first hop; up is positive",
        ),
    ]
    if np.isfinite(soc[during]).any():
        panels.append(
            CurvePanel(
                time,
                Axis("SOC", "%"),
                (Series("SOC", *thinned(tc, 100.0 * soc[during]), "neutral"),),
                "share of the charge of this lithiation, as the paper counts: 100 % where it ends",
            )
        )
    panels += [
        CurvePanel(
            time, Axis("cell current", "mA"), (Series("cell", *thinned(tc, 1e3 * cell[during]), "cell"),), CELL_SIGN
        ),
        CurvePanel(time, _PIPETTE, (Series("reference", *thinned(th, 1e9 * reference), "pipette", "points"),), _SIGN),
    ]
    return View("point_in_time", title, tuple(panels), share_x=True)


def line_view(change: xr.DataArray, title: str = "Height along the line") -> View:
    """Kymograph with position up and time to the right; potential, cell and pipette current below: Figure 5d.

    `change` as the trace of `kymograph_largest_change`: height change [m], dims (line, pixel), coordinates `x` [m] of
    each pixel, `t` [s], `potential` [V], `cell_current` [A] and `reference` (far pipette current) [A] of each line.
    """
    seconds, x = change["t"].values, 1e6 * change["x"].values
    time, unit = time_axis(float(np.ptp(seconds)))
    t = unit * (seconds - seconds[0])
    half = 0.5 * float(x[-1] - x[0]) / max(x.size - 1, 1)
    image, left, right = even_times(seconds - seconds[0], change.values)
    largest = float(np.nanmax(np.abs(change.values), initial=0.0))
    length, factor = ("µm", 1e6) if largest > _MICROMETRES else ("nm", 1e9)
    current, scale = scaled_axis("cell current", "A", float(np.max(np.abs(change["cell_current"].values))))
    panels = (
        ImagePanel(
            time,
            Axis("position along the line", "µm"),
            Axis("height change", length),
            factor * image.T,
            (unit * left, unit * right, float(x[0]) - half, float(x[-1]) + half),
            "change",
            note="of each pixel since its own first complete pass; up is positive; grey: no contact or no pass",
        ),
        CurvePanel(time, POTENTIAL, (Series("measured", *thinned(t, change["potential"].values), "potential"),)),
        CurvePanel(
            time, current, (Series("cell", *thinned(t, scale * change["cell_current"].values), "cell"),), CELL_SIGN
        ),
        CurvePanel(
            time, _PIPETTE, (Series("reference", *thinned(t, 1e9 * change["reference"].values), "pipette"),), _SIGN
        ),
    )
    return View("kymograph", title, panels, "Time counts from the first pass.", share_x=True)
