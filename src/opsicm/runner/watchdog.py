"""The watchdog: a process of its own that makes the rig safe when the controlling process dies or hangs.

It opens its own connection to each role's safe channel before anything moves. The loop sends a heartbeat every turn;
when none comes for `silence` seconds, or when the pipe closes without a farewell, as after a kill, the watchdog makes
the roles safe in the order given: probe up, cell to open circuit, bias to zero. It reports to a file in the run folder.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from opsicm.core.errors import LimitCrossed, Problem
from opsicm.instruments.clock import monotonic_ns

SILENCE: Final = 4.0  # [s]: a turn lasts a second, settling after a change of control up to two more
FILE: Final = "watchdog.json"
_FAREWELL: Final = b"."
_READY_WITHIN: Final = 20.0  # [s]
_PATIENCE: Final = 2.0  # [s] for one role to confirm that it is safe


class Watchdog:
    """Starts the process and sends it heartbeats. `addresses` are `socket#role`, in the order of making safe."""

    def __init__(self, addresses: Sequence[str], folder: Path, silence: float = SILENCE) -> None:
        beats, self._heartbeat = os.pipe()
        ready_here, ready_there = os.pipe()
        pipes = (beats, ready_there)
        command = [sys.executable, "-P", "-m", __name__, *map(str, (*pipes, silence, folder)), *addresses]
        source = str(Path(__file__).resolve().parents[2])
        inherited = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": source if not inherited else f"{source}{os.pathsep}{inherited}"}
        # A session of its own: what ends the controller's process group must not end the watchdog.
        self._process = subprocess.Popen(
            command,
            pass_fds=pipes,
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        for descriptor in pipes:
            os.close(descriptor)
        readable, _, _ = select.select([ready_here], [], [], _READY_WITHIN)
        answer = os.read(ready_here, 1) if readable else b""
        os.close(ready_here)
        if not answer:
            self.close()
            raise LimitCrossed(
                Problem("watchdog", "not ready", "it must reach every safe channel before a run", "check the rig")
            )

    def beat(self) -> None:
        """Send a heartbeat: the loop is running."""
        try:
            os.write(self._heartbeat, b"\1")
        except OSError as error:
            limit = "the run is not watched any more and may not continue"
            raise LimitCrossed(Problem("watchdog", "gone", limit, "start the run again")) from error

    def close(self) -> None:
        """Say farewell and wait for the process: the run has ended and the rig is safe."""
        with contextlib.suppress(OSError):
            os.write(self._heartbeat, _FAREWELL)
        os.close(self._heartbeat)
        self._process.wait()


def _take_real_time_priority() -> None:
    """Ask to run at once however busy the machine is; without the permission, keep the ordinary priority."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


def watch(beats: int, ready: int, silence: float, folder: Path, addresses: Sequence[str]) -> None:
    """Run the watchdog: `beats` is the pipe of heartbeats, `ready` the one on which it reports that it is watching."""
    _take_real_time_priority()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    channels = [(address, _connect(address)) for address in addresses]
    os.write(ready, b"\1")
    os.close(ready)
    why = "no beat"
    while select.select([beats], [], [], silence)[0]:
        data = os.read(beats, 4096)
        if _FAREWELL in data:
            return
        if not data:
            why = "the controlling process is gone"
            break
    noticed = monotonic_ns()
    done: list[dict[str, Any]] = []
    for address, channel in channels:
        role = address.rpartition("#")[2]
        done.append({"role": role, "safe": _make_safe(role, channel), "ns": monotonic_ns()})
    text = json.dumps({"why": why, "noticed_ns": noticed, "done": done}, indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


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
        return bool(channel.recv(16))
    except OSError:
        return False


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
