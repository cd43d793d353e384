"""The instruments of a rig file on the wire, the twin behind them: for `opsicm emulate` and for tests."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Final

from opsicm.cli.rigs import prepare, seed_of
from opsicm.core.errors import BadInput, Problem
from opsicm.emulators.paced_world import SLICE_NS, PacedWorld
from opsicm.emulators.registry import Served, entries_of, refuse_no_emulation, serve
from opsicm.emulators.wire_faults import KINDS
from opsicm.experiment.file import LoadedExperiment, experiment_from_text, read_experiment
from opsicm.experiment.rig_file import LoadedRig, read_rig, rig_path
from opsicm.instruments.clock import pause, stopwatch
from opsicm.instruments.roles import Rig

_NOTHING: Final = """opsicm: 1
title: what stands behind emulated instruments
rig: twin/graphite
pipette: {bias_V: 0.7}
cell:
  - open_circuit: {for_s: 1}
"""


@contextmanager
def emulated(
    loaded: LoadedRig, experiment: LoadedExperiment | None = None, speed: float = 1.0, seed: int | None = None
) -> Iterator[tuple[PacedWorld, list[Served]]]:
    """The instruments of a rig file on the wire, with the world behind them, until the block ends.

    `experiment` says what specimen, electrolyte and pipette stand there: by default that of the file's `emulation`.
    """
    refuse_no_emulation(loaded)
    assert loaded.rig.emulation is not None
    here = Path(loaded.document.name).parent
    experiment = standing_experiment(loaded) if experiment is None else experiment
    behind = read_rig(rig_path(loaded.rig.emulation.rig, here))
    entries = entries_of(loaded)
    chosen = experiment

    def connect(hold: Callable[[int], None]) -> Rig:
        run_seed = seed_of(chosen.experiment, behind, seed)
        return prepare(chosen, behind, run_seed, hold, slice_ns=round(SLICE_NS * speed)).rig

    with ExitStack() as open_things:
        world = open_things.enter_context(PacedWorld(connect, speed))
        served = [open_things.enter_context(closing(serve(world, entry))) for entry in entries]
        yield world, served


def standing_experiment(loaded: LoadedRig) -> LoadedExperiment:
    """The experiment for a rig without one: that of the file's `emulation`, else one of graphite at rest."""
    named = None if loaded.rig.emulation is None else loaded.rig.emulation.experiment
    if named is None:
        return experiment_from_text(_NOTHING)
    return read_experiment(Path(loaded.document.name).parent / named)


def serve_until_interrupted(
    rig: str, experiment: Path | None, speed: float, seed: int | None, faults: Sequence[str], say: Callable[[str], None]
) -> None:
    """Put the rig of this name or path on the wire; show each of `faults` (ROLE=KIND[:VALUE][@SECONDS]) at its time."""
    loaded = load_named_rig(rig)
    due = sorted((_fault(text) for text in faults), key=lambda each: each[3])
    refuse_no_emulation(loaded)
    say("starting the world; after a change of the program its kernels are compiled first, for half a minute or more")
    with emulated(loaded, None if experiment is None else read_experiment(experiment), speed, seed) as (_, served):
        entries = entries_of(loaded)
        by_role: dict[str, Served] = {}
        for one, entry in zip(served, entries, strict=True):
            by_role.update(dict.fromkeys(entry.roles, one))
        for role, kind, *_ in due:
            if role not in by_role:
                limit = f"is none of the emulated roles, which are {', '.join(by_role)}"
                raise BadInput(Problem("--fault", role, limit, "write one of these before the ="))
            by_role[role].faults.refuse_unknown(kind)
        for one, entry in zip(served, entries, strict=True):
            say(f"{entry.driver:<14} {', '.join(entry.roles):<40} {one.address}")
        say("on the wire; Ctrl-C ends it")
        running = stopwatch()
        try:
            while True:
                while due and running() >= due[0][3]:
                    role, kind, value, _ = due.pop(0)
                    by_role[role].faults.set(kind, value)
                    say(f"{running():.1f} s: {role} {KINDS[kind]}")
                pause(0.05)
        except KeyboardInterrupt:
            say("off the wire")


def load_named_rig(rig: str) -> LoadedRig:
    """The rig file of this name or path."""
    return read_rig(rig_path(rig))


def _fault(text: str) -> tuple[str, str, float, float]:
    """(role, kind, value, seconds after the start) of ROLE=KIND[:VALUE][@SECONDS]."""
    found = re.fullmatch(r"(\w+)=(\w+)(?::([-+.\deE]+))?(?:@([.\d]+))?", text)
    if found is None or found[2] not in KINDS:
        limit = f"must be ROLE=KIND[:VALUE][@SECONDS]; kinds are {', '.join(KINDS)}"
        raise BadInput(Problem("--fault", text, limit, "write for instance scanner=late:0.5@30"))
    return found[1], found[2], float(found[3] or 0.0), float(found[4] or 0.0)
