"""Sentences about third-party files: images, approach curves, traces of hops, records of a cell."""

from __future__ import annotations

from typing import Final

import numpy as np

from opsicm.analysis.approach.results import DISTANCE, HEIGHT, RESISTANCE
from opsicm.analysis.result import Result
from opsicm.results.calibration_across_runs import calibration_sentences
from opsicm.results.evidence import Evidence, Finder, Finding, shown, shown_size
from opsicm.results.number_text import quantity

_BOWED: Final = 0.5  # Sq after degree 2 over that after a plane: below, three quarters of the variance are a bow


def scan_finding(evidence: Evidence) -> Finding | None:
    """Roughness of an image, its missing pixels and a step."""
    sq = evidence.first("Sq", "after plane")
    if evidence.run is not None or sq is None:
        return None
    raw, sz = evidence.first("Sq", "raw"), evidence.first("Sz", "after plane")
    tilt = "" if raw is None else f" ({shown(raw)} before: a tilt is {_tilt_share(raw, sq)})"
    sentences = [f"The roughness is Sq = {shown(sq)} after a plane{tilt}."]
    curved = evidence.first("Sq", "after total degree 2")
    if curved is not None and (curved.value or 0.0) < _BOWED * (sq.value or 0.0):
        share = 100.0 * (1.0 - ((curved.value or 0.0) / (sq.value or 1.0)) ** 2)
        sentences[0] = (
            f"The roughness is Sq = {shown(curved)} after a surface of total degree 2. After a plane it would be "
            f"{shown(sq)}, of whose variance {min(share, 99.9):.3g} % is a bow, of the scanner or of the specimen."
        )
    elif sz is not None:
        sentences.append(f"From the lowest to the highest pixel it is {shown(sz)}.")
    step = evidence.first("step_height")
    if step is not None:
        sentences.append(f"Two terraces differ in height by {shown_size(step)}.")
    missing, outliers = sq.flags.get("missing_pixels", 0), sq.flags.get("outlier_pixels", 0)
    if missing or outliers:
        parts = [
            f"{missing} pixels have no height" if missing else "",
            f"{outliers} lie beyond six sigma" if outliers else "",
        ]
        sentences.append(f"Of its pixels {' and '.join(part.replace('pixels ', '') for part in parts if part)}.")
    return Finding(tuple(sentences), ("image",))


def _tilt_share(raw: Result, levelled: Result) -> str:
    share = 1.0 - ((levelled.value or 0.0) / (raw.value or 1.0)) ** 2
    return f"{100.0 * max(share, 0.0):.0f} % of its variance" if raw.value else "none of it"


def approaches_finding(evidence: Evidence) -> Finding | None:
    """Where approaches stopped, and the pipette's resistance."""
    distances = evidence.all(DISTANCE)
    tried = [r for r in evidence.results if r.name == DISTANCE]
    if not tried:
        return None
    if not distances:
        return Finding((f"The distance at the stop cannot be determined: {tried[0].reason}.",), ("approach_curve",))
    sentences = []
    median, spread = evidence.first(f"median {DISTANCE}"), evidence.first(f"spread of {DISTANCE}")
    if median is not None and spread is not None:
        sentences.append(
            f"{len(distances)} of {len(tried)} approaches can be fitted; they stopped {shown(median)} above the "
            f"surface "
            f"(median), with a spread of {shown(spread)}."
        )
    else:
        height = evidence.first(HEIGHT)
        stored = "" if height is None else f", at a stored height of {shown(height)}"
        sentences.append(f"The approach stopped {shown(distances[0])} above the fitted surface{stored}.")
    resistance = evidence.first(f"median {RESISTANCE}") or evidence.first(RESISTANCE)
    stated = evidence.first("pipette resistance stated in the file")
    if resistance is not None:
        text = f"The pipette's resistance far from it is {shown(resistance)}"
        text += "" if stated is None else f" (the file states {shown(stated)})"
        sentences.append(f"{text}.")
    chi2 = [r.value or 0.0 for r in evidence.all("chi-squared per degree of freedom")]
    if chi2:
        middle = float(np.median(chi2))
        verdict = "the curve has the shape of the model" if middle < 2.0 else "the curve departs from the model"
        sentences.append(f"Chi-squared per degree of freedom is {middle:.2g}: {verdict}.")
    return Finding(tuple(sentences), ("approach_curve",))


def trace_finding(evidence: Evidence) -> Finding | None:
    """Hops of a raw trace: how many, how far they overshoot, how heights scatter, how the current drifts."""
    hops = evidence.first("hops")
    if evidence.run is not None or hops is None:
        return None
    without = hops.flags.get("without_contact", 0)
    saturated, first = hops.flags.get("saturated_hops", 0), hops.flags.get("first_saturated_hop", 0)
    sentences = [
        f"The trace holds {int(hops.value or 0)} hops"
        + (f", {without} of them without contact." if without else ", all with contact.")
    ]
    if saturated:
        sentences.append(f"From hop {first} on the current is at the end of its range, in {saturated} hops.")
    # Of several states the first, which is the tip that was put in.
    state = " in the first state" if evidence.first("reference_jump") is not None else ""
    scatter, overshoot, lasts = (evidence.first(name) for name in ("height_scatter", "overshoot", "overshoot_time"))
    if scatter is not None:
        sentences.append(f"One height scatters by {shown(scatter)} from hop to hop{state}.")
    if overshoot is not None:
        time = "" if lasts is None else f" in {shown(lasts)}"
        sentences.append(f"After the stop the pipette goes down by another {shown(overshoot)}{time}{state}.")
    elif evidence.why_not("overshoot"):
        sentences.append(f"The overshoot is not known: {evidence.why_not('overshoot')}.")
    current, change = evidence.first("reference_current"), evidence.first("ten_hop_bulk_change")
    if current is not None and change is not None:
        sentences.append(
            f"The current far from the surface is {shown(current)} and changes by {shown(change)} over ten hops{state}."
        )
    drift = evidence.first("reference_drift")
    if drift is not None and not state and abs(drift.value or 0.0) > max(_CERTAIN * (drift.u or 0.0), _DRIFTS):
        sentences.append(f"From the first to the last hops it changes by {shown(drift)}: its median describes neither.")
    period = evidence.first("hop_period")
    if period is not None:
        sentences.append(f"One hop takes {shown(period)}.")
    return Finding(tuple(sentences), ("trace_hops",))


_JUMPS: Final = (
    ("reference_jump", "The current far from the surface"),
    ("current_jump", "The pipette current"),
    ("resistance_jump", "The pipette's resistance"),
)


def state_change_finding(evidence: Evidence) -> Finding | None:
    """Where a tip broke, clogged or recovered: by what factor, at which hop, when. The headline of a run or file."""
    sentences = []
    for name, what in _JUMPS:
        jumps = evidence.all(name)
        if not jumps:
            continue
        largest = max(jumps, key=lambda r: abs(np.log(abs(r.value or 1.0))))
        times = [r for r in evidence.all(f"{name}_time") if (r.of, r.index) == (largest.of, largest.index)]
        each = next(key for key in largest.flags if key not in ("within_change", "changes"))
        when = f" at {shown(times[0])}" if times else ""
        where = f" of {largest.of.location}" if largest.of.location else ""
        total = largest.flags["changes"]
        others = f" It is the largest of {total} such changes." if total > 1 else ""
        ratio = (largest.value or 1.0) * (-1.0 if name == "resistance_jump" else 1.0)
        opens = ratio > 1.0 or -1.0 < ratio < 0.0
        kind = "a tip that broke or opened" if opens else "a tip that clogged"
        sentences.append(
            f"{what} jumps to {shown(largest)} times its value at {each} {largest.flags[each]}{where}{when}, as of "
            f"{kind}: before and after are two states and are not averaged.{others}"
        )
    return Finding(tuple(sentences), ("trace_hops", "recording")) if sentences else None


def current_finding(evidence: Evidence) -> Finding | None:
    """A recording of the pipette current alone: level, noise, drift."""
    level, noise = evidence.first("pipette_current"), evidence.first("current_noise")
    if evidence.run is not None or level is None or noise is None:
        return None
    state = " in its first state" if evidence.first("current_jump") is not None else ""
    sentences = [f"The pipette current is {shown(level)}{state}; one sample scatters by {shown(noise)}."]
    drift = evidence.first("current_drift")
    if drift is not None and abs(drift.value or 0.0) > _CERTAIN * (drift.u or 0.0):
        sentences.append(f"From beginning to end it drifts by {shown(drift)}{state}.")
    return Finding(tuple(sentences), ("recording",))


def record_finding(evidence: Evidence) -> Finding | None:
    """A cell's record: capacities, pulses, peaks."""
    if evidence.run is not None:
        return None
    # What makes numbers wrong comes before the numbers.
    doubts = [f"Look first: {r.reason}." for r in evidence.results if r.name == "plausibility"]
    sentences = [*doubts, *_half_cycles(evidence), *_pulses(evidence), *_sweeps(evidence)]
    return Finding(tuple(sentences), ("titration", "capacity", "voltammogram")) if sentences else None


def _half_cycles(evidence: Evidence) -> list[str]:
    capacities = evidence.all("capacity")
    if not capacities:
        return []
    kinds = dict.fromkeys(r.of.part for r in capacities)
    sentences = []
    for kind in kinds:
        of_kind = [r for r in capacities if r.of.part == kind]
        first, last = of_kind[0], of_kind[-1]
        if len(of_kind) == 1:
            sentences.append(f"The {kind} half-cycle passed {shown_size(first)}.")
        else:
            kept = 100.0 * abs((last.value or 0.0) / (first.value or 1.0))
            sentences.append(
                f"{len(of_kind)} {kind} half-cycles at constant current: {shown_size(first)} in the first, "
                f"{shown_size(last)} in the last ({kept:.1f} %)."
            )
    return [*sentences, *_holds(evidence)]


def _holds(evidence: Evidence) -> list[str]:
    """The charge at constant potential, as in the second half of CC-CV."""
    holds = evidence.all("charge_hold")
    if not holds:
        return []
    if len(holds) == 1:
        return [f"At constant potential {shown_size(holds[0])} passed ({holds[0].of.part})."]
    kinds = dict.fromkeys(r.of.part for r in holds)
    first = [next(r for r in holds if r.of.part == kind) for kind in kinds]
    sizes = ", ".join(f"{shown_size(r)} in the first {r.of.part} one" for r in first)
    return [f"At constant potential there were {len(holds)} parts: {sizes}."]


def _pulses(evidence: Evidence) -> list[str]:
    relaxed = evidence.all("relaxed_potential")
    if len(relaxed) < 2:
        return []
    known = evidence.all("diffusivity")
    sentences = [
        f"After {len(relaxed)} pulses and rests the relaxed potential went from {_volts(relaxed[0])} to "
        f"{_volts(relaxed[-1])}."
    ]
    if known:
        values = np.array([r.value for r in known], dtype=np.float64)
        sentences.append(
            f"A diffusivity is identifiable at {len(known)} of them: "
            f"{quantity(float(np.median(values)), None, 'm²/s')} (median)."
        )
    elif evidence.why_not("diffusivity"):
        sentences.append(f"No pulse gives a diffusivity: {evidence.why_not('diffusivity')}.")
    return sentences


def _volts(result: Result) -> str:
    return f"{result.value or 0.0:.3f} V".replace("-", "−")


def _sweeps(evidence: Evidence) -> list[str]:
    cycles, rate, peaks = evidence.first("cycles"), evidence.first("scan_rate"), evidence.all("peak_potential")
    if cycles is None:
        reason = evidence.why_not("voltammogram")
        return [f"No voltammogram: {reason}."] if reason and not evidence.all("capacity") else []
    speed = "" if rate is None else f" at {shown(rate)}"
    sentences = [f"{cycles.value:g} cycles of a voltammogram{speed}."]
    if peaks:
        sentences.append("Peaks at " + ", ".join(f"{shown(r)} ({r.of.part})" for r in peaks[:6]) + ".")
    charges = evidence.all("sweep_charge")
    if len(charges) > 1:
        sentences.append(f"The first sweeps passed {shown(charges[0])} and {shown(charges[1])}.")
    return sentences


def open_circuit_finding(evidence: Evidence) -> Finding | None:
    """Ends of stages of an open-circuit curve."""
    stages = [r for r in evidence.all("stage_end") if r.unit == "1"]
    if evidence.run is not None or not stages:
        return None
    at = ", ".join(shown(r) for r in stages)
    return Finding((f"The open-circuit potential shows the ends of {len(stages)} stages, at a stoichiometry of {at}.",))


_CERTAIN: Final = 3.0  # times its u: a drift that is seen
_DRIFTS: Final = 1.0  # %: half a usual setpoint


def calibration_finding(evidence: Evidence) -> Finding | None:
    """A table of currents in baths of known salt."""
    if evidence.run is not None or evidence.first("calibration_slope") is None:
        return None
    return Finding(tuple(calibration_sentences(evidence.results)), ("calibration",))


THIRD_PARTY_FINDERS: Final[tuple[Finder, ...]] = (
    scan_finding,
    calibration_finding,
    approaches_finding,
    trace_finding,
    current_finding,
    record_finding,
    open_circuit_finding,
)
