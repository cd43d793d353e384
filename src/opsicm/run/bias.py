"""Bias synchronisation: the pipette's wire stays at V_tip against lithium while the cell's potential moves.

V_cmd = V_tip - E, with E the *actual* potential against the reference. Between two readings the command ramps with
the slope that E had: from the program right after a change of control, from the last two readings afterwards, which
also carries the slope of a compensated i R_u. What is left over is the residual, and it is recorded.
"""

from __future__ import annotations

from typing import Final

from opsicm.errors import LimitCrossed, Problem
from opsicm.instruments.cell_control import CellControl, CellReading, PotentialRamp
from opsicm.instruments.roles import Amplifier
from opsicm.instruments.wiring import command_for, tip_potential_of

_BEND: Final = 0.5e-3  # [V] that a ramp may miss by when the slope changes as it last did: 0.07 % of the paper's 0.7 V
_KINK: Final = 2e-3  # [V] that it may miss by when the potential suddenly stands still, as where a stage begins
_SHORTEST_NS: Final = 100_000_000
_LONGEST_NS: Final = 1_000_000_000


class BiasTracker:
    """Keeps the wire at `tip_potential` [V vs Li/Li+]."""

    def __init__(self, amplifier: Amplifier, tip_potential: float) -> None:
        self._amplifier = amplifier
        self.tip_potential = tip_potential
        self._last: CellReading | None = None
        self._slope = 0.0
        self._trusted_ns = _SHORTEST_NS
        self._bend = 0.0

    @property
    def trusted_ns(self) -> int:
        """How long the present ramp may be left alone: as long as a bend or a kink of the potential costs little.

        Short right after a change of control, when only the program's slope is known; it grows about twofold a turn.
        """
        return self._trusted_ns

    def bends(self) -> bool:
        """Whether the slope still changes so fast that the shortest ramp would miss by more than is allowed."""
        return abs(self._bend) * (_SHORTEST_NS * 1e-9) > _BEND

    def control_changed(self, control: CellControl) -> None:
        """Forget the old slope; begin with the program's."""
        self._last = None
        self._trusted_ns = _SHORTEST_NS
        self._slope = control.slope if isinstance(control, PotentialRamp) else 0.0

    def follow(self, reading: CellReading) -> None:
        """Set the command for the potential just read, and its ramp until the next reading.

        Raises `LimitCrossed` when the amplifier's command range does not reach.
        """
        last = self._last
        if last is not None and reading.t_ns > last.t_ns:
            elapsed_ns = reading.t_ns - last.t_ns
            slope = (reading.potential - last.potential) / (elapsed_ns * 1e-9)
            self._bend = slope - self._slope
            bend = max(abs(self._bend) / _BEND, abs(slope) / _KINK, 1e-9)
            self._trusted_ns = round(max(min(1e9 / bend, 2 * elapsed_ns + _SHORTEST_NS, _LONGEST_NS), _SHORTEST_NS))
            self._slope = slope
        self._last = reading
        volts = command_for(self.tip_potential, reading.potential)
        low, high = self._amplifier.command_range
        if not low <= volts <= high:
            raise LimitCrossed(
                Problem(
                    "pipette command V_tip - E",
                    f"{volts:.3f} V",
                    f"the amplifier reaches {low:g} … {high:g} V",
                    "use a wider external-bias gain, another bias_V, or a smaller potential range",
                )
            )
        self._amplifier.command(volts, command_for(0.0, self._slope))

    def residual(self, command: float, cell_potential: float) -> float:
        """[V] by which the wire misses `tip_potential` at this command and potential."""
        return tip_potential_of(command, cell_potential) - self.tip_potential
