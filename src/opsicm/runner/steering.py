"""Executing commands: what each one does to the two tracks, and the answer to its sender."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from opsicm.core.errors import InstrumentLost, OpsicmError
from opsicm.core.facts import Track
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.quantities import unit_of_key
from opsicm.instruments.clock import stopwatch
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.commands import Command, Inbox, Request
from opsicm.runner.fact_log import FactLog
from opsicm.runner.lost_instruments import LostInstruments
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import ProbeTrack, Procedure

Revision = Callable[[str, str, float], HopParameters]
"""(path of a probe step, key, value) → its new hop parameters; raises `BadInput` with what `check` would say."""


_WAITED_FOR: Final = 1.0  # [s] for the check of a new setting, by a run that cannot stand still
_LOOK: Final = 0.05  # [s] between two looks whether it is over


class _Check:
    """The check of a new setting, in a thread of its own.

    It plays the whole experiment through, which takes milliseconds or a minute. A run that waited a minute for it would
    neither follow the cell nor send heartbeats, and the watchdog would make its rig safe.
    """

    def __init__(self, request: Request, procedure: Procedure, path: str, revision: Revision) -> None:
        self.request = request
        self.procedure = procedure
        self.path = path
        self.key = request.command.key.removeprefix("probe.")
        self._revision = revision
        self._hop: HopParameters | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="check-of-a-setting", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._hop = self._revision(self.path, self.key, self.request.command.value)
        except Exception as error:  # noqa: BLE001 - raised where the answer is made
            self._error = error

    def over(self, seconds: float) -> bool:
        """Whether it is over, after waiting for that long at most."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def hop(self) -> HopParameters:
        """The new hop parameters; raises what the check has raised."""
        if self._error is not None:
            raise self._error
        assert self._hop is not None, "it is over"
        return self._hop


class Steering:
    """Executes the requests of the inbox. Each becomes a fact with its sender, refused ones too."""

    def __init__(
        self,
        inbox: Inbox,
        cell: CellTrack,
        probe: ProbeTrack,
        context: ProbeContext,
        facts: FactLog,
        revision: Revision,
        stands_still: bool,
        lost: LostInstruments,
    ) -> None:
        """`stands_still` says that the rig does nothing while the run waits, as a twin in its process: then a setting
        is in force from where it was asked for, however long its check takes."""
        self._stands_still = stands_still
        self._inbox = inbox
        self._cell = cell
        self._probe = probe
        self._context = context
        self._facts = facts
        self._revision = revision
        self._check: _Check | None = None
        self._lost = lost
        self._loss: InstrumentLost | None = None  # met by a command
        self.stopped = False

    def turn(self) -> None:
        """Execute the waiting requests in order; after a stop refuse the rest.

        Raises the `InstrumentLost` that a command has met once all are answered.
        """
        self._finish_check()
        for request in self._inbox.take():
            if self.stopped:
                request.answer(False, "the run is stopping")
                continue
            if request.command.word == "set":
                self._begin_check(request)
            else:
                self._execute(request, self._hand_over_next)
        if self._loss is not None:
            loss, self._loss = self._loss, None
            raise loss

    def close(self) -> None:
        """Answer a request whose check the run has not lived to see."""
        check, self._check = self._check, None
        if check is not None:
            self._execute(check.request, lambda _: (False, "the run has ended"))

    def _execute(self, request: Request, work: Callable[[Command], tuple[bool, str]]) -> None:
        command = request.command
        track, step = self._step_addressed(command)
        try:
            accepted, message = work(command)
        except OpsicmError as error:
            accepted, message = False, str(error)
            if isinstance(error, InstrumentLost):
                self._loss = error
        except Exception as error:  # noqa: BLE001 - a command that meets a defect of ours may not end the run
            accepted, message = False, f"the program failed ({type(error).__name__}: {error}); the run goes on"
            self._facts.write("alarm", track, step, {"message": f"command {command.word}: {message}"})
        data = {**command.data(), "sender": dict(request.sender), "accepted": accepted, "answer": message}
        if command.word == "note":
            self._facts.write("note", "run", "run", data)
        else:
            self._facts.write("command", track, step, data)
        request.answer(accepted, message)

    def _step_addressed(self, command: Command) -> tuple[Track, str]:
        if command.word in ("stop", "note"):
            return "run", "run"
        if command.word.endswith("cell") or (command.word == "skip" and command.track == "cell"):
            return "cell", self._cell.path
        return "probe", self._probe.path

    def _hand_over_next(self, command: Command) -> tuple[bool, str]:
        match command.word:
            case "pause-probe":
                accepted, message = self._probe.pause(self._context.now())
                if accepted:
                    self._context.rig.hop_controller.safe()
                return accepted, message
            case "resume-probe":
                return self._resumed("probe", self._probe.resume)
            case "pause-cell":
                return self._cell.pause()
            case "resume-cell":
                return self._resumed("cell", self._cell.resume)
            case "skip":
                return self._cell.skip() if command.track == "cell" else self._probe.skip()
            case "note":
                return True, "noted"
            case "stop":
                self.stopped = True
                return True, "pipette up, cell to open circuit, file kept"
            case _:
                raise AssertionError(f"no such command: {command.word}")

    def _resumed(self, track: Track, resume: Callable[[], tuple[bool, str]]) -> tuple[bool, str]:
        refusal = self._lost.refusal() or (self._lost.ready_probe() if track == "probe" and self._probe.paused else "")
        if refusal:
            return False, refusal
        accepted, message = resume()
        if accepted:
            self._lost.resumed(track)
        return accepted, message

    # -- new settings: checked beside the run, applied by it

    def _begin_check(self, request: Request) -> None:
        procedure = self._probe.procedure
        if procedure is None or procedure.hop is None:
            self._execute(request, lambda _: (False, "no step that hops runs now"))
        elif self._check is not None:
            self._execute(request, lambda _: (False, f"{self._check_text()} is still being checked: try again"))
        else:
            self._check = check = _Check(request, procedure, self._probe.path, self._revision)
            waited = stopwatch()
            while not (check.over(_LOOK) or self._inbox.waiting()):
                if waited() > _WAITED_FOR and not self._stands_still:
                    break
            self._finish_check()

    def _check_text(self) -> str:
        return "" if self._check is None else f"probe.{self._check.key}={self._check.request.command.value:g}"

    def _finish_check(self) -> None:
        check = self._check
        if check is not None and check.over(0.0):
            self._check = None
            self._execute(check.request, lambda command: self._apply(check, command))

    def _apply(self, check: _Check, command: Command) -> tuple[bool, str]:
        hop = check.hop()
        if self._probe.procedure is not check.procedure:
            return False, f"{check.path} has ended"
        check.procedure.hop = hop
        value = f"{command.value:g} {unit_of_key(check.key) or ''}".strip()
        return True, f"{check.path} hops with {check.key} {value} from its next hops on"
