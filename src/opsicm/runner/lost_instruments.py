"""What a run does when an instrument is lost, and until it answers again: pipette up, cell open, both tracks paused.

An instrument that is lost is not a fault that ends a run: a cable that came off after two days is put back, and the run
goes on. So the run waits, reads what answers, and asks the lost one at every turn; the operator resumes. Each of the
other instruments is used for what it can still do, and the watchdog's own channels where none of them can.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from opsicm.core.errors import InstrumentLost, OpsicmError, Problem
from opsicm.core.facts import Quality, Track
from opsicm.instruments.roles import CellReading, Rearmable, Rig
from opsicm.runner.bias import BiasTracker
from opsicm.runner.cell_track import CellTrack
from opsicm.runner.fact_log import FactLog
from opsicm.runner.probe_context import ProbeContext
from opsicm.runner.probe_track import ProbeTrack
from opsicm.runner.watchdog import Watch

ROLES: Final = ("hop_controller", "scanner", "coarse_stage", "potentiostat", "amplifier")
_LIFTING: Final = ("hop_controller", "scanner", "coarse_stage")
_NAMES: Final[Mapping[str, str]] = {role: role.replace("_", " ") for role in ROLES}
_NOT_LIVE: Final = (Quality.STALE, Quality.MISSING)


@dataclass(frozen=True, slots=True)
class _Absence:
    since_ns: int
    problem: str


class LostInstruments:
    """The instruments that a run has lost. `say` is given what an operator should read at once."""

    def __init__(
        self,
        rig: Rig,
        watch: Watch,
        facts: FactLog,
        cell: CellTrack,
        probe: ProbeTrack,
        context: ProbeContext,
        bias: BiasTracker,
        say: Callable[[str], None],
    ) -> None:
        self._rig = rig
        self._watch = watch
        self._facts = facts
        self._cell = cell
        self._probe = probe
        self._context = context
        self._bias = bias
        self._say = say
        self._absent: dict[str, _Absence] = {}
        self._gaps: dict[Track, tuple[int, list[str]]] = {}  # track → (since when [ns], which instruments were lost)
        self._cell_left = False  # whether the cell could not be opened, and is as it was
        self._qualities: dict[str, Quality] = {}
        self._now_ns = 0

    @property
    def absent(self) -> frozenset[str]:
        """The roles whose instruments are lost now."""
        return frozenset(self._absent)

    @property
    def not_live(self) -> frozenset[str]:
        """The roles whose values must not be taken for present ones: lost, or stale as they say themselves."""
        return self.absent | {role for role, quality in self._qualities.items() if quality in _NOT_LIVE}

    @property
    def text(self) -> str:
        """`scanner lost`, `scanner and potentiostat lost`; empty where none is."""
        names = [_NAMES.get(role, role) for role in self._absent]
        return f"{' and '.join(names)} lost" if names else ""

    def refusal(self) -> str:
        """Why neither track can be resumed now; empty where both can."""
        if not self._absent:
            return ""
        problems = "; ".join(absence.problem for absence in self._absent.values())
        return f"{self.text}: {problems}; the run says when it answers again"

    def ready_probe(self) -> str:
        """Ready again what `safe` has put out of use; why the probe cannot be resumed, empty where it can.

        The hop controller withdraws first: what takes up its output again must find it at the top.
        """
        try:
            if isinstance(self._rig.scanner, Rearmable):
                self._rig.hop_controller.safe()
                self._rig.scanner.rearm()
            for role in ("scanner", "coarse_stage"):
                state = getattr(self._rig, role).state()
                if state.quality != Quality.GOOD:
                    return f"{_NAMES[role]}: {state.message or Quality(state.quality).name.lower()}"
        except InstrumentLost:
            raise
        except OpsicmError as error:
            return str(error)
        return ""

    # -- losing one -------------------------------------------------------------------------------------------------

    def lose(self, lost: InstrumentLost, last: CellReading | None) -> None:
        """Pause both tracks: pipette up first, by whichever instrument answers, then the cell to open circuit.

        `last` is the last reading of the cell. The same loss again changes nothing.
        """
        if lost.role in self._absent:
            return
        self._note_absent(lost)
        self._withdraw()
        self._open_cell(last)

    def _note_absent(self, lost: InstrumentLost) -> None:
        now = self._now()
        self._absent[lost.role] = _Absence(now, str(lost))
        for track in ("cell", "probe"):
            self._gaps.setdefault(track, (now, []))[1].append(lost.role)
        message = f"{lost}; pipette up, cell to open circuit, both paused until resumed"
        self._alarm("run", message, lost=lost.role)

    def _withdraw(self) -> None:
        # The hop controller and the scanner act within milliseconds, so the first of them that answers comes before
        # anything else; the coarse stage is slower and goes up in any case, for it stands clear of what may swell.
        quick = next((role for role in _LIFTING[:2] if self._obeys(role, getattr(self._rig, role).safe)), None)
        self._probe.interrupt(self._now())
        up = [quick] if quick is not None else []
        up += ["coarse_stage"] if self._obeys("coarse_stage", self._context.lift_clear) else []
        by = [_NAMES[role] for role in up]
        if not up:
            confirmed = self._watch.make_roles_safe(_LIFTING)
            by = [f"{_NAMES[role]} through the watchdog's channel" for role, safe in confirmed.items() if safe]
        message = f"pipette up by {' and '.join(by)}" if by else "pipette NOT known to be up: withdraw it by hand"
        self._alarm("probe", message, up_by=by)

    def _open_cell(self, last: CellReading | None) -> None:
        fresh: list[CellReading] = []
        if self._obeys("potentiostat", lambda: fresh.append(self._rig.potentiostat.read())):
            last = fresh[0]
        reachable = bool(fresh)
        seen_ns = self._now() if reachable or last is None else last.t_ns
        ran = self._cell.interrupt(seen_ns, last, reachable)
        self._gaps["cell"] = (seen_ns, self._gaps["cell"][1])
        # The ramp of the bias follows a potential that nobody reads any more: it stands still instead.
        self._obeys("amplifier", self._bias.hold)
        opened = self._obeys("potentiostat", self._rig.potentiostat.safe)
        through = ""
        if not opened:
            opened = self._watch.make_roles_safe(("potentiostat",)).get("potentiostat", False)
            through = " through the watchdog's channel"
        if opened:
            self._opened(ran, f"cell at open circuit{through}")
        else:
            self._cell_left = ran
            control = "as it was left" if ran else "as it was before"
            self._alarm("cell", f"cell NOT opened: the potentiostat is out of reach, and the cell {control}")

    def _opened(self, ran: bool, message: str) -> None:
        self._cell_left = False
        if ran:
            self._cell.opened()
        self._alarm("cell", message)

    def _obeys(self, role: str, what: Callable[[], object]) -> bool:
        """Whether an instrument that is not lost does `what`; a loss or refusal is noted."""
        if role in self._absent:
            return False
        try:
            what()
        except InstrumentLost as lost:
            if lost.role not in self._absent:
                self._note_absent(lost)
            return False
        except OpsicmError as error:
            self._alarm("run", f"{_NAMES[role]} does not obey: {error}")
            return False
        return True

    # -- until it answers again -------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask every lost instrument how it is, which also tries its line anew."""
        for role in tuple(self._absent):
            if self._answers(role):
                self._welcome(role)

    def _answers(self, role: str) -> bool:
        with suppress(OpsicmError):
            asked = (role,) if role in ROLES else ROLES  # a card, whose roles each speak for themselves
            return all(getattr(self._rig, each).state().quality != Quality.MISSING for each in asked)
        return False

    def _welcome(self, role: str) -> None:
        """An instrument answers again: it is made safe before anything else, for nobody knows what it has done."""
        absence = self._absent.pop(role)
        if role in ROLES and role != "amplifier" and not self._obeys(role, getattr(self._rig, role).safe):
            return
        if role == "potentiostat" and self._cell_left:
            self._opened(True, "cell at open circuit")
        now = self._now()
        left = f"; still {self.text}" if self._absent else "; resume probe and resume cell go on"
        data = {"role": role, "from_ns": absence.since_ns, "to_ns": now}
        message = f"{_NAMES.get(role, role)} answers again after {(now - absence.since_ns) * 1e-9:.1f} s{left}"
        self._facts.write("quality", "run", self._probe.path, {"message": message, **data})
        self._say(message)

    def resumed(self, track: Track) -> None:
        """Record the time that is missing on a track, if it was an instrument's loss that paused it."""
        gap = self._gaps.pop(track, None)
        if gap is None:
            return
        since_ns, roles = gap
        now = self._now()
        message = f"{(now - since_ns) * 1e-9:.1f} s are missing: {' and '.join(_NAMES.get(r, r) for r in roles)} lost"
        data = {"message": message, "from_ns": since_ns, "to_ns": now, "lost": roles}
        self._facts.write("gap", track, self._cell.path if track == "cell" else self._probe.path, data)

    def close(self) -> None:
        """Record what is still missing at the end of a run."""
        for track in tuple(self._gaps):
            self.resumed(track)

    # -- quality ----------------------------------------------------------------------------------------------------

    def check_states(self, stale_cell: str = "") -> None:
        """Ask every instrument how it is, and record a change. Raises `InstrumentLost` for one that is not there.

        `stale_cell` says why the cell's readings are not present ones, whatever the potentiostat thinks of them.
        """
        for role in ROLES:
            if role in self._absent:
                continue
            state = getattr(self._rig, role).state()
            quality, message = Quality(state.quality), state.message
            if quality == Quality.MISSING:
                raise InstrumentLost(role, _missing(role, message))
            if role == "potentiostat" and stale_cell and quality not in _NOT_LIVE:
                quality, message = Quality.STALE, stale_cell
            before = self._qualities.get(role, Quality.GOOD)
            if quality == before:
                continue
            self._qualities[role] = quality
            if role == "amplifier" and {quality, before} == {Quality.GOOD, Quality.SUSPECT}:
                continue  # its switches, which `ProbeContext.watch_amplifier` names one by one
            text = f"{_NAMES[role]}: {quality.name.lower()}" + (f", {message}" if message else "")
            data = {"message": text, "role": role, "quality": int(quality)}
            self._facts.write("quality", "cell" if role == "potentiostat" else "probe", self._probe.path, data)

    def _alarm(self, track: Track, message: str, **data: Any) -> None:
        step = {"cell": self._cell.path, "probe": self._probe.path}.get(track, "run")
        self._facts.write("alarm", track, step, {"message": message, **data})
        self._say(message)

    def _now(self) -> int:
        """[ns]; the clock may be the lost instrument's, and stands still then."""
        with suppress(InstrumentLost):
            self._now_ns = self._context.now()
        return self._now_ns


def _missing(role: str, message: str) -> Problem:
    """The problem of an instrument that says that it is not there, in its own words where those are a problem's."""
    thing, *limits = message.split("; ")
    if len(limits) > 1:
        return Problem(thing, "", "; ".join(limits[:-1]), limits[-1])
    return Problem(_NAMES[role], "lost", message or "it says so itself", "check its cable and power, then resume")
