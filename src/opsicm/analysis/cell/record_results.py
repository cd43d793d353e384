"""Results of a record of potential and current from any instrument: capacities, derivatives, pulses, or peaks."""

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
from opsicm.analysis.cell.voltammogram import linear_sweeps, programmed_sweeps, sweep_peaks
from opsicm.analysis.result import Result, Subject, failed
from opsicm.core.errors import OutsideDomain
from opsicm.core.statistics import median_with_u, resolved_u, straight_line, u_of_rectangle

F64 = NDArray[np.float64]
_WIDTH: Final = 0.03  # of a half-cycle's charge: smoothing of dV/dQ
_WIDTH_V: Final = 5e-3  # [V] smoothing of dQ/dV
_EDGE: Final = 5  # bins of `incremental_capacity`: its width
_MOST: Final = 12  # results of one kind
_ROWS: Final = 10  # the fewest of a half-cycle
_SIGN: Final = "negative is cathodic (lithiates)"
_U: Final = "u: half a row at either end, noise, gaps"
_MAH: Final = 3.6  # [C]
_HELD: Final = 3e-3  # [V] about its median
_MOVED: Final = 1e-3  # [V] total drift of a potential that counts as held
VOLTAMMOGRAM: Final = "voltammogram"
_DIRECTION: Final = {"lithiation": "cathodic", "delithiation": "anodic"}


def constant_current_parts(t: F64, current: F64, potential: F64 | None = None) -> list[HalfCycle]:
    """Parts of at least ten rows over which the current was held constant.

    With the `potential` [V], also the constant-current part of CC-CV.
    """
    parts = []
    for part in half_cycles(t, current):
        if part.kind == "rest" or part.stop - part.first < _ROWS:
            continue
        if current_spread(current[part.first + 1 : part.stop - 1]) < STEADY:
            parts.append(part)
        elif steps := _current_steps(t, current, part):
            parts += steps
        elif potential is not None:
            hold = part.first + _start_of_hold(potential[part.first : part.stop], current[part.first : part.stop])
            if hold - part.first >= _ROWS and current_spread(current[part.first + 1 : hold - 1]) < STEADY:
                parts += [
                    replace(piece, first=piece.first + part.first, stop=piece.stop + part.first)
                    for piece in half_cycles(t[part.first : hold], current[part.first : hold])
                ]
    return parts


def _current_steps(t: F64, current: F64, part: HalfCycle) -> list[HalfCycle]:
    """Constant currents of one sign that follow one another without a rest; empty if the current is no staircase.

    Cut where the current jumps from row to row; nine tenths of the rows must then lie in constant pieces.
    """
    i = current[part.first : part.stop]
    jumps = np.flatnonzero(np.abs(np.diff(i)) > 0.5 * STEADY * float(np.max(np.abs(i)))) + 1
    edges = [0, *jumps.tolist(), i.size]
    pieces = [
        (part.first + a, part.first + b)
        for a, b in pairwise(edges)
        if b - a >= _ROWS and current_spread(i[a + 1 : b - 1]) < STEADY
    ]
    if len(pieces) < 2 or sum(b - a for a, b in pieces) < 0.9 * i.size:
        return []
    return [
        replace(part, first=a, stop=b, charge=charge, u_charge=u)
        for a, b in pieces
        for charge, u in [charge_passed(t[a:b], current[a:b])]
    ]


def constant_potential_parts(t: F64, potential: F64, current: F64) -> list[HalfCycle]:
    """Final parts of half-cycles with the potential held (within 3 mV, ten rows and more) but not the current."""
    parts = []
    for part in half_cycles(t, current):
        if part.kind == "rest" or part.stop - part.first < _ROWS:
            continue
        hold = part.first + _start_of_hold(potential[part.first : part.stop], current[part.first : part.stop])
        if (
            part.stop - hold >= _ROWS
            and not current_spread(current[hold : part.stop]) < STEADY
            and _is_constant(t, potential, hold, part)
        ):
            parts += [
                replace(piece, first=piece.first + hold, stop=piece.stop + hold)
                for piece in half_cycles(t[hold : part.stop], current[hold : part.stop])
                if piece.kind == part.kind
            ]
    return parts


def _is_constant(t: F64, potential: F64, first: int, part: HalfCycle) -> bool:
    """Whether the potential is constant from row `first` on: by its trend, as a slow sweep is as close."""
    rows = slice(first, part.stop)
    moved = abs(straight_line(t[rows], potential[rows]).slope) * float(t[part.stop - 1] - t[first])
    return moved < _MOVED


def _start_of_hold(potential: F64, current: F64) -> int:
    """The first row from which the potential stays within 3 mV of the median of the last ten.

    Rows of the constant current before it that are as near already (a plateau) do not count.
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
    program: F64 | None = None,
) -> list[Result]:
    """Results of `t` [s], `potential` [V], `current` [A] (positive anodic), (n,); `particle_radius` [m] of spheres.

    At constant current: capacity, highest dQ/dV and ends of stages of each half-cycle, relaxed potentials and
    diffusivity of pulses between rests. Otherwise: cycles, scan rate and peaks of a voltammogram, and with `charges`
    the charge of each sweep. Where the `program` [V] is known (NaN where the potential was not controlled), sweeps are
    its own and their potentials the program's. Without `lithium` the directions are called cathodic and anodic, because
    the electrode is unknown. Rows without a value are left out and counted. Fails with a named outcome for a record
    without current, with fewer than ten rows, or whose time runs backwards.
    """
    good = np.isfinite(t) & np.isfinite(potential) & np.isfinite(current)
    missing = int(t.size - good.sum())
    t, potential, current = t[good], potential[good], current[good]
    program = None if program is None else program[good]
    name, method = "record", "rows of time, potential and current"
    if t.size < _ROWS:
        outcome = "all NaN" if missing and not t.size else "too few rows"
        return [failed(name, "1", method, outcome, f"{t.size} rows with all three values; {_ROWS} are needed")]
    if np.any(np.diff(t) < 0.0):
        reason = "time runs backwards: several files joined, or a clock that restarts with each step"
        return [failed(name, "1", method, "reversed axis", reason)]
    if not np.any(current):
        return [failed(name, "1", method, "no current", "no current flowed in this record")]
    steady = constant_current_parts(t, current, potential)
    if steady:
        results = _constant_current_results(t, potential, current, steady, particle_radius, missing)
    elif program is None:
        results = _sweep_results(t, potential, current, linear_sweeps(t, potential), charges, missing)
    else:
        swept = np.where(np.isfinite(program), program, potential)
        results = _sweep_results(t, swept, current, programmed_sweeps(t, program), charges, missing)
    results += _hold_results(t, constant_potential_parts(t, potential, current)) if charges else []
    return results if lithium else [r.within(part=_DIRECTION.get(r.of.part, r.of.part)) for r in results]


def _constant_current_results(
    t: F64, potential: F64, current: F64, steady: list[HalfCycle], radius: float | None, missing: int
) -> list[Result]:
    results = []
    for number, part in enumerate(steady, start=1):
        method = (
            f"charge of the constant current from {t[part.first]:.1f} to {t[part.stop - 1]:.1f} s, trapezoids; "
            f"{_SIGN}; {_U}"
        )
        flags = {"missing_rows": part.missing + missing, "gaps": gaps(t[part.first : part.stop])}
        rows = slice(part.first, part.stop)
        trace = xr.Dataset(
            {
                "charge": ("row", np.abs(_cumulative_charge(t[rows], current[rows])) / _MAH),
                "potential": ("row", potential[rows]),
            },
            attrs={"units": "mAh, V", "kind": part.kind},
        )
        value, u = part.charge / _MAH, part.u_charge / _MAH
        results.append(
            Result(
                "capacity", value, u, "mAh", method, flags=flags, trace=trace, of=Subject(part=part.kind, number=number)
            )
        )
    pulses = titration(t, potential, current, radius)
    # The derivative over a short pulse shows its relaxation, not the specimen's stages.
    brief = {pulse.end for pulse in pulses} if len(pulses) > 2 else set()
    for number, part in enumerate(steady[:_MOST], start=1):
        if float(t[part.stop - 1]) not in brief:
            results += _derivative_results(t, potential, current, part, number)
    for number, pulse in enumerate(pulses, start=1):
        of = f"the pulse of {pulse.start:.1f}–{pulse.end:.1f} s"
        method = (
            f"potential at the end of the rest after {of}; u: the relaxation still to come, as 1/sqrt(t); slope in "
            f"the pulse {1e3 * pulse.slope:.3g} mV/sqrt(s)"
        )
        drawn = _titration_trace(t, potential, pulses) if number == 1 else None
        relaxed, u_relaxed = pulse.relaxed_potential, pulse.u_relaxed
        results.append(Result("relaxed_potential", relaxed, u_relaxed, "V", method, trace=drawn, index=number))
        method = (
            f"Weppner and Huggins' formula for spheres over {of}; about 10 % too high (solved sphere), included in u"
        )
        if pulse.diffusivity is None or pulse.u_diffusivity is None:
            results.append(failed("diffusivity", "m²/s", method, "not identifiable", pulse.reason, index=number))
        else:
            results.append(Result("diffusivity", pulse.diffusivity, pulse.u_diffusivity, "m²/s", method, index=number))
    return results


def _titration_trace(t: F64, potential: F64, pulses: list[Pulse]) -> xr.Dataset:
    """The record and, for each pulse, the end of its rest, the relaxed potential and the charge passed until then."""
    return xr.Dataset(
        {
            "potential": ("row", potential),
            "relaxed": ("pulse", np.array([pulse.relaxed_potential for pulse in pulses])),
            "u_relaxed": ("pulse", np.array([pulse.u_relaxed for pulse in pulses])),
            "passed": ("pulse", np.cumsum([pulse.charge for pulse in pulses]) / _MAH),
            "settled": ("pulse", np.array([pulse.rest_end for pulse in pulses])),
        },
        coords={"t": ("row", t)},
        attrs={"units": "V, V, V, mAh, s"},
    )


def _cumulative_charge(t: F64, current: F64) -> F64:
    """Charge [C] passed since the first row, by trapezoids."""
    return np.append(0.0, np.cumsum(0.5 * (current[1:] + current[:-1]) * np.diff(t)))


def _derivative_results(t: F64, potential: F64, current: F64, part: HalfCycle, number: int) -> list[Result]:
    """Highest |dQ/dV| and the ends of stages (peaks of |dV/dQ|) of one half-cycle; [] where it is too short."""
    rows, of = slice(part.first, part.stop), Subject(part=part.kind, number=number)
    charge = _cumulative_charge(t[rows], current[rows])
    part_potential = potential[rows]
    if np.ptp(part_potential) <= 0.0 or not charge[-1] or part_potential.size < 4 * _ROWS:
        return []
    results: list[Result] = []
    try:
        capacity = incremental_capacity(part_potential, charge, _WIDTH_V)
        stages = transitions_from_potential(charge / charge[-1] * 100.0, part_potential, 100.0 * _WIDTH)
        derivative = differential_voltage(charge / charge[-1], part_potential, _WIDTH)
    except OutsideDomain:
        return results
    # Within one width of the ends the smoothing is one-sided.
    inner = np.abs(capacity.value[_EDGE:-_EDGE])
    if inner.size > 2:
        at = _EDGE + int(np.argmax(inner))
        method = (
            f"potential of the highest |dQ/dV|, {abs(capacity.value[at]) / _MAH:.4g} mAh/V; {capacity.smoothing}; "
            "u: the smoothing's width as a rectangle"
        )
        trace = xr.DataArray(
            np.abs(capacity.value) / _MAH,
            dims="potential",
            coords={"potential": capacity.abscissa},
            attrs={"units": "mAh/V", "smoothing": capacity.smoothing},
        )
        u = u_of_rectangle(capacity.width)
        results.append(Result("dq_dv_highest", float(capacity.abscissa[at]), u, "V", method, trace=trace, of=of))
    for j, stage in enumerate(stages[:_MOST], start=1):
        method = f"peak of |dV/dQ|, in % of the half-cycle's charge; {derivative.smoothing.replace(' C', '')} of it"
        results.append(Result("stage_end", stage.charge, stage.u, "%", method, of=of, index=j))
    return results


def _hold_results(t: F64, held: list[HalfCycle]) -> list[Result]:
    results = []
    for k, p in enumerate(held[:_MOST], start=1):
        method = (
            f"charge while the potential was held from {t[p.first]:.1f} to {t[p.stop - 1]:.1f} s, trapezoids; {_SIGN}; "
            f"{_U}"
        )
        of = Subject(part=p.kind, number=k)
        results.append(Result("charge_hold", p.charge / _MAH, p.u_charge / _MAH, "mAh", method, of=of))
    return results


def _sweep_results(
    t: F64, potential: F64, current: F64, sweeps: list[slice], charges: bool, missing: int
) -> list[Result]:
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
            "jump or a curved record has no voltammogram"
        )
        return [*results, failed(VOLTAMMOGRAM, "V", "peaks of sweeps at one rate", "no sweep", reason)]
    trace = rows_of_sweeps(potential, current, sweeps)
    if charges:
        method = "sweeps at one rate, two to a cycle; those below a tenth of the potential's range are left out"
        results.append(Result("cycles", 0.5 * len(sweeps), 0.0, "1", method, flags=flags, trace=trace))
        rates = np.array([abs(np.ptp(potential[s])) / np.ptp(t[s]) for s in sweeps if np.ptp(t[s]) > 0.0])
        if rates.size:
            rate, u = median_with_u(1e3 * rates)
            method = "span of a sweep over its time, median over the sweeps; u: 1.2533 MAD-sigma/sqrt(n), none of one"
            results.append(Result("scan_rate", rate, resolved_u(rate, u), "mV/s", method, flags=flags))
    for k, peak in enumerate(sweep_peaks(potential, current, sweeps)[:_MOST], start=1):
        of = Subject(part="delithiation" if peak.anodic else "lithiation")
        method = (
            f"vertex of a parabola within 20 mV, sweep {peak.sweep}; {1e3 * peak.current:.4g} ± "
            f"{1e3 * peak.u_current:.1g} mA as measured, without baseline correction; {_SIGN}"
        )
        marked = trace.assign_attrs(peak_potential=peak.potential, peak_current=peak.current)
        at, u = peak.potential, peak.u_potential
        results.append(Result("peak_potential", at, u, "V", method, trace=marked, of=of, index=k))
    for k, s in enumerate(sweeps[:_MOST] if charges else [], start=1):
        of = Subject(part="anodic" if potential[s][-1] > potential[s][0] else "cathodic")
        charge, u = charge_passed(t[s], current[s])
        method = f"{potential[s][0]:.3f} to {potential[s][-1]:.3f} V, trapezoids, both signs of the current counted"
        method = f"{method}; {_SIGN}; {_U}"
        sweep_flags = {"gaps": gaps(t[s])}
        results.append(
            Result("sweep_charge", charge / _MAH, u / _MAH, "mAh", method, flags=sweep_flags, of=of, index=k)
        )
    return results


def rows_of_sweeps(potential: F64, current: F64, sweeps: list[slice]) -> xr.Dataset:
    """The rows of all sweeps, each with the number of its sweep."""
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
