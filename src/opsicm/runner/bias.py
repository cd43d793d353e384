"""Bias synchronisation: the pipette's wire stays at V_tip against lithium while the cell's potential moves.

V_cmd = V_tip - E, with E the *actual* potential against the reference (`instruments.wiring`, by the rig's grounding).
Between two readings the command ramps with the slope that E had: from the program right after a change of control,
from the last two readings afterwards, which also carries the slope of a compensated i R_u. A potentiostat that answers
late shows an old E: it is carried on from its own stamp to the present. What is left over is the residual, and it is
recorded.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.experiment.controls import CellControl, PotentialRamp
from opsicm.instruments.bias_ramp import SHORTEST, bends_too_much, trusted
from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, CellReading
from opsicm.instruments.wiring import command_for, tip_potential_of

_SHORTEST_NS: Final = round(SHORTEST * 1e9)
_SETTLED_NS: Final = 20_000_000  # after a change of control, by when the double layer no longer makes the slope


class BiasTracker:
    """Keeps the wire at `tip_potential` [V vs Li/Li+], or on a ramp from there."""

    def __init__(self, amplifier: Amplifier, clock: Clock, tip_potential: float, grounding: str, limit: float) -> None:
        self._amplifier = amplifier
        self._clock = clock
        self._nominal = tip_potential
        self._aim = (tip_potential, 0.0, 0)
        self._grounding = grounding
        self._limit = limit
        self._last: CellReading | None = None
        self._slope = 0.0
        self._trusted_ns = _SHORTEST_NS
        self._bend = 0.0
        self._commands: deque[tuple[int, float, float]] = deque(maxlen=64)  # (ns, V, V/s) as given
        self._changed_ns = 0  # when the present control began
        self._slope_before = 0.0

    @property
    def nominal(self) -> bool:
        """Whether the wire is meant to stand where the experiment says: what its current then means is known."""
        return self._aim[:2] == (self._nominal, 0.0)

    @property
    def trusted_ns(self) -> int:
        """How long the present ramp may be left alone: as long as a bend or a kink of the potential costs little.

        Short right after a change of control, when only the program's slope is known; it grows about twofold a turn.
        """
        return self._trusted_ns

    def bends(self) -> bool:
        """Whether the slope still changes so fast that the shortest ramp would miss by more than is allowed."""
        return bends_too_much(self._bend)

    def tip_potential(self, t_ns: int) -> float:
        """[V vs Li/Li+] at which the wire is meant to stand at `t_ns`."""
        volts, slope, since = self._aim
        return volts + slope * (t_ns - since) * 1e-9

    def aim(self, tip_potential: float, slope: float = 0.0) -> None:
        """Hold the wire at `tip_potential` [V vs Li/Li+] from now on, ramping by `slope` [V/s]."""
        self._aim = (tip_potential, slope, self._clock.now_ns())
        self._command()

    def aim_nominal(self) -> None:
        """Back to the experiment's bias."""
        self.aim(self._nominal)

    def behind(self) -> bool:
        """Whether nothing has been read yet that was measured after the last change of control had settled."""
        return self._last is None or self._last.t_ns < self._changed_ns + _SETTLED_NS

    def control_changed(self, control: CellControl, at_ns: int) -> None:
        """Forget the old slope; begin with the program's, from `at_ns` on and at once: a vertex turns the wire too."""
        self._trusted_ns = _SHORTEST_NS
        self._changed_ns, self._slope_before = at_ns, self._slope
        self._slope = control.slope if isinstance(control, PotentialRamp) else 0.0
        self._command()
        self._last = None

    def follow(self, reading: CellReading) -> None:
        """Set the command for the potential just read, and its ramp until the next reading.

        Raises `LimitCrossed` when the amplifier's command range does not reach.
        """
        last = self._last
        # Two readings from either side of a change of control, or from before it, know nothing of the new slope.
        if last is not None and reading.t_ns > last.t_ns >= self._changed_ns:
            elapsed_ns = reading.t_ns - last.t_ns
            slope = (reading.potential - last.potential) / (elapsed_ns * 1e-9)
            self._bend = slope - self._slope
            self._trusted_ns = round(trusted(self._bend, slope, elapsed_ns * 1e-9) * 1e9)
            self._slope = slope
        self._last = reading
        self._command()

    def _command(self) -> None:
        if self._last is None:
            return
        now = self._clock.now_ns()
        # A reading is as old as its stamp: what it has missed is carried on, on either side of a change of control. One
        # from the future tells of a clock that runs fast, and of the present.
        since = min(self._last.t_ns, now)
        knee = min(max(since, self._changed_ns), now)
        potential = self._last.potential
        potential += (self._slope_before * (knee - since) + self._slope * (now - knee)) * 1e-9
        volts = command_for(self.tip_potential(now), potential, self._grounding)
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
        slope = command_for(self._aim[1], self._slope, self._grounding)
        self._amplifier.command(volts, slope)
        self._commands.append((now, volts, slope))

    def residual(self, command: float, reading: CellReading) -> float:
        """[V] by which the wire misses its aim, `command` being read now: the newest that can be known.

        That of the moment which the reading is of: a late one meets the command of its own time.
        """
        t_ns, now = reading.t_ns, self._clock.now_ns()
        if t_ns < now and self._commands:
            since, _, slope = self._commands[-1]
            if t_ns >= since:
                command -= slope * (now - t_ns) * 1e-9
            else:
                known = next((one for one in reversed(self._commands) if one[0] <= t_ns), self._commands[0])
                command = known[1] + known[2] * (t_ns - known[0]) * 1e-9
        return tip_potential_of(command, reading.potential, self._grounding) - self.tip_potential(t_ns)

    def judge(self, residual: float) -> None:
        """Raises `LimitCrossed` where the wire missed its aim by more than the envelope allows."""
        if not abs(residual) <= self._limit:
            raise LimitCrossed(
                Problem(
                    "pipette bias",
                    f"{residual * 1e3:.1f} mV off its aim",
                    f"envelope.bias_mV is {self._limit * 1e3:g}",
                    "sweep more slowly, read the potentiostat faster, or allow more: a hop then takes the cell for "
                    "the surface",
                )
            )
