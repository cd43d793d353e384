"""F12: a stop or a pause of the probe from the console, the command line and by a signal; from a page that closes as it
asks; from two pages at once; with every processor busy. Holds when the pipette is up 100 ms after the request was sent
(p99), the record says who asked, and no hop follows.

Measured from just before the request leaves the process that asks (for a command line: one that has started) to the
moment at which the hop controller's own withdrawal has returned, by the machine's monotonic clock, which all processes
share. On the twin in the run's process the withdrawal itself takes no time: what is measured is the way there.
"""

from __future__ import annotations

import os
import random
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from faults.console_run import TIMEOUT, ConsoleRun, Visitor, console_run, echoes, saturated, share
from faults.outcome import Outcome
from opsicm.runner.commands import Command
from opsicm.runner.control_socket import send

_UP_WITHIN: Final = 0.1  # [s] p99
_IN_SHORT: Final = 5.0  # [s]: the tests' machine may be busy with others
_ECHO_WITHIN: Final = 0.01  # [s] p99 of a byte sent back: above it the machine is judged, not the console


def _by_console(run: ConsoleRun) -> None:
    status, answer = Visitor(run).command("stop")
    assert status == 200, answer


def _by_command_line(run: ConsoleRun) -> None:
    accepted, message = send(run.folder, Command("stop"), "command line", TIMEOUT)
    assert accepted, message


def _by_signal(number: signal.Signals) -> Callable[[ConsoleRun], None]:
    return lambda run: os.kill(run.run.pid, number)


def _by_a_page_that_closes(run: ConsoleRun) -> None:
    visitor = Visitor(run)
    body = b'{"command": "stop"}'
    head = (
        f"POST /api/command HTTP/1.1\r\nHost: {run.host}:{run.port}\r\nCookie: {visitor.cookie}\r\n"
        f"Origin: {visitor.origin}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((run.host, run.port)) as browser:
        browser.sendall(head.encode() + body)


def _by_two_pages(run: ConsoleRun) -> None:
    visitors = [Visitor(run), Visitor(run)]
    answers: list[int] = []
    threads = [threading.Thread(target=lambda v=v: answers.append(v.command("stop")[0])) for v in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 2, "both are answered"


_WAYS: Final[dict[str, Callable[[ConsoleRun], None]]] = {
    "console": _by_console,
    "command line": _by_command_line,
    "SIGINT": _by_signal(signal.SIGINT),
    "SIGTERM": _by_signal(signal.SIGTERM),
    "SIGHUP": _by_signal(signal.SIGHUP),
    "a page that closes": _by_a_page_that_closes,
    "two pages": _by_two_pages,
}


def pauses(run: ConsoleRun, draw: random.Random, n: int) -> tuple[list[float], list[str]]:
    """([s] until the pipette was up after each pause, what was wrong): by the page of one of two visitors."""
    first, second = Visitor(run), Visitor(run)
    times, wrong = [], []
    for k in range(n):
        time.sleep(draw.uniform(0.02, 0.4))
        at = time.monotonic_ns()
        status, answer = first.command("pause-probe")
        if status != 200 or not answer["accepted"]:
            wrong.append(f"pause: {answer}")
            continue
        times.append(run.up_after(at))
        if k == 0 and second.command("resume-probe")[0] != 409:
            wrong.append("two steer")
        first.command("resume-probe")
    return times, wrong


def stop(run: ConsoleRun, way: str) -> tuple[float, list[str]]:
    """([s] until the pipette was up, what was wrong)."""
    at = time.monotonic_ns()
    _WAYS[way](run)
    took = run.up_after(at)
    run.run.wait(TIMEOUT)
    facts = run.facts
    stops = [k for k, f in enumerate(facts) if f.kind == "command" and f.data["command"] == "stop"]
    accepted = [k for k in stops if facts[k].data["accepted"]]
    wrong = [] if len(accepted) == 1 else [f"{len(accepted)} stops accepted"]
    if accepted and any(fact.kind == "hops" for fact in facts[accepted[0] :]):
        wrong.append("hops after the stop")
    if facts[-1].data.get("outcome") != "interrupted":
        wrong.append(f"its outcome is {facts[-1].data.get('outcome')}")
    return took, [f"{way}: {text}" for text in wrong]


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Two pauses and a stop by two pages in short; 20 pauses before each of 28 stops, all processors busy, in full."""
    ways = ["two pages"] if short else list(_WAYS) * 4
    draw.shuffle(ways)
    times: list[float] = []
    wrong: list[str] = []
    machine: list[float] = []
    processors = os.cpu_count() or 1
    for way in ways:
        with (
            tempfile.TemporaryDirectory() as folder,
            console_run(Path(folder)) as one,
            saturated(0 if short else processors),
        ):
            paused, errors = pauses(one, draw, 2 if short else 20)
            time.sleep(draw.uniform(0.0, 0.5))
            took, more = stop(one, way)
            machine += echoes(10 if short else 100)
        times += [*paused, took]
        wrong += [*errors, *more]
    up, echo = share(times, 0.99), share(machine, 0.99)
    text = (
        f"pipette up in {share(times, 0.5) * 1e3:.0f} ms (median), {up * 1e3:.0f} ms (p99); "
        f"a bare echo {echo * 1e3:.1f} ms (p99)"
    )
    holds = not wrong and up <= (_IN_SHORT if short else _UP_WITHIN)
    judged: bool | None = holds
    if not (holds or wrong or short) and echo > _ECHO_WITHIN:
        judged, text = None, f"{text}: the machine is too busy to judge"
    return [Outcome("F12", "stop and pause, from everywhere", len(times), "; ".join([text, *wrong[:3]]), judged)]
