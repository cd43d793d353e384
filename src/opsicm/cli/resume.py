"""`opsicm run --resume`: what a run that was cut off has left, and the specimen as its record says it was."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args, overload

import numpy as np

from opsicm.cli.charge_record import charge_of
from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.controls import CellAction, CellControl, OpenCircuit, cell_actions
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.record.journal import read_lines
from opsicm.record.run_folder import EXPERIMENT, JOURNAL
from opsicm.runner.resume import CellMeanwhile, Continuation, LostIntent, applied_controls, continuation

History = tuple[tuple[int, CellControl], ...]
"""(nanosecond, control) of everything that one run applied, the end of its record last."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """Where to go on, with what experiment and rig, and what was done to the specimen before."""

    experiment: LoadedExperiment
    rig: str
    start: Continuation
    history: tuple[History, ...]
    seed: int


def resumed(run: Path, meanwhile: CellMeanwhile, lost: LostIntent | None) -> Resumed:
    """What is left of the run at `run` (its folder, or its run file).

    On a twin no time passes while nobody runs it: `meanwhile` then only says what is assumed.
    Raises `BadInput` where nothing is left or where it must be asked.
    """
    folder = run if run.is_dir() else run.parent
    if not ((folder / EXPERIMENT).is_file() and (folder / JOURNAL).is_file()):
        raise BadInput(Problem("--resume", str(run), "is no run folder", "name the folder of a run that was cut off"))
    text = (folder / EXPERIMENT).read_text(encoding="utf-8")
    experiment = experiment_from_text(text, str(folder / EXPERIMENT))
    lines, _ = read_lines(folder / JOURNAL)
    facts = [Fact.from_line(line) for line in lines]
    t, charge, capacity, seed = charge_of(folder)
    last_ns = max([t[-1] if t else 0, *(fact.t_ns for fact in facts)])

    def charge_at(t_ns: int) -> float:
        return float(np.interp(t_ns, t, charge)) if t else 0.0

    start = continuation(facts, last_ns, charge_at, meanwhile, 0, lost, folder.name)
    actions = _actions(experiment, capacity, start.action + 1)
    if len(actions) <= start.action:
        raise BadInput(Problem("--resume", folder.name, "has nothing left of its cell program", "run it anew"))
    _refuse_unknown(actions[start.action], meanwhile)
    history = (*_earlier(folder, facts), _history(facts, actions, lost, last_ns))
    return Resumed(experiment, str(folder), start, history, seed)


@overload
def choice(option: Literal["--cell-meanwhile"], said: str | None) -> CellMeanwhile: ...
@overload
def choice(option: Literal["--lost-intent"], said: str | None) -> LostIntent | None: ...
def choice(option: str, said: str | None) -> str | None:
    """What an option says, checked: what the cell did meanwhile must be said, a lost intent only where there is one."""
    known = get_args(CellMeanwhile if option == "--cell-meanwhile" else LostIntent)
    if said in known or (said is None and option == "--lost-intent"):
        return said
    words = ", ".join(known)
    remedy = "look at the potentiostat; unknown where nobody knows" if option == "--cell-meanwhile" else "say which"
    raise BadInput(Problem(option, said or "", f"must be one of {words}", remedy))


def _actions(experiment: LoadedExperiment, capacity: float, count: int) -> list[CellAction]:
    program = experiment.experiment
    return list(itertools.islice(cell_actions(program.cell, program.specimen.area, capacity), count))


def _earlier(folder: Path, facts: Sequence[Fact]) -> tuple[History, ...]:
    """What was done to the specimen in the runs that this one went on from."""
    name = facts[0].data.get("resumes") if facts else None
    if name is None:
        return ()
    before = folder.parent / str(name)
    if not before.is_dir():
        limit = f"went on from {name}, which is not beside it"
        raise BadInput(Problem("--resume", folder.name, limit, "put the two folders side by side"))
    said = facts[0].data
    lost: LostIntent | None = said["lost_intent"]["assumed"] if "lost_intent" in said else None
    return resumed(before, said["cell_meanwhile"], lost).history


def _refuse_unknown(action: CellAction, meanwhile: CellMeanwhile) -> None:
    if meanwhile == "unknown" and (action.timed.charge is not None or action.timed.soc is not None):
        limit = f"{action.path} ends by its charge, and nobody knows what has passed meanwhile"
        raise BadInput(Problem("--cell-meanwhile", "unknown", limit, "find out, or run the experiment anew"))


def _history(facts: Sequence[Fact], actions: Sequence[CellAction], lost: LostIntent | None, last_ns: int) -> History:
    controls: list[tuple[int, CellControl]] = []
    for one in applied_controls(facts, lost):
        if one.at_ns > last_ns:
            continue
        control: CellControl = OpenCircuit()
        if one.action is not None:
            control = actions[one.action].remainder(one.spent_ns, 0.0).control
        controls.append((one.at_ns, control))
    return (*controls, (last_ns, OpenCircuit()))
