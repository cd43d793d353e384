"""A potentiostat driver as another package would write it: a simulated dummy cell, a charged capacitor.

    potentiostat: {driver: dummy_cell, settings: {capacitance_F: 0.5, rest_V: 0.4}}

The package offers it in its metadata: [project.entry-points."opsicm.drivers"] dummy_cell = "its_module:DRIVER".
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from opsicm.experiment.controls import CellControl, ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.experiment.step_model import FileModel, Number
from opsicm.instruments.clock import Clock
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, Identity, RoleState
from opsicm.instruments.specification import PotentiostatSpecification, RigSpecification

_WORDS = {PotentialRamp: "potential", ConstantCurrent: "current", OpenCircuit: "open_circuit"}


class DummyCellSettings(FileModel):
    """What a rig file may say of it."""

    display_name = "the dummy cell"
    capacitance_F: Annotated[Number, Field(gt=0, le=100)] = 0.5
    rest_V: Annotated[Number, Field(ge=-1, le=5)] = 0.4


class DummyCell:
    """E = E_rest + Q/C. A real driver opens its client here, in place of the two numbers."""

    def __init__(self, setup: RoleSetup, _: RigSpecification, clock: Clock) -> None:
        settings: DummyCellSettings = setup.settings
        self._capacitance, self._rest = settings.capacitance_F, settings.rest_V
        self._clock = clock
        self._control: CellControl = OpenCircuit()
        self._waiting: tuple[CellControl, int] | None = None
        self._charge, self._now_ns, self._cut_off = 0.0, 0, False

    def apply(self, control: CellControl, at_ns: int) -> None:
        """Hold `control` from `at_ns` on."""
        self._advance()
        self._waiting = (control, max(at_ns, self._now_ns))

    def read(self) -> CellReading:
        """The cell now."""
        self._advance()
        word, potential = _WORDS[type(self._control)], self._potential
        set_point = potential if isinstance(self._control, PotentialRamp) else None
        return CellReading(self._now_ns, potential, self._current, self._charge, set_point, word, self._cut_off)

    def identity(self) -> Identity:
        """What the instrument says of itself."""
        return Identity("dummy cell", client="none")

    def state(self) -> RoleState:
        """Always well: a real one asks its instrument."""
        return RoleState(self._clock.now_ns())

    def safe(self) -> None:
        """Open circuit, whatever waits."""
        self._advance()
        self._control, self._waiting = OpenCircuit(), None

    @property
    def _potential(self) -> float:
        return self._rest + self._charge / self._capacitance

    @property
    def _current(self) -> float:
        match self._control:
            case PotentialRamp(slope=slope):
                return self._capacitance * slope
            case ConstantCurrent(current=current):
                return current
            case _:
                return 0.0

    def _advance(self) -> None:
        now_ns = self._clock.now_ns()
        if self._waiting is not None and self._waiting[1] <= now_ns:
            control, at_ns = self._waiting
            self._carry_to(at_ns)
            self._control, self._waiting, self._cut_off = control, None, False
            if isinstance(control, PotentialRamp):
                self._charge = self._capacitance * (control.start - self._rest)
        self._carry_to(now_ns)

    def _carry_to(self, t_ns: int) -> None:
        current, control = self._current, self._control
        self._charge += current * (t_ns - self._now_ns) * 1e-9
        self._now_ns = t_ns
        if isinstance(control, ConstantCurrent) and current:
            limit = control.lowest if current < 0.0 else control.highest
            if limit is not None and (self._potential - limit) * current >= 0.0:
                self._charge = self._capacitance * (limit - self._rest)
                self._control, self._cut_off = OpenCircuit(), True


def specify(setup: RoleSetup) -> PotentiostatSpecification:
    """What `check` asks, from the rig file alone."""
    return PotentiostatSpecification(rest_potential=setup.settings.rest_V)


# A real instrument leaves real_time as it is, True, and names its client: client="acme-client".
DRIVER = Driver(
    "dummy_cell",
    "potentiostat",
    "a simulated capacitor, an example",
    DummyCell,
    specify,
    DummyCellSettings,
    real_time=False,
)
