"""Lateral piezos without a sensor: where they truly are when told to go somewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_PLAYS: Final = 8
_DECADES: Final = (0.1, 1.0, 10.0, 100.0)  # [s]


@dataclass(slots=True)
class OpenLoopAxis:
    """One axis: hysteresis, creep and thermal drift on top of the command.

    `hysteresis` [1] is the share of the motion that goes through plays of up to half the `span` [m] and lags at a turn,
    `creep` [1] the share that comes in each decade of time from 0.1 to 100 s, `drift` [m/s]. The true position is
    command - hysteresis · (command - mean of the plays) + creep · (late part) + drift · t. Assumes that the axis
    rested at its zero. Sources: Prandtl–Ishlinskii operator (Kuhnen, Eur. J. Control 2003, 9, 407); logarithmic creep.
    """

    span: float
    hysteresis: float
    creep: float
    drift: float
    _plays: Floats = field(init=False)
    _late: Floats = field(init=False)
    _last: tuple[float, float] = field(init=False, default=(0.0, 0.0))  # command [m], time [s]

    def __post_init__(self) -> None:
        self._plays = np.zeros(_PLAYS)
        self._late = np.zeros(len(_DECADES))

    @property
    def ideal(self) -> bool:
        """Whether the axis goes where it is told."""
        return self.hysteresis == 0.0 and self.creep == 0.0 and self.drift == 0.0

    def follow(self, commands: Floats, times: Floats) -> Floats:
        """True positions [m, n] at `commands` [m, n] given one after another at `times` [s, n]."""
        if self.ideal:
            return commands
        reach = 0.5 * self.span * (np.arange(_PLAYS) + 1.0) / _PLAYS
        true = np.empty(commands.size)
        for k, (command, time) in enumerate(zip(commands, times, strict=True)):
            before, since = self._last
            self._late += (before - self._late) * -np.expm1(-(time - since) / np.array(_DECADES))
            self._plays = np.clip(self._plays, command - reach, command + reach)
            self._last = (float(command), float(time))
            lag, late = self.hysteresis * (command - self._plays.mean()), (self._late - command).sum()
            true[k] = command - lag + self.creep * late + self.drift * time
        return true
