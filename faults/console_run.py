"""A run on the twin at a given speed and a console on it, each in a process of its own, and pages that come in.

python -m faults.console_run WITNESS SPEED FILE OUT executes FILE as `opsicm run` does; each time that the pipette is up
by the hop controller's own means, the machine's monotonic clock [ns] goes to WITNESS as a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final

from websockets import Origin
from websockets.sync.client import ClientConnection, connect

from faults.watched_run import process, until
from opsicm.cli.main import main
from opsicm.console.wire import Kind, decoded
from opsicm.core.facts import Fact
from opsicm.record.journal import read_lines
from opsicm.runner.control_socket import ask_status
from opsicm.twin.hop_controller import TwinHopController

TIMEOUT: Final = 240.0  # [s] for processes to start on a busy machine
EXPERIMENT: Final = """\
opsicm: 1
title: to be looked at
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {loading_mg_cm2: 0.1}
cell:
  - sweep: {from_V: 1.0, to_V: 0.1, rate_mV_s: 4, cycles: 1}
probe:
  - raster: {center_um: [0, 0], size_um: [5, 4], pixels: [16, 12], amplitude_nm: 2500, fall_nm_per_ms: 50,
             setpoint_pct: 2.0, during: "cell[0]"}
envelope: {cell_V: [-0.5, 2.0]}
"""


@dataclass(frozen=True)
class ConsoleRun:
    """The two processes, the run's folder, and the console's host, port and token."""

    run: subprocess.Popen[bytes]
    console: subprocess.Popen[bytes]
    folder: Path
    witness: Path
    host: str
    port: int
    token: str

    @property
    def ups(self) -> list[int]:
        """When [ns] the pipette was up."""
        return [int(line) for line in self.witness.read_text(encoding="ascii").split()]

    @property
    def facts(self) -> list[Fact]:
        """The journal so far."""
        return [Fact.from_line(line) for line in read_lines(self.folder / "journal.jsonl")[0]]

    def up_after(self, at_ns: int) -> float:
        """[s] from then until the pipette was up."""
        until("pipette up", TIMEOUT, lambda: any(up >= at_ns for up in self.ups))
        return (min(up for up in self.ups if up >= at_ns) - at_ns) * 1e-9


class Visitor:
    """Somebody whose browser has exchanged the token for a cookie; speaks HTTP with as little work as can be."""

    def __init__(self, console: ConsoleRun, token: str | None = None) -> None:
        self._console = console
        self.origin = f"http://{console.host}:{console.port}"
        self.status, head, _ = self._asked("GET", f"/?token={console.token if token is None else token}", "", {})
        self.cookie = (head.get("set-cookie") or "").partition(";")[0]

    def _asked(self, method: str, path: str, body: str, headers: dict[str, str]) -> tuple[int, Message, bytes]:
        """(status, headers, content) of the answer to one request, on a connection of its own."""
        with closing(HTTPConnection(self._console.host, self._console.port, timeout=TIMEOUT)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def post(self, path: str, content: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """(status, answer) of a request of the page."""
        headers = {"Cookie": self.cookie, "Origin": self.origin, "Content-Type": "application/json"}
        status, _, answer = self._asked("POST", path, json.dumps(content), headers)
        return status, json.loads(answer)

    def command(self, word: str) -> tuple[int, dict[str, Any]]:
        """(status, answer) of a command."""
        return self.post("/api/command", {"command": word})

    def page(self) -> ClientConnection:
        """The WebSocket of a page, as websockets' client."""
        return connect(
            f"ws://{self._console.host}:{self._console.port}/ws",
            origin=Origin(self.origin),
            additional_headers={"Cookie": self.cookie},
            max_size=1 << 26,
            compression=None,
            proxy=None,
        )


@contextmanager
def console_run(workspace: Path, speed: float = 1.0, experiment: str = EXPERIMENT) -> Iterator[ConsoleRun]:
    """A run from its first hop on, with a console that answers."""
    (workspace / "console").mkdir(parents=True)
    file, witness = workspace / "experiment.yaml", workspace / "witness"
    file.write_text(experiment, encoding="utf-8")
    witness.touch()
    out = workspace / "out"
    with ExitStack() as stack:
        words = ("-m", "faults.console_run", str(witness), str(speed), str(file), str(out))
        run = stack.enter_context(process(workspace, *words))
        until("run folder", TIMEOUT, lambda: any(out.glob("*/control.sock")))
        (control,) = out.glob("*/control.sock")
        folder = control.parent
        shows = ("-u", "-m", "opsicm", "console", str(folder), "--port", "0")
        console = stack.enter_context(process(workspace / "console", *shows))
        printed = workspace / "console" / "stdout"
        until("console", TIMEOUT, lambda: "token=" in printed.read_text(encoding="utf-8").replace("\n", ""))
        line = printed.read_text(encoding="utf-8").replace("\n", "")  # as wide as a terminal, which this is none
        address, _, token = line.partition("http://")[2].partition("/?token=")
        host, _, port = address.rpartition(":")
        until("hops", TIMEOUT, lambda: bool((ask_status(folder) or {}).get("hops")))
        yield ConsoleRun(run, console, folder, witness, host, int(port), token.strip())


@contextmanager
def saturated(processors: int) -> Iterator[None]:
    """So many processes that only compute."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processors)]
    try:
        yield
    finally:
        for each in busy:
            each.kill()
            each.wait()


def echoes(n: int) -> list[float]:
    """[s] that another process takes to send a byte back: what the machine itself adds to a command."""
    echo = "import os\nwhile os.write(1, os.read(0, 1)): pass"
    times = []
    with subprocess.Popen([sys.executable, "-c", echo], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        for _ in range(n):
            time.sleep(0.01)
            began = time.perf_counter()
            os.write(other.stdin.fileno(), b"x")
            os.read(other.stdout.fileno(), 1)
            times.append(time.perf_counter() - began)
        other.kill()
    return times[1:]


def share(values: list[float], part: float) -> float:
    """The value that this part of them does not exceed."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def frames(connection: ClientConnection, seconds: float, wait: float = 0.0) -> tuple[int, int]:
    """(frames drawn, frames left out as the server says) by a page that takes `wait` [s] for each."""
    began = time.monotonic()
    drawn, dropped = 0, 0
    while (left := began + seconds - time.monotonic()) > 0:
        with contextlib.suppress(TimeoutError):
            data = connection.recv(left, decode=False)
            kind, number, content = decoded(data)
            if kind == Kind.PEOPLE:
                dropped = int(content["dropped"])
            if kind == Kind.VIEW and not data[7]:  # the last view of its moment
                drawn += 1
                time.sleep(wait)
                connection.send(json.dumps({"drawn": number}))
    return drawn, dropped


def _main(witness: str, speed: str, file: str, out: str) -> int:
    descriptor = os.open(witness, os.O_WRONLY | os.O_APPEND)
    plain = TwinHopController.safe

    def safe(self: TwinHopController) -> None:
        plain(self)
        os.write(descriptor, b"%d\n" % time.monotonic_ns())

    TwinHopController.safe = safe  # type: ignore[method-assign]
    return main(["run", file, "--speed", speed, "--out", out])


if __name__ == "__main__":
    sys.exit(_main(*sys.argv[1:]))
