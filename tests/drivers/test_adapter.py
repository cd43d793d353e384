"""Instruments of other frameworks by a mapping: PyMeasure's own classes on its own protocol pairs, and a stand-in with
the interface of QCoDeS, whose package is not importable without the rest of what it needs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from pymeasure.adapters import ProtocolAdapter

from opsicm.core.errors import BadInput, InstrumentLost, OutsideDomain
from opsicm.core.facts import Quality
from opsicm.drivers import adapter
from opsicm.drivers.adapter import AdaptedSource
from opsicm.drivers.vertical_axis import MotorisedStage
from opsicm.emulators.paced_world import PacedWorld
from opsicm.experiment.controls import ConstantCurrent, OpenCircuit, PotentialRamp
from opsicm.instruments.clock import Clock, WallClock
from opsicm.instruments.registry import RoleSetup
from tests.fixtures.emulated_role import connected, rig_with
from tests.fixtures.one_instrument import role_setup, world_behind
from tests.fixtures.role_contracts import PotentiostatContract

KEITHLEY = {
    "instrument": "pymeasure.instruments.keithley.Keithley2400",
    "potential_mode": "source_mode=voltage, source_enabled=True",
    "current_mode": "source_mode=current, source_enabled=True",
    "open": "source_mode=current, source_current=0, source_enabled=True",
    "disconnect": "source_enabled=False",
    "apply_potential": "source_voltage",
    "apply_current": "source_current",
    "read_potential": "voltage",
    "read_current": "current",
    "current_sign": -1,
    "current_range_mA": 100,
    "rest_V": 0.4,
}
NEWPORT = {
    "instrument": "pymeasure.instruments.newport.ESP300",
    "prepare": "x.enable",
    "move": "x.position",
    "stop": "x.write=ST",
    "read_position": "x.position",
    "up": -1,
    "travel_mm": 25,
    "start_height_um": 3,
}
STAND_IN = {
    "instrument": "tests.drivers.test_adapter.StandIn",
    "potential_mode": "mode=potential",
    "current_mode": "mode=current",
    "open": "mode=open",
    "disconnect": "mode=open",
    "measures_disconnected": True,
    "apply_potential": "volt",
    "apply_current": "curr",
    "read_potential": "sensed.volt",
    "read_current": "sensed.curr",
    "current_range_mA": 100,
    "rest_V": 0.4,
}
MADE = [(b":FORM:ELEM VOLT, CURR, RES, TIME, STAT", None)]


def paper(monkeypatch: pytest.MonkeyPatch, pairs: Sequence[tuple[Any, Any]]) -> ProtocolAdapter:
    """PyMeasure's protocol pairs in place of the VISA session that an address would open."""
    on_paper = ProtocolAdapter(list(pairs))
    monkeypatch.setattr("pymeasure.instruments.instrument.VISAAdapter", lambda *_, **__: on_paper)
    return on_paper


def setup_of(settings: dict[str, Any]) -> RoleSetup:
    inner = ", ".join(
        f'{key}: "{value}"' if isinstance(value, str) else f"{key}: {value}" for key, value in settings.items()
    )
    return role_setup("potentiostat", f"{{driver: adapter, settings: {{{inner}}}}}", "GPIB0::24::INSTR")


def test_a_source_measure_unit_is_sent_what_its_names_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [
        (":SOURCE:VOLTAGE 0.35", None),
        (":SOURCE:FUNCTION VOLT", None),
        ("OUTPUT 1", None),
        (":SOURCE:VOLTAGE 0.349", None),
        (":MEASURE:VOLTAGE?", "0.3489,0.0012,9.91e37,1.0,0"),
        (":MEASURE:CURRENT?", "0.3489,0.0012,9.91e37,1.0,0"),
        (":SOURCE:CURRENT 0.001", None),
        (":SOURCE:FUNCTION CURR", None),
        ("OUTPUT 1", None),
        (":SOURCE:FUNCTION CURR", None),
        (":SOURCE:CURRENT 0", None),
        ("OUTPUT 1", None),
        ("OUTPUT 0", None),
    ]
    on_paper = paper(monkeypatch, [(":FORMAT:ELEMENTS VOLTAGE, CURRENT, RESISTANCE, TIME, STATUS", None), *pairs])
    source = AdaptedSource(setup_of(KEITHLEY))
    source.hold_potential(0.35)
    source.hold_potential(0.349)
    measured = source.measure()
    assert (measured.potential, measured.current) == (0.3489, -0.0012), "its positive current lithiates"
    source.hold_current(-0.001)
    source.open()
    assert source.disconnect() is False
    assert on_paper._index == len(on_paper.comm_pairs), "all of it was sent, in this order"
    identity = source.identity()
    assert identity.model == "Keithley2400"
    assert identity.client.startswith("pymeasure 0.")
    source.close()


@contextmanager
def newport(monkeypatch: pytest.MonkeyPatch, pairs: Sequence[tuple[Any, Any]], **more: Any) -> Iterator[MotorisedStage]:
    on_paper = paper(monkeypatch, [("1MO", None), *pairs])
    with connected(
        rig_with("coarse_stage", "adapter", "GPIB0::1::INSTR", {**NEWPORT, **more}), "coarse_stage", WallClock()
    ) as stage:
        yield stage
    assert on_paper._index == len(on_paper.comm_pairs), "all of it was sent, in this order"


def test_a_stage_moves_in_its_own_unit_and_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [("1TP", "12.5"), ("1TP", "12.5"), ("1PA12.4", None), ("1TP", "12.41"), ("1ST", None)]
    with newport(monkeypatch, pairs) as stage:
        assert stage.move_to(103e-6) > 0  # up is -1: 0.1 mm less
        assert stage.position() == pytest.approx(93e-6)
        stage._arrival_ns = 0
        stage.safe()


def test_a_stage_is_refused_beyond_the_travel_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = pytest.raises(OutsideDomain, match="the stage's own limits are 0 … 25000 µm")
    with newport(monkeypatch, [("1TP", "12.5"), ("1TP", "12.5")]) as stage, refused:
        stage.move_to(13e-3)


def test_what_it_never_knew_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with newport(monkeypatch, [("1TP", "12.5"), ("1TP", "12.5")]) as stage:
        state = stage.state()
        assert state.quality is Quality.GOOD
        assert "nobody" in str(state.settings["unverified"])
    assert all(driver.verified == "" for driver in adapter.DRIVERS)


def test_an_answer_that_is_no_number_counts_as_a_line_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        newport(
            monkeypatch, [("1TP", "12.5"), *[pair for _ in range(4) for pair in (("1TP", "nan"), ("1MO", None))][:-1]]
        ) as stage,
        pytest.raises(InstrumentLost, match="nan where a number belongs"),
    ):
        stage.position()


@pytest.mark.parametrize("role", ["scanner", "hop_controller", "amplifier"])
def test_it_never_hops(role: Any) -> None:
    rig = rig_with(role, "adapter", "GPIB0::1::INSTR", {})
    with pytest.raises(BadInput, match="plays potentiostat, coarse_stage only"), connected(rig, role, WallClock()):
        pass


@pytest.mark.parametrize(
    ("instrument", "message"),
    [
        ("os.system", "must be a class of pymeasure or qcodes"),
        ("pymeasure.instruments.keithley.Keithley9999", "cannot be imported"),
        ("pymeasure.instruments.nobody.Here", "cannot be imported"),
        ("pymeasure.test.expected_protocol", "is no class"),
        ("pymeasure.adapters.VISAAdapter", "is pymeasure.adapters.visa.VISAAdapter, which is no instrument of"),
        ("pymeasure.adapters.protocol.MagicMock", "is unittest.mock.MagicMock, which is no instrument of"),
    ],
)
def test_a_rig_file_names_no_function_of_another_package(instrument: str, message: str) -> None:
    rig = rig_with("coarse_stage", "adapter", "GPIB0::1::INSTR", {**NEWPORT, "instrument": instrument})
    with pytest.raises(BadInput, match=message), connected(rig, "coarse_stage", WallClock()):
        pass


@pytest.mark.parametrize(
    "named",
    [
        *({"options": f"timeout=100, {name}=x"} for name in ("visa_library", "visalib", "adapter", "dll_path", "__x")),
        *({key: "x.__init__=1"} for key in ("prepare", "stop")),
        {"prepare": "x._private"},
        {"prepare": "x..enable"},
        {"move": "x._private"},
    ],
)
def test_a_rig_file_names_no_library_and_nothing_private(named: dict[str, str]) -> None:
    (key,) = named
    rig = rig_with("coarse_stage", "adapter", "GPIB0::1::INSTR", {**NEWPORT, **named})
    with pytest.raises(BadInput, match=key) as refused, connected(rig, "coarse_stage", WallClock()):
        pass
    assert len(refused.value.problems) == 1, "timeout is allowed"


# -- The interface of QCoDeS: an instrument is made by (name, address), a parameter is called, with a value or without.


def _knows_the_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "PACKAGES", ("tests",))
    monkeypatch.setattr(adapter, "BASES", (STAND_IN["instrument"],))


class StandIn:
    """A potentiostat on the twin's cell, the way QCoDeS would show one; `world` is set by the test."""

    world: PacedWorld

    def __init__(self, name: str, address: str) -> None:
        assert (name, address) == ("opsicm", "GPIB0::24::INSTR")
        self._asked: dict[str, float] = {}
        self.sensed = self

    def volt(self, *value: float) -> float | None:
        return self._parameter("volt", "potential", *value)

    def curr(self, *value: float) -> float | None:
        return self._parameter("curr", "current", *value)

    def mode(self, word: str) -> None:
        self._mode = word
        self._apply()

    def close(self) -> None:
        self.mode("open")

    def _parameter(self, name: str, quantity: str, *value: float) -> float | None:
        if not value:
            reading: float = getattr(self.world.ask(lambda rig: rig.potentiostat.read()), quantity)
            return reading
        self._asked[name] = value[0]
        if getattr(self, "_mode", "open") == quantity:
            self._apply()
        return None

    def _apply(self) -> None:
        mode = self._mode
        control = (
            PotentialRamp(self._asked["volt"])
            if mode == "potential"
            else ConstantCurrent(self._asked["curr"])
            if mode == "current"
            else OpenCircuit()
        )
        self.world.ask(lambda rig: rig.potentiostat.apply(control, rig.clock.now_ns()))


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_behind() as world:
        yield world


class TestStandIn(PotentiostatContract):
    """The contract of a potentiostat, by the mapping."""

    beyond = ConstantCurrent(1.0)
    settling = 0.3

    @pytest.fixture
    def clock(self) -> WallClock:
        return WallClock()

    @pytest.fixture
    def device(self, world: PacedWorld, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
        _knows_the_stand_in(monkeypatch)
        monkeypatch.setattr(StandIn, "world", world, raising=False)
        with connected(
            rig_with("potentiostat", "adapter", "GPIB0::24::INSTR", STAND_IN), "potentiostat", clock
        ) as device:
            yield device


def test_a_program_that_it_cannot_run_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _knows_the_stand_in(monkeypatch)
    rig = rig_with("potentiostat", "adapter", "GPIB0::24::INSTR", {**STAND_IN, "current_range_mA": 1})
    with pytest.raises(BadInput, match="measures up to 1 mA here"), connected(rig, "potentiostat", WallClock()):
        pass
