"""Bias synchronisation: the pipette electrode stays at V_tip against lithium while the cell's potential moves.

V_cmd = V_tip - E, with E the *actual* potential against the reference (`instruments.wiring`, by the rig's grounding).
Between two readings the command ramps with the slope that E had: the program's slope right after a change of control,
that between readings at least 20 ms apart afterwards, which also includes the slope of a compensated i R_u. A
potentiostat that answers late reports an old E, which is extrapolated from its time stamp to the present. What remains
is the residual, and it is recorded.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.experiment.controls import CellControl, PotentialRamp
from opsicm.instruments.bias_ramp import SETTLING_INTERVAL, SHORTEST_RAMP, is_unsettled, ramp_duration
from opsicm.instruments.clock import Clock
from opsicm.instruments.roles import Amplifier, CellReading
from opsicm.instruments.wiring import command_for, tip_potential_of

_SHORTEST_RAMP_NS: Final = round(SHORTEST_RAMP * 1e9)
_DOUBLE_LAYER_NS: Final = 20_000_000  # after a change of control: until then the double layer makes the slope
# Two readings closer than this give no slope: 11 µV of noise on each would be 3 mV/s of 5 ms, and 3 mV after a second.
_SHORTEST_BASE_NS: Final = round(SETTLING_INTERVAL * 1e9)
_FOLLOWS_WITHIN_NS: Final = 1_500_000_000  # a jump of the potential: a turn of the run, and what a bias needs
_SURE_OF_BIAS: Final = (
    0.5  # of the bias: with a smaller error a far current keeps half its size, five times `COLLAPSED`
)
_COMMANDS_KEPT: Final = 64  # more than a late potentiostat lags behind


class BiasTracker:
    """Keeps the pipette electrode at `tip_potential` [V vs Li/Li+], or on a ramp from there."""

    def __init__(self, amplifier: Amplifier, clock: Clock, tip_potential: float, grounding: str, limit: float) -> None:
        self._amplifier = amplifier
        self._clock = clock
        self._nominal = tip_potential
        self._target = (tip_potential, 0.0, 0)  # (V, V/s, since when [ns])
        self._grounding = grounding
        self._limit = limit
        self._last: CellReading | None = None
        self._base: CellReading | None = None  # from which the next slope is measured
        self._slope = 0.0
        self._slope_before = 0.0  # of the previous control
        self._slope_change = 0.0
        self._ramp_duration_ns = _SHORTEST_RAMP_NS
        self._commands: deque[tuple[int, float, float]] = deque(maxlen=_COMMANDS_KEPT)  # (ns, V, V/s)
        self._control_since_ns = 0
        self._off_since_ns: int | None = None  # when a reading first found the bias beyond the limit

    @property
    def at_nominal(self) -> bool:
        """Whether the target is the experiment's bias: only then is the pipette current comparable between readings."""
        return self._target[:2] == (self._nominal, 0.0)

    @property
    def ramp_duration_ns(self) -> int:
        """How long the present ramp may run without a new reading (`instruments.bias_ramp`).

        Short right after a change of control, when only the program's slope is known; then about twice as long at
        every reading.
        """
        return self._ramp_duration_ns

    def time_to_cut_off(self, cut_off: float, current: float) -> float:
        """[s] until a `current` [A] takes the cell to its `cut_off` [V] with the present slope; 0 where it has.

        Infinite where the potential goes the other way.
        """
        last = self._last
        if last is None or last.cut_off or (last.potential - cut_off) * current >= 0.0:
            return 0.0
        left = (cut_off - last.potential) / self._slope if self._slope != 0.0 else math.inf
        return left if left >= 0.0 else math.inf

    def is_unsettled(self) -> bool:
        """Whether the slope still changes so fast that even the shortest ramp would miss by more than is allowed."""
        return is_unsettled(self._slope_change)

    def tip_potential(self, t_ns: int) -> float:
        """[V vs Li/Li+] that the pipette electrode should have at `t_ns`."""
        volts, slope, since = self._target
        return volts + slope * (t_ns - since) * 1e-9

    def set_target(self, tip_potential: float, slope: float = 0.0) -> None:
        """Hold the pipette electrode at `tip_potential` [V vs Li/Li+] from now on, ramping by `slope` [V/s]."""
        self._target = (tip_potential, slope, self._clock.now_ns())
        self._command()

    def return_to_nominal(self) -> None:
        """Hold the experiment's bias again."""
        self.set_target(self._nominal)

    def awaits_settled_reading(self) -> bool:
        """Whether no reading has come yet that was taken after the double layer had followed the last change."""
        return self._last is None or self._last.t_ns < self._control_since_ns + _DOUBLE_LAYER_NS

    def control_changed(self, control: CellControl, at_ns: int) -> None:
        """Replace the measured slope by that of the new `control`, from `at_ns` on: at a vertex the bias turns too."""
        self._ramp_duration_ns = _SHORTEST_RAMP_NS
        self._control_since_ns, self._slope_before = at_ns, self._slope
        self._slope = control.slope if isinstance(control, PotentialRamp) else 0.0
        self._command()
        self._last = self._base = None

    def update(self, reading: CellReading) -> None:
        """Set the command for the potential just read, and its ramp until the next reading.

        Raises `LimitCrossed` when the command would be beyond the amplifier's range.
        """
        last = self._last
        if last is not None and reading.cut_off and not last.cut_off:
            # The potentiostat has gone to open circuit by itself since the last reading: a jump is no slope.
            self._slope, self._ramp_duration_ns, self._control_since_ns = 0.0, _SHORTEST_RAMP_NS, reading.t_ns
        # Two readings from before a change of control, or from either side of it, do not give the new slope.
        base = self._base
        if base is None or base.t_ns < self._control_since_ns:
            self._base = reading
        elif (elapsed_ns := reading.t_ns - base.t_ns) >= _SHORTEST_BASE_NS:
            slope = (reading.potential - base.potential) / (elapsed_ns * 1e-9)
            self._slope_change = slope - self._slope
            self._ramp_duration_ns = round(ramp_duration(self._slope_change, slope, elapsed_ns * 1e-9) * 1e9)
            self._slope, self._base = slope, reading
        self._last = reading
        self._command()

    def hold(self) -> None:
        """Let the present command stand still: of a potential that nobody reads any more no ramp is known."""
        command = self._amplifier.read()[1]
        self._slope = self._slope_before = 0.0
        self._amplifier.command(command)
        self._last = self._base = None

    def _command(self) -> None:
        if self._last is None:
            return
        now = self._clock.now_ns()
        # Extrapolate from the reading's stamp to now: with the old slope up to a change of control that lies between,
        # with the present slope after it. A stamp from the future means a clock that runs fast: take it as now.
        since = min(self._last.t_ns, now)
        change = min(max(since, self._control_since_ns), now)
        potential = self._last.potential
        potential += (self._slope_before * (change - since) + self._slope * (now - change)) * 1e-9
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
        slope = command_for(self._target[1], self._slope, self._grounding)
        self._amplifier.command(volts, slope)
        self._commands.append((now, volts, slope))

    def residual(self, command: float, reading: CellReading) -> float:
        """[V] by which the pipette electrode is off its target, `command` [V] having been read now.

        Evaluated at the time of `reading`: a late reading is compared with the command that was applied then.
        """
        t_ns, now = reading.t_ns, self._clock.now_ns()
        if t_ns < now and self._commands:
            since, _, slope = self._commands[-1]
            if t_ns >= since:
                command -= slope * (now - t_ns) * 1e-9
            else:
                applied = next((entry for entry in reversed(self._commands) if entry[0] <= t_ns), self._commands[0])
                command = applied[1] + applied[2] * (t_ns - applied[0]) * 1e-9
        return tip_potential_of(command, reading.potential, self._grounding) - self.tip_potential(t_ns)

    def check_reading(self, residual: float) -> bool:
        """Judge the residual [V] of a slow reading; whether it is beyond the limit for the first time.

        A current that ends by its cut-off lets the potential jump by its own drop at an instant that nobody knows
        before, and the reading that shows it shows a bias that has not followed yet. For longer it is a fault.
        """
        now = self._clock.now_ns()
        if abs(residual) <= self._limit:
            self._off_since_ns = None
            return False
        if self._off_since_ns is None:
            self._off_since_ns = now
            return True
        if now - self._off_since_ns > _FOLLOWS_WITHIN_NS:
            self.check_residual(residual)
        return False

    def could_cancel(self, residual: float) -> bool:
        """Whether a `residual` [V] is so large a part of the bias that a small current says nothing of the tip.

        A jump of the program's potential, as from rest to the start of a sweep, shows in one reading before the
        command follows; with a small bias that reading looks like a touch.
        """
        return abs(residual) > _SURE_OF_BIAS * abs(self._nominal)

    def check_residual(self, residual: float) -> None:
        """Raises `LimitCrossed` where the bias was off its target by more than the envelope allows."""
        if not abs(residual) <= self._limit:
            raise LimitCrossed(
                Problem(
                    "pipette bias",
                    f"{residual * 1e3:.1f} mV off its target",
                    f"envelope.bias_mV is {self._limit * 1e3:g}",
                    "sweep more slowly, read the potentiostat faster, or allow more: such an error moves the pipette "
                    "current as the surface does",
                )
            )
