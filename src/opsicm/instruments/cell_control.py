"""What a potentiostat can be told to hold: a potential that may ramp, a current, or nothing."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PotentialRamp:
    """E_set(t) = start + slope (t - t_applied) [V], with a fraction of i R_u compensated. slope 0 is a hold."""

    start: float
    slope: float = 0.0
    ir_compensation: float = 0.0


@dataclass(frozen=True, slots=True)
class ConstantCurrent:
    """A current [A], negative lithiates; goes to open circuit by itself at a cut-off potential [V]."""

    current: float
    lowest: float | None = None
    highest: float | None = None


@dataclass(frozen=True, slots=True)
class OpenCircuit:
    """No current."""


CellControl = PotentialRamp | ConstantCurrent | OpenCircuit


@dataclass(frozen=True, slots=True)
class CellReading:
    """What the potentiostat reports: actual potential [V vs Li/Li+], current [A], charge since the start [C].

    `t_ns` is when this was true, not when it arrived: who answers late says so here, and the bias carries it on.
    `set_point` [V] is the program's potential (None unless a potential is controlled), `control` the word for what is
    held, `cut_off` whether a cut-off has ended it and the cell has gone to open circuit by itself.
    """

    t_ns: int
    potential: float
    current: float
    charge: float
    set_point: float | None
    control: str
    cut_off: bool = False
