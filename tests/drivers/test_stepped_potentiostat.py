"""A potentiostat that is stepped through its controls by a thread: what that thread meets is said, whatever it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from opsicm.core.errors import LimitCrossed
from opsicm.core.facts import Quality
from opsicm.drivers.stepped_potentiostat import Measured, SteppedPotentiostat
from opsicm.experiment.controls import PotentialRamp
from opsicm.experiment.setup import Envelope
from opsicm.instruments.clock import WallClock
from opsicm.instruments.roles import Identity
from tests.fixtures.one_instrument import wait_for


class Bench:
    """A source that remembers what it holds, and fails as it is told."""

    potential_step = 1e-4
    lost = ""

    def __init__(self) -> None:
        self.held: float | None = None
        self.error: Exception | None = None

    def hold_potential(self, volts: float) -> None:
        if self.error is not None:
            raise self.error
        self.held = volts

    def hold_current(self, amperes: float) -> None:
        raise AssertionError(amperes)

    def open(self) -> None:
        self.held = None

    def disconnect(self) -> bool:
        self.held = None
        return False

    def measure(self) -> Measured:
        return Measured(0.4 if self.held is None else self.held, 0.0)

    def identity(self) -> Identity:
        return Identity("bench")

    def settings(self) -> Mapping[str, float | str]:
        return {}

    def revive(self) -> bool:
        return True

    def close(self) -> None:
        self.held = None


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
def device(bench: Bench) -> Iterator[SteppedPotentiostat]:
    device = SteppedPotentiostat(bench, WallClock(), Envelope(), 0.02, 0.0)
    yield device
    device.close()


@pytest.mark.parametrize("error", [ValueError("half an answer"), AttributeError("volts"), ZeroDivisionError("x")])
def test_a_defect_in_its_thread_opens_the_cell_and_is_said(
    bench: Bench, device: SteppedPotentiostat, error: Exception
) -> None:
    device.apply(PotentialRamp(0.4, 0.01), 0)
    wait_for(lambda: bench.held is not None)
    bench.error = error
    wait_for(lambda: device.state().quality is Quality.SUSPECT)
    assert bench.held is None
    with pytest.raises(LimitCrossed, match=f"its driver has a defect .{type(error).__name__}: .*; look at the instr"):
        device.read()
    with pytest.raises(LimitCrossed, match="not driven any more"):  # and not only to the one who asked first
        device.apply(PotentialRamp(0.4), 0)
