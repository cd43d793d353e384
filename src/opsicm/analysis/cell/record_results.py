"""Results of a record of potential and current from any instrument: capacities, derivatives, pulses, peaks, charges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.cell.charge import Charge, charge_of, running_charge, total
from opsicm.analysis.cell.control import controlled_parts
from opsicm.analysis.cell.derivatives import differential_voltage, incremental_capacity, significant_peaks
from opsicm.analysis.cell.parts import STAIR, ControlledPart
from opsicm.analysis.cell.plausibility import (
    Look,
    clipped_look,
    counted,
    counter_looks,
    current_sign,
    gap_look,
    sign_look,
    time_looks,
    value_looks,
)
from opsicm.analysis.cell.titration import Pulse, titration
from opsicm.analysis.cell.transitions import transitions_from_potential
from opsicm.analysis.cell.unrecorded import JUMP, digits_of, overloads, unrecorded, usual_difference
from opsicm.analysis.cell.voltammogram import sweep_peaks
from opsicm.analysis.result import Result, Subject, doubt, failed
from opsicm.core.errors import OutsideDomain
from opsicm.core.statistics import independent_share, median_with_u, resolved_u, straight_line, u_of_rectangle

F64 = NDArray[np.float64]
_WIDTH: Final = 0.03  # of a half-cycle's charge: smoothing of dV/dQ
_WIDTH_V: Final = 5e-3  # [V] smoothing of dQ/dV
_EDGE: Final = 5  # bins of `incremental_capacity`: its width
_MOST: Final = 12  # results of one kind
_ROWS: Final = 10  # the fewest of a half-cycle
_SIGN: Final = "negative is cathodic (lithiates)"
_U: Final = "u: when in its row the control changed, noise, digits, what lies between rows"
_FEWEST: Final = 3  # rows of a part that is listed
_ONE_RATE: Final = 0.05  # relative difference of scan rates that are one
_MAH: Final = 3.6  # [C]
VOLTAMMOGRAM: Final = "voltammogram"
_T = TypeVar("_T")
_DIRECTION: Final = {"lithiation": "cathodic", "delithiation": "anodic"}


@dataclass(frozen=True, slots=True)
class RecordExtras:
    """What a file knows of its record beside time, potential and current.

    `potential_step` [V], `current_step` [A]: what the last digit of a column stands for (0: not known). `counters`:
    the instrument's own integrals of the current [C] by title, `clock`: its wall clock [s], (n,) each.
    """

    potential_step: float = 0.0
    current_step: float = 0.0
    counters: Mapping[str, F64] | None = None
    clock: F64 | None = None

    def of_rows(self, rows: NDArray[np.bool_]) -> RecordExtras:
        """The same for some of the rows."""
        counters = None if self.counters is None else {title: q[rows] for title, q in self.counters.items()}
        return replace(self, counters=counters, clock=None if self.clock is None else self.clock[rows])


@dataclass(frozen=True, slots=True)
class _Record:
    """The good rows of a record, its parts and their charges."""

    t: F64
    e: F64
    i: F64
    parts: list[ControlledPart]
    charges: list[Charge]
    extras: RecordExtras
    flags: Mapping[str, int]

    def of_kind(self, kind: str) -> list[tuple[ControlledPart, Charge]]:
        both = zip(self.parts, self.charges, strict=True)
        return [(p, c) for p, c in both if p.kind == kind and p.stop - p.first >= _FEWEST]


def record_looks(t: F64, potential: F64, current: F64, extras: RecordExtras | None = None) -> list[Look]:
    """Everything a person should look at before believing a number of the record (as `record_results` takes it)."""
    return _prepared(t, potential, current, extras or RecordExtras(), None)[1]


def _prepared(
    t: F64, potential: F64, current: F64, extras: RecordExtras, parts: Sequence[ControlledPart] | None
) -> tuple[_Record | None, list[Look]]:
    """The record without rows that are no measurement, cut into parts, with what there is to look at; None unless it
    can be analysed."""
    looks = time_looks(t, extras.clock)
    good = np.isfinite(t) & np.isfinite(potential) & np.isfinite(current)
    flags = {"missing_rows": int(t.size - good.sum())}
    t, potential, current, extras = t[good], potential[good], current[good], extras.of_rows(good)
    if t.size < 2 or np.any(np.diff(t) < 0.0):
        return None, looks
    if parts is None:
        bad = overloads(potential, current)
        flags["overload_rows"] = int(bad.sum())
        looks += value_looks(
            potential[~bad], current[~bad], extras.potential_step, extras.current_step, flags["overload_rows"]
        )
        t, potential, current, extras = t[~bad], potential[~bad], current[~bad], extras.of_rows(~bad)
        found = controlled_parts(t, potential, current, extras.potential_step, extras.current_step)
        sign = current_sign(potential, current, found)
        looks += clipped_look(current, found)
        is_swept = not any(p.kind == "current" for p in found)
        looks += sign_look(sign, is_swept)
        # A voltammogram shows no peaks the wrong way round; a charge is what it is with either sign.
        if sign == "turned" and is_swept:
            current = -current
        missing = unrecorded(t, potential, current)
        looks += gap_look(t, missing)
        flags["gaps"] = int(missing.sum())
        looks += counter_looks(found, t, current, extras.counters, extras.current_step)
    else:
        # Rows left out shift the others.
        before = np.append(0, np.cumsum(good))
        moved = [replace(p, first=int(before[p.first]), stop=int(before[p.stop])) for p in parts]
        found = [p for p in moved if p.stop > p.first]
    charges = [charge_of(p, t, current, extras.current_step) for p in found]
    return _Record(t, potential, current, found, charges, extras, {k: n for k, n in flags.items() if n}), looks


def record_results(
    t: F64,
    potential: F64,
    current: F64,
    particle_radius: float | None = None,
    charges: bool = True,
    lithium: bool = True,
    parts: Sequence[ControlledPart] | None = None,
    program: F64 | None = None,
    extras: RecordExtras | None = None,
) -> list[Result]:
    """Results of `t` [s], `potential` [V], `current` [A] (positive anodic), (n,); `particle_radius` [m] of spheres.

    What was controlled is decided for every part of the record (`controlled_parts`), or is what `parts` says (a run's
    own journal); the results are those of its parts. At constant current: capacity, highest dQ/dV and ends of stages,
    relaxed potentials and diffusivity of pulses between rests. Of sweeps: cycles, scan rate, peaks, and with `charges`
    the charge of each. Of holds, with `charges`, the charge. With `program` [V] (NaN where the potential was not
    controlled) the potentials of sweeps are the program's. Without `lithium` the directions are called cathodic and
    anodic, because the electrode is unknown. The current of a voltammogram run through backwards is turned; that, like
    everything else that a person should look at (`record_looks`), is a result "plausibility" without a value. Rows
    without a value and overloads are left out and counted, intervals without a record not integrated.
    Fails with a named outcome for a record without current, with fewer than ten rows, or whose time runs backwards.
    """
    name, method = "record", "rows of time, potential and current"
    good = np.isfinite(t) & np.isfinite(potential) & np.isfinite(current)
    record, looks = _prepared(t, potential, current, extras or RecordExtras(), parts)
    doubts = [doubt(look.kind, look.text, k) for k, look in enumerate(looks if parts is None else [], start=1)]
    if good.sum() < _ROWS:
        outcome = "all NaN" if t.size and not good.any() else "too few rows"
        reason = f"{good.sum()} rows with all three values; {_ROWS} are needed"
        return [failed(name, "1", method, outcome, reason), *doubts]
    if record is None:
        reason = "time runs backwards: several files joined, or a clock that restarts with each step"
        return [failed(name, "1", method, "reversed axis", reason), *doubts]
    if not np.any(record.i):
        return [failed(name, "1", method, "no current", "no current flowed in this record"), *doubts]
    if all(part.kind == "rest" for part in record.parts):
        reason = f"the current stays within {1e3 * float(np.max(np.abs(record.i))):.2g} mA of zero, its noise: a rest"
        return [failed(name, "1", method, "no current", reason), *doubts]
    swept = record.e
    if program is not None:
        known = program[good]
        swept = np.where(np.isfinite(known), known, record.e)
    results = _constant_current_results(record, particle_radius)
    sweeps = [part.rows for part, _ in record.of_kind("sweep")]
    has_unknown = any(part.kind == "unknown" for part in record.parts)
    if charges and (has_unknown or not (results or sweeps)):
        whole = total(record.charges)
        method = f"charge of the whole record, the sum of its parts, trapezoids; {_SIGN}; {_U}"
        results.append(Result("charge", whole.value / _MAH, whole.u / _MAH, "mAh", method, flags=record.flags))
    if sweeps:
        results += _sweep_results(record, swept, charges)
    elif not any(part.kind == "current" for part in record.parts):
        results.append(_no_voltammogram(record))
    results += _hold_results(record) if charges else []
    results = results if lithium else [r.within(part=_DIRECTION.get(r.of.part, r.of.part)) for r in results]
    return [*results, *doubts]


def _no_voltammogram(record: _Record) -> Result:
    moved = 1e3 * float(np.ptp(record.e))
    reason = (
        f"the potential moved by {moved:.3g} mV in all, and nowhere at one rate over 3 mV and eight rows: a hold, a "
        "jump or a curved record has no voltammogram"
    )
    return failed(VOLTAMMOGRAM, "V", "peaks of sweeps at one rate", "no sweep", reason)


def _constant_current_results(record: _Record, radius: float | None) -> list[Result]:
    t, potential, current = record.t, record.e, record.i
    steady = record.of_kind("current")
    results = []
    for number, (part, charge) in enumerate(steady, start=1):
        method = f"charge of the constant current from {part.begin:.1f} to {part.end:.1f} s, trapezoids; {_SIGN}; {_U}"
        both = counted(part, t, current, record.extras.counters)
        if both is not None:
            method += f"; the instrument's own counter: {abs(both[1]) / _MAH:.5g} mAh between the first and last row"
        rows = part.rows
        trace = xr.Dataset(
            {
                "charge": ("row", np.abs(running_charge(t[rows], current[rows])) / _MAH),
                "potential": ("row", potential[rows]),
            },
            attrs={"units": "mAh, V", "kind": part.direction},
        )
        of = Subject(part=part.direction, number=number)
        value, u = charge.value / _MAH, charge.u / _MAH
        results.append(
            Result("capacity", value, resolved_u(value, u), "mAh", method, flags=record.flags, trace=trace, of=of)
        )
    pulses = titration(t, potential, current, radius, record.parts)
    # The derivative over a short pulse shows its relaxation, not the specimen's stages.
    brief = {pulse.end for pulse in pulses} if len(pulses) > 2 else set()
    long = [(k, p, c) for k, (p, c) in enumerate(steady, start=1) if float(t[p.stop - 1]) not in brief]
    for number, part, _ in _largest(long, lambda one: abs(one[2].value)):
        results += _derivative_results(t, potential, current, part, number)
    for number, pulse in enumerate(pulses, start=1):
        of_pulse = f"the pulse of {pulse.start:.1f}–{pulse.end:.1f} s"
        method = (
            f"potential at the end of the rest after {of_pulse}; u: the relaxation still to come, as 1/sqrt(t); slope "
            f"in the pulse {1e3 * pulse.slope:.3g} mV/sqrt(s)"
        )
        drawn = _titration_trace(t, potential, pulses) if number == 1 else None
        relaxed = pulse.relaxed_potential
        u_relaxed = float(np.hypot(pulse.u_relaxed, u_of_rectangle(record.extras.potential_step)))
        results.append(
            Result("relaxed_potential", relaxed, resolved_u(relaxed, u_relaxed), "V", method, trace=drawn, index=number)
        )
        method = f"Weppner and Huggins' formula for spheres over {of_pulse}; about 10 % too high (solved sphere), in u"
        if pulse.diffusivity is None or pulse.u_diffusivity is None:
            results.append(failed("diffusivity", "m²/s", method, "not identifiable", pulse.reason, index=number))
        else:
            results.append(Result("diffusivity", pulse.diffusivity, pulse.u_diffusivity, "m²/s", method, index=number))
    return results


def _largest(of_all: Sequence[_T], size: Callable[[_T], float]) -> list[_T]:
    """The twelve largest, in their order."""
    kept = sorted(range(len(of_all)), key=lambda k: -size(of_all[k]))[:_MOST]
    return [of_all[k] for k in sorted(kept)]


def _listed(shown: int, found: int, what: str) -> tuple[str, dict[str, int]]:
    """What a list that was cut says in its method and flags."""
    return (
        (f"; {found} {what} in all, the {shown} largest listed", {f"{what}_in_all": found})
        if shown < found
        else ("", {})
    )


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


def _derivative_results(t: F64, potential: F64, current: F64, part: ControlledPart, number: int) -> list[Result]:
    """Highest |dQ/dV| and the ends of stages (peaks of |dV/dQ|) of one half-cycle; [] where it is too short."""
    rows, of = part.rows, Subject(part=part.direction, number=number)
    charge = running_charge(t[rows], current[rows])
    part_potential = potential[rows]
    whole = charge[-1]
    # Over a jump of the potential (a short circuit, a switch) there is no derivative: the longest piece without one.
    moves = np.abs(np.diff(part_potential))
    jumps = np.flatnonzero(moves > np.maximum(JUMP * usual_difference(moves), STAIR)) + 1
    a, b = max(pairwise([0, *jumps.tolist(), part_potential.size]), key=lambda piece: piece[1] - piece[0])
    charge, part_potential = charge[a:b], part_potential[a:b]
    if np.ptp(part_potential) <= 0.0 or not np.ptp(charge) or part_potential.size < 4 * _ROWS:
        return []
    results: list[Result] = []
    try:
        capacity = incremental_capacity(part_potential, charge, _WIDTH_V)
        stages = transitions_from_potential(charge / whole * 100.0, part_potential, 100.0 * _WIDTH)
        derivative = differential_voltage(charge / whole, part_potential, _WIDTH)
    except OutsideDomain:
        return results
    # Within one width of the ends the smoothing is one-sided.
    inner = np.abs(capacity.value[_EDGE:-_EDGE])
    found = significant_peaks(inner, capacity.noise)
    method = f"highest peak of |dQ/dV|; {capacity.smoothing}"
    if found:
        at = _EDGE + max(found, key=lambda k: float(inner[k]))
        method = (
            f"potential of the highest |dQ/dV|, {abs(capacity.value[at]) / _MAH:.4g} mAh/V, of {len(found)} peaks that "
            f"stand out of its noise ({capacity.noise / _MAH:.2g} mAh/V); {capacity.smoothing}; u: the smoothing's "
            "width as a rectangle"
        )
        trace = xr.DataArray(
            np.abs(capacity.value) / _MAH,
            dims="potential",
            coords={"potential": capacity.abscissa},
            attrs={"units": "mAh/V", "smoothing": capacity.smoothing},
        )
        u = u_of_rectangle(capacity.width)
        results.append(Result("dq_dv_highest", float(capacity.abscissa[at]), u, "V", method, trace=trace, of=of))
    elif inner.size > 2:
        reason = "no peak of dQ/dV stands out: the potential goes straight, or is noisier than its plateaus are flat"
        results.append(failed("dq_dv_highest", "V", method, "no peak", reason, of))
    shown = _largest(list(enumerate(stages, start=1)), lambda one: one[1].strength)
    more, flags = _listed(len(shown), len(stages), "stages")
    for j, stage in shown:
        method = (
            f"peak of |dV/dQ|, in % of the half-cycle's charge; {derivative.smoothing.replace(' C', '')} of it{more}"
        )
        results.append(Result("stage_end", stage.charge, stage.u, "%", method, flags=flags, of=of, index=j))
    return results


def _hold_results(record: _Record) -> list[Result]:
    held = list(enumerate(record.of_kind("potential"), start=1))
    shown = _largest(held, lambda one: abs(one[1][1].value))
    more, flags = _listed(len(shown), len(held), "holds")
    results = []
    for k, (p, charge) in shown:
        method = (
            f"charge while the potential was held at {p.level:.4f} V from {p.begin:.1f} to {p.end:.1f} s, trapezoids; "
            f"{_SIGN}; {_U}{more}"
        )
        both = counted(p, record.t, record.i, record.extras.counters)
        if both is not None:
            method += f"; the instrument's own counter: {abs(both[1]) / _MAH:.5g} mAh"
        of = Subject(part="lithiation" if charge.value < 0.0 else "delithiation", number=k)
        value = charge.value / _MAH
        u_mah = resolved_u(value, charge.u / _MAH)
        results.append(Result("charge_hold", value, u_mah, "mAh", method, flags={**record.flags, **flags}, of=of))
    return results


def _cycles(parts: Sequence[ControlledPart], potential: F64) -> float:
    """Cycles of sweeps: half of one for each from vertex to vertex, the first and last by how far they went.

    A sweep between two vertices is half a cycle. One that begins (or ends) within the range is that share of the sweep
    beside it; the first and the last together make up whole cycles where a record ends where it began.
    """
    chains: list[list[float]] = []
    for before, part in zip([None, *parts], parts, strict=False):
        e = potential[part.rows]
        length = abs(float(e[-1] - e[0]))
        joined = before is not None and before.stop == part.first + 1 and before.level * part.level < 0.0
        if joined:
            chains[-1].append(length)
        else:
            chains.append([length])
    count = 0.0
    for lengths in chains:
        inner = lengths[1:-1]
        for k, length in enumerate(lengths):
            if 0 < k < len(lengths) - 1 or len(lengths) == 1:
                count += 0.5
            else:
                beside = (inner[0] if k == 0 else inner[-1]) if inner else max(lengths)
                count += 0.5 * min(1.0, length / beside)
    return count


def _scan_rates(record: _Record) -> list[tuple[float, float, int]]:
    """(rate [V/s], u, number of sweeps) of each rate among the sweeps, in the order of their first sweep."""
    groups: list[list[tuple[float, float]]] = []
    for part, _ in record.of_kind("sweep"):
        rows = part.rows
        ts, e = record.t[rows], record.e[rows]
        line = straight_line(ts, e)
        took = float(ts[-1] - ts[0])
        digits = u_of_rectangle(max(record.extras.potential_step, digits_of(e)))
        u = float(np.hypot(line.u_slope * independent_share(line.residual) ** -0.5, digits / took))
        one = (abs(line.slope), u)
        group = next((g for g in groups if abs(one[0] / g[0][0] - 1.0) <= _ONE_RATE), None)
        if group is None:
            groups.append([one])
        else:
            group.append(one)
    rates = []
    for group in groups:
        values = np.array([rate for rate, _ in group])
        rate, u = median_with_u(values, float(np.median([u for _, u in group])))
        rates.append((rate, u if len(group) > 1 else group[0][1], len(group)))
    return rates


def _sweep_results(record: _Record, potential: F64, charges: bool) -> list[Result]:
    both = record.of_kind("sweep")
    sweeps = [part.rows for part, _ in both]
    current = record.i
    trace = rows_of_sweeps(potential, current, sweeps)
    results: list[Result] = []
    if charges:
        count = _cycles([part for part, _ in both], potential)
        method = (
            f"{len(sweeps)} sweeps at one rate each; from vertex to vertex is half a cycle, the first and last count "
            "by how far they went"
        )
        results.append(Result("cycles", round(count, 3), None, "1", method, flags=record.flags, trace=trace))
        rates = _scan_rates(record)
        for k, (rate, u, n) in enumerate(rates, start=1):
            method = (
                f"slope of the potential, median over {n} sweeps; u: of one slope, or their scatter where it is larger"
            )
            index = k if len(rates) > 1 else None
            u_mV = resolved_u(1e3 * rate, 1e3 * u)
            results.append(Result("scan_rate", 1e3 * rate, u_mV, "mV/s", method, flags=record.flags, index=index))
    noise = u_of_rectangle(max(record.extras.current_step, digits_of(current)))
    peaks = list(enumerate(sweep_peaks(potential, current, sweeps, digits=noise), start=1))
    shown = _largest(peaks, lambda one: one[1].prominence)
    more, flags = _listed(len(shown), len(peaks), "peaks")
    for k, peak in shown:
        of = Subject(part="delithiation" if peak.anodic else "lithiation")
        method = (
            f"vertex of a parabola within 20 mV, sweep {peak.sweep}; {1e3 * peak.current:.4g} ± "
            f"{1e3 * peak.u_current:.1g} mA as measured, without baseline correction; {_SIGN}{more}"
        )
        marked = trace.assign_attrs(peak_potential=peak.potential, peak_current=peak.current)
        at, u_at = peak.potential, resolved_u(peak.potential, peak.u_potential)
        results.append(Result("peak_potential", at, u_at, "V", method, flags=flags, trace=marked, of=of, index=k))
    listed = list(enumerate(both, start=1)) if charges else []
    few = _largest(listed, lambda one: abs(one[1][1].value))
    more, flags = _listed(len(few), len(listed), "sweeps")
    for k, (part, charge) in few:
        e = potential[part.rows]
        of = Subject(part="anodic" if part.level > 0.0 else "cathodic")
        method = f"{e[0]:.3f} to {e[-1]:.3f} V, trapezoids, both signs of the current counted; {_SIGN}; {_U}{more}"
        value = charge.value / _MAH
        u_mah = resolved_u(value, charge.u / _MAH)
        of_sweep = {**record.flags, **flags}
        results.append(Result("sweep_charge", value, u_mah, "mAh", method, flags=of_sweep, of=of, index=k))
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
    method = f"peak of |dV/dx| of the open-circuit potential, smoothed over {_WIDTH:g} of stoichiometry or five points"
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
