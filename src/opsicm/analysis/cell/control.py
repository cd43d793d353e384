"""What was controlled when: one segmentation of a cell's record, which every other result of it asks.

A potentiostat controls the current or the potential, or neither. Which one is decided for every part of the record from
both of its columns, never for the record as a whole: the controlled quantity follows a program (a constant, a straight
line), the other one answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

from opsicm.core.statistics import MAD_TO_SIGMA, resolution_of, straight_line, u_of_median

F64 = NDArray[np.float64]
Kind = Literal["rest", "current", "potential", "sweep", "unknown"]

_NEAR: Final = 10  # rows to either side that say what is usual there: enough for a median, few against a step
# Times the median difference of neighbours. Differences of white noise have a median of 0.95 sigma, so that 8 of them
# are 5.4 standard deviations of a difference: one false jump in 10^7 rows. Smooth curves never reach it.
_JUMP: Final = 8.0
_REGULATED: Final = 0.02  # of a current: a smaller step is within what ranges and regulators of cyclers do by themselves
_STAIR: Final = 6e-3  # [V]: potentiostats that sweep in steps take 1 to 5 mV; a larger step is one of the program
_LINE: Final = 6.0  # sigmas that a row may be off a line through two other noisy rows: 5 for the row, the rest for them
_COARSE: Final = 3e-3  # [V]: the widest tolerance of a line for reasons other than noise: half the largest stair
_PARTS_OF_SPAN: Final = 30.0  # a line of few mV is judged more finely: to a thirtieth of what the block spans
_LEAST_SWEEP: Final = 3e-3  # [V]: less is no sweep but a hold that drifts
_DRIFT: Final = 5e-4  # [V] over a hold: what regulators of cyclers leave
_BENT: Final = 0.05  # change of rate along a sweep; instruments keep theirs to 1 %, chords of a curve bend by 10 % and up
_SAME: Final = 0.05  # relative difference of rates of one program; that of two programs is a factor
_SIGNIFICANT: Final = 4.5  # sigmas: of the few hundred comparisons in a record none happens by chance
_ROWS: Final = 4  # fewer have no shape
_FEWEST_OF_SWEEP: Final = 8
_SETTLING: Final = 0.15  # of a part's time: a cycler's regulator may approach its current from below for as long
_ZERO: Final = 1e-3  # of the largest current: offset of an ammeter in a range for that current
_OFFSET_CHARGE: Final = 0.02  # of the largest charge: more than passes at an offset
_OUTLIER: Final = 3.0  # times the largest other current: an overload, if the potential knows nothing of it
_TRANSITION: Final = 0.05  # of the current: a row that holds the change has a part of both sides, seldom less
_ROUND_OFF: Final = 1e-13  # [A] at open circuit: a million times below the noise of a potentiostat for mA
_BLOCKS: Final = 12  # means by which a current is judged constant


@dataclass(frozen=True, slots=True)
class ControlledPart:
    """Rows [first, stop) over which one quantity was controlled, from `begin` to `end` [s].

    `level` is what was controlled: the current [A] (0 of a rest), the potential [V], or the rate of a sweep [V/s]; NaN
    of "unknown". Sweeps share the row of the vertex between them. `u_begin`, `u_end` [s]: within a row nobody knows
    when the control changed; 0 at the ends of the record.
    """

    kind: Kind
    first: int
    stop: int
    level: float
    begin: float
    end: float
    u_begin: float = 0.0
    u_end: float = 0.0

    @property
    def rows(self) -> slice:
        """The rows of the part."""
        return slice(self.first, self.stop)


def overloads(potential: F64, current: F64) -> NDArray[np.bool_]:
    """Rows whose current or potential is no measurement: alone, far beyond all others, and without effect.

    `potential` [V], `current` [A], (n,). A current three times beyond all but a half per cent of the record (at
    least three rows), in no more than three rows together, is an overload where the potential moves no more than
    beside it: a real one moves it by the ohmic drop. A potential that leaves and comes back within one row by 50 mV
    and twenty times what is usual there is a fault of the same kind where the current does not answer. Fails for
    overloads in more rows, and for faults in both columns at once that are smaller than a thousandfold.
    """
    n = current.size
    bad = np.zeros(n, dtype=bool)
    if n < 2 * _ROWS:
        return bad
    size = np.abs(current)
    few = max(3, n // 200)
    usual = float(np.partition(size, n - 1 - few)[n - 1 - few])
    moved = np.abs(np.diff(potential))
    quiet = _JUMP * _usual(moved) + 3.0 * resolution_of(potential)
    for a, b in _runs(size > _OUTLIER * usual):
        beside = float(np.max(size[[j for j in (a - 1, b) if 0 <= j < n]]))
        if b - a > 3 or usual == 0.0 or float(size[a:b].min()) < _OUTLIER * beside:
            continue
        edges = slice(max(a - 1, 0), min(b, n - 1))
        if np.all(moved[edges] <= quiet[edges] + 1e-3) or float(size[a:b].max()) > 1e3 * usual:
            bad[a:b] = True
    there = np.flatnonzero((moved[:-1] > 0.05) & (moved[1:] > 0.05)) + 1
    answer = _JUMP * _usual(np.abs(np.diff(current))) + _REGULATED * usual
    for k in there:
        back = abs(float(potential[k + 1] - potential[k - 1])) <= 0.1 * float(min(moved[k - 1], moved[k]))
        beside = float(np.median(moved[max(0, k - 1 - _NEAR) : k + _NEAR]))
        silent = np.all(np.abs(np.diff(current[k - 1 : k + 2])) <= answer[k - 1 : k + 1])
        if back and silent and min(moved[k - 1], moved[k]) > 20.0 * beside:
            bad[k] = True
    return bad


def controlled_parts(
    t: F64, potential: F64, current: F64, potential_step: float = 0.0, current_step: float = 0.0
) -> list[ControlledPart]:
    """Parts of a record by what was controlled: `t` [s], `potential` [V], `current` [A], (n,), in order of time.

    Rows are cut where the current or the potential jumps, or where nothing was recorded (`unrecorded`), and between
    the jumps where the potential turns off a straight line. A part is at rest or at constant current where the current
    is a constant within its noise, its digits and 2 %; else a hold or a sweep where the potential is a constant or a
    straight line within its noise; else unknown. Where both are constant or straight (a capacitor, a flat part of a
    voltammogram), the neighbours decide: a line that goes on into rows whose current varies is a sweep; a current that
    goes on where the potential bends or jumps was controlled. Where they say nothing, current.
    `potential_step`, `current_step`: resolution of the columns, where it is known (0: found from the values).
    Assumes rows without overloads (`overloads`) and a time that never runs backwards. Fails for steps of a current
    smaller than its noise that last for few rows, and for programs that are neither constant nor straight (unknown).
    """
    n = t.size
    if n < 2:
        return []
    record = _Record.of(t, potential, current, potential_step, current_step)
    return _parts(record, _joined(record, _neighbours_decide(record, record.chords())))


@dataclass(slots=True)
class _Chord:
    """Rows [a, b) between two cuts: a straight line of the potential, and what its current does."""

    a: int
    b: int
    line: int  # number of the line of the potential, of which the chord is a part
    kind: Kind
    level: float  # of the current
    u_level: float
    rate: float  # of the potential [V/s]
    is_line: bool  # straight, and moving by more than its noise
    is_flat: bool


@dataclass(frozen=True, slots=True)
class _Record:
    t: F64
    e: F64
    i: F64
    e_step: float
    i_step: float
    largest: float
    gaps: NDArray[np.bool_]
    i_jumps: NDArray[np.bool_]
    e_jumps: NDArray[np.bool_]
    i_cuts: NDArray[np.bool_]  # jumps, and changes of level that noise hides
    noise: F64  # of the current, by row

    @staticmethod
    def of(t: F64, e: F64, i: F64, e_step: float, i_step: float) -> _Record:
        e_step, i_step = max(e_step, resolution_of(e)), max(i_step, resolution_of(i))
        move, change = np.abs(np.diff(e)), np.abs(np.diff(i))
        beside = np.maximum(np.abs(i[1:]), np.abs(i[:-1]))
        i_jumps = (change > np.maximum(_JUMP * _usual(change), 1.5 * i_step)) & (change > _REGULATED * beside)
        e_jumps = (move > np.maximum(_JUMP * _usual(move), 3.0 * e_step)) & (move > _STAIR)
        gaps = unrecorded(t, e, i)
        cuts, noise = np.append(i_jumps, True), np.zeros(i.size)
        for a, b in pairwise([0, *(np.flatnonzero(i_jumps | e_jumps | gaps) + 1).tolist(), i.size]):
            for c, d in pairwise([a, *(a + k for k in _shifts(i[a:b], i_step)), b]):
                # Of n rows the noise is known to 1.6/sqrt(n): taken at the upper end.
                noise[c:d] = max(_white_noise(i[c:d]) * (1.0 + 1.6 / (d - c) ** 0.5), i_step / 12.0**0.5)
                cuts[d - 1 : d] = True
        return _Record(t, e, i, e_step, i_step, float(np.max(np.abs(i))), gaps, i_jumps, e_jumps, cuts[:-1], noise)

    def chords(self) -> list[_Chord]:
        """All rows: cut at gaps and jumps of the potential, where it turns, and where the current jumps."""
        chords: list[_Chord] = []
        line = 0
        for a, b in pairwise([0, *(np.flatnonzero(self.e_jumps | self.gaps) + 1).tolist(), self.t.size]):
            tolerance, sigma = self.tolerance(a, b)
            corners = _corners(self.t[a:b], self.e[a:b], tolerance)
            # The row of a corner begins the next line; the last one ends with the block.
            edges = [a, *(a + k for k in corners[1:-1]), b]
            for p, q in pairwise(edges):
                shape = self.shape(p, q, tolerance, sigma)
                cuts = [p, *(np.flatnonzero(self.i_cuts[p : q - 1]) + p + 1).tolist(), q]
                for r, s in pairwise(cuts):
                    # A hold that begins without a jump of the potential is flat, though the rows before it are not.
                    own = shape if shape[1] or s - r == q - p else self.shape(r, s, tolerance, sigma)
                    chords.append(self.chord(r, s, line, own))
                line += 1
        return chords

    def tolerance(self, a: int, b: int) -> tuple[float, float]:
        """How far a row of the block may be off a line, and the noise of its potential [V]."""
        e = self.e[a:b]
        sigma = max(_noise_of_line(self.t[a:b], e), self.e_step / 12.0**0.5)
        span = float(np.ptp(e))
        tolerance = max(_LINE * sigma, 1.5 * self.e_step, min(_COARSE, span / _PARTS_OF_SPAN))
        moves = np.abs(np.diff(e))
        if moves.size >= 2 * _ROWS:
            steps = moves[moves > 5.0 * float(np.median(moves))]
            if steps.size >= 3 and steps.sum() > 0.5 * span and float(np.median(steps)) <= _STAIR:
                tolerance += float(np.median(steps))  # a sweep in stairs
        return tolerance, sigma

    def shape(self, a: int, b: int, tolerance: float, sigma: float) -> tuple[float, bool, bool]:
        """Rate [V/s] of the potential over rows [a, b), whether it is a moving line, and whether it is constant."""
        t, e = self.t[a:b], self.e[a:b]
        if b - a < 2 or t[-1] <= t[0]:
            return 0.0, False, True
        line = straight_line(t, e)
        took = float(t[-1] - t[0])
        moved = abs(line.slope) * took
        is_flat = moved <= max(_DRIFT, self.e_step, _SIGNIFICANT * line.u_slope * took)
        is_line = not is_flat and b - a >= _FEWEST_OF_SWEEP and moved > max(_LEAST_SWEEP, 3.0 * self.e_step, 3.0 * sigma)
        is_line = is_line and _is_straight(t, e, tolerance)
        return line.slope, is_line, is_flat

    def chord(self, a: int, b: int, line: int, shape: tuple[float, bool, bool]) -> _Chord:
        """What the current does over rows [a, b) of a line of the potential."""
        # Few rows do not know their own noise: they share that of all rows between two jumps.
        noise = max(_white_noise(self.i[a:b]), float(self.noise[a]))
        is_constant, level, u_level = _constant(self.t[a:b], self.i[a:b], noise, self.i_step, 1e-4 * self.largest)
        rate, is_line, is_flat = shape
        varies = not is_constant and b - a >= _ROWS
        kind: Kind = "current"
        if varies:
            kind = "potential" if is_flat else "sweep" if is_line else "unknown"
        return _Chord(a, b, line, kind, level, u_level, rate, is_line, is_flat)


def _usual(differences: F64) -> F64:
    """The larger of the medians of `differences` (n,) over the ten before and the ten after each.

    The larger: where a quiet part ends, the noise of the next one is no jump.
    """
    medians = median_filter(differences, _NEAR + 1, mode="mirror")
    k = np.arange(differences.size)
    half = _NEAR // 2
    before, after = np.maximum(k - half - 1, 0), np.minimum(k + half + 1, differences.size - 1)
    return np.asarray(np.maximum(medians[before], medians[after]), dtype=np.float64)


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate(([0], mask.astype(np.int8), [0]))))
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def _noise_of_line(t: F64, values: F64) -> float:
    """Standard deviation of one of `values` (n,), by what each is off the line between its neighbours in time."""
    if t.size < 5:
        return 0.0
    whole = t[2:] - t[:-2]
    share = np.divide(t[1:-1] - t[:-2], whole, out=np.full(whole.size, 0.5), where=whole > 0.0)
    off = values[1:-1] - (1.0 - share) * values[:-2] - share * values[2:]
    return MAD_TO_SIGMA * float(np.median(np.abs(off) / np.sqrt(1.0 + share**2 + (1.0 - share) ** 2)))


def _white_noise(values: F64) -> float:
    """Standard deviation of one value under a trend, by second differences; steps among them do not count."""
    return MAD_TO_SIGMA * float(np.median(np.abs(np.diff(values, 2)))) / 6.0**0.5 if values.size > 3 else 0.0


def _constant(t: F64, i: F64, noise: float, step: float, offset: float) -> tuple[bool, float, float]:
    """Whether a current is constant, its level [A] and u: by the means of up to twelve blocks of rows.

    They may be off the median by their own noise, a digit, 2 % of it (what a regulator does), or `offset` [A]. The
    first and last row are left out, as they may hold part of the change; and so is an approach from below
    within 15 % of the time (a regulator that settles; the transient of a hold comes from above).
    """
    inner = slice(1, -1) if i.size >= 2 * _ROWS else slice(None)
    t, i = t[inner], i[inner]
    level = float(np.median(i))
    sigma = max(noise, step / 12.0**0.5)
    u = u_of_median(sigma, i.size)
    allowed = max(step, _REGULATED * abs(level), offset)
    if i.size < _ROWS:
        return bool(np.ptp(i) <= allowed), level, u
    # Below the level until it is reached, and soon.
    reached = np.flatnonzero(np.abs(i) >= (1.0 - _REGULATED) * abs(level))
    if level and reached.size and t[reached[0]] - t[0] <= _SETTLING * (t[-1] - t[0]):
        i = i[reached[0] :]
    count = min(_BLOCKS, max(2, i.size // 3))
    edges = np.linspace(0, i.size, count + 1).astype(int)
    means = np.add.reduceat(i, edges[:-1]) / np.diff(edges)
    limit = np.maximum(_SIGNIFICANT * sigma / np.sqrt(np.diff(edges)), allowed)
    return bool(np.all(np.abs(means - level) <= limit)), level, u


def _shifts(i: F64, step: float) -> list[int]:
    """Rows where a noisy current changes its level at once by less than a jump: binary segmentation of its mean.

    A cut is kept where two levels leave a smaller residual than one cubic through the same rows, by ten times the
    variance: a step leaves a seventh of its square to a cubic, a current that varies gradually nothing. Levels of fewer
    than ten rows are not looked for, nor those of a current so quiet that every step beyond 2 % is a jump.
    """
    sigma = max(_white_noise(i), step / 12.0**0.5)
    if i.size < 2 * _NEAR or 11.0 * sigma <= _REGULATED * float(np.max(np.abs(i))):
        return []
    cuts = [0, i.size]
    stack = [(0, i.size)]
    while stack:
        a, b = stack.pop()
        n = b - a
        if n < 2 * _NEAR:
            continue
        total = np.cumsum(i[a:b])
        left = np.arange(_NEAR, n - _NEAR + 1)
        gain = (total[left - 1] - total[-1] * left / n) ** 2 / (left * (n - left) / n)
        k = int(left[int(np.argmax(gain))])
        # Log(n) places were tried for this one cut.
        if float(gain.max()) >= sigma**2 * 2.0 * (_SIGNIFICANT**2 / 2.0 + np.log(n)):
            cuts.append(a + k)
            stack += [(a, a + k), (a + k, b)]
    cuts.sort()
    kept = [0]
    for k, end in pairwise(cuts[1:]):
        before, after = i[max(kept[-1], k - 50 * _NEAR) : k], i[k : min(end, k + 50 * _NEAR)]
        levels = float(np.sum((before - before.mean()) ** 2) + np.sum((after - after.mean()) ** 2))
        both = np.concatenate((before, after))
        basis = np.vander(np.linspace(-1.0, 1.0, both.size), 4)
        residual = both - basis @ np.linalg.lstsq(basis, both, rcond=None)[0]
        if levels <= float(residual @ residual) - 10.0 * sigma**2:
            kept.append(k)
    return kept[1:]


def _corners(t: F64, e: F64, tolerance: float) -> list[int]:
    """Rows where a polygon through some of the rows turns that is nowhere farther than `tolerance` from the others.

    Source: Douglas and Peucker, Cartographica 1973, 10, 112; on the potential alone, as time has no error.
    """
    edges = {0, e.size - 1}
    stack = [(0, e.size - 1)]
    while stack:
        a, b = stack.pop()
        if b - a < 2:
            continue
        length = float(t[b] - t[a])
        chord = e[a] + (e[b] - e[a]) * ((t[a : b + 1] - t[a]) / length if length > 0.0 else 0.0)
        away = np.abs(e[a : b + 1] - chord)
        k = a + int(np.argmax(away))
        if away[k - a] > tolerance and a < k < b:
            edges.add(k)
            stack += [(a, k), (k, b)]
    corners = sorted(edges)
    # Cuts that noise made: gone where one line serves both sides.
    kept = corners[:1]
    for k, after in pairwise(corners[1:]):
        both = slice(kept[-1], after + 1)
        residual = straight_line(t[both], e[both]).residual
        if float(np.max(np.abs(residual))) > 0.75 * tolerance:
            kept.append(k)
    return [*kept, corners[-1]] if len(corners) > 1 else corners


def _is_straight(t: F64, e: F64, tolerance: float) -> bool:
    """Whether the rate of a line is one: the change along it by a parabola is below 5 % or not significant."""
    x = 2.0 * (t - t[0]) / float(t[-1] - t[0]) - 1.0
    basis = np.vander(x, 3, increasing=True)
    c, *_ = np.linalg.lstsq(basis, e, rcond=None)
    residual = e - basis @ c
    spread = float(np.sqrt(residual @ residual / max(e.size - 3, 1)))
    bend = 2.0 * abs(float(c[2])) / max(abs(float(c[1])), 1e-300)
    u_bend = 2.0 * spread * (5.0 / e.size) ** 0.5 * 1.5 / max(abs(float(c[1])), 1e-300)
    # A sagitta within a third of the tolerance is what stairs and the instrument's digits leave.
    small = abs(float(c[2])) < 0.1 * tolerance and bend < 4.0 * _BENT
    return bend <= _BENT or bend <= _SIGNIFICANT * u_bend or small


def _neighbours_decide(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Constant currents over straight or constant potentials, by what goes on at either side of them."""
    _lines_decide(chords)
    _mark_definite_currents(record, chords)
    changed = True
    while changed:
        changed = False
        for k, chord in enumerate(chords):
            if chord.kind != "current":
                continue
            for other in (chords[j] for j in (k - 1, k + 1) if 0 <= j < len(chords)):
                if _goes_on(record, chord, other):
                    chord.kind = other.kind
                    changed = True
                    break
    for group in _ambiguous_groups(record, chords):
        if _rates_agree_better(group):
            for chord in group:
                chord.kind = "sweep"
    return chords


def _lines_decide(chords: list[_Chord]) -> None:
    """A straight moving line over which the current varies gradually for a tenth of its rows is a sweep throughout.

    Where the current only jumps from constant to constant it was controlled, and the line is a coincidence.
    """
    for _, group in groupby(chords, key=lambda chord: chord.line):
        of_line = list(group)
        varying = sum(c.b - c.a for c in of_line if c.kind == "sweep")
        if varying >= 0.1 * sum(c.b - c.a for c in of_line) and varying:
            for c in of_line:
                c.kind = "sweep"


def _mark_definite_currents(record: _Record, chords: list[_Chord]) -> None:
    """A current that goes on over several chords of which one is bent, or over a jump of the potential, was controlled.

    Such chords are no longer lines: no neighbour makes a sweep of them.
    """
    group: list[_Chord] = []
    for chord in [*chords, None]:
        same = (
            chord is not None
            and group
            and chord.kind == "current"
            and not record.gaps[chord.a - 1]
            and not record.i_jumps[chord.a - 1]
            and _same_level(chord, group[-1])
        )
        if same and chord is not None:
            group.append(chord)
            continue
        is_zero = group and abs(group[0].level) <= max(4.0 * group[0].u_level, record.i_step)
        jumped = any(record.e_jumps[c.a - 1] for c in group[1:])
        bent = any(not c.is_line and not c.is_flat and c.b - c.a >= _ROWS for c in group)
        turned = len({c.is_flat for c in group if c.b - c.a >= _ROWS}) > 1
        if len(group) > 1 and (jumped or bent or (turned and not is_zero)):
            for c in group:
                c.is_line = c.is_flat = False
        group = [chord] if chord is not None and chord.kind == "current" else []


def _same_level(one: _Chord, other: _Chord) -> bool:
    apart = abs(one.level - other.level)
    return apart <= max(
        _SIGNIFICANT * float(np.hypot(one.u_level, other.u_level)), _REGULATED * max(abs(one.level), abs(other.level))
    )


def _goes_on(record: _Record, chord: _Chord, other: _Chord) -> bool:
    """Whether the potential's program of `other`, whose current varies, goes on in `chord`, whose current does not."""
    first, last = (chord, other) if chord.a < other.a else (other, chord)
    k = last.a - 1
    if record.gaps[k]:
        return False
    step = float(record.e[k + 1] - record.e[k])
    if other.kind == "sweep" and chord.is_line:
        even = abs(abs(chord.rate) - abs(other.rate)) <= _SAME * abs(other.rate)
        took = float(record.t[k + 1] - record.t[k])
        return even and abs(step) <= 1.5 * abs(other.rate) * took + record.e_step + _STAIR
    if other.kind == "potential" and chord.is_flat:
        level, here = (float(np.median(record.e[c.a : c.b])) for c in (other, chord))
        sigma = _noise_of_line(record.t[other.a : other.b], record.e[other.a : other.b])
        apart = max(2.0 * record.e_step, _SIGNIFICANT * sigma, 2e-4)
        few = chord.b - chord.a <= _NEAR  # the steep beginning of the hold's transient
        return (few or not record.i_jumps[k]) and abs(level - here) <= apart
    return False


def _ambiguous_groups(record: _Record, chords: list[_Chord]) -> Iterator[list[_Chord]]:
    """Neighbouring chords with a constant current over a line, two and more."""
    group: list[_Chord] = []
    for chord in chords:
        joined = (
            group
            and chord.rate * group[-1].rate < 0.0
            and chord.level * group[-1].level < 0.0
            and not record.gaps[chord.a - 1]
            and not record.e_jumps[chord.a - 1]
        )
        if chord.kind == "current" and chord.is_line and (joined or not group):
            group.append(chord)
            continue
        if len(group) > 1:
            yield group
        group = [chord] if chord.kind == "current" and chord.is_line else []
    if len(group) > 1:
        yield group


def _rates_agree_better(group: Sequence[_Chord]) -> bool:
    """Whether the rates of ambiguous chords are alike while the currents are not: then the rate was the program.

    At a controlled current a capacitor's rate goes with the current; under a sweep leakage and reactions change the
    current alone.
    """
    level = np.abs([c.level for c in group])
    u = max(c.u_level for c in group)
    rate = np.abs([c.rate for c in group])
    of_level = float(np.ptp(level)) / float(level.mean()) if level.mean() > 0.0 else 0.0
    of_rate = float(np.ptp(rate)) / float(rate.mean())
    known = float(np.ptp(level)) > _SIGNIFICANT * 2.0**0.5 * u
    return known and of_rate < 0.2 * of_level and of_rate < _SAME


def _joined(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Neighbouring chords of one program as one; rows too few to have a shape go with the neighbour that they fit."""
    out: list[_Chord] = []
    short: list[_Chord] = []
    for chord in _same_currents(record, chords):
        if chord.b - chord.a < _ROWS:
            short.append(chord)
            continue
        if short:
            chord, own = _shared_out(record, short, out[-1] if out else None, chord)
            out += own
            short = []
        _append(record, out, chord)
    if short:
        _, own = _shared_out(record, short, out[-1] if out else None, None)
        out += own
    return out


def _same_currents(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Constant currents of one level as one, however the potential turns meanwhile."""
    out: list[_Chord] = []
    for chord in chords:
        k = chord.a - 1
        both = bool(out) and chord.kind == out[-1].kind == "current" and not record.gaps[k] and not record.i_cuts[k]
        if both and _same_level(out[-1], chord):
            level = float(np.median(record.i[out[-1].a : chord.b]))
            u = u_of_median(float(record.noise[chord.a]), chord.b - out[-1].a)
            out[-1] = replace(out[-1], b=chord.b, level=level, u_level=u, is_line=False, is_flat=False)
        else:
            out.append(replace(chord))
    return out


def _append(record: _Record, out: list[_Chord], chord: _Chord | None) -> None:
    if chord is None:
        return
    if out and _is_one_program(record, out[-1], chord):
        longer = out[-1] if out[-1].b - out[-1].a >= chord.b - chord.a else chord
        out[-1] = replace(longer, a=out[-1].a, b=chord.b)
    else:
        out.append(replace(chord))


def _shared_out(
    record: _Record, short: list[_Chord], before: _Chord | None, after: _Chord | None
) -> tuple[_Chord, list[_Chord]]:
    """`after` with the last of the short chords' rows, and what fits neither neighbour; `before` gets its rows.

    Leading rows that fit `before` go there, trailing ones that fit `after` go there (first, if it is a hold that a
    current runs into). What is left is the change itself, if it is a row or two with the sign of a neighbour's current;
    else a part of its own.
    """
    a, b = short[0].a, short[-1].b
    to_before = _fitting(record, before, range(a, b))
    to_after = _fitting(record, after, range(b - 1, a - 1, -1))
    if to_before + to_after > b - a:
        if before is not None and after is not None and before.kind == "current" and after.kind == "potential":
            to_before = b - a - to_after
        else:
            to_after = b - a - to_before
    if before is not None:
        before.b = a = a + to_before
    b -= to_after
    level = float(np.median(record.i[a:b])) if b > a else 0.0
    if 0 < b - a <= 2:
        if after is not None and not record.gaps[b - 1] and _same_sign(record, level, after):
            b = a
        elif before is not None and not record.gaps[a - 1] and _same_sign(record, level, before):
            before.b = a = b
    own = []
    if b > a:
        own = [replace(short[0], a=a, b=b, kind="current", level=level, u_level=0.0, is_line=False, is_flat=False)]
    return replace(after, a=b) if after is not None else short[0], own


def _same_sign(record: _Record, level: float, chord: _Chord) -> bool:
    if chord.kind == "current":
        return level * chord.level > 0.0 and abs(level) > _TRANSITION * abs(chord.level) > 4.0 * chord.u_level
    return chord.kind in ("potential", "sweep")


def _fitting(record: _Record, chord: _Chord | None, rows: range) -> int:
    """How many of `rows`, from the first on, continue `chord`: in its potential if held or swept, else its current."""
    if chord is None or not len(rows):
        return 0
    t, e, i = record.t, record.e, record.i
    own = slice(chord.a, chord.b)
    noise_e = max(_noise_of_line(t[own], e[own]), record.e_step / 12.0**0.5)
    noise_i = max(_white_noise(i[own]), record.i_step / 12.0**0.5)
    middle_t, middle_e = float(np.mean(t[own])), float(np.mean(e[own]))
    count, step = 0, rows.step
    for k in rows:
        if record.gaps[k - 1 if step > 0 else k]:
            break
        if chord.kind == "potential":
            fits = abs(e[k] - float(np.median(e[own]))) <= max(2.0 * record.e_step, 1e-3, _LINE * noise_e)
        elif chord.kind == "sweep":
            on_line = middle_e + chord.rate * (t[k] - middle_t)
            fits = abs(e[k] - on_line) <= max(_STAIR, 1.5 * abs(chord.rate) * abs(float(t[k] - t[k - step])), _LINE * noise_e)
        elif chord.kind == "current":
            fits = abs(i[k] - chord.level) <= max(_REGULATED * abs(chord.level), _LINE * noise_i, 1.01 * record.i_step)
        else:
            fits = not record.e_jumps[k - 1 if step > 0 else k]
        if not fits:
            break
        count += 1
    return count


def _is_one_program(record: _Record, one: _Chord, other: _Chord) -> bool:
    k = other.a - 1
    if one.kind != other.kind or record.gaps[k]:
        return False
    if one.kind == "current":
        return _same_level(one, other)
    if one.kind == "potential":
        levels = [float(np.median(record.e[c.a : c.b])) for c in (one, other)]
        return not record.e_jumps[k] and abs(levels[1] - levels[0]) <= max(1e-3, 2.0 * record.e_step)
    if one.kind == "sweep":
        return abs(one.rate - other.rate) <= 2.0 * _SAME * abs(one.rate) and not record.e_jumps[k]
    return not record.e_jumps[k] and not record.i_jumps[k]


def _parts(record: _Record, chords: list[_Chord]) -> list[ControlledPart]:
    t, e = record.t, record.e
    constant = [c for c in chords if c.kind == "current"]
    passed = [abs(c.level) * float(t[c.b - 1] - t[c.a]) for c in constant]
    small = [c for c in constant if abs(c.level) < _ZERO * record.largest]
    # Rests share their noise, as the shortest hardly know it, and an offset that is no more than the smallest twice.
    noise = float(np.median([record.noise[c.a] for c in small])) if small else 0.0
    offset = 2.0 * min((abs(c.level) for c in small), default=0.0)
    parts: list[ControlledPart] = []
    for c in chords:
        kind: Kind = c.kind
        level = {"current": c.level, "potential": float(np.median(e[c.a : c.b])), "sweep": c.rate}.get(kind, float("nan"))
        if kind == "current":
            u = max(c.u_level, u_of_median(noise, c.b - c.a) if c in small else 0.0)
            digit = 1.01 * record.i_step if record.i_step < 0.3 * record.largest else 0.0
            own = abs(c.level) * float(t[c.b - 1] - t[c.a])
            is_offset = c in small and own < _OFFSET_CHARGE * max(passed)
            is_offset = is_offset and (abs(c.level) <= offset + 4.0 * u or c.b - c.a < _ROWS)
            if abs(c.level) <= max(4.0 * u, digit, _ROUND_OFF) or is_offset:
                kind, level = "rest", 0.0
        parts.append(ControlledPart(kind, c.a, c.b, level, float(t[c.a]), float(t[c.b - 1])))
    return _with_times(record, _rests_joined(record, parts))


def _rests_joined(record: _Record, parts: list[ControlledPart]) -> list[ControlledPart]:
    out: list[ControlledPart] = []
    for part in parts:
        if out and part.kind == out[-1].kind == "rest" and not record.gaps[part.first - 1]:
            out[-1] = replace(out[-1], stop=part.stop, end=part.end)
        else:
            out.append(part)
    return out


def _with_times(record: _Record, parts: list[ControlledPart]) -> list[ControlledPart]:
    """The parts with the times at which the control changed between them, and vertices shared by two sweeps."""
    t = record.t
    for k in range(len(parts) - 1):
        one, other = parts[k], parts[k + 1]
        if record.gaps[other.first - 1]:
            continue
        if one.kind == other.kind == "sweep" and not record.e_jumps[other.first - 1]:
            vertex = _vertex_row(record, one, other)
            at = float(t[vertex])
            half = 0.5 * float(t[min(vertex + 1, t.size - 1)] - t[max(vertex - 1, 0)]) / 12.0**0.5
            parts[k] = replace(one, stop=vertex + 1, end=at, u_end=half)
            parts[k + 1] = replace(other, first=vertex, begin=at, u_begin=half)
            continue
        at, u = _time_of_change(record, one, other)
        parts[k], parts[k + 1] = replace(one, end=at, u_end=u), replace(other, begin=at, u_begin=u)
    return parts


def _vertex_row(record: _Record, one: ControlledPart, other: ControlledPart) -> int:
    """The row nearest to where the lines of two sweeps meet."""
    lines = [straight_line(record.t[p.rows], record.e[p.rows]) for p in (one, other)]
    if one.level * other.level >= 0.0:
        return other.first
    at = (lines[1].at(0.0)[0] - lines[0].at(0.0)[0]) / (lines[0].slope - lines[1].slope)
    low, high = one.first + 1, other.stop - 2
    k = int(np.searchsorted(record.t, at))
    near = min((j for j in (k - 1, k) if low <= j <= high), key=lambda j: abs(record.t[j] - at), default=other.first)
    # Farther than a few rows away it is no vertex but a cut between two programs.
    return near if abs(near - other.first) <= 3 else other.first


def _time_of_change(record: _Record, one: ControlledPart, other: ControlledPart) -> tuple[float, float]:
    """When the control changed between the last row of one part and the first of the next [s], and u.

    A step begins with its own clock: its first row is at its start or one of its own intervals later, and the last row
    of the step before is at most one of that step's intervals old. Where a current ran into a hold, the potential says
    when: it reached that level.
    """
    t, e = record.t, record.e
    a = other.first
    whole = float(t[a] - t[a - 1])
    own = [float(np.median(np.diff(t[s]))) for s in (slice(max(one.first, a - 6), a), slice(a, min(other.stop, a + 6))) if s.stop - s.start > 1]
    width = min([whole, *(d for d in own if d > 0.0)])
    if one.kind == "current" and other.kind == "potential" and a - one.first >= _ROWS and whole > 0.0:
        before = slice(a - _ROWS, a)
        slope = straight_line(t[before], e[before]).slope
        ahead = (other.level - float(e[a - 1])) / slope if slope else -1.0
        if 0.0 < ahead <= 1.5 * whole:
            return float(t[a - 1]) + min(ahead, whole), 0.1 * whole
    return float(t[a]) - 0.5 * width, width / 12.0**0.5


def unrecorded(t: F64, potential: F64, current: F64) -> NDArray[np.bool_]:
    """Which of the n - 1 intervals between rows nothing is known of; `t` [s], `potential` [V], `current` [A], (n,).

    An interval more than five times those beside it, over which the state did not go on: rows that a change of
    potential or charge triggered are sparse, not missing. It went on if potential and current changed by what the rows
    on either side (within the same program) let expect, by a factor of three; where neither changes, if the interval is
    no longer than what was recorded beside it (beyond that it is extrapolated, not interpolated).
    """
    steps = np.diff(t)
    missing = np.zeros(steps.size, dtype=bool)
    if steps.size < _ROWS:
        return missing
    usual = median_filter(steps, 2 * _NEAR + 1, mode="mirror")
    long = np.flatnonzero((steps > 5.0 * usual) & (steps > 0.0))
    if not long.size:
        return missing
    scales = [(max(_noise_of_line(t, v), resolution_of(v) / 3.0), v) for v in (potential, current)]
    for k in long:
        if _is_triggered(steps, potential, current, int(k)):
            continue
        lengths = _recorded_beside(steps, usual, int(k))
        if not all(_continues(t, v, sigma, int(k)) for sigma, v in scales):
            missing[k] = True
        elif not any(_moves(t, v, sigma, int(k)) for sigma, v in scales):
            missing[k] = steps[k] > sum(lengths)
    return missing


def _recorded_beside(steps: F64, usual: F64, k: int) -> tuple[float, float]:
    """Time [s] recorded without another long interval, before and after interval k."""
    breaks = np.flatnonzero(steps > 5.0 * usual)
    before, after = breaks[breaks < k], breaks[breaks > k]
    a = int(before[-1]) + 1 if before.size else 0
    b = int(after[0]) if after.size else steps.size
    return float(steps[a:k].sum()), float(steps[k + 1 : b].sum())


def _is_triggered(steps: F64, potential: F64, current: F64, k: int) -> bool:
    """Whether intervals near k are uneven in time but even in potential, or current, or its change: so was k's."""
    near = slice(max(0, k - _NEAR), k + _NEAR + 1)
    if float(np.percentile(steps[near], 75.0)) < 2.0 * float(np.percentile(steps[near], 25.0)):
        return False
    for values in (potential, current):
        moves = np.abs(np.diff(values))
        usual = float(np.median(moves[near]))
        even = float(np.percentile(moves[near], 75.0)) < 1.5 * float(np.percentile(moves[near], 25.0))
        if usual > 0.0 and even and moves[k] < 2.0 * usual:
            return True
    return False


def _slopes(t: F64, values: F64, k: int) -> list[tuple[float, float]]:
    """Slope and u over up to five rows on either side of interval k, where they are of one piece."""
    slopes = []
    for rows in (slice(max(0, k - 4), k + 1), slice(k + 1, min(t.size, k + 6))):
        if rows.stop - rows.start >= 3 and t[rows.stop - 1] > t[rows.start]:
            line = straight_line(t[rows], values[rows])
            slopes.append((line.slope, line.u_slope))
    return slopes


def _continues(t: F64, values: F64, sigma: float, k: int) -> bool:
    """Whether `values` change over interval k as they do on one side of it at least."""
    took, change = float(t[k + 1] - t[k]), float(values[k + 1] - values[k])
    noise = _SIGNIFICANT * 2.0**0.5 * sigma
    for slope, u in _slopes(t, values, k):
        expected = slope * took
        unsure = noise + 2.0 * u * took
        low, high = sorted((expected / 3.0, 3.0 * expected))
        if low - unsure <= change <= high + unsure:
            return True
    return False


def _moves(t: F64, values: F64, sigma: float, k: int) -> bool:
    """Whether the change over interval k is more than noise, so that its agreement says something."""
    return abs(float(values[k + 1] - values[k])) > 2.0 * _SIGNIFICANT * sigma
