"""Executing commands: what each one does to the two tracks, and the answer to its sender."""

from __future__ import annotations

from collections.abc import Callable

from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Track
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.experiment.quantities import unit_of_key
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.commands import Command, Inbox, Request
from opsicm.runner.fact_log import FactLog
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import ProbeTrack

Revision = Callable[[str, str, float], HopParameters]
"""(path of a probe step, key, value) → its new hop parameters; raises `BadInput` with what `check` would say."""


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
    ) -> None:
        self._inbox = inbox
        self._cell = cell
        self._probe = probe
        self._context = context
        self._facts = facts
        self._revision = revision
        self.stopped = False

    def turn(self) -> None:
        """Execute the waiting requests in order; after a stop refuse the rest."""
        for request in self._inbox.take():
            if self.stopped:
                request.answer(False, "the run is stopping")
                continue
            self._execute(request)

    def _execute(self, request: Request) -> None:
        command = request.command
        track, step = self._step_addressed(command)
        try:
            accepted, message = self._hand_over_next(command)
        except OpsicmError as error:
            accepted, message = False, str(error)
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
                return self._probe.resume()
            case "pause-cell":
                return self._cell.pause()
            case "resume-cell":
                return self._cell.resume()
            case "skip":
                return self._cell.skip() if command.track == "cell" else self._probe.skip()
            case "set":
                return self._set(command)
            case "note":
                return True, "noted"
            case _:
                self.stopped = True
                return True, "pipette up, cell to open circuit, file kept"

    def _set(self, command: Command) -> tuple[bool, str]:
        procedure = self._probe.procedure
        if procedure is None or procedure.hop is None:
            return False, "no step that hops runs now"
        procedure.hop = self._revision(self._probe.path, command.key.removeprefix("probe."), command.value)
        key = command.key.removeprefix("probe.")
        value = f"{command.value:g} {unit_of_key(key) or ''}".strip()
        return True, f"{self._probe.path} hops with {key} {value} from its next hops on"
