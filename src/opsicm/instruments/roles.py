"""Roles: what an instrument must be able to do, whether real, emulated or a twin.

Every role has `identity()`, which says who answers, `state()`, which says what to think of it now and what it is set
to, and `safe()`, which brings it into a state in which nothing can be harmed, whatever the others do. Commands are
idempotent: the same one twice is the same as once. A role that does not answer raises `InstrumentLost`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import Channel, Quality, SampleBlock
from opsicm.experiment.controls import CellControl
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.instruments.clock import Clock
from opsicm.instruments.hop import HopTiming


@dataclass(frozen=True, slots=True)
class Identity:
    """Who answers: model, serial number and firmware as the instrument says them, and the vendor's client that asked.

    `client` is the package with its version, as `nidaqmx 1.7.0`, empty where the bytes are our own.
    """

    model: str
    serial: str = ""
    firmware: str = ""
    client: str = ""


@dataclass(frozen=True, slots=True)
class RoleState:
    """What to think of an instrument at `t_ns`: `quality`, why in words, and what it is set to as it says itself.

    `settings` are read back, never remembered: of an amplifier `gain_V_A`, `filter_Hz` and `mode` where it tells them.
    """

    t_ns: int
    quality: Quality = Quality.GOOD
    message: str = ""
    settings: Mapping[str, float | str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CellReading:
    """What the potentiostat reports: actual potential [V vs Li/Li+], current [A], charge since the start [C].

    `t_ns` is when it was measured, not when it arrived: the bias extrapolates a late reading from there. `set_point`
    [V] is the program's potential (None unless a potential is controlled), `control` the name of the control, `cut_off`
    whether a cut-off has ended it and the potentiostat has opened the circuit by itself.
    """

    t_ns: int
    potential: float
    current: float
    charge: float
    set_point: float | None
    control: str
    cut_off: bool = False


@dataclass(frozen=True, slots=True)
class HopPlan:
    """Hops that together last at most about a second: the unit of work of the probe.

    `x`, `y` [m], `line`, `pixel` and `amplitude` [m] (the withdrawal above the stop) have one entry per hop; the other
    `parameters` are common to all. At `until_ns` the hop in flight is the plan's last. A plan without hops dwells at
    the top and samples until `until_ns`. `tip_potential` [V vs Li/Li+] is the pipette electrode's target: the
    controller records the residual.
    """

    step: str
    segment: int
    first_hop: int
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    line: NDArray[np.int32]
    pixel: NDArray[np.int32]
    amplitude: NDArray[np.float64]
    parameters: HopParameters
    tip_potential: float
    until_ns: int

    def __post_init__(self) -> None:
        if self.amplitude.size:  # `HopParameters` refuses an amplitude out of bounds
            self._with(float(self.amplitude.min()))
            self.longest_hop()

    def longest_hop(self) -> HopParameters:
        """The parameters of the hop with the largest amplitude."""
        return self._with(float(self.amplitude.max())) if self.amplitude.size else self.parameters

    def _with(self, amplitude: float) -> HopParameters:
        same = amplitude == self.parameters.amplitude  # as in nearly every plan: saves a construction with its checks
        return self.parameters if same else replace(self.parameters, amplitude=amplitude)


@dataclass(frozen=True, slots=True)
class PlanOutcome:
    """The result of a plan: sample blocks in order and one record per hop (dtype HOP_DTYPE)."""

    blocks: Sequence[SampleBlock]
    hops: NDArray[Any]


@runtime_checkable
class Amplifier(Protocol):
    """Reads the pipette current; adds a command to the potential of the pipette electrode."""

    @property
    def command_range(self) -> tuple[float, float]:
        """(lowest, highest) command [V] that the output and the command input allow together."""
        ...

    def command(self, volts: float, slope: float = 0.0) -> None:
        """Apply `volts` [V] now and let it ramp by `slope` [V/s] from now on."""
        ...

    def read(self) -> tuple[float, float]:
        """(pipette current [A], command as applied [V]) now, averaged over the amplifier's reading time."""
        ...

    def identity(self) -> Identity:
        """Who answers; asked anew each time."""
        ...

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        ...

    def safe(self) -> None:
        """Command to 0 V."""
        ...


@runtime_checkable
class Potentiostat(Protocol):
    """Controls the cell."""

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Apply `control` exactly at `at_ns`; one control may be waiting at a time."""
        ...

    def read(self) -> CellReading:
        """The cell now."""
        ...

    def identity(self) -> Identity:
        """Who answers; asked anew each time."""
        ...

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        ...

    def safe(self) -> None:
        """Open circuit."""
        ...


@runtime_checkable
class Scanner(Protocol):
    """Moves the pipette by micrometres."""

    @property
    def z_range(self) -> tuple[float, float]:
        """(lowest, highest) z [m]."""
        ...

    @property
    def xy_range(self) -> tuple[float, float]:
        """(lowest, highest) x or y [m]."""
        ...

    def read_z(self) -> float:
        """Measured z [m]."""
        ...

    def identity(self) -> Identity:
        """Who answers; asked anew each time."""
        ...

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        ...

    def safe(self) -> None:
        """Withdraw to the top of the range."""
        ...


ENGAGEMENT: Final = ("engaged_at_mm", "start_height_um")
"""Settings in the state of a stage with a motor: its own position where the pipette has stood that far above the
specimen. Written in the rig file they give a later run the same frame."""


@runtime_checkable
class CoarseStage(Protocol):
    """Moves the pipette by millimetres."""

    def move_to(self, z: float, speed: float | None = None) -> int:
        """Start moving to `z` [m] above the specimen's mean surface as it was at engagement.

        `speed` [m/s] None is the stage's default. Returns the time of arrival [ns]; `position()` follows meanwhile.
        """
        ...

    def position(self) -> float:
        """Coarse height [m] of the scanner's zero."""
        ...

    def identity(self) -> Identity:
        """Who answers; asked anew each time."""
        ...

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        ...

    def safe(self) -> None:
        """Stand still where it is, or higher."""
        ...


@runtime_checkable
class HopController(Protocol):
    """Runs hop plans with its own fast loop."""

    @property
    def timing(self) -> HopTiming:
        """The times of a hop besides its approach."""
        ...

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The channels of the sample blocks, in order."""
        ...

    @property
    def start_height(self) -> float:
        """[m] above the mean surface from which the first approach of a step begins."""
        ...

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        """Run the plan; once `stop()` is true the hop in flight is the last, and the pipette is withdrawn."""
        ...

    def identity(self) -> Identity:
        """Who answers; asked anew each time."""
        ...

    def state(self) -> RoleState:
        """Quality and settings now, read back."""
        ...

    def safe(self) -> None:
        """Pipette up by this controller's own means."""
        ...


@runtime_checkable
class SafeChannel(Protocol):
    """A device that a process other than the controlling one can make safe."""

    @property
    def safe_address(self) -> str:
        """`socket#role` of the channel."""
        ...


@runtime_checkable
class Rearmable(Protocol):
    """A device that must be readied again after `safe`: a piezo that was taken off the input by which it is driven."""

    def rearm(self) -> None:
        """Ready it; does nothing where it is. Raises a refusal where that would lower the pipette."""
        ...


@dataclass(frozen=True, slots=True)
class Rig:
    """The instruments that an operando experiment needs, on one clock; `grounding` as in `wiring`.

    `safe_addresses` are those of the safe channels, in the order in which a watchdog must use them; a rig in the
    controlling process has none.
    """

    clock: Clock
    amplifier: Amplifier
    potentiostat: Potentiostat
    scanner: Scanner
    coarse_stage: CoarseStage
    hop_controller: HopController
    grounding: str = "common"
    safe_addresses: tuple[str, ...] = ()
    real_time: bool = False
    """Whether one of them is an instrument, which runs at the pace of the wall clock."""

    def safe(self) -> None:
        """Probe up first, then the cell to open circuit, then the bias to zero: the order of every exit path.

        A role that fails does not keep the next ones from being made safe; its error is raised afterwards.
        """
        with ExitStack() as last_first:
            for role in (self.amplifier, self.potentiostat, self.coarse_stage, self.scanner, self.hop_controller):
                last_first.callback(role.safe)
