"""What was controlled when: one segmentation of a cell's record, which every other result of it asks.

A potentiostat controls the current or the potential, or neither. Which one is decided for every part of the record from
both of its columns, never for the record as a whole: the controlled quantity follows a program (a constant, a straight
line), the other one answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.cell.parts import STAIR, ControlledPart, Kind, corners, with_times
from opsicm.analysis.cell.unrecorded import (
    JUMP,
    NEAR,
    REGULATED,
    ROWS,
    SIGNIFICANT,
    digits_of,
    noise_about_line,
    unrecorded,
    usual_difference,
)
from opsicm.core.statistics import MAD_TO_SIGMA, straight_line, u_of_median

F64 = NDArray[np.float64]

_LINE: Final = 6.0  # sigmas that a row may be off a line through two other noisy rows: 5 for the row, the rest for them
_COARSE: Final = 3e-3  # [V]: the widest tolerance of a line for reasons other than noise: half the largest stair
_FINE: Final = 1e-4  # [V]: a count of 16 bits on 5 V
_PARTS_OF_SPAN: Final = 30.0  # a line of few mV is judged more finely: to a thirtieth of what the block spans
_LEAST_SWEEP: Final = 3e-3  # [V]: less is no sweep but a hold that drifts
_DRIFT: Final = 5e-4  # [V] over a hold: what regulators of cyclers leave
_BENT: Final = (
    0.05  # change of rate along a sweep; instruments keep theirs to 1 %, chords of a curve bend by 10 % and up
)
_SAME: Final = 0.05  # relative difference of rates of one program; that of two programs is a factor
_FEWEST_OF_SWEEP: Final = 8
_SETTLING: Final = 0.15  # of a part's time: a cycler's regulator may approach its current from below for as long
_ZERO: Final = 1e-3  # of the largest current: offset of an ammeter in a range for that current
_OFFSET_CHARGE: Final = 0.02  # of the largest charge: more than passes at an offset
_TRANSITION: Final = 0.02  # of the current: a row that holds the change has a part of both sides, seldom less
_ROUND_OFF: Final = 1e-13  # [A] at open circuit: a million times below the noise of a potentiostat for mA
_BLOCKS: Final = 12  # means by which a current is judged constant


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


def current_parts(t: F64, current: F64) -> list[ControlledPart]:
    """Rests, constant currents, and what is neither ("potential"), where only the current [A] is known."""
    return controlled_parts(t, np.zeros(t.size), current)


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
    varies: bool = False  # gradually, from this chord to the next


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
        e_step, i_step = max(e_step, digits_of(e)), max(i_step, digits_of(i))
        move, change = np.abs(np.diff(e)), np.abs(np.diff(i))
        beside = np.maximum(np.abs(i[1:]), np.abs(i[:-1]))
        i_jumps = (change > np.maximum(JUMP * usual_difference(change), 1.5 * i_step)) & (change > REGULATED * beside)
        e_jumps = (move > np.maximum(JUMP * usual_difference(move), 3.0 * e_step)) & (move > STAIR)
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
            turns = corners(self.t[a:b], self.e[a:b], tolerance)
            # The row of a corner begins the next line; the last one ends with the block.
            edges = [a, *(a + k for k in turns[1:-1]), b]
            for p, q in pairwise(edges):
                shape = self.shape(p, q, tolerance, sigma)
                cuts = [p, *(np.flatnonzero(self.i_cuts[p : q - 1]) + p + 1).tolist(), q]
                for r, s in pairwise(cuts):
                    # A hold that begins without a jump of the potential is flat, though the rows before it are not.
                    own = shape if shape[1] or s - r == q - p else self.shape(r, s, tolerance, sigma)
                    chord = self.chord(r, s, line, own)
                    chords += self.finer(chord, tolerance) if chord.kind in ("potential", "unknown") else [chord]
                line += 1
        return chords

    def finer(self, chord: _Chord, tolerance: float) -> list[_Chord]:
        """A chord whose current varies, cut where its potential turns by less: a current that runs into a hold.

        Within the tolerance of a line the end of a plateau looks like the hold after it. The finer cuts are kept where
        they leave at least half of the rows under a constant current or at a constant potential.
        """
        a, b = chord.a, chord.b
        t, e = self.t[a:b], self.e[a:b]
        fine = max(_LINE * noise_about_line(t, e), 1.5 * self.e_step, _FINE)
        if fine > 0.5 * tolerance or b - a < 2 * NEAR:
            return [chord]
        edges = [a, *(a + k for k in corners(t, e, fine)[1:-1]), b]
        pieces = []
        for p, q in pairwise(edges):
            rate, _, is_flat = self.shape(p, q, fine, fine / _LINE)
            pieces.append(self.chord(p, q, chord.line, (rate, False, is_flat)))
        settled = sum(c.b - c.a for c in pieces if c.kind in ("current", "potential") and c.b - c.a >= ROWS)
        return pieces if settled >= 0.5 * (b - a) else [chord]

    def tolerance(self, a: int, b: int) -> tuple[float, float]:
        """How far a row of the block may be off a line, and the noise of its potential [V]."""
        e = self.e[a:b]
        sigma = max(noise_about_line(self.t[a:b], e), self.e_step / 12.0**0.5)
        span = float(np.ptp(e))
        tolerance = max(_LINE * sigma, 1.5 * self.e_step, min(_COARSE, span / _PARTS_OF_SPAN))
        moves = np.abs(np.diff(e))
        if moves.size >= 2 * ROWS:
            steps = moves[moves > 5.0 * float(np.median(moves))]
            if steps.size >= 3 and steps.sum() > 0.5 * span and float(np.median(steps)) <= STAIR:
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
        is_flat = moved <= max(_DRIFT, self.e_step, SIGNIFICANT * line.u_slope * took)
        is_line = (
            not is_flat and b - a >= _FEWEST_OF_SWEEP and moved > max(_LEAST_SWEEP, 3.0 * self.e_step, 3.0 * sigma)
        )
        is_line = is_line and _is_straight(t, e, tolerance)
        return line.slope, is_line, is_flat

    def chord(self, a: int, b: int, line: int, shape: tuple[float, bool, bool]) -> _Chord:
        """What the current does over rows [a, b) of a line of the potential."""
        # Few rows do not know their own noise: they share that of all rows between two jumps.
        noise = max(_white_noise(self.i[a:b]), float(self.noise[a]))
        is_constant, level, u_level = _constant(self.t[a:b], self.i[a:b], noise, self.i_step, 1e-4 * self.largest)
        rate, is_line, is_flat = shape
        varies = not is_constant and b - a >= ROWS
        kind: Kind = "current"
        if varies:
            kind = "potential" if is_flat else "sweep" if is_line else "unknown"
        return _Chord(a, b, line, kind, level, u_level, rate, is_line, is_flat)


def _white_noise(values: F64) -> float:
    """Standard deviation of one value under a trend, by second differences; steps among them do not count."""
    return MAD_TO_SIGMA * float(np.median(np.abs(np.diff(values, 2)))) / 6.0**0.5 if values.size > 3 else 0.0


def _constant(t: F64, i: F64, noise: float, step: float, offset: float) -> tuple[bool, float, float]:
    """Whether a current is constant, its level [A] and u: by the means of up to twelve blocks of rows.

    They may be off the median by their own noise, a digit, 2 % of it (what a regulator does), or `offset` [A]. The
    first and last row are left out, as they may hold part of the change; and so is an approach from below
    within 15 % of the time (a regulator that settles; the transient of a hold comes from above).
    """
    inner = slice(1, -1) if i.size >= 2 * ROWS else slice(None)
    t, i = t[inner], i[inner]
    level = float(np.median(i))
    sigma = max(noise, step / 12.0**0.5)
    u = u_of_median(sigma, i.size)
    allowed = max(step, REGULATED * abs(level), offset)
    if i.size < ROWS:
        return bool(np.ptp(i) <= allowed), level, u
    # Below the level until it is reached, and soon.
    reached = np.flatnonzero(np.abs(i) >= (1.0 - REGULATED) * abs(level))
    if level and reached.size and t[reached[0]] - t[0] <= _SETTLING * (t[-1] - t[0]):
        i = i[reached[0] :]
    count = min(_BLOCKS, max(2, i.size // 3))
    edges = np.linspace(0, i.size, count + 1).astype(int)
    means = np.add.reduceat(i, edges[:-1]) / np.diff(edges)
    limit = np.maximum(SIGNIFICANT * sigma / np.sqrt(np.diff(edges)), allowed)
    return bool(np.all(np.abs(means - level) <= limit)), level, u


def _shifts(i: F64, step: float) -> list[int]:
    """Rows where a noisy current changes its level at once by less than a jump: binary segmentation of its mean.

    A cut is kept where two levels leave a smaller residual than one cubic through the same rows, by ten times the
    variance: a step leaves a seventh of its square to a cubic, a current that varies gradually nothing. Levels of fewer
    than ten rows are not looked for, nor those of a current so quiet that every step beyond 2 % is a jump.
    """
    if i.size < 2 * NEAR:
        return []
    size = np.abs(i)
    digit, largest = step / 12.0**0.5, float(size.max())
    # Of the rows that carry current: a rest beside them may be without noise.
    if 11.0 * max(_white_noise(i[size > 0.5 * largest]), digit) <= REGULATED * largest:
        return []
    cuts = [0, i.size]
    stack = [(0, i.size)]
    while stack:
        a, b = stack.pop()
        n = b - a
        if n < 2 * NEAR:
            continue
        total = np.cumsum(i[a:b])
        left = np.arange(NEAR, n - NEAR + 1)
        gain = (total[left - 1] - total[-1] * left / n) ** 2 / (left * (n - left) / n)
        k = int(left[int(np.argmax(gain))])
        sigma = max(_white_noise(i[a : a + k]), _white_noise(i[a + k : b]), digit)
        # Log(n) places were tried for this one cut.
        if float(gain.max()) >= sigma**2 * 2.0 * (SIGNIFICANT**2 / 2.0 + np.log(n)):
            cuts.append(a + k)
            stack += [(a, a + k), (a + k, b)]
    cuts.sort()
    kept = [0]
    for k, end in pairwise(cuts[1:]):
        before, after = i[max(kept[-1], k - 50 * NEAR) : k], i[k : min(end, k + 50 * NEAR)]
        sigma = max(_white_noise(before), _white_noise(after), digit)
        levels = float(np.sum((before - before.mean()) ** 2) + np.sum((after - after.mean()) ** 2))
        both = np.concatenate((before, after))
        basis = np.vander(np.linspace(-1.0, 1.0, both.size), 4)
        residual = both - basis @ np.linalg.lstsq(basis, both, rcond=None)[0]
        if levels <= float(residual @ residual) - 10.0 * sigma**2:
            kept.append(k)
    return kept[1:]


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
    return bend <= _BENT or bend <= SIGNIFICANT * u_bend or small


def _neighbours_decide(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Constant currents over straight or constant potentials, by what goes on at either side of them."""
    chords = _lines_decide(chords)
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


def _lines_decide(chords: list[_Chord]) -> list[_Chord]:
    """A straight moving line over which the current varies gradually for a tenth of its rows is a sweep throughout.

    Where the current only jumps from constant to constant it was controlled, and the line is a coincidence; unless it
    jumps in every tenth row, ten times and more: then it is the transients of a sweep in stairs.
    """
    out: list[_Chord] = []
    for _, group in groupby(chords, key=lambda chord: chord.line):
        of_line = list(group)
        rows = of_line[-1].b - of_line[0].a
        varying = sum(c.b - c.a for c in of_line if c.kind == "sweep")
        if of_line[0].is_line and (varying >= 0.1 * rows or rows / NEAR < len(of_line) - NEAR):
            out.append(replace(of_line[0], b=of_line[-1].b, kind="sweep"))
        else:
            out += of_line
    return out


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
        bent = any(not c.is_line and not c.is_flat and c.b - c.a >= ROWS for c in group)
        turned = len({c.is_flat for c in group if c.b - c.a >= ROWS}) > 1
        if len(group) > 1 and (jumped or bent or (turned and not is_zero)):
            for c in group:
                c.is_line = c.is_flat = False
        group = [chord] if chord is not None and chord.kind == "current" else []


def _same_level(one: _Chord, other: _Chord) -> bool:
    apart = abs(one.level - other.level)
    return apart <= max(
        SIGNIFICANT * float(np.hypot(one.u_level, other.u_level)), REGULATED * max(abs(one.level), abs(other.level))
    )


def _goes_on(record: _Record, chord: _Chord, other: _Chord) -> bool:
    """Whether the potential's program of `other`, whose current varies, goes on in `chord`, whose current does not."""
    k = max(chord.a, other.a) - 1
    if record.gaps[k]:
        return False
    step = float(record.e[k + 1] - record.e[k])
    if other.kind == "sweep" and chord.is_line:
        even = abs(abs(chord.rate) - abs(other.rate)) <= _SAME * abs(other.rate)
        took = float(record.t[k + 1] - record.t[k])
        return even and abs(step) <= 1.5 * abs(other.rate) * took + record.e_step + STAIR
    if other.kind == "potential" and chord.is_flat:
        level, here = (float(np.median(record.e[c.a : c.b])) for c in (other, chord))
        sigma = noise_about_line(record.t[other.a : other.b], record.e[other.a : other.b])
        apart = max(2.0 * record.e_step, SIGNIFICANT * sigma, 2e-4)
        few = chord.b - chord.a <= NEAR  # the steep beginning of the hold's transient
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
    known = float(np.ptp(level)) > SIGNIFICANT * 2.0**0.5 * u
    return known and of_rate < 0.2 * of_level and of_rate < _SAME


def _joined(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Neighbouring chords of one program as one; rows too few to have a shape go with the neighbour that they fit."""
    out: list[_Chord] = []
    short: list[_Chord] = []
    for chord in _without_gradual(record, _same_currents(record, chords)):
        if chord.b - chord.a < ROWS:
            short.append(chord)
            continue
        rest = chord
        if short:
            rest, own = _shared_out(record, short, out[-1] if out else None, chord)
            for one in own:
                _append(record, out, one)
            short = []
        _append(record, out, rest)
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


def _without_gradual(record: _Record, chords: list[_Chord]) -> list[_Chord]:
    """Chords that go over gradually into what is on either side as unknown: a program begins and ends at once.

    Under a constant load or a slow modulation the current looks constant for a few rows, and the potential straight. A
    constant current whose level drifts to the next one's, or that lies without a jump between unknown rows or short
    lines, is none; nor is a line that is shorter than the unknown rows around it.
    """
    out = [replace(chord) for chord in chords]
    long = [c for c in out if c.b - c.a >= ROWS]

    def joined(one: _Chord, other: _Chord) -> bool:
        k = other.a - 1
        return other.a == one.b and not (record.gaps[k] or record.i_cuts[k] or record.e_jumps[k])

    for one, other in pairwise(long):
        drifts = one.kind == other.kind == "current" and not _same_level(one, other)
        if drifts and joined(one, other) and abs(one.level - other.level) > _ZERO * record.largest:
            one.varies = other.varies = True
    changed = True
    while changed:
        changed = False
        for k, chord in enumerate(long):
            if chord.kind not in ("current", "potential", "sweep"):
                continue
            is_inner = 0 < k < len(long) - 1 and joined(long[k - 1], chord) and joined(chord, long[k + 1])
            kinds = {long[k - 1].kind, long[k + 1].kind} if is_inner else set()
            around = long[k + 1].b - long[k - 1].a - (chord.b - chord.a) if is_inner else 0
            few = chord.b - chord.a < NEAR
            if chord.kind == "current":
                varied = kinds <= {"unknown", "sweep", "potential"} and ("unknown" in kinds or few)
                gone = chord.varies or (is_inner and varied)
            elif chord.kind == "potential":
                gone = is_inner and few and kinds <= {"unknown", "sweep"}
            else:
                gone = is_inner and kinds == {"unknown"} and chord.b - chord.a < around
            if gone:
                chord.kind, changed = "unknown", True
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

    Leading rows that fit `before` go there, trailing ones that fit `after` go there (first, if it is a hold). What is
    left is the change itself, if it is a row or two with the sign of a neighbour's current; else a part of its own.
    """
    a, b = short[0].a, short[-1].b
    to_before = _fitting(record, before, range(a, b))
    to_after = _fitting(record, after, range(b - 1, a - 1, -1))
    if to_before + to_after > b - a:
        if after is not None and after.kind == "potential":
            to_before = b - a - to_after
        else:
            to_after = b - a - to_before
    if before is not None:
        before.b = a = a + to_before
    b -= to_after
    level = float(np.median(record.i[a:b])) if b > a else 0.0
    if 0 < b - a <= 2:
        if after is not None and not record.gaps[b - 1] and _same_sign(level, after):
            b = a
        elif before is not None and not record.gaps[a - 1] and _same_sign(level, before):
            before.b = a = b
    own = []
    if b > a:
        breaks = record.i_cuts | record.gaps
        is_cut = (a == 0 or bool(breaks[a - 1])) and (b == record.t.size or bool(breaks[b - 1]))
        kind: Kind = "current" if is_cut else "unknown"
        own = [replace(short[0], a=a, b=b, kind=kind, level=level, u_level=0.0, is_line=False, is_flat=False)]
    return replace(after, a=b) if after is not None else short[0], own


def _same_sign(level: float, chord: _Chord) -> bool:
    if chord.kind == "current":
        return level * chord.level > 0.0 and abs(level) > _TRANSITION * abs(chord.level) > 4.0 * chord.u_level
    return chord.kind == "potential" and level * chord.level > 0.0


def _fitting(record: _Record, chord: _Chord | None, rows: range) -> int:
    """How many of `rows`, from the first on, continue `chord`: in its potential if held or swept, else its current."""
    if chord is None or not len(rows):
        return 0
    t, e, i = record.t, record.e, record.i
    own = slice(chord.a, chord.b)
    noise_e = max(noise_about_line(t[own], e[own]), record.e_step / 12.0**0.5)
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
            fits = abs(e[k] - on_line) <= max(
                STAIR, 1.5 * abs(chord.rate) * abs(float(t[k] - t[k - step])), _LINE * noise_e
            )
        elif chord.kind == "current":
            fits = abs(i[k] - chord.level) <= max(REGULATED * abs(chord.level), _LINE * noise_i, 1.01 * record.i_step)
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
        level = {"current": c.level, "potential": float(np.median(e[c.a : c.b])), "sweep": c.rate}.get(
            kind, float("nan")
        )
        if kind == "current":
            u = max(c.u_level, u_of_median(noise, c.b - c.a) if c in small else 0.0)
            digit = 1.01 * record.i_step if record.i_step < 0.3 * record.largest else 0.0
            own = abs(c.level) * float(t[c.b - 1] - t[c.a])
            is_offset = c in small and own < _OFFSET_CHARGE * max(passed)
            is_offset = is_offset and (abs(c.level) <= offset + 4.0 * u or c.b - c.a < ROWS)
            if abs(c.level) <= max(4.0 * u, digit, _ROUND_OFF) or is_offset:
                kind, level = "rest", 0.0
        parts.append(ControlledPart(kind, c.a, c.b, level, float(t[c.a]), float(t[c.b - 1])))
    return with_times(record.t, record.e, _rests_joined(record, parts), record.gaps)


_MEDIAN_DIFFERENCE: Final = 0.954  # of Gaussian noise: the median of |differences| over the sigma of one value


def constant_currents(current: F64, first: int, stop: int) -> list[tuple[int, int, float]]:
    """(first row, row after the last, level [A]) of the constant currents within rows that were controlled."""
    i = current[first:stop]
    change = np.abs(np.diff(i))
    beside = np.maximum(np.abs(i[1:]), np.abs(i[:-1]))
    jumps = np.zeros(0, dtype=np.intp)
    if change.size:
        jumps = np.flatnonzero((change > JUMP * usual_difference(change)) & (change > REGULATED * beside)) + 1
    pieces = [(a, b, float(np.median(i[a:b]))) for a, b in pairwise([0, *jumps.tolist(), i.size])]
    # A row of noise is as far from the next as a small change of level is; but the levels on either side of it agree.
    sigma = float(np.median(change)) / _MEDIAN_DIFFERENCE if change.size else 0.0
    levels = pieces[:1]
    for a, b, level in pieces[1:]:
        begin, end, before = levels[-1]
        known = sigma * float(np.sqrt(1.0 / (end - begin) + 1.0 / (b - a)))
        if abs(level - before) > max(REGULATED * max(abs(level), abs(before)), SIGNIFICANT * known):
            levels.append((a, b, level))
        else:
            levels[-1] = begin, b, float(np.median(i[begin:b]))
    return [(first + a, first + b, level) for a, b, level in levels]


def _rests_joined(record: _Record, parts: list[ControlledPart]) -> list[ControlledPart]:
    out: list[ControlledPart] = []
    for part in parts:
        if out and part.kind == out[-1].kind == "rest" and not record.gaps[part.first - 1]:
            out[-1] = replace(out[-1], stop=part.stop, end=part.end)
        else:
            out.append(part)
    return out
