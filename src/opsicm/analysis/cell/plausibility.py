"""What a person would look at in a cell's record before believing a number of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.cell.charge import charge_of
from opsicm.analysis.cell.parts import ControlledPart
from opsicm.analysis.cell.unrecorded import SIGNIFICANT, digits_of
from opsicm.core.statistics import noise_from_differences, robust_sigma

F64 = NDArray[np.float64]

_YEAR: Final = 3.156e7  # [s]: longer than any record that one file holds
_RARE: Final = 1.5 * 3600.0  # [s] between two rows at regular intervals: a store of cells is logged each hour at most
_FAST: Final = 1e-6  # [s]: faster than a potentiostat digitises
# Time as read over the wall clock: what the column is in, if its title says s; or what its title should say.
_FACTORS: Final = {
    1e3: "ms",
    1.0 / 60.0: "min",
    1.0 / 3600.0: "h",
    1e-3: "s, not in ms",
    60.0: "s, not in min",
    3600.0: "s, not in h",
}
_AGREES: Final = 0.02  # of a wall clock, which may be read some seconds off, and of a factor between units
_EVEN: Final = 1e-3  # of an interval: steps that are printed alike
_HIGHEST: Final = 6.0  # [V]: a cell, against any reference; stacks are no cells
_LOWEST: Final = 6e-3  # [V]: a cell of six volts, taken for millivolts
_LARGEST: Final = 1000.0  # [A]: beyond any cell on a bench
_LEAST: Final = 1e-12  # [A]
_FEW_DIGITS: Final = 0.02  # of the usual current: digits so coarse decide the second figure of every charge
_COARSE: Final = 5e-3  # [V] digits that hide plateaus
_MOVED: Final = 0.02  # [V] that a constant current moved the potential, to say something of its sign
_ONE_WAY: Final = 0.8  # of the potential passed: what is left is relaxation and nucleation
_OTHER_WAY: Final = 0.2  # of it, that rose and fell by a current of one sign
_LOOP: Final = -0.3  # of the mean current: a loop run through backwards, well outside of hysteresis and noise
_COUNTED: Final = 0.01  # of a charge: a counter and rows differ by less, by what lies between rows
_FOR_NOISE: Final = 8  # rows
_IN_A_BLOCK: Final = 4
_FEWEST_BLOCKS: Final = 4
_CLIPPED: Final = 5  # rows at exactly the largest current, one after another
_STEEP: Final = 0.2  # of a large step between rows of a sweep, that the current makes as it comes to its limit
_PARTS: Final = 200  # parts compared with a counter


@dataclass(frozen=True, slots=True)
class Look:
    """Something to look at: `kind` in a word or two, `text` with the evidence and the remedy."""

    kind: str
    text: str


Sign = Literal["as defined", "turned", "magnitude", "unknown"]


def time_looks(t: F64, clock: F64 | None = None) -> list[Look]:
    """Time [s] that is negative, restarts, or is not in seconds, by the rows' intervals and a wall `clock` [s]."""
    looks = []
    t = t[np.isfinite(t)] if clock is None else t
    steps = np.diff(t)
    steps = steps[np.isfinite(steps)]
    if not steps.size:
        return []
    back = int(np.count_nonzero(steps < 0.0))
    if back:
        at = int(np.flatnonzero(steps < 0.0)[0]) + 1
        looks.append(
            Look(
                "time restarts",
                f"time runs backwards {back} times, first after row {at} (from {t[at - 1]:.6g} to {t[at]:.6g} s): a "
                "clock that restarts with each step, or files joined; export the total time of the test",
            )
        )
    if float(np.nanmin(t)) < 0.0:
        looks.append(
            Look("negative time", f"time begins at {np.nanmin(t):.6g} s: export the time since the start of the test")
        )
    running = steps[steps > 0.0]
    if not running.size:
        return looks
    usual, span = float(np.median(running)), float(np.nanmax(t) - np.nanmin(t))
    if clock is not None and not back:
        looks += _against_clock(t, clock)
    if not any(look.kind == "unit of time" for look in looks):
        even = float(np.mean(np.abs(running - usual) <= _EVEN * usual)) > 0.9
        looks += _by_intervals(usual, span, t.size, even)
    return looks


def _against_clock(t: F64, clock: F64) -> list[Look]:
    good = np.isfinite(t) & np.isfinite(clock)
    if good.sum() < 2:
        return []
    span, by_clock = float(np.ptp(t[good])), float(np.ptp(clock[good]))
    if span <= 0.0 or by_clock <= 10.0 or abs(span / by_clock - 1.0) <= _AGREES:
        return []
    for ratio, unit in _FACTORS.items():
        if abs(span / by_clock / ratio - 1.0) <= _AGREES:
            text = (
                f"time spans {span:.6g} s and the wall clock in the file {by_clock:.6g} s, a factor of {ratio:.4g}: "
                f"the column is in {unit}; correct the unit in its title in a copy"
            )
            return [Look("unit of time", text)]
    text = (
        f"time spans {span:.6g} s and the wall clock in the file {by_clock:.6g} s: one of them was stopped or is wrong"
    )
    return [Look("clock", text)]


def _by_intervals(usual: float, span: float, rows: int, even: bool) -> list[Look]:
    if span > _YEAR or (even and usual > _RARE):
        return [
            Look(
                "unit of time",
                f"{rows} rows over {span:.4g} s ({span / 86400.0:.3g} days), {usual:.4g} s apart: in ms they would be "
                f"{1e-3 * usual:.4g} s apart and the record {span / 3.6e6:.3g} h long; if so, write ms in the title of "
                "the column in a copy, as every charge is a thousandfold too large",
            )
        ]
    if usual < _FAST:
        text = f"rows are {usual:.3g} s apart: faster than a potentiostat records; correct the unit of the time column"
        return [Look("unit of time", text)]
    if even and not _is_round(usual):
        for factor, unit in ((60.0, "min"), (3600.0, "h")):
            if _is_round(factor * usual):
                text = (
                    f"rows are {usual:.5g} s apart throughout, which is no number that a person sets; in {unit} it is "
                    f"{factor * usual:.4g} s: correct the unit in the title of the time column, if it is {unit}"
                )
                return [Look("unit of time", text)]
    return []


def _is_round(seconds: float) -> bool:
    """Whether an interval has at most two significant digits."""
    digits = seconds / 10.0 ** np.floor(np.log10(seconds))
    return bool(abs(10.0 * digits - round(10.0 * digits)) < 10.0 * _EVEN * digits)


def value_looks(
    potential: F64, current: F64, potential_step: float = 0.0, current_step: float = 0.0, overloads: int = 0
) -> list[Look]:
    """Potentials and currents that no cell has, overload rows, and columns with too few digits."""
    looks = []
    highest = float(np.nanmax(np.abs(potential))) if np.isfinite(potential).any() else 0.0
    usual = float(np.nanmedian(np.abs(potential))) if np.isfinite(potential).any() else 0.0
    if usual > _HIGHEST:
        text = f"|potential| is {usual:.4g} V usually and up to {highest:.4g} V, and no cell has above {_HIGHEST:g} V"
        remedy = "is the column in mV? write mV in its title in a copy" if usual < 6e3 else "check its unit"
        looks.append(Look("unit of potential", f"{text}: {remedy}"))
    elif 0.0 < highest < _LOWEST:
        text = f"|potential| is {1e3 * highest:.3g} mV at most, and no cell has below {1e3 * _LOWEST:g} mV throughout"
        looks.append(Look("unit of potential", f"{text}: is the column in V? write V in its title in a copy"))
    largest = float(np.nanmax(np.abs(current))) if np.isfinite(current).any() else 0.0
    if overloads:
        noun = "row is" if overloads == 1 else "rows are"
        looks.append(
            Look(
                "overload",
                f"{overloads} {noun} far beyond all others while the potential does not answer (an overload): left "
                "out, and the charge there taken from the rows beside",
            )
        )
    if largest > _LARGEST:
        looks.append(Look("unit of current", f"the largest current is {largest:.4g} A: check the unit in its title"))
    elif 0.0 < largest < _LEAST:
        looks.append(Look("unit of current", f"the largest current is {1e12 * largest:.3g} pA: check its unit"))
    step = max(current_step, digits_of(current))
    flowing = np.abs(current[np.isfinite(current) & (np.abs(current) > 0.5 * step)])
    if flowing.size and step > _FEW_DIGITS * float(np.median(flowing)):
        share = 100.0 * step / float(np.median(flowing)) / 12.0**0.5
        looks.append(
            Look(
                "digits lost",
                f"the current is written in steps of {1e3 * step:.3g} mA, at {1e3 * float(np.median(flowing)):.3g} mA: "
                f"every charge is known to {share:.2g} % at best; export more digits",
            )
        )
    step = max(potential_step, digits_of(potential))
    if step > _COARSE and float(np.nanmax(potential) - np.nanmin(potential)) > 0.0:
        text = f"the potential is written in steps of {1e3 * step:.3g} mV, which hides plateaus; export more digits"
        looks.append(Look("digits lost", text))
    return looks


def current_sign(potential: F64, current: F64, parts: Sequence[ControlledPart]) -> Sign:
    """How the current is signed, from its effect: a positive (anodic) one raises the potential of a cell.

    At constant currents by the potential that each moved; of a voltammogram by the way round its loop. "turned" where
    all of it is the other way, "magnitude" where a current of one sign both raises and lowers the potential. Fails
    ("unknown") for records whose potential moves by less than 20 mV, single sweeps, and currents of noise.
    """
    moved, signs = [], []
    for part in parts:
        if part.kind == "current" and part.stop - part.first >= 4:
            moves = _clear_moves(potential[part.rows])
            moved += [float(moves[moves > 0.0].sum()), float(moves[moves < 0.0].sum())]
            signs += [float(np.sign(part.level))] * 2
    away, way = np.array(moved), np.array(signs)
    clear = np.abs(away) > _MOVED
    away, way = away[clear], way[clear]
    if away.size:
        size = np.abs(away)
        agreeing = float(size[np.sign(away) == way].sum() / size.sum())
        rising = float(away[away > 0.0].sum() / size.sum())
        if _OTHER_WAY < rising < 1.0 - _OTHER_WAY and np.unique(way).size == 1:
            return "magnitude"
        return "turned" if agreeing < 1.0 - _ONE_WAY else "as defined" if agreeing > _ONE_WAY else "unknown"
    loops = _loops(potential, current, [p for p in parts if p.kind == "sweep"])
    if not loops:
        return "unknown"
    middle = float(np.median(loops))
    return "turned" if middle < _LOOP else "as defined" if middle > -_LOOP else "unknown"


def clipped_look(current: F64, parts: Sequence[ControlledPart]) -> list[Look]:
    """A sweep whose `current` [A] stands at exactly its largest value for several rows: a range that ended."""
    for part in parts:
        if part.kind != "sweep" or part.stop - part.first < 4 * _CLIPPED:
            continue
        i = current[part.rows]
        step = np.abs(np.diff(i))
        usual = float(np.quantile(step[step > 0.0], 0.9)) if np.any(step > 0.0) else 0.0
        extreme = float(i[np.argmax(np.abs(i))])
        at = np.concatenate(([0], (i == extreme).astype(np.int8), [0]))
        first, stop = max(np.flatnonzero(np.diff(at)).reshape(-1, 2).tolist(), key=lambda run: run[1] - run[0])
        # A range ends a curve on its way up; one that levels off by itself arrives slowly, and a flat sweep never came.
        arrives = first > 0 and step[first - 1] > _STEEP * usual
        leaves = stop < i.size and step[stop - 1] > _STEEP * usual
        if stop - first >= _CLIPPED and (arrives or leaves):
            text = (
                f"{stop - first} rows of a sweep stand at exactly {extreme:.4g} A, its largest: the range of the "
                "current ended there; peaks and charge beyond it are not in the record: measure again in a larger range"
            )
            return [Look("clipped current", text)]
    return []


def _clear_moves(potential: F64) -> F64:
    """By how much means of neighbouring rows differ [V], where noise does not make it.

    At the finest blocks of which half differ clearly. One jump, as of a short circuit, counts as three usual moves. []
    where noise is all there is.
    """
    noise = noise_from_differences(potential, spread=robust_sigma) if potential.size >= _FOR_NOISE else 0.0
    for blocks in (512, 128, 32, 8, 4):
        rows = potential.size // blocks
        if rows < 1 or (rows < _IN_A_BLOCK and blocks > _FEWEST_BLOCKS):
            continue
        means = potential[: rows * blocks].reshape(blocks, rows).mean(axis=1)
        moves = np.diff(means)
        clear = np.abs(moves) > SIGNIFICANT * noise * (2.0 / rows) ** 0.5
        if 2 * int(clear.sum()) >= clear.size:
            largest = 3.0 * float(np.median(np.abs(moves)))
            return np.asarray(np.clip(np.where(clear, moves, 0.0), -largest, largest))
    return np.zeros(0)


def _loops(potential: F64, current: F64, sweeps: Sequence[ControlledPart]) -> list[float]:
    """Anodic less cathodic current over the common range of neighbouring sweeps, in units of its mean magnitude."""
    loops = []
    for one, other in pairwise(sweeps):
        if one.level * other.level >= 0.0:
            continue
        up, down = (one, other) if one.level > 0.0 else (other, one)
        low = max(float(potential[p.rows].min()) for p in (up, down))
        high = min(float(potential[p.rows].max()) for p in (up, down))
        if high - low < _MOVED:
            continue
        grid = np.linspace(low, high, 50)
        i = []
        for p in (up, down):
            order = np.argsort(potential[p.rows], kind="stable")
            i.append(np.interp(grid, potential[p.rows][order], current[p.rows][order]))
        size = float(np.mean(np.abs(np.concatenate(i))))
        loops.append(float(np.mean(i[0] - i[1])) / (2.0 * size) if size > 0.0 else 0.0)
    return loops


def sign_look(sign: Sign, swept: bool) -> list[Look]:
    """What to say of a current's sign; `swept`: of a voltammogram, whose current is turned."""
    if sign == "turned":
        done = (
            "the current is taken with its sign turned, as negative is cathodic here; turn it in a copy, or leave it"
            if swept
            else "charges keep the sign of the file, so anodic here is its positive current; turn it in a copy"
        )
        text = (
            "positive currents lower the potential: the sign convention is the other one (cathodic or discharging "
            f"positive), or the current is a magnitude; {done}"
        )
        return [Look("sign of the current", text)]
    if sign == "magnitude":
        text = (
            "the potential both rises and falls under currents of one sign: the current is given as a magnitude, and "
            "which charge is which direction's cannot be told from it; give cathodic rows a minus in a copy"
        )
        return [Look("sign of the current", text)]
    return []


def counted(
    part: ControlledPart, t: F64, current: F64, counters: Mapping[str, F64] | None
) -> tuple[str, float, float] | None:
    """The instrument's counter over the rows of a part: (its title, its charge [C], the rows' own); None without one.

    Of several (one for each direction) the one that moved most; one that restarts within the part says nothing.
    """
    best: tuple[str, float, float] | None = None
    rows = part.rows
    ts, i = t[rows], current[rows]
    own = float(np.trapezoid(i, ts))
    for title, values in (counters or {}).items():
        q = values[rows]
        if q.size < 2 or not np.isfinite(q[[0, -1]]).all():
            continue
        steps = np.diff(q[np.isfinite(q)])
        change = float(q[-1] - q[0])
        if abs(change) < 0.9 * float(np.sum(np.abs(steps))) and part.kind != "sweep":
            continue
        if best is None or abs(change) > abs(best[1]):
            best = (title, change, own)
    return best


def counter_looks(
    parts: Sequence[ControlledPart], t: F64, current: F64, counters: Mapping[str, F64] | None, current_step: float = 0.0
) -> list[Look]:
    """Where the instrument's own counter and the integral of the rows disagree, and a counter that never restarts."""
    if not counters:
        return []
    worst: tuple[float, Look] | None = None
    for k, part in enumerate([p for p in parts if p.kind != "rest" and p.stop - p.first >= 4][:_PARTS], start=1):
        both = counted(part, t, current, counters)
        if both is None:
            continue
        title, theirs, own = both
        u = charge_of(part, t, current, current_step).u
        apart = abs(abs(theirs) - abs(own))
        if apart > max(3.0 * u, _COUNTED * abs(own)) and (worst is None or apart > worst[0]):
            text = (
                f"over part {k} ({t[part.first]:.6g} to {t[part.stop - 1]:.6g} s) the instrument's counter {title!r} "
                f"counts {abs(theirs) / 3.6:.5g} mAh and the rows {abs(own) / 3.6:.5g} ± {u / 3.6:.2g} mAh: believe "
                "the counter for rows that are sparse or have few digits, and check the units of both"
            )
            worst = (apart, Look("counter", text))
    looks = [worst[1]] if worst is not None else []
    charges = [abs(charge_of(p, t, current, current_step).value) for p in parts if p.kind == "current"]
    for title, values in counters.items():
        q = values[np.isfinite(values)]
        if q.size < 2 or len(charges) < 3:
            continue
        if np.all(np.diff(q) >= 0.0) and float(np.ptp(q)) > 1.5 * max(charges):
            text = (
                f"the counter {title!r} goes on over the cycles, up to {float(np.ptp(q)) / 3.6:.5g} mAh: its last "
                f"value is no capacity; the largest of one half-cycle is {max(charges) / 3.6:.5g} mAh"
            )
            looks.append(Look("accumulated", text))
    return looks


def gap_look(t: F64, missing: NDArray[np.bool_]) -> list[Look]:
    """Intervals over which nothing was recorded, which are not integrated."""
    count = int(missing.sum())
    if not count:
        return []
    steps = np.diff(t)
    noun = "interval" if count == 1 else "intervals"
    text = (
        f"nothing was recorded over {count} {noun}, {float(steps[missing].sum()):.5g} s in all, the longest "
        f"{float(steps[missing].max()):.5g} s: not integrated; what passed there is not in any charge"
    )
    return [Look("not recorded", text)]
