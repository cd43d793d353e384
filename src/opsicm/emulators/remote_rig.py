"""The roles of a world in another process, called over its socket."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from opsicm.core.errors import BadInput, LimitCrossed, Problem
from opsicm.core.facts import Channel
from opsicm.emulators import messages
from opsicm.emulators.safe_world import CALLS, SAFE, short_path
from opsicm.experiment.controls import CellControl
from opsicm.experiment.rig_file import RoleName
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.hop import HopTiming
from opsicm.instruments.registry import Driver, RoleSetup
from opsicm.instruments.roles import CellReading, HopPlan, Identity, PlanOutcome, RoleState

_POLL_INTERVAL: Final = 0.02  # [s] between two checks whether the plan is to be stopped
_TIMEOUT: Final = 20.0  # [s] for one call: a plan lasts a second, and a kernel may compile
_SAFE_TIMEOUT: Final = 4.0  # [s] for making a role safe, and for the answer to an interrupt
_LONGEST_ANSWER: Final = 1 << 28  # [bytes]: a plan's samples take some MB
Answer = TypeVar("Answer")


class _Connection:
    """One line for a call, one for its answer. A call that fails for any reason but a refusal breaks the connection: an
    answer that comes late would be taken for that of the next call. The rig's safe channels are not affected."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._received = bytearray()
        self._lost: Problem | None = None
        try:
            with short_path(folder) as path:
                self._socket.connect(f"{path}/{CALLS}")
        except OSError as error:
            self._socket.close()
            limit = f"no world answers there ({error.strerror})"
            raise BadInput(Problem("--world", str(folder), limit, "start one, and name its folder")) from error
        try:
            kind, refusal = self._answer("rig.connect", _TIMEOUT)
        except LimitCrossed as error:
            raise BadInput(error.problems) from error
        if kind == "error":
            self._socket.close()
            raise BadInput(Problem("--world", str(folder), "refuses this run", "; ".join(refusal)))

    def call(self, role: str, name: str, *arguments: Any, stop: Callable[[], bool] = lambda: False) -> Any:
        if self._lost is not None:
            raise LimitCrossed(self._lost)
        called = f"{role}.{name}"
        self._send(called, (role, name, arguments))
        patience = _SAFE_TIMEOUT if name == "safe" else _TIMEOUT
        interrupted = False
        waited = stopwatch()
        while not self._receive(called, _POLL_INTERVAL):
            if waited() > patience:
                raise self.loss(called, "unanswered", f"no answer in {patience:g} s")
            if not interrupted and stop():
                interrupted = True
                self._send(called, ("interrupt", "", ()))
        kind, answer = self._answer(called, 0.0)
        if interrupted:
            self._answer("interrupt", _SAFE_TIMEOUT)
        if kind == "error":
            raise LimitCrossed(Problem(called, "refused", "; ".join(map(str, answer)), "look at the rig"))
        return answer

    def loss(self, called: str, value: str, limit: str) -> LimitCrossed:
        """The error of a connection that is of no use any more; every later call raises the same."""
        self._lost = Problem(called, value, limit, "look at the rig")
        self._socket.close()
        return LimitCrossed(self._lost)

    def _send(self, called: str, message: Any) -> None:
        try:
            self._socket.sendall(messages.encode(message))
        except OSError as error:
            raise self.loss(called, "gone", f"the rig's process has ended ({error.strerror})") from error

    def _receive(self, called: str, seconds: float) -> bool:
        """Receive for that long; whether a whole line is there."""
        if b"\n" in self._received:
            return True
        if not select.select([self._socket], [], [], seconds)[0]:
            return False
        try:
            data = self._socket.recv(1 << 20)
        except OSError:
            data = b""
        if not data:
            raise self.loss(called, "gone", "the rig's process has ended")
        self._received += data
        if len(self._received) > _LONGEST_ANSWER:
            raise self.loss(called, "endless", f"an answer has at most {_LONGEST_ANSWER} bytes")
        return b"\n" in self._received

    def _answer(self, called: str, seconds: float) -> tuple[str, Any]:
        """(answer or error, what) of the next line."""
        waited = stopwatch()
        while not self._receive(called, _POLL_INTERVAL):
            if waited() > seconds:
                raise self.loss(called, "unanswered", f"no answer in {seconds:g} s")
        line, _, rest = bytes(self._received).partition(b"\n")
        self._received = bytearray(rest)
        try:
            kind, answer = messages.decode(line)
        except Exception as error:
            raise self.loss(called, ascii(line[:60]), "is no answer of a rig") from error
        return str(kind), answer


class _RemoteRole:
    def __init__(self, connection: _Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._connection.call(self._name, name, *arguments)

    def _ask_for(self, kind: type[Answer], name: str, *arguments: Any) -> Answer:
        """The answer, which must be of this kind: anything else is garbage, and so may be what follows."""
        return self._of_kind(kind, name, self._ask(name, *arguments))

    def _of_kind(self, kind: type[Answer], name: str, answer: Any) -> Answer:
        if kind is float and isinstance(answer, int):
            answer = float(answer)
        if not isinstance(answer, kind):
            raise self._connection.loss(f"{self._name}.{name}", ascii(answer)[:60], f"must be a {kind.__name__}")
        return answer

    def _ask_for_pair(self, name: str) -> tuple[float, float]:
        pair = self._ask_for(tuple, name)
        if len(pair) != 2:
            raise self._connection.loss(f"{self._name}.{name}", ascii(pair)[:60], "must be two numbers")
        return self._of_kind(float, name, pair[0]), self._of_kind(float, name, pair[1])

    def identity(self) -> Identity:
        return self._ask_for(Identity, "identity")

    def state(self) -> RoleState:
        return self._ask_for(RoleState, "state")

    @property
    def safe_address(self) -> str:
        return f"{self._connection.folder.resolve() / SAFE}#{self._name}"

    def safe(self) -> None:
        self._ask("safe")


class _RemoteClock(_RemoteRole):
    def now_ns(self) -> int:
        return self._ask_for(int, "now_ns")

    def wait_until(self, t_ns: int) -> None:
        self._ask("wait_until", t_ns)


class _RemoteAmplifier(_RemoteRole):
    @property
    def command_range(self) -> tuple[float, float]:
        return self._ask_for_pair("command_range")

    def command(self, volts: float, slope: float = 0.0) -> None:
        self._ask("command", volts, slope)

    def read(self) -> tuple[float, float]:
        return self._ask_for_pair("read")


class _RemotePotentiostat(_RemoteRole):
    def apply(self, control: CellControl, at_ns: int) -> None:
        self._ask("apply", control, at_ns)

    def read(self) -> CellReading:
        return self._ask_for(CellReading, "read")


class _RemoteScanner(_RemoteRole):
    @property
    def z_range(self) -> tuple[float, float]:
        return self._ask_for_pair("z_range")

    @property
    def xy_range(self) -> tuple[float, float]:
        return self._ask_for_pair("xy_range")

    def read_z(self) -> float:
        return self._ask_for(float, "read_z")


class _RemoteCoarseStage(_RemoteRole):
    def move_to(self, z: float, speed: float | None = None) -> int:
        return self._ask_for(int, "move_to", z, speed)

    def position(self) -> float:
        return self._ask_for(float, "position")


class _RemoteHopController(_RemoteRole):
    @property
    def timing(self) -> HopTiming:
        return self._ask_for(HopTiming, "timing")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return self._ask_for(tuple, "channels")

    @property
    def start_height(self) -> float:
        return self._ask_for(float, "start_height")

    def run(self, plan: HopPlan, stop: Callable[[], bool]) -> PlanOutcome:
        return self._of_kind(PlanOutcome, "run", self._connection.call(self._name, "run", plan, stop=stop))


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
