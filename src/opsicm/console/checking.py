"""Checks texts of the page in processes of their own: a hostile one is slow to nobody but its author.

A question is the length of a JSON text, 4 bytes little-endian, and the text, `{"text": …, "name": …}`. An answer is two
such lengths, the report as JSON and the time line as a message of `wire.py`, which is empty where there are problems.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from opsicm.core.errors import Problem

LONGEST_CHECK: Final = 300.0  # [s]: the first check on a machine compiles
_MOST: Final = 2  # processes: beside a run in progress there is no more to spare
_ENDS: Final = Problem("the check", "", "was given up: the console ends", "start the console again")
_LENGTH: Final = struct.Struct("<I")
_LENGTHS: Final = struct.Struct("<II")


@dataclass(frozen=True, slots=True)
class Checked:
    """The `report` of a check, as the page is given it, and the time line as a message of `wire.py`, empty if none."""

    report: Mapping[str, Any]
    plan: bytes

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return bool(self.report["ok"])


def refusal(problems: Iterable[Problem], name: str) -> dict[str, Any]:
    """The report of a text, called `name`, with problems. A line is given for those in the text itself."""
    rows = [
        {
            "line": one.line if one.file == name else None,
            "file": None if one.file in (name, None) else f"{one.file}:{one.line}" if one.line else one.file,
            "thing": one.thing,
            "value": one.value,
            "limit": one.limit,
            "remedy": one.remedy,
        }
        for one in problems
    ]
    return {"ok": False, "problems": rows}


class Checker:
    """Checks texts as files in `folder`, by processes that `command` starts and that are kept for the next text.

    Used from the event loop alone. A check that takes longer than `longest` [s] is ended with its process.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, longest: float = LONGEST_CHECK
    ) -> None:
        self._command = command
        self._environment = environment
        self._folder = folder
        self._longest = longest
        self._places = asyncio.Semaphore(_MOST)
        self._idle: list[Process] = []
        self._busy: list[Process] = []
        self._over = asyncio.Event()

    async def check(self, text: str, name: str) -> Checked:
        """The report on `text` as the file `name`, seen from the folder."""
        async with self._places:
            if self._over.is_set():
                return Checked(refusal([_ENDS], name), b"")
            process = self._idle.pop() if self._idle else await self._started()
            self._busy.append(process)
            try:
                checked = await asyncio.wait_for(_answer(process, text, name), self._longest)
                self._idle.append(process)
                return checked
            except TimeoutError:
                limit = f"takes longer than {self._longest:g} s"
            except (asyncio.IncompleteReadError, OSError):
                limit = f"was ended by the operating system ({await process.wait()}): it may need too much memory"
            finally:
                self._busy.remove(process)
                if process not in self._idle:
                    await _ended(process)
        if self._over.is_set():
            return Checked(refusal([_ENDS], name), b"")
        remedy = "shorten the experiment, or check it with opsicm check"
        return Checked(refusal([Problem("the check", "", limit, remedy)], name), b"")

    async def stop(self) -> None:
        """End the processes, and with them what is being checked; nothing is checked any more. May be called twice."""
        self._over.set()
        for process in self._busy:  # whoever waits for its answer ends it
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        while self._idle:
            await _ended(self._idle.pop())

    async def _started(self) -> Process:
        return await asyncio.create_subprocess_exec(
            *self._command,
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            cwd=self._folder,
            env=dict(self._environment),
            start_new_session=True,  # Ctrl-C is for the console
        )


async def _answer(process: Process, text: str, name: str) -> Checked:
    assert process.stdin is not None
    assert process.stdout is not None
    question = json.dumps({"text": text, "name": name}).encode()
    process.stdin.write(_LENGTH.pack(len(question)) + question)
    await process.stdin.drain()
    report, plan = _LENGTHS.unpack(await process.stdout.readexactly(_LENGTHS.size))
    return Checked(json.loads(await process.stdout.readexactly(report)), await process.stdout.readexactly(plan))


async def _ended(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    if process.stdin is not None:
        process.stdin.close()
    await process.wait()


# -- in the process that checks ------------------------------------------------------------------------------------


def read_question(stream: IO[bytes]) -> tuple[str, str] | None:
    """The next (text, name) to check; None at the end."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    question = json.loads(stream.read(*_LENGTH.unpack(head)))
    return question["text"], question["name"]


def write_answer(stream: IO[bytes], report: Mapping[str, Any], plan: bytes) -> None:
    """Answer with a report and its time line."""
    data = json.dumps(report, allow_nan=False).encode()
    stream.write(_LENGTHS.pack(len(data), len(plan)) + data + plan)
    stream.flush()
