"""The watchdog: a process of its own that makes the rig safe when the controlling process dies or hangs.

It opens its own connection to each role's safe channel before anything moves. The loop sends a heartbeat every turn;
when none comes for `silence` seconds, or when the link closes without a farewell, as after a kill, the watchdog makes
the roles safe in the order given: probe up, cell to open circuit, bias to zero. It reports over the link and to a file
in the run folder.

Who watches the watchdog: it sends pulses of its own, which a thread of the controlling process awaits. Without them for
`NOTICED` it is ended and replaced; where that fails, the run stops.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.instruments.clock import monotonic_ns, stopwatch

SILENCE: Final = 4.0  # [s]: a turn lasts a second, settling after a change of control up to two more
NOTICED: Final = 0.8  # [s] without a pulse after which a watchdog counts as lost
FILE: Final = "watchdog.json"
_PULSE: Final = 0.1  # [s] between two pulses
_LATE: Final = 0.6  # [s] without a pulse; the rest of NOTICED is for one that was stopped together with this process
_HEARTBEAT: Final = b"\1"
_FAREWELL: Final = b"."
_NOW: Final = b"!"
_READY_WITHIN: Final = 20.0  # [s]
_PATIENCE: Final = 2.0  # [s] for one role to confirm that it is safe, and for the process to end
_REPLACED_AT_MOST: Final = 5  # times, with less than a minute between: then something ends every watchdog
_LONG_AGO: Final = 60.0  # [s]


class Watch(Protocol):
    """What watches a run from outside its process."""

    def beat(self) -> Sequence[str]:
        """Send a heartbeat; returns what has happened to the watchdog since the last one. Raises `LimitCrossed` where
        the run is not watched any more."""
        ...

    def make_safe(self) -> Mapping[str, bool]:
        """Have the roles made safe now through the watchdog's own channels; role → whether it has confirmed that."""
        ...


class Unwatched:
    """For a rig without safe channels: it is in the controlling process and ends with it."""

    def beat(self) -> Sequence[str]:
        return ()

    def make_safe(self) -> Mapping[str, bool]:
        return {}


class Watchdog:
    """Starts the process and sends it heartbeats. `addresses` are `socket#role`, in the order of making safe."""

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
        try:
            report = json.loads(self._report[self._report.index(b"{") :])
            return {str(each["role"]): bool(each["safe"]) for each in report["done"]}
        except (ValueError, KeyError, TypeError):
            return {}

    def _obeys(self) -> bool:
        """Whether the watchdog reports what it has made safe, now or by itself before."""
        waited = stopwatch()
        _send(self._link, _NOW)
        while (left := self._patience - waited()) > 0 and self._pulse(left):
            pass
        self._wait()
        return b"{" in self._report

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
        waited = stopwatch()
        while waited() < _READY_WITHIN and not self._ending.is_set():
            if select.select([here], [], [], _PULSE)[0]:
                with contextlib.suppress(OSError):
                    if here.recv(1):
                        return process, here
                break
        process.kill()
        process.wait()
        here.close()
        limit = "it must reach every safe channel before a run and during it"
        raise LimitCrossed(Problem("watchdog", "not ready", limit, "check the rig"))


def _send(link: socket.socket, data: bytes) -> None:
    """Never waits, and does not mind an end that is stopped or gone: that is noticed by what it does not send."""
    with contextlib.suppress(OSError):
        link.send(data, socket.MSG_DONTWAIT)


# -- in the watchdog's own process


def _take_real_time_priority() -> None:
    """Ask to run at once however busy the machine is; without the permission, keep the ordinary priority."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


def watch(link: socket.socket, silence: float, folder: Path, addresses: Sequence[str]) -> None:
    """Watch over `link` until it says farewell, asks for safety, closes or is silent."""
    _take_real_time_priority()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channels = [(address, _connect(address)) for address in addresses]
    _send(link, _HEARTBEAT)
    why = _why_safe(link, silence)
    if not why:
        return
    _send(link, _NOW)
    noticed = monotonic_ns()
    done: list[dict[str, Any]] = []
    for address, channel in channels:
        role = address.rpartition("#")[2]
        done.append({"role": role, "safe": _make_safe(role, channel), "ns": monotonic_ns()})
    text = json.dumps({"why": why, "noticed_ns": noticed, "done": done}, indent=1)
    _send(link, text.encode())
    part = folder / f".{FILE}.{os.getpid()}"
    with contextlib.suppress(OSError):  # the folder may be gone or its disk full: the rig is safe all the same
        part.write_text(text + "\n", encoding="utf-8")
        part.replace(folder / FILE)


def _why_safe(link: socket.socket, silence: float) -> str:
    """Wait; why the rig must be made safe, empty after a farewell."""
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
        elif heard() > silence:
            return "no beat"
        if pulse() >= _PULSE:
            pulse = stopwatch()
            _send(link, _HEARTBEAT)


def _connect(address: str) -> socket.socket:
    path, _, _ = address.rpartition("#")
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    channel.settimeout(_PATIENCE)
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:  # through a descriptor: the kernel allows a socket's path 107 bytes
        channel.connect(f"/proc/self/fd/{descriptor}/{Path(path).name}")
    finally:
        os.close(descriptor)
    return channel


def _make_safe(role: str, channel: socket.socket) -> bool:
    """Whether the role has confirmed that it is safe; the other roles are made safe whatever it answers."""
    try:
        channel.sendall(role.encode() + b"\n")
        return channel.recv(16).startswith(b"safe")
    except OSError:
        return False


if __name__ == "__main__":
    own_link = socket.socket(fileno=int(sys.argv[1]))
    watch(own_link, float(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
