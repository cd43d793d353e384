"""A run on the twin in this process, kept in memory and steered by a script of (ns, command)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from opsicm.cli.live_settings import Revisions, shift_between
from opsicm.cli.rigs import load_rig, prepare
from opsicm.core.facts import HOP_DTYPE, Fact, SampleBlock
from opsicm.experiment.data_files import amplitude_maps
from opsicm.experiment.file import LoadedExperiment
from opsicm.instruments.roles import Rig
from opsicm.record.recorder import Reading, RunHeader
from opsicm.runner.commands import Command, Request
from opsicm.runner.resume import BEGINNING, Continuation
from opsicm.runner.runner import RunContext, Runner, RunOutcome
from opsicm.runner.watchdog import Watch


@dataclass
class MemoryRecorder:
    """A recorder that keeps everything in lists."""

    blocks: list[SampleBlock] = field(default_factory=list)
    parts: list[tuple[str, NDArray[Any]]] = field(default_factory=list)
    rows: list[Reading] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    answers: list[tuple[bool, str]] = field(default_factory=list)
    ending: RunOutcome | None = None

    def open(self, _header: RunHeader) -> None:
        raise AssertionError("a run in memory has no header")

    def block(self, block: SampleBlock) -> None:
        self.blocks.append(block)

    def hops(self, step: str, records: NDArray[Any]) -> None:
        self.parts.append((step, records))

    def reading(self, reading: Reading) -> None:
        self.rows.append(reading)

    def fact(self, fact: Fact) -> None:
        self.facts.append(fact)

    def close(self) -> Path:
        raise AssertionError("a run in memory has no file")

    def hops_of(self, step: str) -> NDArray[Any]:
        """All hop records of a probe step."""
        return np.concatenate([np.zeros(0, HOP_DTYPE), *(records for path, records in self.parts if path == step)])

    def kinds(self, *kinds: str) -> list[Fact]:
        """Facts of these kinds in order."""
        return [fact for fact in self.facts if fact.kind in kinds]

    def column(self, name: str) -> NDArray[np.float64]:
        """A field of the slow rows."""
        return np.array([getattr(row, name) for row in self.rows], dtype=np.float64)


class ScriptedInbox:
    """An inbox whose commands come at moments of the virtual clock."""

    def __init__(self, rig: Rig, commands: Sequence[tuple[int, Command]], recorder: MemoryRecorder) -> None:
        self._rig = rig
        self._left = list(commands)
        self._recorder = recorder

    def waiting(self) -> bool:
        return bool(self._left) and self._rig.clock.now_ns() >= self._left[0][0]

    def take(self) -> Sequence[Request]:
        taken = []
        while self.waiting():
            command = self._left.pop(0)[1]
            taken.append(Request(command, {"from": "test"}, lambda *answer: self._recorder.answers.append(answer)))
        return taken


def run_steered(
    experiment: LoadedExperiment,
    commands: Sequence[tuple[int, Command]] = (),
    start: Continuation = BEGINNING,
    change: Callable[[Rig], None] = lambda _: None,
    recorder: MemoryRecorder | None = None,
    watch: Watch | None = None,
    instead: Callable[[Rig], Rig] = lambda rig: rig,
) -> MemoryRecorder:
    """Run an experiment; `change` may modify the rig before it begins, `instead` gives another one in its place,
    `recorder` is another recorder to use, `watch` a watchdog."""
    loaded = load_rig(experiment, None)
    prepared = prepare(experiment, loaded, 1, lambda _: None)
    change(prepared.rig)
    prepared = replace(prepared, rig=instead(prepared.rig))
    recorder = MemoryRecorder() if recorder is None else recorder
    run_context = RunContext(
        prepared.capacity,
        prepared.reversible,
        shift_between,
        Revisions(experiment, loaded),
        amplitude_maps(experiment),
        start,
        prepared.swelling,
    )
    inbox = ScriptedInbox(prepared.rig, commands, recorder)
    runner = Runner(experiment.experiment, prepared.rig, recorder, inbox, run_context, watch=watch)
    recorder.ending = runner.run()
    return recorder
