"""The world: what is true. One cell, one pipette, one surface, one time; the devices only look at it.

The cell is integrated in steps of at most 0.1 s or 1 mV; between two steps everything is read by linear
interpolation, so that a sample at any nanosecond has one value however the runner asks for it. What the probe does
never changes those steps: the height of a moving pipette is resolved between them (`_Way`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.instruments.cell_control import CellControl, CellReading, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.physics.cell import Cell
from opsicm.physics.ion_current import conductance_from_table
from opsicm.twin.circuit import COMMON, nodes
from opsicm.twin.faults import Faults
from opsicm.twin.specimen import Footprint, Specimen
from opsicm.twin.travel import Travel

_LONGEST_STEP: Final = 0.1  # [s] contracts: while hopping
_LARGEST_STEP: Final = 1e-3  # [V]
_AFTER_A_CHANGE: Final = 1e-3  # [s] a control that has just changed is resolved this finely once
_LONGEST_WAY: Final = 25e-6  # [m] that the coarse stage may travel in a step: the bath's layers are some 100 µm thick
_OLDEST_NS: Final = 3_000_000_000  # of an answer: a setting and a fault may add up to 2 s
_KEPT: Final = 256
_SETPOINT_WORD: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


@dataclass(frozen=True, slots=True)
class _Seen:
    """The cell at one instant, wherever the pipette is."""

    t_ns: int
    potential: float  # [V] specimen against the reference, as the potentiostat reads it
    current: float  # [A] negative lithiates
    charge: float  # [C] since the start
    set_point: float  # [V] NaN unless a potential is controlled
    expansion: float  # [m] rise of the mean surface since stoichiometry 0
    reference_error: float  # [V] by which `potential` is too high


@dataclass(frozen=True, slots=True)
class CellMoment(_Seen):
    """The cell at one instant, as far as anything outside it can see."""

    conductance: float  # [S] of the pipette far from the surface, at its height
    offset: float  # [V] what opposes the wire's potential: ohmic drop from pipette to reference, junction


@dataclass(frozen=True, slots=True)
class Salt:
    """What the pipette's current needs of the salt: kappa(c) [S/m] as a table, c inside [mol/m³], and U [V].

    Bath and fill make a reversal potential U ln(c_in/c_ref) between two equal electrodes: `junction` is that U, which
    depends on what the electrodes are (`physics.ion_current.junction_potential`).
    """

    kappa_table: NDArray[np.float64]
    inside: float
    junction: float


@dataclass(frozen=True, slots=True)
class _Way:
    """Conductance [S] and opposing potential [V] of the pipette at instants [ns] of one cell step, straight between."""

    t_ns: tuple[int, ...]
    conductance: tuple[float, ...]
    offset: tuple[float, ...]

    def at(self, t_ns: int) -> tuple[float, float]:
        """(conductance, offset) at `t_ns`; the last stretch goes on beyond the step's end."""
        times = self.t_ns
        if len(times) == 1:
            return self.conductance[0], self.offset[0]
        k = min(max(bisect_right(times, t_ns), 1), len(times) - 1)
        w = (t_ns - times[k - 1]) / (times[k] - times[k - 1])
        g, v = self.conductance, self.offset
        return g[k - 1] + w * (g[k] - g[k - 1]), v[k - 1] + w * (v[k] - v[k - 1])

    def after(self, t_ns: int) -> int:
        """The next instant at which a stretch ends."""
        k = bisect_right(self.t_ns, t_ns)
        return self.t_ns[min(k, len(self.t_ns) - 1)]


class World:
    """Cell, pipette, specimen and time.

    `geometric_resistance` [1/m] is R·kappa of the pipette far from anything, `drift` [m/s] by which everything that
    holds the pipette creeps up.
    """

    def __init__(
        self,
        cell: Cell,
        specimen: Specimen,
        salt: Salt,
        geometric_resistance: float,
        coarse: Travel,
        grounding: str = COMMON,
        faults: Faults | None = None,
        drift: float = 0.0,
    ) -> None:
        self.cell = cell
        self.salt = salt
        self.specimen = specimen
        self.geometric_resistance = geometric_resistance
        self.coarse = coarse
        self.grounding = grounding
        self.faults = faults or Faults()
        self.drift = drift
        self._reference_error = self.faults.reference_error(0)
        self.x = 0.0
        self.y = 0.0
        self.now_ns = 0
        self.control: CellControl = OpenCircuit()
        self._skew = 0.0  # by which the present control runs fast
        self.cut_off = False
        self._waiting: tuple[CellControl, int] | None = None
        self._command = (0.0, 0.0, 0)
        self._told = True  # the cell has been told something since it was last looked at
        self._commanded_step = (0.0, 0)  # [V] and [ns] of the command's last jump
        self._past: list[tuple[_Seen, str, bool]] = []  # what the potentiostat has shown at the ends of steps
        cell.set_open_circuit()
        self._before = self._after = self._seen(0)
        self._rise = (specimen.advance(1e-9, cell),) * 2  # [m] of every patch at both ends of the step
        self._known: tuple[int, dict[float, tuple[float, float]]] = (-1, {})
        conductance, offset = self._pipette_at(self.coarse.carriage(0))
        self._way = _Way((0,), (conductance,), (offset,))

    # -- what devices ask -------------------------------------------------------------------------------------------

    def moment(self, t_ns: int) -> CellMoment:
        """The cell at `t_ns`, which must lie in the step just taken."""
        a, b = self._before, self._after
        w = (t_ns - a.t_ns) / (b.t_ns - a.t_ns) if b.t_ns > a.t_ns else 1.0
        mix = [getattr(a, f) + w * (getattr(b, f) - getattr(a, f)) for f in _MIXED]
        mix += self._way.at(t_ns)
        return CellMoment(t_ns, *mix)

    def command(self, t_ns: int) -> float:
        """The amplifier's command [V] at `t_ns`."""
        volts, slope, since = self._command
        return volts + slope * (t_ns - since) * 1e-9

    def set_command(self, volts: float, slope: float) -> None:
        """Command `volts` [V] now, ramping by `slope` [V/s]."""
        self._commanded_step = (volts - self.command(self.now_ns), self.now_ns)
        self._command = (volts, slope, self.now_ns)

    @property
    def command_slope(self) -> float:
        """[V/s] of the command."""
        return self._command[1]

    @property
    def last_jump(self) -> tuple[float, int]:
        """(height [V], instant [ns]) of the command's last jump."""
        return self._commanded_step

    def bulk_current(self, moment: CellMoment) -> float:
        """Current [A] of a sound pipette far from the surface at that moment, with the command of that moment."""
        return moment.conductance * (self.wire(moment) - moment.offset)

    def wire(self, moment: CellMoment) -> float:
        """The wire in the pipette against lithium at the reference [V], truly, with the command of that moment."""
        true = moment.potential - moment.reference_error
        return nodes(true, self.command(moment.t_ns), self.grounding).wire_against_reference

    def shown_wire(self, moment: CellMoment) -> float:
        """The same as far as the instruments can tell."""
        return nodes(moment.potential, self.command(moment.t_ns), self.grounding).wire_against_reference

    def surface_height(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights [m] at x, y [m] as the tip would have read them at the first instant."""
        return self.specimen.footprint(x, y).rest

    def surface_now(self, footprint: Footprint, t_ns: int) -> NDArray[np.float64]:
        """Heights [m, n] under a footprint at `t_ns`, which must lie in the step just taken."""
        a, b = self._before.t_ns, self._after.t_ns
        w = (t_ns - a) / (b - a) if b > a else 1.0
        return footprint.height(self._rise[0] + w * (self._rise[1] - self._rise[0]))

    def coarse_z(self, t_ns: int) -> float:
        """True height [m] of the scanner's zero at `t_ns`: the carriage of the coarse stage, and thermal drift."""
        return self.coarse.carriage(t_ns) + self.drift * t_ns * 1e-9

    def move_coarse(self, target: float, speed: float | None) -> int:
        """Begin to drive the coarse stage to `target` [m]; returns when it will be there [ns]."""
        now, end = self.now_ns, self._after.t_ns
        left = self._way.at(now)
        arrival = self.coarse.begin(target, speed, now)
        # The cell's step under way is kept, and only its end is still known at other heights: what was seen at the
        # height that the pipette leaves fades out until then.
        times = self._stops(now, end)
        there = [self._pipette_at(self.coarse.carriage(t)) for t in times]
        fade = [(end - t) / (end - now) if end > now else 0.0 for t in times]
        miss = left[0] - there[0][0], left[1] - there[0][1]
        self._way = _Way(
            times,
            tuple(g + f * miss[0] for (g, _), f in zip(there, fade, strict=True)),
            tuple(v + f * miss[1] for (_, v), f in zip(there, fade, strict=True)),
        )
        return arrival

    def schedule(self, control: CellControl, at_ns: int) -> None:
        """Let the cell hold `control` from `at_ns` on."""
        # The step under way cannot be taken back: a control that comes too late for it begins at its end.
        self._waiting = (control, max(at_ns, self._after.t_ns))

    def reading(self, age: float = 0.0) -> CellReading:
        """What a perfect potentiostat shows now, or showed `age` [s] ago."""
        t_ns = max(0, self.now_ns - round(age * 1e9))
        seen, word, cut_off = self._shown(t_ns)
        set_point = None if math.isnan(seen.set_point) else seen.set_point
        stamp = self.faults.stamp(seen.t_ns)
        return CellReading(stamp, seen.potential, seen.current, seen.charge, set_point, word, cut_off)

    def _shown(self, t_ns: int) -> tuple[_Seen, str, bool]:
        word = "open_circuit" if self.cut_off else _SETPOINT_WORD[type(self.control)]
        if t_ns >= self._before.t_ns:
            return self.moment(t_ns), word, self.cut_off
        later: _Seen = self._before
        for seen, was, cut in reversed(self._past):
            if seen.t_ns <= t_ns:
                w = (t_ns - seen.t_ns) / (later.t_ns - seen.t_ns)
                mix = [getattr(seen, f) + w * (getattr(later, f) - getattr(seen, f)) for f in _MIXED]
                return _Seen(t_ns, *mix), was, cut
            later = seen
        return later, word, self.cut_off

    def open_now(self) -> None:
        """Open circuit at once, whatever waits: the safe state of a cell."""
        self._waiting = (OpenCircuit(), self._after.t_ns)

    # -- time -------------------------------------------------------------------------------------------------------

    def advance_to(self, t_ns: int) -> None:
        """Move time to `t_ns`; the cell goes along in its own steps."""
        while self._after.t_ns < t_ns:
            self.take_step()
        self.now_ns = t_ns

    def step_end(self) -> int:
        """Until when [ns] all goes straight on from the present moment; takes the next step if none holds it."""
        if self._after.t_ns <= self.now_ns:
            self.take_step()
        return min(self._way.after(self.now_ns), self.faults.next_edge(self.now_ns))

    def take_step(self) -> None:
        """One cell step from where the last one ended, never past a waiting control."""
        begin = self._after.t_ns
        if self._waiting is not None and self._waiting[1] <= begin:
            self._change_control()
            length = _AFTER_A_CHANGE
        else:
            length = self._step_length()
        end = begin + round(length * 1e9)
        if self._waiting is not None:
            end = min(end, max(self._waiting[1], begin + 1))
        if (error := self.faults.reference_error(begin)) != self._reference_error:
            self._reference_moved(error)
        if self.faults.reference_error(end - 1) != error:
            end = min(end, self.faults.next_edge(begin))
        times = self._stops(begin, end)
        heights = [self.coarse.carriage(t) for t in times]
        self._remember()
        self._before = self._seen(begin) if self._told else self._after
        self._told = False
        first = self._pipette_over(heights)
        self.cell.advance((end - begin) * 1e-9)
        self._after = self._seen(end)
        self._rise = (self._rise[1], self.specimen.advance((end - begin) * 1e-9, self.cell))
        last = self._pipette_over(heights)
        share = [(t - begin) / (end - begin) for t in times]
        mixed = [
            (a[0] + w * (b[0] - a[0]), a[1] + w * (b[1] - a[1])) for a, b, w in zip(first, last, share, strict=True)
        ]
        self._way = _Way(times, tuple(g for g, _ in mixed), tuple(v for _, v in mixed))
        self._watch_cut_off()

    def _stops(self, begin: int, end: int) -> tuple[int, ...]:
        """Instants from `begin` to `end` between which the pipette's height goes straight, and not far."""
        stops = [begin]
        while stops[-1] < end and self.coarse.moving(stops[-1]):
            leap = round(_LONGEST_WAY / self.coarse.rate() * 1e9) + 1
            stops.append(min(end, stops[-1] + leap, self.coarse.next_bend(stops[-1])))
        if stops[-1] < end:
            stops.append(end)
        return tuple(stops)

    def _reference_moved(self, error: float) -> None:
        """The reference's contact has jumped: a potentiostat that controls a potential holds the wrong one now."""
        program = self.cell.set_point + self._reference_error
        self._reference_error = error
        self._told = True
        if isinstance(self.control, PotentialRamp):
            slope = self.control.slope * (1.0 + self._skew)
            self.cell.set_potential(program - error, slope, self.control.ir_compensation)

    def _remember(self) -> None:
        """Keep what was shown for as long as a late answer may ask for it."""
        word = "open_circuit" if self.cut_off else _SETPOINT_WORD[type(self.control)]
        self._past.append((self._before, word, self.cut_off))
        if len(self._past) > 2 * _KEPT and self._past[_KEPT][0].t_ns < self._after.t_ns - _OLDEST_NS:
            del self._past[:_KEPT]

    def _step_length(self) -> float:
        slope = abs(self.control.slope) if isinstance(self.control, PotentialRamp) else 0.0
        return _LONGEST_STEP if slope * _LONGEST_STEP <= _LARGEST_STEP else _LARGEST_STEP / slope

    def _change_control(self) -> None:
        assert self._waiting is not None
        self.control, self._waiting = self._waiting[0], None
        self.cut_off = False
        self._told = True
        if isinstance(self.control, PotentialRamp):
            self._skew = self.faults.skew(self._after.t_ns)
            start, slope = self.control.start - self._reference_error, self.control.slope * (1.0 + self._skew)
            self.cell.set_potential(start, slope, self.control.ir_compensation)
        elif isinstance(self.control, ConstantCurrent):
            self.cell.set_current(self.control.current)
        else:
            self.cell.set_open_circuit()

    def _watch_cut_off(self) -> None:
        if not isinstance(self.control, ConstantCurrent) or self.cut_off:
            return
        low, high, now = self.control.lowest, self.control.highest, self._after.potential
        if (low is not None and self.control.current < 0.0 and now <= low) or (
            high is not None and self.control.current > 0.0 and now >= high
        ):
            self.cut_off = self._told = True
            self.cell.set_open_circuit()

    def _seen(self, t_ns: int) -> _Seen:
        cell = self.cell
        error = self._reference_error
        set_point = cell.set_point + error if isinstance(self.control, PotentialRamp) else math.nan
        return _Seen(t_ns, cell.potential + error, cell.current, cell.charge, set_point, cell.expansion, error)

    def _pipette_over(self, heights: list[float]) -> list[tuple[float, float]]:
        """(conductance, opposing potential) at each height now; what is known of this instant is not asked again."""
        if self._known[0] != self._after.t_ns:
            self._known = (self._after.t_ns, {})
        known = self._known[1]
        for z in heights:
            if z not in known:
                known[z] = self._pipette_at(z)
        return [known[z] for z in heights]

    def _pipette_at(self, z: float) -> tuple[float, float]:
        """(conductance [S], opposing potential [V]) of the pipette at height z [m] above the mean surface.

        The height is the coarse one: over the few micrometres of a hop the bath changes by less than the noise.
        """
        cell, salt, z = self.cell, self.salt, max(z, 0.0)
        outside, at_reference = cell.concentration((z, cell.parameters.reference_height)).tolist()
        conductance = conductance_from_table(self.geometric_resistance, salt.kappa_table, salt.inside, outside)
        junction = salt.junction * math.log(salt.inside / at_reference)
        return conductance, float(cell.ohmic_drop(z)) + junction


_MIXED = ("potential", "current", "charge", "set_point", "expansion", "reference_error")
