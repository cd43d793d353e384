"""The roles of a world in another process, called over its socket."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import BadInput, LimitCrossed, Problem
from opsicm.core.facts import Channel
from opsicm.emulators import messages
from opsicm.emulators.safe_world import CALLS, SAFE, short_path
from opsicm.experiment.controls import CellControl
from opsicm.experiment.rig_file import RoleName
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, HopPlan, PlanOutcome

_POLL_INTERVAL: Final = 0.02  # [s] between two checks whether the plan is to be stopped
_TIMEOUT: Final = 20.0  # [s] for one call: a plan lasts a second, and a kernel may compile


class _Connection:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            with short_path(folder) as path:
                self._socket.connect(f"{path}/{CALLS}")
        except OSError as error:
            limit = f"no world answers there ({error.strerror})"
            raise BadInput(Problem("--world", str(folder), limit, "start one, and name its folder")) from error
        self._received = bytearray()

    def call(self, role: str, name: str, *arguments: Any, stop: Callable[[], bool] | None = None) -> Any:
        self._socket.sendall(messages.encode((role, name, arguments)))
        interrupted, waited = False, 0.0
        while (end := self._received.find(b"\n")) < 0:
            ready, _, _ = select.select([self._socket], [], [], _POLL_INTERVAL)
            if ready:
                data = self._socket.recv(1 << 20)
                if not data:
                    raise LimitCrossed(Problem("rig", "gone", "the world's process has ended", "look at it"))
                self._received += data
                continue
            waited += _POLL_INTERVAL
            if waited > _TIMEOUT:
                raise LimitCrossed(Problem(f"{role}.{name}", "unanswered", f"{_TIMEOUT:g} s", "look at the rig"))
            if stop is not None and not interrupted and stop():
                interrupted = True
                self._socket.sendall(messages.encode(("interrupt", "", ())))
        kind, answer = messages.decode(bytes(self._received[:end]))
        del self._received[: end + 1]
        if interrupted:
            self._interrupt_answered()
        if kind == "error":
            raise LimitCrossed(Problem(f"{role}.{name}", "refused", "; ".join(answer), "look at the rig"))
        return answer

    def _interrupt_answered(self) -> None:
        """Receive the answer to an interrupt."""
        while (end := self._received.find(b"\n")) < 0:
            self._received += self._socket.recv(1 << 20)
        del self._received[: end + 1]


class _RemoteRole:
    def __init__(self, connection: _Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._connection.call(self._name, name, *arguments)

    @property
    def safe_address(self) -> str:
        return f"{self._connection.folder.resolve() / SAFE}#{self._name}"

    def safe(self) -> None:
        self._ask("safe")


class _RemoteClock(_RemoteRole):
    def now_ns(self) -> int:
        return int(self._ask("now_ns"))

    def wait_until(self, t_ns: int) -> None:
        self._ask("wait_until", t_ns)


class _RemoteAmplifier(_RemoteRole):
    @property
    def command_range(self) -> tuple[float, float]:
        low, high = self._ask("command_range")
        return low, high

    def command(self, volts: float, slope: float = 0.0) -> None:
        self._ask("command", volts, slope)

    def read(self) -> tuple[float, float]:
        current, command = self._ask("read")
        return current, command


class _RemotePotentiostat(_RemoteRole):
    def apply(self, control: CellControl, at_ns: int) -> None:
        self._ask("apply", control, at_ns)

    def read(self) -> CellReading:
        reading = self._ask("read")
        assert isinstance(reading, CellReading)
        return reading


class _RemoteScanner(_RemoteRole):
    @property
    def z_range(self) -> tuple[float, float]:
        low, high = self._ask("z_range")
        return low, high

    @property
    def xy_range(self) -> tuple[float, float]:
        low, high = self._ask("xy_range")
        return low, high

    def read_z(self) -> float:
        return float(self._ask("read_z"))


class _RemoteCoarseStage(_RemoteRole):
    def move_to(self, z: float, speed: float | None = None) -> int:
        return int(self._ask("move_to", z, speed))

    def position(self) -> float:
        return float(self._ask("position"))


class _RemoteHopController(_RemoteRole):
    @property
    def timing(self) -> HopTiming:
        timing = self._ask("timing")
        assert isinstance(timing, HopTiming)
        return timing

    @property
    def channels(self) -> tuple[Channel, ...]:
        return tuple(self._ask("channels"))

    @property
    def start_height(self) -> float:
        return float(self._ask("start_height"))

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        outcome = self._connection.call(self._name, "run", plan, stop=stop)
        assert isinstance(outcome, PlanOutcome)
        return outcome


def _connection(setup: RoleSetup) -> _Connection:
    folder = setup.address or ""
    return setup.rig.shared(("world_process", folder), lambda: _Connection(Path(folder)))


def _driver(role: RoleName, device: type[_RemoteRole]) -> Driver:
    return Driver(
        "world_process",
        role,
        "a twin in another process, with run --world FOLDER",
        lambda setup, _, __: device(_connection(setup), role),
        clock=lambda setup, _: _RemoteClock(_connection(setup), "clock"),
        real_time=False,
    )


DRIVERS: Final = (
    _driver("amplifier", _RemoteAmplifier),
    _driver("potentiostat", _RemotePotentiostat),
    _driver("scanner", _RemoteScanner),
    _driver("coarse_stage", _RemoteCoarseStage),
    _driver("hop_controller", _RemoteHopController),
)
