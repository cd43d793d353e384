"""What a record of potential and current holds, whoever measured it: capacities, derivatives, pulses, or peaks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.half_cycles import (
    STEADY,
    HalfCycle,
    charge_passed,
    current_spread,
    differential_voltage,
    gaps,
    half_cycles,
    incremental_capacity,
)
from opsicm.analysis.cell.titration import Pulse, titration
from opsicm.analysis.cell.transitions import transitions_from_potential
from opsicm.analysis.cell.voltammogram import linear_sweeps, peaks
from opsicm.analysis.result import Of, Result, failed
from opsicm.core.errors import OutsideDomain
from opsicm.core.statistics import median_with_u, resolved_u, straight_line, u_of_rectangle

F64 = NDArray[np.float64]
_WIDTH: Final = 0.03  # of a half-cycle's charge: the declared smoothing of dV/dQ
_WIDTH_V: Final = 5e-3  # [V] the declared smoothing of dQ/dV
_EDGE: Final = 5  # bins of `incremental_capacity`: its width
_MOST: Final = 12
_ROWS: Final = 10
_SIGN: Final = "negative is cathodic (lithiates)"
_U: Final = "u: half a row at either end, noise, gaps"
_MAH: Final = 3.6
_HELD: Final = 3e-3  # [V]
_MOVED: Final = 1e-3  # [V] that a held potential may go in all
VOLTAMMOGRAM: Final = "voltammogram"
_DIRECTION: Final = {"lithiation": "cathodic", "delithiation": "anodic"}


def steady_stretches(t: F64, current: F64, potential: F64 | None = None) -> list[HalfCycle]:
    """Stretches of at least ten rows over which the current was held constant.

    With the `potential` [V], the constant part before a hold at its end (CC-CV) is one too.
    """
    found = []
    for p in half_cycles(t, current):
        if p.kind == "rest" or p.stop - p.first < _ROWS:
            continue
        if current_spread(current[p.first + 1 : p.stop - 1]) < STEADY:
            found.append(p)
        elif levels := _levels(t, current, p):
            found += levels
        elif potential is not None:
            a = p.first + _hold_begins(potential[p.first : p.stop], current[p.first : p.stop])
            if a - p.first >= _ROWS and current_spread(current[p.first + 1 : a - 1]) < STEADY:
                found += [
                    replace(q, first=q.first + p.first, stop=q.stop + p.first)
                    for q in half_cycles(t[p.first : a], current[p.first : a])
                ]
    return found


def _levels(t: F64, current: F64, p: HalfCycle) -> list[HalfCycle]:
    """Stretches of constant currents of one sign that follow one another without a rest; none where that is no steps.

    Cut where the current jumps from row to row; nine tenths of the rows must then lie in steady pieces.
    """
    i = current[p.first : p.stop]
    jumps = np.flatnonzero(np.abs(np.diff(i)) > 0.5 * STEADY * float(np.max(np.abs(i)))) + 1
    edges = [0, *jumps.tolist(), i.size]
    pieces = [
        (p.first + a, p.first + b)
        for a, b in pairwise(edges)
        if b - a >= _ROWS and current_spread(i[a + 1 : b - 1]) < STEADY
    ]
    if len(pieces) < 2 or sum(b - a for a, b in pieces) < 0.9 * i.size:
        return []
    return [
        replace(p, first=a, stop=b, charge=charge, u_charge=u)
        for a, b in pieces
        for charge, u in [charge_passed(t[a:b], current[a:b])]
    ]


def held_stretches(t: F64, potential: F64, current: F64) -> list[HalfCycle]:
    """Stretches that end with the potential held (within 3 mV, ten rows and more) while the current was not."""
    found = []
    for p in half_cycles(t, current):
        if p.kind == "rest" or p.stop - p.first < _ROWS:
            continue
        a = p.first + _hold_begins(potential[p.first : p.stop], current[p.first : p.stop])
        if p.stop - a >= _ROWS and not current_spread(current[a : p.stop]) < STEADY and _stands(t, potential, a, p):
            found += [
                replace(q, first=q.first + a, stop=q.stop + a)
                for q in half_cycles(t[a : p.stop], current[a : p.stop])
                if q.kind == p.kind
            ]
    return found


def _stands(t: F64, potential: F64, a: int, p: HalfCycle) -> bool:
    """Whether the potential stands from row `a` on: the last rows of a slow sweep lie as near to one another."""
    rows = slice(a, p.stop)
    moved = abs(straight_line(t[rows], potential[rows]).slope) * float(t[p.stop - 1] - t[a])
    return moved < _MOVED


def _hold_begins(potential: F64, current: F64) -> int:
    """The first row from which the potential stays within 3 mV of the median of the last ten.

    Rows of the constant current before it that are as near already (a plateau) do not belong to the hold.
    """
    away = np.abs(potential - float(np.median(potential[-_ROWS:]))) > _HELD
    begins = int(np.flatnonzero(away)[-1]) + 1 if away.any() else 0
    if begins < _ROWS:
        return begins
    level = float(np.median(current[:begins]))
    left = np.flatnonzero(np.abs(current[begins:] - level) > 0.5 * STEADY * abs(level))
    return begins + int(left[0]) if left.size else potential.size


def record_results(
    t: F64,
    potential: F64,
    current: F64,
    particle_radius: float | None = None,
    charges: bool = True,
    lithium: bool = True,
) -> list[Result]:
    """Results of `t` [s], `potential` [V], `current` [A] (positive anodic), (n,); `particle_radius` [m] of spheres.

    Where current was held: capacity, the highest dQ/dV and the ends of stages of each stretch, relaxed potentials and
    diffusivity of pulses between rests. Else: cycles, scan rate and peaks of a voltammogram, and with `charges` the
    charge of each sweep. Without `lithium` the directions are called cathodic and anodic: nobody said what the
    electrode is. Rows without a value are left out and counted. Fails with a named outcome for a record
    without current, with fewer than ten rows, or whose time does not run.
    """
    good = np.isfinite(t) & np.isfinite(potential) & np.isfinite(current)
    missing = int(t.size - good.sum())
    t, potential, current = t[good], potential[good], current[good]
    name, method = "record", "rows of time, potential and current"
    if t.size < _ROWS:
        outcome = "all NaN" if missing and not t.size else "too few rows"
        return [failed(name, "1", method, outcome, f"{t.size} rows with all three values; {_ROWS} are needed")]
    if np.any(np.diff(t) < 0.0):
        reason = "time runs backwards: stretches of several files, or a clock that restarts with each step"
        return [failed(name, "1", method, "reversed axis", reason)]
    if not np.any(current):
        return [failed(name, "1", method, "no current", "no current flowed in this record")]
    steady = steady_stretches(t, current, potential)
    if steady:
        results = _constant(t, potential, current, steady, particle_radius, missing)
    else:
        results = _sweeps(t, potential, current, charges, missing)
    results += _holds(t, held_stretches(t, potential, current)) if charges else []
    return results if lithium else [r.within(part=_DIRECTION.get(r.of.part, r.of.part)) for r in results]


def _constant(
    t: F64, potential: F64, current: F64, steady: list[HalfCycle], radius: float | None, missing: int
) -> list[Result]:
    results = []
    for k, p in enumerate(steady, start=1):
        method = (
            f"charge of the constant current from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, trapezoids; {_SIGN}; {_U}"
        )
        flags = {"missing_rows": p.missing + missing, "gaps": gaps(t[p.first : p.stop])}
        rows = slice(p.first, p.stop)
        trace = xr.Dataset(
            {"charge": ("row", np.abs(_charge(t[rows], current[rows])) / _MAH), "potential": ("row", potential[rows])},
            attrs={"units": "mAh, V", "kind": p.kind},
        )
        value, u = p.charge / _MAH, p.u_charge / _MAH
        results.append(
            Result("capacity", value, u, "mAh", method, flags=flags, trace=trace, of=Of(part=p.kind, number=k))
        )
    pulses = titration(t, potential, current, radius)
    # A pulse is not a half-cycle: its derivative is the relaxation's, not the specimen's.
    brief = {pulse.end for pulse in pulses} if len(pulses) > 2 else set()
    for k, p in enumerate(steady[:_MOST], start=1):
        if float(t[p.stop - 1]) not in brief:
            results += _derivatives(t, potential, current, p, k)
    for k, pulse in enumerate(pulses, start=1):
        of = f"the pulse of {pulse.start:.1f}–{pulse.end:.1f} s"
        method = (
            f"potential at the end of the rest after {of}; u: what would still come, relaxing as 1/sqrt(t); slope in "
            f"the pulse {1e3 * pulse.slope:.3g} mV/sqrt(s)"
        )
        drawn = _titrated(t, potential, pulses) if k == 1 else None
        relaxed, u_relaxed = pulse.relaxed, pulse.u_relaxed
        results.append(Result("relaxed_potential", relaxed, u_relaxed, "V", method, trace=drawn, index=k))
        method = f"Weppner and Huggins' formula for spheres over {of}; reads some 10 % high (solved sphere): in u"
        if pulse.diffusivity is None or pulse.u_diffusivity is None:
            results.append(failed("diffusivity", "m²/s", method, "not identifiable", pulse.reason, index=k))
        else:
            results.append(Result("diffusivity", pulse.diffusivity, pulse.u_diffusivity, "m²/s", method, index=k))
    return results


def _titrated(t: F64, potential: F64, pulses: list[Pulse]) -> xr.Dataset:
    """The record and, for each pulse, its end, the relaxed potential and the charge passed until then."""
    return xr.Dataset(
        {
            "potential": ("row", potential),
            "relaxed": ("pulse", np.array([pulse.relaxed for pulse in pulses])),
            "u_relaxed": ("pulse", np.array([pulse.u_relaxed for pulse in pulses])),
            "passed": ("pulse", np.cumsum([pulse.charge for pulse in pulses]) / _MAH),
            "settled": ("pulse", np.array([pulse.rested for pulse in pulses])),
        },
        coords={"t": ("row", t)},
        attrs={"units": "V, V, V, mAh, s"},
    )


def _charge(t: F64, current: F64) -> F64:
    """[C] passed since the first row, trapezoids."""
    return np.append(0.0, np.cumsum(0.5 * (current[1:] + current[:-1]) * np.diff(t)))


def _derivatives(t: F64, potential: F64, current: F64, p: HalfCycle, k: int) -> list[Result]:
    """The highest |dQ/dV| and the ends of stages (peaks of |dV/dQ|) of one stretch; nothing where it is too short."""
    rows, of = slice(p.first, p.stop), Of(part=p.kind, number=k)
    charge = _charge(t[rows], current[rows])
    e = potential[rows]
    if np.ptp(e) <= 0.0 or not charge[-1] or e.size < 4 * _ROWS:
        return []
    results: list[Result] = []
    try:
        capacity = incremental_capacity(e, charge, _WIDTH_V)
        stages = transitions_from_potential(charge / charge[-1] * 100.0, e, 100.0 * _WIDTH)
        by_charge = differential_voltage(charge / charge[-1], e, _WIDTH)
    except OutsideDomain:
        return results
    # Within one width of the ends the smoothing has only one side to go by.
    inner = np.abs(capacity.value[_EDGE:-_EDGE])
    if inner.size > 2:
        at = _EDGE + int(np.argmax(inner))
        method = (
            f"potential of the highest |dQ/dV|, {abs(capacity.value[at]) / _MAH:.4g} mAh/V; {capacity.smoothing}; "
            "u: half the smoothing's width, even over it"
        )
        trace = xr.DataArray(
            np.abs(capacity.value) / _MAH,
            dims="potential",
            coords={"potential": capacity.at},
            attrs={"units": "mAh/V", "smoothing": capacity.smoothing},
        )
        u = u_of_rectangle(capacity.width)
        results.append(Result("dq_dv_highest", float(capacity.at[at]), u, "V", method, trace=trace, of=of))
    for j, stage in enumerate(stages[:_MOST], start=1):
        method = f"peak of |dV/dQ|, in % of the stretch's charge; {by_charge.smoothing.replace(' C', '')} of it"
        results.append(Result("stage_end", stage.charge, stage.u, "%", method, of=of, index=j))
    return results


def _holds(t: F64, held: list[HalfCycle]) -> list[Result]:
    results = []
    for k, p in enumerate(held[:_MOST], start=1):
        method = (
            f"charge while the potential was held from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, trapezoids; {_SIGN}; "
            f"{_U}"
        )
        of = Of(part=p.kind, number=k)
        results.append(Result("charge_hold", p.charge / _MAH, p.u_charge / _MAH, "mAh", method, of=of))
    return results


def _sweeps(t: F64, potential: F64, current: F64, charges: bool, missing: int) -> list[Result]:
    sweeps = linear_sweeps(t, potential)
    results: list[Result] = []
    flags = {"missing_rows": missing, "gaps": gaps(t)}
    if not sweeps:
        if charges:
            charge, u = charge_passed(t, current)
            method = f"charge of the whole record, trapezoids; {_SIGN}; {_U}"
            results.append(Result("charge", charge / _MAH, u / _MAH, "mAh", method, flags=flags))
        moved = 1e3 * float(np.ptp(potential))
        reason = (
            f"the potential moved by {moved:.3g} mV in all, and nowhere by 3 mV and ten rows at one rate: a hold, a "
            "jump or a bent record has no voltammogram"
        )
        return [*results, failed(VOLTAMMOGRAM, "V", "peaks of sweeps at one rate", "no sweep", reason)]
    trace = _voltammogram(potential, current, sweeps)
    if charges:
        method = "sweeps at one rate, two to a cycle; stretches below a tenth of the potential's range are none"
        results.append(Result("cycles", 0.5 * len(sweeps), 0.0, "1", method, flags=flags, trace=trace))
        rates = np.array([abs(np.ptp(potential[s])) / np.ptp(t[s]) for s in sweeps if np.ptp(t[s]) > 0.0])
        if rates.size:
            rate, u = median_with_u(1e3 * rates)
            said = "span of a sweep over its time, median over the sweeps; u: 1.2533 MAD-sigma/sqrt(n), none of one"
            results.append(Result("scan_rate", rate, resolved_u(rate, u), "mV/s", said, flags=flags))
    for k, peak in enumerate(peaks(potential, current, sweeps)[:_MOST], start=1):
        of = Of(part="delithiation" if peak.anodic else "lithiation")
        method = (
            f"vertex of a parabola within 20 mV, sweep {peak.sweep}; {1e3 * peak.current:.4g} ± "
            f"{1e3 * peak.u_current:.1g} mA as measured, no baseline taken away; {_SIGN}"
        )
        marked = trace.assign_attrs(peak_potential=peak.potential, peak_current=peak.current)
        at, u = peak.potential, peak.u_potential
        results.append(Result("peak_potential", at, u, "V", method, trace=marked, of=of, index=k))
    for k, s in enumerate(sweeps[:_MOST] if charges else [], start=1):
        of = Of(part="anodic" if potential[s][-1] > potential[s][0] else "cathodic")
        charge, u = charge_passed(t[s], current[s])
        said = f"{potential[s][0]:.3f} to {potential[s][-1]:.3f} V, trapezoids, both signs of the current counted"
        method = f"{said}; {_SIGN}; {_U}"
        one = {"gaps": gaps(t[s])}
        results.append(Result("sweep_charge", charge / _MAH, u / _MAH, "mAh", method, flags=one, of=of, index=k))
    return results


def _voltammogram(potential: F64, current: F64, sweeps: list[slice]) -> xr.Dataset:
    """Rows of all sweeps and which of them each belongs to."""
    rows = np.concatenate([np.arange(s.start, s.stop) for s in sweeps])
    number = np.concatenate([np.full(s.stop - s.start, k) for k, s in enumerate(sweeps)])
    return xr.Dataset(
        {"potential": ("row", potential[rows]), "current": ("row", current[rows]), "sweep": ("row", number)},
        attrs={"units": "V, A"},
    )


def open_circuit_results(stoichiometry: F64, potential: F64) -> list[Result]:
    """Ends of stages of an open-circuit curve: `stoichiometry` [1], `potential` [V], (n,), as peaks of |dV/dx|.

    Fails with a named outcome below 40 points or half a unit of stoichiometry.
    """
    method = f"peak of |dV/dx| of the open-circuit potential, smoothed over {_WIDTH:g} of stoichiometry"
    good = np.isfinite(stoichiometry) & np.isfinite(potential)
    x, e = stoichiometry[good], potential[good]
    if x.size < 4 * _ROWS or np.ptp(x) < 0.5:
        reason = f"{x.size} points over {float(np.ptp(x)) if x.size else 0.0:.2g}; 40 over 0.5 are needed"
        return [failed("stage_end", "1", method, "too few points", reason, index=1)]
    order = np.argsort(x, kind="stable")
    stages = transitions_from_potential(x[order], e[order], _WIDTH)
    if not stages:
        reason = "no peak of |dV/dx| stands out by 15 % of its span"
        return [failed("stage_end", "1", method, "no peak", reason, index=1)]
    return [Result("stage_end", stage.charge, stage.u, "1", method, index=k) for k, stage in enumerate(stages, start=1)]
