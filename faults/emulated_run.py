"""A run in real time on an emulated bench: every driver with its vendor's client, on loopback, the twin behind.

The run goes on in a thread; a scenario looks at its facts, makes an instrument fail, and sends commands, as an operator
beside it would. What is timed is the machine's monotonic clock, for that is what an operator's clock shows.
"""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from faults.steered_run import MemoryRecorder
from opsicm.cli.emulated_rig import emulated
from opsicm.cli.execute import watched
from opsicm.cli.live_settings import Revisions, shift_between
from opsicm.cli.rigs import prepare
from opsicm.core.facts import Fact, Quality
from opsicm.emulators.registry import Served, entries_of
from opsicm.emulators.wire_faults import WireFaults
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.rig_file import LoadedRig, rig_from_text
from opsicm.instruments.roles import Rig
from opsicm.runner.commands import Command, Request
from opsicm.runner.lost_instruments import ROLES
from opsicm.runner.runner import RunContext, Runner

BENCHES: Final = Path(__file__).parents[1] / "experiments" / "rigs"
PATIENCE: Final = 60.0  # [s] of a busy machine
EXPERIMENT: Final = """\
opsicm: 1
title: instruments that fail
rig: twin/graphite
pipette: {bias_V: 0.7}
specimen: {area_cm2: 0.5, thickness_um: 28, loading_mg_cm2: 0.2}
cell:
  - hold: {potential_V: 0.5, for_s: 2}
  - sweep: {from_V: 0.5, to_V: 0.3, rate_mV_s: 1, cycles: 20}
probe:
  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}
envelope: {cell_V: [-0.5, 2.0], cell_mA: 10, bias_mV: 50}
"""
_HOP: Final = "  - hop: {at_um: [0, 0], amplitude_nm: 1000, fall_nm_per_ms: 30, setpoint_pct: 2.0}\n"
_TOWER: Final = (
    "  - tower: {low_um: 60, high_um: 1000, speed_mm_s: 0.1, dwell_s: 0.2, trips: 200, record_every_s: 0.5}\n"
)
TOWER: Final = EXPERIMENT.replace(_HOP, _TOWER)
HOPS_AND_TOWER: Final = EXPERIMENT.replace(_HOP, _HOP.replace("}", ", for_s: 6000}") + _TOWER)


class _Recorder(MemoryRecorder):
    """Keeps when each fact was written [s of the machine's clock]."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[float] = []

    def fact(self, fact: Fact) -> None:
        self.written.append(time.monotonic())
        super().fact(fact)


class _Inbox:
    """Commands of another thread, and their answers."""

    def __init__(self) -> None:
        self._left: list[Request] = []
        self._lock = threading.Lock()

    def send(self, command: Command) -> tuple[bool, str]:
        answered, answer = threading.Event(), []

        def keep(accepted: bool, message: str) -> None:
            answer.append((accepted, message))
            answered.set()

        with self._lock:
            self._left.append(Request(command, {"from": "scenario"}, keep))
        if not answered.wait(PATIENCE):
            raise TimeoutError(command.word)
        accepted, message = answer[0]
        return accepted, message

    def waiting(self) -> bool:
        return bool(self._left)

    def take(self) -> Sequence[Request]:
        with self._lock:
            taken, self._left = self._left, []
        return taken


@dataclass
class EmulatedRun:
    """A run in progress; `served` are its instruments by role, `rig` what it drives them by."""

    record: _Recorder
    served: Mapping[str, Served]
    rig: Rig
    inbox: _Inbox
    thread: threading.Thread

    def until(self, what: str, ready: Callable[[], bool], within: float = PATIENCE) -> float:
        """Wait; [s] that it took. Raises `TimeoutError` with `what` where it never comes."""
        began = time.monotonic()
        while not ready():
            if time.monotonic() - began > within or not self.thread.is_alive():
                raise TimeoutError(f"{what}; the last facts: {[f.data for f in self.record.facts[-6:]]}")
            time.sleep(0.002)
        return time.monotonic() - began

    def found(self, *kinds: str, text: str = "", since: int = 0) -> list[tuple[float, Fact]]:
        """(when it was written, fact) of these kinds whose message holds `text`, from the fact number `since` on."""
        facts = list(zip(self.record.written, self.record.facts, strict=False))[since:]
        return [(t, f) for t, f in facts if f.kind in kinds and text in str(f.data.get("message", ""))]

    def await_fact(self, *kinds: str, text: str = "", since: int = 0, within: float = PATIENCE) -> tuple[float, Fact]:
        """The first of these facts, awaited."""
        self.until(f"{kinds} {text!r}", lambda: bool(self.found(*kinds, text=text, since=since)), within)
        return self.found(*kinds, text=text, since=since)[0]

    @property
    def now(self) -> int:
        """The number of facts so far."""
        return len(self.record.facts)

    @property
    def hops(self) -> int:
        """Hops so far."""
        return sum(part.size for _, part in list(self.record.parts))

    @property
    def paused(self) -> bool:
        """Whether a loss has paused it and nothing has been applied since."""
        last = [fact for _, fact in self.found("alarm", "applied") if "lost" in fact.data or "at_ns" in fact.data]
        return bool(last) and (last[-1].kind == "alarm" or last[-1].data.get("what") == "pause")

    def resume(self, since: int, within: float = PATIENCE) -> list[str]:
        """Resume both tracks, once more where that is asked for; what was wrong with the answers.

        A machine so busy that another line is lost meanwhile is none of these faults: its run is resumed again.
        """
        began, refused = time.monotonic(), [""]
        while refused and time.monotonic() - began < within:
            losses = len(self.found("alarm", text="both paused"))
            answers = [(word, *self.command(word)) for word in ("resume-cell", "resume-cell", "resume-probe")]
            refused = [f"{word}: {why}" for word, ok, why in answers if not ok and "not paused" not in why]
            refused = [why for why in refused if "ask once more" not in why]
            applied = len(self.found("applied", since=since))
            waited = time.monotonic()
            while not refused and time.monotonic() - waited < 3.0:
                if len(self.found("alarm", text="both paused")) > losses:
                    refused = ["another one was lost"]
                elif any(f.data.get("what") in ("resume", "next") for _, f in self.found("applied", since=since)):
                    return []
                time.sleep(0.02)
            refused = refused or [f"nothing applied, {applied} before"]
            time.sleep(0.2)
        return refused

    def command(self, word: str) -> tuple[bool, str]:
        """Send a command and wait for its answer."""
        return self.inbox.send(Command(word))


def bench(name: str) -> LoadedRig:
    """An emulated bench of `experiments/rigs`, on ports that are free now."""
    text = (BENCHES / f"{name}.yaml").read_text(encoding="utf-8")
    for port in sorted(set(re.findall(r"127\.0\.0\.1:+(\d+)", text))):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            text = re.sub(rf"(127\.0\.0\.1:+){port}\b", rf"\g<1>{probe.getsockname()[1]}", text)
    return rig_from_text(text, str(BENCHES / f"{name}.yaml"))


@contextmanager
def emulated_run(folder: Path, text: str = EXPERIMENT, name: str = "emulated-smu") -> Iterator[EmulatedRun]:
    """A run on an emulated bench, from its first hops on where it hops; stopped at the end of the block."""
    loaded, experiment = bench(name), experiment_from_text(text)
    record, inbox = _Recorder(), _Inbox()
    with ExitStack() as connections:
        _, instruments = connections.enter_context(emulated(loaded, experiment, 1.0, 1))
        served: dict[str, Served] = {}
        for one, entry in zip(instruments, entries_of(loaded), strict=True):
            served.update(dict.fromkeys(entry.roles, one))
        drivers = connections.enter_context(ExitStack())
        prepared = prepare(experiment, loaded, 1, lambda _: None, connections=drivers)
        watch = connections.enter_context(watched(prepared.rig, folder))
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE and not all(
            getattr(prepared.rig, role).state().quality == Quality.GOOD for role in ROLES
        ):
            time.sleep(0.1)  # a busy machine, whose first samples are late, is none of these faults
        context = RunContext(prepared.capacity, prepared.reversible, shift_between, Revisions(experiment, loaded))
        runner = Runner(experiment.experiment, prepared.rig, record, inbox, context, watch=watch)

        def go() -> None:
            record.ending = runner.run()

        thread = threading.Thread(target=go, name="run", daemon=True)
        thread.start()
        run = EmulatedRun(record, served, prepared.rig, inbox, thread)
        try:
            yield run
        finally:
            for one in served.values():
                one.faults.clear()
            if thread.is_alive():
                run.command("stop")
            thread.join(PATIENCE)


class Shown:
    """A fault that an instrument shows: since when it is set, and when it was first met [s of the machine's clock]."""

    def __init__(self, faults: WireFaults, kinds: Mapping[str, float]) -> None:
        self.first: float | None = None
        takes = WireFaults.takes

        def watched_takes(kind: str) -> float | None:
            value = takes(faults, kind)
            if value is not None and self.first is None:
                self.first = time.monotonic()
            return value

        faults.takes = watched_takes  # type: ignore[method-assign]
        self.at = time.monotonic()
        for kind, value in kinds.items():
            faults.set(kind, value, -1)


def faulty(run: EmulatedRun, role: str, kinds: Mapping[str, float]) -> Shown:
    """Let an instrument show these faults from now on."""
    return Shown(run.served[role].faults, kinds)


def found_again(run: EmulatedRun, role: str) -> None:
    """Let an instrument be well again."""
    run.served[role].faults.clear()
