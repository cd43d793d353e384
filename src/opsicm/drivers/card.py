"""A data-acquisition card as the drivers behind it see it: analogue inputs and outputs by name, and digital lines.

Amplifier, potentiostat and scanner of a rig with analogue wiring share one card, with one sample clock. The driver of a
card offers this; who uses it does not know which maker's it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from opsicm.instruments.roles import Identity, RoleState


@dataclass(frozen=True, slots=True)
class Samples:
    """What the card sampled last: `volts` [n, input], the first row at `t0_ns` of the rig's clock, `dt_ns` apart."""

    t0_ns: int
    dt_ns: int
    volts: NDArray[np.float64]


class Card(Protocol):
    """One card. Names of inputs and outputs are the maker's own, as `Dev1/ai0` and `Dev1/port0/line3`."""

    def latest(self, inputs: Sequence[str], seconds: float) -> Samples:
        """The last `seconds` of these inputs; raises `InstrumentLost` where none have come for longer than that."""
        ...

    def write(self, output: str, volts: float, slope: float = 0.0) -> None:
        """Put `volts` [V] on an analogue output now, ramping by `slope` [V/s] until it is written again."""
        ...

    def written(self, output: str) -> float:
        """[V] on an analogue output now, its ramp included."""
        ...

    def output_range(self, output: str) -> tuple[float, float]:
        """(lowest, highest) [V] of an analogue output."""
        ...

    def set_line(self, line: str, high: bool) -> None:
        """Set a digital output."""
        ...

    def line(self, line: str) -> bool:
        """A digital input or output, read back."""
        ...

    def identity(self) -> Identity:
        """What the card says of itself, and the client that asked."""
        ...

    def safe_address(self, role: str, outputs: Mapping[str, float], lines: Mapping[str, bool] = ...) -> str:
        """The address of a safe channel that sets these outputs [V] and lines from another process."""
        ...

    def state(self, inputs: Sequence[str] = ()) -> RoleState:
        """Quality of these inputs, or of all; a card that is lost is tried once more. Raises nothing."""
        ...
