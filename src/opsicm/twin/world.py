"""The world: what is true. One cell, one pipette, one surface, one time; the devices only look at it.

The cell is integrated in steps of at most 0.1 s or 1 mV; between two steps everything is read by linear
interpolation, so that a sample at any nanosecond has one value however the runner asks for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.instruments.cell_control import CellControl, CellReading, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.physics.cell import Cell
from opsicm.physics.ion_current import Curve
from opsicm.physics.ion_current import conductance as pipette_conductance
from opsicm.physics.surface import height_at
from opsicm.twin.circuit import nodes

_LONGEST_STEP: Final = 0.1  # [s] contracts: while hopping
_LARGEST_STEP: Final = 1e-3  # [V]
_AFTER_A_CHANGE: Final = 1e-3  # [s] a control that has just changed is resolved this finely once
_SETPOINT_WORD: Final = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


@dataclass(frozen=True, slots=True)
class CellMoment:
    """The cell at one instant, as far as anything outside it can see."""

    t_ns: int
    potential: float  # [V] specimen against the reference, actual
    current: float  # [A] negative lithiates
    charge: float  # [C] since the start
    set_point: float  # [V] NaN unless a potential is controlled
    expansion: float  # [m] rise of the mean surface since stoichiometry 0
    conductance: float  # [S] of the pipette far from the surface, at its height
    offset: float  # [V] what opposes the wire's potential: ohmic drop from pipette to reference, junction


@dataclass(frozen=True, slots=True)
class Specimen:
    """The surface before swelling: heights [m] on a periodic square of side `size` [m]."""

    heights: NDArray[np.float64]
    size: float

    def height(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights [m] at points x, y [m]."""
        return height_at(self.heights, self.size, x, y)


@dataclass(frozen=True, slots=True)
class Salt:
    """What the pipette's conductance needs of the electrolyte: kappa(c), the concentration inside, U_d."""

    conductivity: Curve
    inside: float
    junction_coefficient: float


class World:
    """Cell, pipette, specimen and time. `geometric_resistance` [1/m] is R·kappa of the pipette far from anything."""

    def __init__(self, cell: Cell, specimen: Specimen, salt: Salt, geometric_resistance: float) -> None:
        self.cell = cell
        self.salt = salt
        self.specimen = specimen
        self.geometric_resistance = geometric_resistance
        self.coarse_z = 0.0
        self.x = 0.0
        self.y = 0.0
        self.now_ns = 0
        self.control: CellControl = OpenCircuit()
        self.cut_off = False
        self._waiting: tuple[CellControl, int] | None = None
        self._command = (0.0, 0.0, 0)
        self._reference_expansion = cell.expansion
        cell.set_open_circuit()
        self._before = self._after = self._moment(0)

    # -- what devices ask -------------------------------------------------------------------------------------------

    def moment(self, t_ns: int) -> CellMoment:
        """The cell at `t_ns`, which must lie in the step just taken."""
        a, b = self._before, self._after
        if b.t_ns == a.t_ns:
            return b
        w = (t_ns - a.t_ns) / (b.t_ns - a.t_ns)
        mix = (getattr(a, f) + w * (getattr(b, f) - getattr(a, f)) for f in _MIXED)
        return CellMoment(t_ns, *mix)

    def command(self, t_ns: int) -> float:
        """The amplifier's command [V] at `t_ns`."""
        volts, slope, since = self._command
        return volts + slope * (t_ns - since) * 1e-9

    def set_command(self, volts: float, slope: float) -> None:
        """Command `volts` [V] now, ramping by `slope` [V/s]."""
        self._command = (volts, slope, self.now_ns)

    def bulk_current(self, moment: CellMoment) -> float:
        """Pipette current [A] far from the surface at that moment, with the command of that moment."""
        wire = nodes(moment.potential, self.command(moment.t_ns)).wire_against_reference
        return moment.conductance * (wire - moment.offset)

    def surface_height(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Heights [m] at x, y [m] as at the first instant; swelling since then comes on top (`swelling`)."""
        return self.specimen.height(x, y)

    def swelling(self, moment: CellMoment) -> float:
        """[m] by which the whole surface has risen since the run started."""
        return moment.expansion - self._reference_expansion

    def schedule(self, control: CellControl, at_ns: int) -> None:
        """Let the cell hold `control` from `at_ns` on."""
        # The step under way cannot be taken back: a control that comes too late for it begins at its end.
        self._waiting = (control, max(at_ns, self._after.t_ns))

    def reading(self) -> CellReading:
        """What a perfect potentiostat shows now."""
        now = self.moment(self.now_ns)
        word = "open_circuit" if self.cut_off else _SETPOINT_WORD[type(self.control)]
        set_point = None if math.isnan(now.set_point) else now.set_point
        return CellReading(now.t_ns, now.potential, now.current, now.charge, set_point, word, self.cut_off)

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
        """Where the step ends that holds the present moment [ns]; takes the next one if none does."""
        if self._after.t_ns <= self.now_ns:
            self.take_step()
        return self._after.t_ns

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
        self._before = self._moment(begin)
        self.cell.advance((end - begin) * 1e-9)
        self._after = self._moment(end)
        self._watch_cut_off()

    def _step_length(self) -> float:
        slope = abs(self.control.slope) if isinstance(self.control, PotentialRamp) else 0.0
        return _LONGEST_STEP if slope * _LONGEST_STEP <= _LARGEST_STEP else _LARGEST_STEP / slope

    def _change_control(self) -> None:
        assert self._waiting is not None
        self.control, self._waiting = self._waiting[0], None
        self.cut_off = False
        if isinstance(self.control, PotentialRamp):
            self.cell.set_potential(self.control.start, self.control.slope, self.control.ir_compensation)
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
            self.cut_off = True
            self.cell.set_open_circuit()

    def _moment(self, t_ns: int) -> CellMoment:
        cell = self.cell
        conductance, offset = self._pipette_at(self.coarse_z)
        potential_controlled = isinstance(self.control, PotentialRamp)
        return CellMoment(
            t_ns,
            cell.potential,
            cell.current,
            cell.charge,
            cell.set_point if potential_controlled else math.nan,
            cell.expansion,
            conductance,
            offset,
        )

    def _pipette_at(self, z: float) -> tuple[float, float]:
        """(conductance [S], opposing potential [V]) of the pipette at height z [m] above the mean surface.

        The height is the coarse one: over the few micrometres of a hop the bath changes by less than the noise.
        """
        cell, salt = self.cell, self.salt
        conductance = pipette_conductance(
            self.geometric_resistance, salt.conductivity, salt.inside, cell.concentration(z)
        )
        junction = salt.junction_coefficient * math.log(salt.inside / cell.concentration_at_reference)
        return float(conductance), float(cell.ohmic_drop(z)) + junction


_MIXED = ("potential", "current", "charge", "set_point", "expansion", "conductance", "offset")
