"""Which of two numbers to believe, where two results of one run or file answer the same question differently.

Each doubt is a function of the evidence that returns a sentence, or None where the numbers agree or one is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from opsicm.analysis.result import Result
from opsicm.results.evidence import Evidence, arrays, shown
from opsicm.results.number_text import quantity

_DIFFERENT: Final = 2.0  # times the u of a difference
_OF_RESISTANCE: Final = 0.02
_OF_SETPOINT: Final = 0.5
_OF_A_CHANGE: Final = 0.1
_BIAS: Final = 5.0  # [mV] of the bias residual


def doubts_of(evidence: Evidence) -> list[str]:
    """One sentence for every pair that disagrees."""
    return [text for doubt in DOUBTS if (text := doubt(evidence)) is not None]


def _differ(a: Result, b: Result) -> bool:
    u = float(np.hypot(a.u or 0.0, b.u or 0.0))
    return abs(abs(a.value or 0.0) - abs(b.value or 0.0)) > _DIFFERENT * u


def transitions(evidence: Evidence) -> str | None:
    """The bend of the height and the end of a stage in the potential."""
    by_potential = {(r.of.step, r.of.part, r.of.number): r for r in evidence.all("transition_from_potential")}
    for height in evidence.all("transition_from_height"):
        potential = by_potential.get((height.of.step, height.of.part, height.of.number))
        if potential is None or not _differ(height, potential):
            continue
        why = (
            "believe the height: under a sweep the potential is imposed, and its dV/dQ peaks where little current flows"
            if evidence.is_swept
            else "both may be right: the potential is the whole electrode's, the height that of one place"
        )
        return (
            f"In {height.of.part} the height bends at {shown(height)} of the charge and the nearest stage in the "
            f"potential ends "
            f"at {shown(potential)}; {why}."
        )
    return None


def line_means(evidence: Evidence) -> str | None:
    """The largest change of a line's mean, its change at the turn of the charge, and the median over its pixels."""
    largest, at_turn = evidence.first("kymograph_largest_change"), evidence.first("height_change")
    typical = evidence.first("height_change_over_pixels")
    if largest is None or at_turn is None or at_turn.of.image is not None:
        return None
    text = ""
    if _differ(largest, at_turn):
        text = (
            f"{shown(largest)} is the largest change at any time and {shown(at_turn)} that until the charge turned: "
            f"the height "
            "follows the charge with a delay, so believe the first for how far it went, the second per charge"
        )
    if typical is not None and _differ(typical, at_turn):
        text += ("; " if text else "") + (
            f"{shown(typical)} is the median over the pixels: believe it for a typical plate, the mean for the "
            f"electrode"
        )
    return f"{text}." if text else None


def flakes_and_mean(evidence: Evidence) -> str | None:
    """The mean over all pixels and the median over the plates."""
    plates = evidence.first("flake_height_change")
    changes = [r for r in evidence.all("height_change") if r.of.image is not None]
    if plates is None or not changes:
        return None
    mean = max(changes, key=lambda r: abs(r.value or 0.0))
    if not _differ(plates, mean):
        return None
    return (
        f"The plates rose by {shown(plates)} (median) and all pixels by {shown(mean)} (mean): believe the mean for the "
        "electrode's thickness; the plates leave out the rims between them."
    )


def mean_and_median(evidence: Evidence) -> str | None:
    """The mean of a map of height changes and its median."""
    changes = list(arrays([r for r in evidence.all("height_change") if r.of.image is not None]))
    for result, change in reversed(changes):
        middle = 1e9 * float(np.nanmedian(change.values))
        if abs(middle - (result.value or 0.0)) > max(_DIFFERENT * (result.u or 0.0), _OF_A_CHANGE * abs(middle)):
            return (
                f"In image {result.of.image} the mean height differs from the first image's by {shown(result)}, the "
                f"median pixel "
                f"by {quantity(middle, result.u, 'nm')}: believe the median for the plates; a few rims, where a "
                f"small shift makes "
                "a large difference, move the mean."
            )
    return None


def resistance(evidence: Evidence) -> str | None:
    """The resistance that was measured and the one that the stated geometry has."""
    measured, expected = evidence.first("pipette_resistance"), 1e-6 * evidence.parameter("pipette", "resistance_Ohm")
    if measured is None or not np.isfinite(expected) or not measured.value:
        return None
    if abs(measured.value / expected - 1.0) <= _OF_RESISTANCE:
        return None
    return (
        f"The pipette has {shown(measured)} by its own voltammogram and {expected:.4g} MΩ by its stated geometry: "
        f"believe the "
        "measured one; the radius and the cone are nominal."
    )


def stated_resistance(evidence: Evidence) -> str | None:
    """The resistance in an instrument's file and the one fitted to its curve."""
    stated, fitted = evidence.first("pipette resistance stated in the file"), evidence.first("pipette resistance")
    if stated is None or fitted is None or not stated.value:
        return None
    if abs((fitted.value or 0.0) / stated.value - 1.0) <= _OF_RESISTANCE:
        return None
    return (
        f"The file states {shown(stated)} and the curve gives {shown(fitted)} far from the surface: believe the "
        f"curve, which was "
        "measured at the time of the approach."
    )


def near_surface(evidence: Evidence) -> str | None:
    """The current near the surface that geometry alone explains."""
    net, geometry = evidence.first("near_surface_difference"), evidence.first("near_surface_geometry_alone")
    if net is None or geometry is None:
        return None
    seen = abs(net.value or 0.0) > 3.0 * (net.u or 0.0)
    return (
        f"60–270 nm above the surface the current is {shown(geometry)} lower by geometry alone; beyond that it "
        f"differs by "
        f"{shown(net)}: "
        + ("believe only this second number for a change of the salt." if seen else "no change of the salt is seen.")
    ).replace("−", "", 1)


def ten_hops(evidence: Evidence) -> str | None:
    """A reference that moves by about the setpoint can end an approach too early or too late."""
    run, change = evidence.run, max(evidence.all("ten_hop_bulk_change"), key=lambda r: r.value or 0.0, default=None)
    if run is None or change is None or not run.hops.sizes["hop"]:
        return None
    setpoint = 100.0 * float(np.median(run.hops["setpoint"].values))
    if (change.value or 0.0) < _OF_SETPOINT * setpoint:
        return None
    return (
        f"The current far from the surface moved by {shown(change)} within ten hops, against a setpoint of "
        f"{setpoint:.2g} %: "
        "the runner follows it hop by hop, so heights hold, but a fixed reference would have ended hops in the wrong "
        "place."
    )


def bias(evidence: Evidence) -> str | None:
    """A bias that did not follow the specimen at some time."""
    worst = evidence.first("bias_residual")
    if worst is None or (worst.value or 0.0) < _BIAS:
        return None
    return (
        f"At one reading the pipette's bias was off by {shown(worst)}, when the specimen's potential jumped: leave "
        f"out the "
        "pipette current within a row of a step of the cell."
    )


def spread_of_roughness(evidence: Evidence) -> str | None:
    """What the uncertainty of a roughness in a series means."""
    sq = [r for r in evidence.all("Sq") if r.of.part == "after plane" and r.of.image is not None]
    if len(sq) < 2:
        return None
    return (
        "The ± of a roughness is what another area of this size would give. Between images of one area even a smaller "
        "change is real: believe the differences, not the single values."
    )


Doubt = Callable[[Evidence], str | None]
DOUBTS: Final[tuple[Doubt, ...]] = (
    transitions,
    line_means,
    flakes_and_mean,
    mean_and_median,
    resistance,
    stated_resistance,
    near_surface,
    ten_hops,
    bias,
    spread_of_roughness,
)
