"""Hops in a raw trace of current and height: tops, falls, stops, withdrawals, references and overshoot."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter1d
from scipy.signal import find_peaks

from opsicm.analysis.approach_fit import NoFit

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]
_SWING: Final = 0.3  # of the whole range: a smaller reversal of z is vibration or a foot of a piezo's creep
_TURN: Final = 0.02  # of a fall: the plateau ends where z has gone this far down
_SHORTEST_PLATEAU: Final = 8
_STEPWISE: Final = 2  # samples of a withdrawal that was not recorded


@dataclass(frozen=True, slots=True)
class FoundHops:
    """Hops of a trace, as sample indices and SI values; one entry per hop.

    `start`, `fall`, `stop`, `turn`, `top`: the plateau begins, z begins to fall, the current crosses the threshold,
    z is lowest, z has come back up. `reference`, `i_stop` [A]; `z_stop`, `z_turn` [m]; `overshoot` [m] = z_stop -
    z_turn, how far the tip went on. `contact` False where the current never crossed. `setpoint` [1] as given or found.
    """

    start: I64
    fall: I64
    stop: I64
    turn: I64
    top: I64
    reference: F64
    i_stop: F64
    z_stop: F64
    z_turn: F64
    contact: NDArray[np.bool_]
    setpoint: float
    setpoint_found: bool

    @property
    def size(self) -> int:
        """Number of hops."""
        return int(self.start.size)

    @property
    def overshoot(self) -> F64:
        """[m] below the stop."""
        return self.z_stop - self.z_turn


def find_hops(current: F64, z: F64, setpoint: float | None = None) -> FoundHops | NoFit:
    """Find the hops in `current` [A] and `z` [m] (up positive), sampled evenly, withdrawals included.

    Turns of z are peaks of a prominence of 30 % of its range (so one trace holds hops of like amplitude; the slope of
    a sample over an amplitude is allowed). The plateau of a top ends where z has fallen by 2 % of the fall, or by 4
    times its own scatter. The reference is the mean current over the plateau, or over the first tenth of the fall
    where no plateau was recorded. The stop is the first sample of the fall at which |current| is below
    (1 - setpoint)·|reference|. Without `setpoint` the drop is taken as the median over hops of the largest drop
    before z turns, which contains the overshoot: `setpoint_found` says so.
    Fails as a value with a named outcome: no current or height, no withdrawal (stepwise files), reversed axis.
    """
    bad = _refuse(current, z)
    if bad is not None:
        return bad
    width = max(1, z.size // 200_000)
    smooth = uniform_filter1d(z, width) if width > 1 else z
    reach = _SWING * float(np.ptp(smooth))
    bottoms, _ = find_peaks(-smooth, prominence=reach)
    if bottoms.size == 0:
        return NoFit("no hops", "z never falls and rises again: a file without withdrawals is read as approaches")
    tops = _tops_between(smooth, bottoms)
    if np.median(tops[1:] - bottoms) <= _STEPWISE:
        return NoFit("no hops", "z comes back up within two samples: stepwise approaches without their withdrawals")
    noise = _scatter(smooth)
    start, fall = _plateaus(smooth, tops[:-1], bottoms, noise)
    reference = _reference(current, start, fall, bottoms)
    if np.median(np.abs(current[bottoms])) > np.median(np.abs(reference)) * (1.0 + 1e-9):
        return NoFit("reversed axis", "the current is larger at the lowest z: give z up positive")
    drop = 1.0 - np.array(
        [_lowest(current, r, f, b) for r, f, b in zip(reference, fall.tolist(), bottoms.tolist(), strict=True)]
    )
    level = setpoint if setpoint is not None else float(np.median(drop))
    stop = np.array(
        [
            _first_below(current, r, level, f, b)
            for r, f, b in zip(reference, fall.tolist(), bottoms.tolist(), strict=True)
        ]
    )
    contact = stop >= 0
    stop = np.where(contact, stop, bottoms)
    return FoundHops(
        start, fall, stop, bottoms.astype(np.int64), tops[1:], reference, current[stop], z[stop], z[bottoms], contact,
        level, setpoint is None,
    )  # fmt: skip


def turns(z: F64) -> int:
    """How often z, gaps bridged, falls and rises again by 30 % of its range, with its withdrawals recorded."""
    known = np.isfinite(z)
    if known.sum() < 3:
        return 0
    bridged = np.interp(np.arange(z.size), np.flatnonzero(known), z[known])
    bottoms, _ = find_peaks(-bridged, prominence=_SWING * float(np.ptp(bridged)))
    if bottoms.size == 0 or np.median(_tops_between(bridged, bottoms)[1:] - bottoms) <= _STEPWISE:
        return 0
    return int(bottoms.size)


def _refuse(current: F64, z: F64) -> NoFit | None:
    if current.size != z.size or z.size < 50:
        return NoFit("too few points", f"{z.size} samples; hops need at least 50 with a current and a height each")
    finite = np.isfinite(current) & np.isfinite(z)
    if not finite.any():
        return NoFit("all NaN", "no sample has both a current and a height; read other columns")
    if not finite.all():
        return NoFit("gaps", f"{int((~finite).sum())} samples have no value; cut the trace there")
    if np.ptp(current) <= 1e-12 * np.max(np.abs(current)):
        return NoFit("constant current", "every current is the same; look at the channel and its wiring")
    if np.ptp(z) == 0.0:
        return NoFit("constant height", "z does not move; look at the z channel")
    extreme = np.abs(current) >= np.max(np.abs(current)) * (1.0 - 1e-12)
    if int(extreme.sum()) > z.size // 2:
        return NoFit("saturated", f"{int(extreme.sum())} of {z.size} samples sit at the largest; lower the gain")
    return None


def _scatter(z: F64) -> float:
    second = np.diff(z, 2)
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / 6.0**0.5)


def _tops_between(z: F64, bottoms: I64) -> I64:
    """The highest sample before, between and after the bottoms: always one more than bottoms."""
    edges = np.concatenate(([0], bottoms, [z.size]))
    return np.array([a + int(np.argmax(z[a:b])) for a, b in pairwise(edges)], dtype=np.int64)


def _plateaus(z: F64, tops: I64, bottoms: I64, noise: float) -> tuple[I64, I64]:
    start, fall = np.empty_like(tops), np.empty_like(tops)
    previous = 0
    for k, (top, bottom) in enumerate(zip(tops, bottoms, strict=True)):
        margin = max(_TURN * (z[top] - z[bottom]), 4.0 * noise)
        high = z[previous:bottom] >= z[top] - margin
        inside = np.flatnonzero(high)
        first, last = previous + int(inside[0]), previous + int(inside[-1])
        start[k], fall[k] = first, last
        previous = int(bottom)
    return start, fall


def _reference(current: F64, start: I64, fall: I64, bottoms: I64) -> F64:
    found = np.empty(start.size)
    for k, (a, f, b) in enumerate(zip(start, fall, bottoms, strict=True)):
        # The plateau's first half still rings after the withdrawal.
        first, last = (a + f) // 2, f + 1
        if last - first < _SHORTEST_PLATEAU:
            first, last = f, f + max(1, (b - f) // 10)
        found[k] = float(np.mean(current[first:last]))
    return found


def _lowest(current: F64, reference: float, fall: int, bottom: int) -> float:
    tail = current[max(fall, bottom - max(3, (bottom - fall) // 200)) : bottom + 1]
    return float(np.mean(tail) / reference) if reference else 1.0


def _first_below(current: F64, reference: float, setpoint: float, fall: int, bottom: int) -> int:
    part = current[fall : bottom + 1]
    below = np.flatnonzero(part * reference <= (1.0 - setpoint) * reference * reference)
    return fall + int(below[0]) if below.size else -1
