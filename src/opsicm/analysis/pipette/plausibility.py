"""What a person would look at in a pipette's record or an image before believing a number of it.

Each doubt is a result "plausibility" without a value: its outcome names the kind, its reason is the evidence and the
remedy.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.result import Result, doubt

F64 = NDArray[np.float64]
# A pipette's limits, not a cell's: openings of 2 nm to 5 µm in 1 mM to 5 M, biased by millivolts to 10 V.
_CURRENTS: Final = (1e-13, 1e-6)  # [A]
_RESISTANCES: Final = (1e5, 1e11)  # [Ohm]
_TRAVEL: Final = (1e-9, 1e-3)  # [m]: a piezo's noise, and ten times the longest piezo's range
_INTERVALS: Final = (1e-7, 600.0)  # [s] between samples: faster than amplifiers follow, slower than anyone waits
_PERIODS: Final = (5e-4, 120.0)  # [s] of a hop
_OVERLOAD: Final = 100.0  # times what 99 % of the samples stay below
_RARE: Final = 1e-3  # of the samples
_FEW_DIGITS: Final = 0.1  # of the range from the 5th to the 95th percentile
_HEIGHTS: Final = 50e-6  # [m] that an image spans
_STEEP: Final = 2.0  # heights over lateral size: beyond what a pipette can follow
_AT_LIMIT: Final = 1e-3  # of the pixels at one extreme height


def record_doubts(t: F64 | None, current: F64 | None, z: F64 | None, bias: F64 | None) -> list[Result]:
    """Doubts about a pipette's record: `t` [s], `current` [A], `z` [m], `bias` [V], (n,), None where not recorded."""
    doubts: list[tuple[str, str]] = []
    if t is not None:
        doubts += _about_time(t)
    if z is not None and np.isfinite(z).any():
        travel = float(np.nanmax(z) - np.nanmin(z))
        if travel > 0.0 and not _TRAVEL[0] <= travel <= _TRAVEL[1]:
            text = f"z travels {travel:.3g} m, a pipette 1 nm to 1 mm: state its unit with --columns z=um (or nm)"
            doubts.append(("travel", text))
    if current is not None and np.isfinite(current).any():
        doubts += _about_current(current[np.isfinite(current)])
    if current is not None and bias is not None:
        both = np.isfinite(current) & np.isfinite(bias)
        doubts += _about_bias(current[both], bias[both])
    return _results(doubts)


def period_doubts(period: float) -> list[Result]:
    """A doubt about hops that take `period` [s]."""
    if _PERIODS[0] <= period <= _PERIODS[1]:
        return []
    factors = {1e3: "ms", 1e6: "µs"} if period > 1.0 else {1e-3: "s, not in ms"}
    guesses = [f"in {unit} ({period / by:.3g} s a hop)" for by, unit in factors.items()]
    remedy = f"is the time {' or '.join(guesses)}? state its unit with --columns t=ms"
    return _results([("duration", f"one hop takes {period:.3g} s, where it takes 1 ms to 2 min: {remedy}")])


def image_doubts(heights: F64, unscanned: int, scars: int, x: float | None, y: float | None) -> list[Result]:
    """Doubts about an image: `heights` [m] with NaN where not measured, `x`, `y` [m] its sizes where they are known.

    `unscanned` pixels were found to be never measured, `scars` lines to be offset.
    """
    doubts = []
    known = heights[np.isfinite(heights)]
    if unscanned:
        share = 100.0 * unscanned / heights.size
        text = f"{unscanned} pixels ({share:.3g} %) repeat one number to the edge of the image: they were never scanned"
        doubts.append(("unscanned", f"{text}, and are left out; crop the image where they were"))
    if scars:
        text = f"{scars} single lines are offset from both neighbours: the tip slipped or touched"
        doubts.append(("scars", f"{text}; the step leaves them out, the roughness does not: mend or crop them"))
    if known.size > 1:
        span = float(np.ptp(known))
        size = min((s for s in (x, y) if s), default=None)
        if span > _HEIGHTS or (size is not None and span > _STEEP * size):
            beside = "" if size is None else f" over {1e6 * size:.3g} µm"
            doubts.append(("height", f"heights span {1e6 * span:.3g} µm{beside}: check the unit of the heights"))
        for name, extreme in (("largest", known.max()), ("smallest", known.min())):
            count = int((known == extreme).sum())
            if span > 0.0 and count > max(3.0, _AT_LIMIT * known.size) and not _is_level(known, extreme):
                text = f"{count} pixels sit exactly at the {name} height: the scanner was at the end of its range"
                doubts.append(("saturated", f"{text}; move its offset, and do not use Sz or the step"))
        doubts += _about_digits(known, "heights")
    return _results(doubts)


def _results(doubts: list[tuple[str, str]]) -> list[Result]:
    return [doubt(kind, text, k) for k, (kind, text) in enumerate(doubts, start=1)]


def _about_time(t: F64) -> list[tuple[str, str]]:
    step = np.diff(t[np.isfinite(t)])
    if not step.size:
        return []
    doubts = []
    backwards, repeated = int((step < 0.0).sum()), int((step == 0.0).sum())
    if backwards:
        text = f"time runs backwards {backwards} times: several recordings joined, or a clock that restarts"
        doubts.append(("restarting time", f"{text}; analyse each alone"))
    if repeated > 0.01 * step.size:
        doubts.append(("repeated time", f"{repeated} of {step.size} times repeat the one before: digits were lost"))
    if float(np.nanmin(t)) < 0.0:
        doubts.append(("negative time", f"time begins at {float(np.nanmin(t)):.4g} s: it counts from a later trigger"))
    usual = float(np.median(step))
    if usual > 0.0 and not _INTERVALS[0] <= usual <= _INTERVALS[1]:
        text = f"one sample every {usual:.3g} s: state the unit of the time with --columns t=ms (or us)"
        doubts.append(("duration", text))
    return doubts


def _about_current(current: F64) -> list[tuple[str, str]]:
    doubts = []
    size = np.abs(current)
    usual, high = (float(q) for q in np.quantile(size, (0.5, 0.99)))
    overload = size > _OVERLOAD * max(high, 1e-300)
    if overload.any() and overload.mean() < _RARE:
        text = f"{int(overload.sum())} samples reach {float(size.max()):.3g} A where 99 % stay below {high:.3g} A"
        doubts.append(("overload", f"{text}: an overload of the amplifier; leave these rows out"))
    if usual > 0.0 and not _CURRENTS[0] <= usual <= _CURRENTS[1]:
        text = f"the usual current is {usual:.3g} A, of a pipette 0.1 pA to 1 µA"
        doubts.append(("current", f"{text}: state its unit with --columns I=pA (or nA)"))
    return doubts + _about_digits(current, "currents")


def _about_digits(values: F64, what: str) -> list[tuple[str, str]]:
    """Digits that were lost: few different values over the usual range."""
    different = np.unique(values)
    low, high = np.quantile(values, (0.05, 0.95))
    if different.size < 3 or high <= low:
        return []
    step = float(np.median(np.diff(different[(different >= low) & (different <= high)]))) if different.size > 3 else 0.0
    if not step > _FEW_DIGITS * (high - low):
        return []
    count = int(((different >= low) & (different <= high)).sum())
    text = f"90 % of the {what} take only {count} different values: digits were lost"
    return [("digits", f"{text}; export them with more digits, no scatter below {0.3 * step:.2g} is real")]


def _about_bias(current: F64, bias: F64) -> list[tuple[str, str]]:
    if current.size < 8 or not np.any(bias):
        return []
    doubts = []
    far = np.abs(bias) > 0.5 * float(np.max(np.abs(bias)))
    product = np.sign(current[far] * bias[far])
    positive, negative = far & (bias > 0.0), far & (bias < 0.0)
    if positive.any() and negative.any() and np.any(current[far] < 0.0) != np.any(current[far] > 0.0):
        text = "the current has one sign while the bias has both: it was stored as a magnitude"
        doubts.append(("magnitude", f"{text}; give it the sign of the bias"))
    elif float(np.mean(product)) < -0.5:
        text = "the current flows against the bias: the sign convention of one of the two is turned"
        doubts.append(("sign", f"{text}; turn the sign of the current"))
    ohm = float(np.median(np.abs(bias[far] / np.where(current[far] == 0.0, np.nan, current[far]))))
    if np.isfinite(ohm) and not _RESISTANCES[0] <= ohm <= _RESISTANCES[1]:
        text = f"bias over current is {ohm:.3g} Ω, of a pipette 0.1 MΩ to 100 GΩ"
        doubts.append(("resistance", f"{text}: check the units of both"))
    return doubts


def _is_level(known: F64, extreme: float) -> bool:
    """Whether heights beside the extreme are as frequent: a flat terrace digitised coarsely, no limit."""
    different, count = np.unique(known, return_counts=True)
    at = int(np.flatnonzero(different == extreme)[0])
    beside = count[max(at - 3, 0) : at + 4]
    return bool(count[at] < 4 * np.median(beside)) or different.size < 8
