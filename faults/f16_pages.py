"""F16: pages that misbehave, and those who may not come in. A WebSocket that is cut, a page that draws one frame a
second, one that reads nothing, one that sends what is no message, five pages at once; a wrong token, a forged cookie.
Holds when the run loses nothing, a page that draws at once gets 10 frames a second, the slow one is told what it
misses, and a stranger gets 401 and moves nothing."""

from __future__ import annotations

import random
import socket
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import numpy as np
from websockets.sync.client import ClientConnection

from faults.console_run import TIMEOUT, ConsoleRun, Visitor, console_run, frames
from faults.outcome import Outcome
from opsicm.record.reader import Run

_SPEED: Final = 20.0  # at which something new is recorded more often than a page can be sent it
_FEWEST: Final = 10.0  # frames/s
_FEWEST_IN_SHORT: Final = 0.1  # frames/s, a single one: the tests' machine may be busy with others


def strangers(run: ConsoleRun) -> list[str]:
    """What a stranger could do."""
    wrong = []
    tokens = ("", "wrong", run.token[:-1], run.token + "x", run.token.swapcase())
    wrong += [f"token {t!r}: {status}" for t in tokens if (status := Visitor(run, t).status) != 401]
    stranger = Visitor(run, "wrong")
    for cookie in ("", f"opsicm_console_{run.port}=forged"):
        stranger.cookie = cookie
        answers = {word: stranger.command(word)[0] for word in ("stop", "pause-probe")}
        wrong += [f"{word} of a stranger: {status}" for word, status in answers.items() if status != 401]
        try:
            stranger.page().close()
            wrong.append("a stranger's page")
        except Exception as refused:  # noqa: BLE001 - which class depends on the version of the client
            if "403" not in str(refused):
                wrong.append(f"a stranger's page: {refused}")
    return wrong


def _cut(connection: ClientConnection) -> None:
    connection.recv(TIMEOUT)
    connection.socket.shutdown(socket.SHUT_RDWR)


def _malformed(connection: ClientConnection) -> None:
    connection.send('{"drawn": "' + "x" * 500)


def watch(run: ConsoleRun, seconds: float, cuts: int) -> tuple[float, int, int]:
    """(frames/s of a page that draws at once, frames that it and that a page of one a second have missed)."""
    visitor = Visitor(run)
    seen: dict[str, tuple[int, int]] = {}

    def look(name: str, connection: ClientConnection, wait: float) -> None:
        seen[name] = frames(connection, seconds, wait)

    with ExitStack() as stack:
        good, slow, _silent, *others = [stack.enter_context(visitor.page()) for _ in range(3 + 2 * cuts)]
        looks = [threading.Thread(target=look, args=each) for each in (("good", good, 0.0), ("slow", slow, 1.0))]
        for each in looks:
            each.start()
        for k, other in enumerate(others):
            (_cut if k % 2 else _malformed)(other)
            time.sleep(seconds / (2.0 * len(others)))
        for each in looks:
            each.join()
        for other in (slow, _silent):  # closed without a farewell: what was not read must not be waited for
            other.socket.shutdown(socket.SHUT_RDWR)
    return seen["good"][0] / seconds, seen["good"][1], seen["slow"][1]


def lost(folder: Path) -> list[str]:
    """What the record of the run lacks."""
    with Run(folder) as record:
        hops = record.hops["number"].values
        wrong = [str(dict(fact.data)) for fact in record.facts if fact.kind == "gap"]
        if not np.array_equal(hops, np.arange(hops.size)):
            wrong.append("hops are missing")
        if np.any(np.diff(record.cell["t_ns"].values) > 1_500_000_000):
            wrong.append("more than 1.5 s between two rows of the cell")
        commands = [fact.data["command"] for fact in record.facts if fact.kind == "command"]
    return wrong + ([] if commands == ["stop"] else [f"commands {commands}"])


def run(draw: random.Random, short: bool) -> list[Outcome]:
    """Five pages for 1.5 s in short; four times 10 s with ten pages that are cut or send nonsense in full."""
    del draw
    rate, missed, told, wrong = np.inf, 0, 0, list[str]()
    pages = 0
    for _ in range(1 if short else 4):
        with tempfile.TemporaryDirectory() as folder, console_run(Path(folder), _SPEED) as one:
            wrong += strangers(one)
            cuts = 1 if short else 5
            frames_s, of_good, of_slow = watch(one, 1.5 if short else 10.0, cuts)
            rate, missed, told = min(rate, frames_s), max(missed, of_good), told + of_slow
            pages += 3 + 2 * cuts
            Visitor(one).command("stop")
            one.run.wait(TIMEOUT)
            wrong += lost(one.folder)
    if not (short or told):
        wrong.append("the slow page was not told of frames that it missed")
    observed = (
        f"nothing lost; {rate:.1f} frames/s and {missed} left out of a page that draws at once, {told} of a slow one"
    )
    holds = not wrong and rate >= (_FEWEST_IN_SHORT if short else _FEWEST)
    return [Outcome("F16", "pages that misbehave, strangers", pages, "; ".join([observed, *wrong[:3]]), holds)]
