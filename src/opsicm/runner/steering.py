"""Commands, carried out: what each does to the two tracks, and what is answered."""

from __future__ import annotations

from collections.abc import Callable

from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Track
from opsicm.experiment.hop_parameters import HopParameters
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.commands import Command, Inbox, Request
from opsicm.runner.fact_log import FactLog
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import ProbeTrack

Revision = Callable[[str, str, float], HopParameters]
"""(path of a probe step, key, value) → how it then hops; raises `BadInput` with what `check` would say."""


class Steering:
    """Takes requests from the inbox. Each becomes a fact with who sent it, refused ones too."""

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
        """Carry out what waits, in order; nothing after a stop."""
        for request in self._inbox.take():
            if self.stopped:
                request.answer(False, "the run is stopping")
                continue
            self._carry_out(request)

    def _carry_out(self, request: Request) -> None:
        command = request.command
        track, step = self._place(command)
        try:
            accepted, message = self._act(command)
        except OpsicmError as error:
            accepted, message = False, str(error)
        data = {**command.data(), "sender": dict(request.sender), "accepted": accepted, "answer": message}
        if command.word == "note":
            self._facts.write("note", "run", "run", data)
        else:
            self._facts.write("command", track, step, data)
        request.answer(accepted, message)

    def _place(self, command: Command) -> tuple[Track, str]:
        if command.word in ("stop", "note"):
            return "run", "run"
        if command.word.endswith("cell") or (command.word == "skip" and command.track == "cell"):
            return "cell", self._cell.path
        return "probe", self._probe.path

    def _act(self, command: Command) -> tuple[bool, str]:
        match command.word:
            case "pause-probe":
                done = self._probe.pause(self._context.now())
                if done[0]:
                    self._context.rig.hop_controller.safe()
                return done
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
        return True, f"{self._probe.path} hops with {command.key} {command.value:g} from its next plan on"
