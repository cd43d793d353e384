"""OpenSPM by its text commands: a bridge written from the published client's source, the twin behind it."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from opsicm.cli.rigs import REGISTRY, specimen_parameters
from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed
from opsicm.core.facts import Outcome, Quality
from opsicm.drivers.openspm import (
    DRIVERS,
    HopSettings,
    OpenSpmClient,
    OpenSpmHopController,
    OpenSpmScanner,
    ScannerSettings,
    specify_hops,
    specify_scanner,
)
from opsicm.emulators.openspm_bridge import OpenSpmBridge
from opsicm.emulators.paced_world import PacedWorld
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.rig_file import rig_from_text
from opsicm.instruments.clock import WallClock, pause, stopwatch
from opsicm.instruments.registry import RigSetup, RoleSetup
from opsicm.instruments.roles import HopController, HopPlan, Scanner
from opsicm.physics.pipette.geometry import Pipette
from tests.drivers.test_hop_box import EXPERIMENT, NOTICED, RIG, at_start_height, never, world_at
from tests.fixtures.rig_contract import plan

pytestmark = pytest.mark.real_time

MEANINGS: dict[str, Any] = {
    "mode": "SICM",
    "height_channel": "Topography",
    "setpoint_is": "drop",
    "approach_rate_unit_m_s": 1.0,
    "retract_height_unit_m": 1.0,
    "current_input": "AI0/IN0",
    "current_nA_per_V": 1.0,
}


@pytest.fixture(scope="module")
def world() -> Iterator[PacedWorld]:
    with world_at(1.0) as paced:
        yield paced


@dataclass
class Bench:
    world: PacedWorld
    bridge: OpenSpmBridge
    rig: RigSetup

    def hops(self, **settings: Any) -> OpenSpmHopController:
        role = RoleSetup("hop_controller", self.bridge.address, HopSettings(**(MEANINGS | settings)), self.rig)
        specification = replace(REGISTRY_SPECIFICATION, hop_controller=specify_hops(role))
        return OpenSpmHopController(role, specification, WallClock())

    def scanner(self) -> OpenSpmScanner:
        role = RoleSetup("scanner", self.bridge.address, ScannerSettings(), self.rig)
        specification = replace(REGISTRY_SPECIFICATION, scanner=specify_scanner(role))
        return OpenSpmScanner(role, specification, WallClock())


def setup(connections: ExitStack) -> RigSetup:
    loaded = rig_from_text(RIG)
    parameters = specimen_parameters(EXPERIMENT, loaded).values
    return RigSetup(loaded, EXPERIMENT.experiment, parameters, Pipette(50e-9), connections=connections)


REGISTRY_SPECIFICATION = REGISTRY.specification(setup(ExitStack()))


@pytest.fixture
def bench(world: PacedWorld) -> Iterator[Bench]:
    with ExitStack() as connections:
        bridge = OpenSpmBridge(world)
        connections.callback(bridge.close)
        at_start_height(world)
        yield Bench(world, bridge, setup(connections))


def test_hops_give_the_heights_that_the_controller_itself_finds(bench: Bench) -> None:
    controller = bench.hops()
    assert isinstance(controller, HopController)
    hops = controller.run(replace(plan(3), first_hop=5), never).hops
    assert hops["hop"].tolist() == [5, 6, 7]
    assert hops["outcome"].tolist() == [Outcome.CONTACT] * 3
    assert bench.bridge.frames == 3
    itself = bench.world.hop(plan(1), never).hops["z_stop"][0]
    assert hops["z_stop"] == pytest.approx(itself, abs=20e-9)  # a hop's repeatability over a surface at rest
    assert hops["i_ref"] == pytest.approx(bench.world.ask(lambda rig: rig.amplifier.read()[0]), rel=0.02)
    assert np.all(np.isnan(hops["i_stop"]))
    assert np.all((hops["z_min"] <= hops["z_stop"]) & (hops["z_min"] > hops["z_stop"] - 0.1e-6))
    assert np.all(np.diff(hops["t_ns"]) > 60_000_000)
    assert bench.world.ask(lambda rig: rig.scanner.read_z()) > itself + 1.9e-6


def test_a_stop_is_heard_between_two_hops_and_a_plan_without_hops_waits(bench: Bench) -> None:
    controller = bench.hops()
    assert controller.run(plan(5), lambda: True).hops.size == 1
    waited = stopwatch()
    until_ns = controller._clock.now_ns() + 60_000_000
    assert controller.run(plan(0, until_ns=until_ns), never).hops.size == 0
    assert 0.055 < waited() < 0.5


def test_parameters_are_written_in_the_controls_own_units_and_read_back(bench: Bench) -> None:
    bench.bridge._controls["SICM::Approach rate"] = 30.0
    controller = bench.hops(approach_rate_unit_m_s=1e-6, setpoint_is="remaining")
    controller._set_up(plan(1))
    assert bench.bridge._controls["SICM::Approach rate"] == pytest.approx(30.0)
    assert bench.bridge._controls["SICM::Setpoint"] == pytest.approx(98.0)
    assert bench.bridge._controls["SICM::Retract height"] == pytest.approx(2e-6)
    bench.bridge.faults.set("stuck", times=-1)
    with pytest.raises(LimitCrossed, match="SICM::Approach rate is 30; 20 was written to it"):
        controller._set_up(replace(plan(1), parameters=HopParameters(2e-6, 2e-5, 0.02, 5e-6)))


@pytest.mark.parametrize("missing", list(MEANINGS))
def test_without_what_its_controls_mean_nothing_hops(bench: Bench, missing: str) -> None:
    controller = bench.hops(**{missing: None})
    with pytest.raises(
        LimitCrossed, match=f"{missing} of OpenSPM is unknown; is not published, and without it nothing"
    ):
        controller.run(plan(1), never)
    assert bench.bridge.frames == 0


def changed(**changes: Any) -> HopPlan:
    return replace(plan(1), **changes)


@pytest.mark.parametrize(
    ("settings", "hops", "said"),
    [
        ({}, changed(x=np.array([41e-6])), r"hop x is 41 µm; the scanner goes to ±40 µm"),
        ({"max_fall_nm_per_ms": 20.0}, plan(1), r"approach rate is 30 nm/ms; the rig file allows at most 20 nm/ms"),
        ({"mode": "Hopping"}, plan(1), r"OpenSPM's mode is SICM; the rig file says Hopping; choose the hopping mode"),
        ({"height_channel": "Z"}, plan(1), r"height_channel is Z; OpenSPM's channels are \['Topography', 'Current'\]"),
        ({}, replace(plan(2), amplitude=np.array([1e-6, 2e-6])), "one retract height for all hops"),
    ],
)
def test_what_cannot_be_done_safely_is_refused(
    bench: Bench, settings: dict[str, Any], hops: HopPlan, said: str
) -> None:
    with pytest.raises(LimitCrossed, match=said):
        bench.hops(**settings).run(hops, never)
    assert bench.bridge.frames == 0


def test_a_current_beyond_the_overload_is_no_hop(bench: Bench) -> None:
    with pytest.raises(LimitCrossed, match=r"nA before a hop; limits\.pipette_overload_nA is 9\.5; look at the tip"):
        bench.hops(current_nA_per_V=1000.0).run(plan(1), never)
    assert bench.bridge.frames == 0


def test_a_pipette_that_goes_too_far_is_withdrawn(bench: Bench) -> None:
    bench.world.ask(lambda rig: rig.hop_controller.safe())  # 6 µm above the surface: none within 1 µm
    z = bench.world.ask(lambda rig: rig.scanner.read_z())
    near = replace(plan(1), parameters=HopParameters(2e-6, 3e-5, 0.02, 1e-6))
    assert bench.hops().run(near, never).hops["outcome"].tolist() == [Outcome.NO_CONTACT]
    assert bench.world.ask(lambda rig: rig.scanner.read_z()) > z - 2e-6


def test_the_scanner_reads_and_withdraws(bench: Bench) -> None:
    scanner = bench.scanner()
    assert isinstance(scanner, Scanner)
    assert scanner.z_range == pytest.approx((-1e-5, 1e-5))
    assert scanner.xy_range == pytest.approx((-4e-5, 4e-5))
    z = scanner.read_z()
    assert z == pytest.approx(bench.world.ask(lambda rig: rig.scanner.read_z()), abs=2e-9)
    scanner.safe()
    assert scanner.read_z() >= z + 2.9e-6
    state = scanner.state()
    assert (state.quality, state.settings["mode"], state.settings["feedback"]) == (Quality.GOOD, "SICM", "True")
    assert scanner.identity().client == "its text commands, as RePySPM c048ff0 sends them"


# -- a line that fails


@pytest.mark.parametrize("kind", ["late", "silent", "partial", "reset", "garbage"])
def test_a_fault_that_passes_is_healed(bench: Bench, kind: str) -> None:
    scanner = bench.scanner()
    bench.bridge.faults.set(kind, 0.2)
    assert scanner.read_z() == pytest.approx(0.0, abs=5e-6)
    assert bench.bridge.faults.takes(kind) is None


@pytest.mark.parametrize("kind", ["silent", "partial", "reset", "garbage"])
def test_a_fault_that_stays_is_a_loss_in_time(bench: Bench, kind: str) -> None:
    scanner = bench.scanner()
    bench.bridge.faults.set(kind, times=-1)
    waited = stopwatch()
    with pytest.raises(InstrumentLost, match=r"OpenSPM at .* lost; it does not answer as it should"):
        scanner.read_z()
    assert waited() < NOTICED
    assert scanner.state().quality == Quality.MISSING
    bench.bridge.faults.clear()
    waited = stopwatch()
    while scanner.state().quality != Quality.GOOD:
        assert waited() < 2.0


def test_a_hop_whose_answer_is_lost_is_not_sent_again(bench: Bench) -> None:
    controller = bench.hops()
    commands: list[str] = []
    plain = OpenSpmClient.ask

    def ask(self: OpenSpmClient, command: str) -> Any:
        commands.append(command)
        answer = plain(self, command)
        if "Frame" in command:
            raise ConnectionResetError("its answer was lost")
        return answer

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenSpmClient, "ask", ask)
        with pytest.raises(InstrumentLost, match="the line broke as the hop began") as lost:
            controller.run(plan(3), never)
    assert sum("Frame" in command for command in commands) == 1
    assert lost.value.outcome.hops.size == 0
    assert bench.bridge.frames == 1


@contextmanager
def answering(*pieces: bytes, every: float = 0.0) -> Iterator[OpenSpmClient]:
    """A client whose command is answered by these pieces."""

    def answer() -> None:
        with suppress(OSError):
            far.recv(64)
            for piece in pieces:
                far.sendall(piece)
                pause(every)

    with socket.create_server(("127.0.0.1", 0)) as server:
        client = OpenSpmClient("localhost", server.getsockname()[1])
        assert client.peer == server.getsockname(), "the name is not looked up again"
        far, _ = server.accept()
        with far:
            threading.Thread(target=answer, daemon=True).start()
            yield client
        client.close()


def test_an_answer_byte_by_byte_has_one_time_out() -> None:
    header = b'{"type": "empty"}' + b" " * 100
    answer = struct.pack(">I", len(header)) + header
    with answering(*(answer[k : k + 1] for k in range(len(answer))), every=0.02) as client:
        waited = stopwatch()
        with pytest.raises(TimeoutError):
            client.ask("Read:SICM::Setpoint")
        assert waited() < 0.25


@pytest.mark.parametrize(
    "header",
    [
        b'{"type": "empty", "nbytes": 1e999}',
        b'{"type": "array", "dtype": "f8", "shape": [1' + b"0" * 400 + b"]}",
        b"[" * 4000,
    ],
)
def test_numbers_and_brackets_without_end_are_garbage(header: bytes) -> None:
    with (
        answering(struct.pack(">I", len(header)) + header) as client,
        pytest.raises(OSError, match="an answer that cannot be read"),
    ):
        client.ask("Read:SICM::Setpoint")


def test_heights_that_are_no_numbers(bench: Bench) -> None:
    scanner, controller = bench.scanner(), bench.hops()
    bench.bridge.faults.set("nan", times=-1)
    with pytest.raises(InstrumentLost, match="OpenSPM shows no number"):
        scanner.read_z()
    assert scanner.state().message == "it says no height"
    with pytest.raises(InstrumentLost, match="no number"):
        controller.run(plan(1), never)


def test_an_unknown_control_and_an_address_that_is_none(bench: Bench) -> None:
    openspm = bench.scanner()._openspm
    with pytest.raises(LimitCrossed, match=r"OpenSPM control is Read:SICM::Colour; this OpenSPM does not know it"):
        openspm.read("SICM::Colour")
    role = RoleSetup("scanner", "somewhere", ScannerSettings(), bench.rig)
    with pytest.raises(BadInput, match="must be host:port of OpenSPM's TCP bridge"):
        OpenSpmScanner(role, REGISTRY_SPECIFICATION, WallClock())


def test_the_bridge_writes_what_the_published_client_reads(bench: Bench) -> None:
    """The bytes of `tcp_backend.py`: length, header, payload; `np.dtype(">" + dtype)` must be one."""
    host, _, port = bench.bridge.address.rpartition(":")
    with socket.create_connection((host, int(port)), 2.0) as client:
        for command, kind, dtype in (
            ("Read:SICM::Setpoint", "number", "f8"),
            ("Read:Scan::Line", "number", "i4"),
            ("Read:Scan::Scan Parameters", "array", "f8"),
            ("Read:Scan::Actions", "array", "bool"),
            ("Read:Scope::ChannelsNames", "string_array", None),
            ("Read:ZController::Feedback On", "bool", None),
            ("Write:SICM::Delta:0.5", "string", None),
            ("Read:Nowhere::Thing", "string", None),
        ):
            client.sendall(command.encode() + b"\r\n")
            (length,) = struct.unpack(">I", client.recv(4, socket.MSG_WAITALL))
            header = json.loads(client.recv(length, socket.MSG_WAITALL))
            payload = client.recv(header["nbytes"], socket.MSG_WAITALL)
            assert (header["type"], header.get("dtype")) == (kind, dtype)
            if dtype not in (None, "bool"):
                assert np.frombuffer(payload, ">" + dtype).size == np.prod(header.get("shape", 1))
        assert payload == b"Indicator/control not found"
        client.sendall(b"close\r\n")
        assert client.recv(100).endswith(b"OK")
        assert client.recv(100) == b""


def test_the_drivers_say_that_they_were_on_no_hardware() -> None:
    assert {driver.role for driver in DRIVERS} == {"scanner", "hop_controller"}
    assert all("on no hardware" in driver.verified for driver in DRIVERS)
