"""The watchdog: a process of its own that makes the rig safe when the controlling process dies or hangs.

It opens its own connection to each role's safe channel before anything moves. It hears a beat every turn of the loop;
when none comes for `silence` seconds, or the pipe closes without a farewell, which is what a kill leaves, it makes
the roles safe in the order given: probe up, cell to open circuit, bias to zero. What it did stands in the run folder.
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
_PATIENCE: Final = 2.0  # [s] for one role to say that it is safe


class Watchdog:
    """Starts the process and keeps it at rest. `addresses` are `socket#role`, in the order in which to make safe."""

    def __init__(self, addresses: Sequence[str], folder: Path, silence: float = SILENCE) -> None:
        hears, self._tells = os.pipe()
        listens, says = os.pipe()
        command = [sys.executable, "-P", "-m", __name__, str(hears), str(says), str(silence), str(folder), *addresses]
        source = str(Path(__file__).resolve().parents[2])
        there = os.environ.get("PYTHONPATH")
        environment = {**os.environ, "PYTHONPATH": source if not there else f"{source}{os.pathsep}{there}"}
        # A session of its own: what ends the controller's process group must not end this.
        self._process = subprocess.Popen(
            command,
            pass_fds=(hears, says),
            env=environment,
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(hears)
        os.close(says)
        ready, _, _ = select.select([listens], [], [], _READY_WITHIN)
        said = os.read(listens, 1) if ready else b""
        os.close(listens)
        if not said:
            self.close()
            raise LimitCrossed(
                Problem("watchdog", "not ready", "it must reach every safe channel before a run", "look at the rig")
            )

    def beat(self) -> None:
        """The loop lives."""
        try:
            os.write(self._tells, b"\1")
        except OSError as error:
            limit = "a run is not watched any more, and so it may not go on"
            raise LimitCrossed(Problem("watchdog", "gone", limit, "start the run again")) from error

    def close(self) -> None:
        """Farewell: the run has ended by itself and the rig is safe."""
        with contextlib.suppress(OSError):
            os.write(self._tells, _FAREWELL)
        os.close(self._tells)
        self._process.wait()


def _before_all_others() -> None:
    """Ask to run as soon as there is something to do, however busy the machine; without the right, go on as it is."""
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


def watch(hears: int, says: int, silence: float, folder: Path, addresses: Sequence[str]) -> None:
    """What the process does."""
    _before_all_others()
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    lines = [(address, _connect(address)) for address in addresses]
    os.write(says, b"\1")
    os.close(says)
    why = "no beat"
    while select.select([hears], [], [], silence)[0]:
        data = os.read(hears, 4096)
        if _FAREWELL in data:
            return
        if not data:
            why = "the controlling process is gone"
            break
    noticed = monotonic_ns()
    done: list[dict[str, Any]] = []
    for address, line in lines:
        done.append({"role": address.rpartition("#")[2], "safe": _make_safe(address, line), "ns": monotonic_ns()})
    text = json.dumps({"why": why, "noticed_ns": noticed, "done": done}, indent=1)
    (folder / FILE).write_text(text + "\n", encoding="utf-8")


def _connect(address: str) -> socket.socket:
    path, _, _ = address.rpartition("#")
    line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    line.settimeout(_PATIENCE)
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY)
    try:  # a socket's name holds 107 bytes
        line.connect(f"/proc/self/fd/{descriptor}/{Path(path).name}")
    finally:
        os.close(descriptor)
    return line


def _make_safe(address: str, line: socket.socket) -> bool:
    """Whether the role has said that it is safe: the next one is told in any case."""
    try:
        line.sendall(address.rpartition("#")[2].encode() + b"\n")
        return bool(line.recv(16))
    except OSError:
        return False


if __name__ == "__main__":
    watch(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]), sys.argv[5:])
