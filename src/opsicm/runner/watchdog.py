"""The watchdog: a process of its own that makes the rig safe when the controlling process dies or hangs.

It opens its own connection to each role's safe channel before anything moves. The loop sends a heartbeat every turn;
when none comes for `silence` seconds, or when the link closes without a farewell, as after a kill, the watchdog makes
the roles safe in the order given: probe up, cell to open circuit, bias to zero. It reports over the link and to a file
in the run folder. While a run goes on it makes single roles safe when it is asked to: a role whose own line is lost to
the run may answer on the watchdog's.

An address is `socket#role`, a Unix socket that takes the role's name as a line and answers `safe` when it is, or
`driver:MODULE:FUNCTION {json}#role`: FUNCTION, imported by its name, takes the settings and opens a connection of its
own at once; what it returns makes the role safe when called and says whether that is confirmed. Each is called in a
thread: a vendor's client that hangs holds up the next role by `_GRACE` at most. One that holds Python's own lock while
it hangs cannot be helped from here: its process is replaced where the run lives, and lost where it does not.

Who watches the watchdog: it sends pulses of its own, which a thread of the controlling process awaits. Without them for
`NOTICED` it is ended and replaced; where that fails, the run stops.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.instruments.clock import monotonic_ns, pause, stopwatch

SILENCE: Final = 4.0  # [s]: a turn lasts a second, settling after a change of control up to two more
NOTICED: Final = 0.8  # [s] without a pulse after which a watchdog counts as lost
FILE: Final = "watchdog.json"
_PULSE: Final = 0.1  # [s] between two pulses
_LATE: Final = 0.6  # [s] without a pulse; the rest of NOTICED is for one that was stopped together with this process
_HEARTBEAT: Final = b"\1"
_FAREWELL: Final = b"."
_NOW: Final = b"!"
_THESE: Final = b"^"  # begins a request to make single roles safe, and its answer; ";" ends both
_REFUSED: Final = b"?"  # begins the reason why a safe channel cannot be reached
_READY_WITHIN: Final = 20.0  # [s]
_PATIENCE: Final = 2.0  # [s] for one role to confirm that it is safe, and for the process to end
_GRACE: Final = 0.5  # [s] that a role may take before the next one is begun: probe up comes before the cell opens
_DRIVER: Final = "driver:"
_REPLACED_AT_MOST: Final = 5  # times, with less than a minute between: then something ends every watchdog
_LONG_AGO: Final = 60.0  # [s]


class Watch(Protocol):
    """What watches a run from outside its process."""

    def beat(self) -> Sequence[str]:
        """Send a heartbeat; returns what has happened to the watchdog since the last one. Raises `LimitCrossed` where
        the run is not watched any more."""
        ...

    def make_safe(self) -> Mapping[str, bool]:
        """Have the roles made safe now through the watchdog's own channels; role → whether it has confirmed that.

        The watchdog then ends: this is the end of a run.
        """
        ...

    def make_roles_safe(self, roles: Sequence[str], /) -> Mapping[str, bool]:
        """Have these roles made safe through the watchdog's own channels, while it watches on; as `make_safe`.

        A role without a channel is not in the answer.
        """
        ...


class Unwatched:
    """For a rig without safe channels: it is in the controlling process and ends with it."""

    def beat(self) -> Sequence[str]:
        return ()

    def make_safe(self) -> Mapping[str, bool]:
        return {}

    def make_roles_safe(self, _roles: Sequence[str]) -> Mapping[str, bool]:
        return {}


class Watchdog:
    """Starts the process and sends it heartbeats. `addresses` stand in the order of making safe."""

    def __init__(self, addresses: Sequence[str], folder: Path, silence: float = SILENCE) -> None:
        self._arguments = (str(silence), str(folder), *addresses)
        self._patience = _PATIENCE * (len(addresses) + 1)
        self._ending = threading.Event()
        self._events: list[str] = []
        self._failure: Problem | None = None
        self._report = b""
        self._replaced, self._since_replaced = 0, stopwatch()
        self._process, self._link = self._start()
        self._thread = threading.Thread(target=self._supervise, name="watchdog-supervisor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """The process id of the present watchdog."""
        return self._process.pid

    def beat(self) -> Sequence[str]:
        events, self._events = self._events, []
        if self._failure is not None:
            raise LimitCrossed(self._failure)
        _send(self._link, _HEARTBEAT)
        return events

    def make_safe(self) -> Mapping[str, bool]:
        self._stop_supervising()
        if not self._obeys():  # lost in this very moment: another one is begun for this alone
            self._ending.clear()
            try:
                self._process, self._link = self._start()
            except LimitCrossed:
                return {}
            self._obeys()
        return _done(self._report.partition(_NOW)[2])

    def make_roles_safe(self, roles: Sequence[str]) -> Mapping[str, bool]:
        link, before = self._link, self._report
        _send(link, _THESE + ",".join(roles).encode() + b";")
        waited = stopwatch()
        while link is self._link and waited() < _PATIENCE + _GRACE * len(roles):
            if (answer := self._report[len(before) :]).endswith(b";"):
                return _done(answer[:-1].partition(_THESE)[2])
            pause(0.01)
        return {}

    def _obeys(self) -> bool:
        """Whether the watchdog reports what it has made safe, now or by itself before."""
        waited = stopwatch()
        _send(self._link, _NOW)
        while (left := self._patience - waited()) > 0 and self._pulse(left):
            pass
        self._wait()
        return b"{" in self._report.partition(_NOW)[2]

    def close(self) -> None:
        """Say farewell and wait for the process: the run has ended and the rig is safe."""
        self._stop_supervising()
        _send(self._link, _FAREWELL)
        self._wait()

    def _stop_supervising(self) -> None:
        self._ending.set()
        self._thread.join()

    def _wait(self) -> None:
        """Wait until the process has ended; one that is stopped or stuck is killed, so that a run always ends."""
        try:
            self._process.wait(self._patience if self._acts else _PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._link.close()

    def _supervise(self) -> None:
        while not self._ending.is_set():
            if not (self._pulse(_LATE) or self._pulse(NOTICED - _LATE) or self._ending.is_set() or self._replace()):
                return
            if self._acts:  # it sends no pulses meanwhile, and must not be disturbed
                limit = "no heartbeat of the run had reached it in time"
                remedy = "look at the machine, then run again"
                self._failure = Problem("rig", "made safe by the watchdog", limit, remedy)
                return

    def _pulse(self, seconds: float) -> bool:
        """Whether the watchdog sends pulses, or what it has done; False at once where it has ended."""
        try:
            data = self._link.recv(1 << 16) if select.select([self._link], [], [], seconds)[0] else b""
        except (OSError, ValueError):  # ValueError: closed
            data = b""
        self._report += data.replace(_HEARTBEAT, b"")
        return bool(data)

    @property
    def _acts(self) -> bool:
        """Whether the watchdog makes the rig safe, or has done so."""
        return _NOW in self._report

    def _replace(self) -> bool:
        code = self._process.poll()
        if code is None and not select.select([self._link], [], [], 0.0)[0]:
            event = f"gave no sign for {NOTICED:g} s"
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = self._process.wait(_PATIENCE)
            event = f"ended (signal {-code})" if code is not None and code < 0 else f"ended (code {code})"
        self._process.kill()
        self._process.wait()
        self._link.close()
        self._replaced = 1 if self._since_replaced() > _LONG_AGO else self._replaced + 1
        self._since_replaced = stopwatch()
        if self._replaced > _REPLACED_AT_MOST:
            limit = f"it was lost {self._replaced} times in a row, and a run may not go on without one"
            self._failure = Problem("watchdog", event, limit, "find what ends it, then run again")
            return False
        unwatched = stopwatch()
        try:
            self._process, self._link = self._start()
        except LimitCrossed as error:
            self._failure = error.problems[0]
            return False
        self._events.append(
            f"the watchdog {event} and was replaced; the rig was unwatched for {unwatched():.1f} s more"
        )
        return True

    def _start(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """(process, link) of a watchdog that has reached every safe channel."""
        here, there = socket.socketpair()
        command = [sys.executable, "-P", "-m", __name__, str(there.fileno()), *self._arguments]
        source = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": source if not inherited else f"{source}{os.pathsep}{inherited}"}
        # A session of its own: what ends the controller's process group must not end the watchdog.
        process = subprocess.Popen(
            command,
            pass_fds=(there.fileno(),),
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        there.close()
        waited, refused = stopwatch(), ""
        while waited() < _READY_WITHIN and not self._ending.is_set():
            if select.select([here], [], [], _PULSE)[0]:
                with contextlib.suppress(OSError):
                    said = here.recv(1 << 12)
                    if said.startswith(_HEARTBEAT):
                        return process, here
                    refused = said.removeprefix(_REFUSED).decode(errors="replace")
                break
        process.kill()
        process.wait()
        here.close()
        limit = "it must reach every safe channel before a run and during it" + (f" ({refused})" if refused else "")
        raise LimitCrossed(Problem("watchdog", "not ready", limit, "check the rig"))


def _done(report: bytes) -> dict[str, bool]:
    """Role → whether it has confirmed that it is safe, of a report; nothing where there is none."""
    try:
        return {str(each["role"]): bool(each["safe"]) for each in json.loads(report)["done"]}
    except (ValueError, KeyError, TypeError):
        return {}


def _send(link: socket.socket, data: bytes) -> None:
    """Never waits, and does not mind an end that is stopped or gone: that is noticed by what it does not send."""
    with contextlib.suppress(OSError):
        link.send(data, socket.MSG_DONTWAIT)


# -- in the watchdog's own process


def _take_real_time_priority() -> None:
    """Ask to run at once however busy the machine is; without the permission, keep the ordinary priority."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


class Channel:
    """The watchdog's own way to one role. Raises what opening it raises."""

    def __init__(self, address: str) -> None:
        place, _, self.role = address.rpartition("#")
        self._call = _of_driver(place) if place.startswith(_DRIVER) else _of_socket(place, self.role)
        self._thread: threading.Thread | None = None
        self._confirmed_ns: int | None = None

    def begin(self) -> None:
        """Begin to make the role safe, unless that is under way."""
        if self._thread is None or not self._thread.is_alive():
            self._confirmed_ns = None
            self._thread = threading.Thread(target=self._run, name=f"safe-{self.role}", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        # Whatever a vendor's client raises, the other roles are made safe.
        with contextlib.suppress(Exception):
            if self._call():
                self._confirmed_ns = monotonic_ns()

    def over(self, seconds: float) -> bool:
        """Whether it has answered, one way or the other, after waiting for that long at most."""
        assert self._thread is not None, "begun"
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def report(self) -> dict[str, Any]:
        """What is known of it now."""
        return {
            "role": self.role,
            "safe": self._confirmed_ns is not None,
            "ns": monotonic_ns() if self._confirmed_ns is None else self._confirmed_ns,
        }


def _of_driver(place: str) -> Callable[[], bool]:
    """The safe channel that a driver opens: `driver:MODULE:FUNCTION {json}`."""
    name, _, settings = place.removeprefix(_DRIVER).partition(" ")
    module, _, function = name.partition(":")
    channel: Callable[[], bool] = getattr(importlib.import_module(module), function)(json.loads(settings or "{}"))
    return channel


def _of_socket(path: str, role: str) -> Callable[[], bool]:
    """The safe channel of a Unix socket."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(_PATIENCE)
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:  # through a descriptor: the kernel allows a socket's path 107 bytes
        channel.connect(f"/proc/self/fd/{descriptor}/{Path(path).name}")
    finally:
        os.close(descriptor)

    def make_safe() -> bool:
        channel.sendall(role.encode() + b"\n")
        return channel.recv(16).startswith(b"safe")

    return make_safe


def watch(link: socket.socket, silence: float, folder: Path, addresses: Sequence[str]) -> None:
    """Watch over `link` until it says farewell, asks for safety, closes or is silent."""
    _take_real_time_priority()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channels = []
    for address in addresses:
        try:
            channels.append(_opened(address))
        except Exception as error:  # noqa: BLE001 - any client may fail in any way, and the run is told why
            reason = f"{address.rpartition('#')[2]}: {type(error).__name__}: {error}"
            _send(link, _REFUSED + reason.encode(errors="replace")[:2000])
            return
    _send(link, _HEARTBEAT)
    why = _why_safe(link, silence, channels)
    if not why:
        return
    _send(link, _NOW)
    noticed = monotonic_ns()
    done = _make_safe(channels, lambda: True)
    text = json.dumps({"why": why, "noticed_ns": noticed, "done": done}, indent=1)
    _send(link, text.encode())
    part = folder / f".{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):  # the folder may be gone or its disk full: the rig is safe all the same
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(folder / FILE)


def _opened(address: str) -> Channel:
    """The channel, tried more than once: a busy machine, or an instrument that is still busy with its other client."""
    waited = stopwatch()
    while True:
        try:
            return Channel(address)
        except Exception:
            if waited() > _PATIENCE:
                raise
            pause(_PULSE)


def _why_safe(link: socket.socket, silence: float, channels: Sequence[Channel]) -> str:
    """Wait, and make single roles safe when asked to; why all must be made safe, empty after a farewell."""
    heard, pulse = stopwatch(), stopwatch()
    while True:
        if select.select([link], [], [], _PULSE)[0]:
            try:
                data = link.recv(1 << 16)
            except OSError:
                data = b""
            if _FAREWELL in data:
                return ""
            if _NOW in data:
                return "the run asks for it"
            if not data:
                return "the controlling process is gone"
            heard = stopwatch()
            if _THESE in data:
                roles = data.partition(_THESE)[2].partition(b";")[0].decode().split(",")
                wanted = [channel for channel in channels if channel.role in roles]
                done = _make_safe(wanted, lambda: _beats(link))
                _send(link, _THESE + json.dumps({"done": done}).encode() + b";")
                heard = stopwatch()
        elif heard() > silence:
            return "no beat"
        if pulse() >= _PULSE:
            pulse = stopwatch()
            _send(link, _HEARTBEAT)


def _beats(link: socket.socket) -> bool:
    """Send a pulse; whether the run's end is still open. A hang-up shows although what was sent before is unread."""
    _send(link, _HEARTBEAT)
    ends = select.poll()
    ends.register(link, 0)
    return not ends.poll(0)


def _make_safe(channels: Sequence[Channel], go_on: Callable[[], bool]) -> list[dict[str, Any]]:
    """Make the roles safe in order, and report; `go_on` is asked meanwhile: false, and nobody waits any more.

    A role is begun when the one before it has confirmed, refused, or taken its grace: the pipette is on its way up
    before the cell opens, and no client that hangs keeps the cell from being opened.
    """
    waited = stopwatch()
    for channel in channels:
        channel.begin()
        begun = stopwatch()
        while not channel.over(_PULSE) and begun() < _GRACE and go_on():
            pass
    for channel in channels:
        while not channel.over(_PULSE) and waited() < _PATIENCE + _GRACE * len(channels) and go_on():
            pass
    return [channel.report() for channel in channels]


if __name__ == "__main__":
    own_link = socket.socket(fileno=int(sys.argv[1]))
    watch(own_link, float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    os._exit(0)  # a client that hangs would hold up the end of the process
