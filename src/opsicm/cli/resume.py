"""`opsicm run --resume`: the remaining program of an interrupted run, and the history of its specimen."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, get_args, overload

import numpy as np

from opsicm.cli.recorded_charge import recorded_charge
from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.experiment.controls import CellAction, CellControl, OpenCircuit, cell_actions
from opsicm.experiment.file import LoadedExperiment, experiment_from_text
from opsicm.instruments.clock import utc_now
from opsicm.record.journal import read_lines
from opsicm.record.run_folder import EXPERIMENT, JOURNAL, RIG
from opsicm.runner.resume import CellMeanwhile, Continuation, LostIntent, applied_controls, continuation

RESUMED: Final = "resumed.json"
"""In the folder of an interrupted run: which run has continued it, and when."""

History = tuple[tuple[int, CellControl], ...]
"""(nanosecond, control) of everything that one run applied, the end of its record last."""


@dataclass(frozen=True, slots=True)
class ResumedRun:
    """The state from which an interrupted run continues, its experiment and rig, and the history of the specimen."""

    experiment: LoadedExperiment
    rig: str
    start: Continuation
    history: tuple[History, ...]
    seed: int
    parameters: Mapping[str, Any]

    def refuse_changed(self, parameters: Mapping[str, Any]) -> None:
        """Raise `BadInput` where the numbers that the experiment's files state are not those of the interrupted run.

        Numbers, and the checksums of curves and amplitude maps, are compared: words may be spelt otherwise by another
        version, and what the run does not hold was not known to the version that began it.
        """
        now, then = _by_path(json.loads(json.dumps(dict(parameters)))), _by_path(self.parameters)
        for path, begun in then.items():
            present = now.get(path)
            numbers = all(isinstance(one, int | float) for one in (begun, present))
            if (numbers or "sha256" in path) and present != begun:
                value, before = now.get(path, "not stated"), begun
                limit = f"it was {before} when the run began, and a run resumes with what it was begun with"
                remedy = "put back the file that states it, or run the experiment anew"
                raise BadInput(Problem(path, str(value), limit, remedy, str(Path(self.rig) / EXPERIMENT)))

    def claim(self, folder: Path) -> None:
        """Mark the interrupted run as resumed by the run in `folder`: no two runs may continue one program."""
        interrupted = Path(self.rig)
        text = json.dumps({"by": str(folder.resolve()), "utc": utc_now().isoformat(timespec="seconds")})
        try:
            with (interrupted / RESUMED).open("x", encoding="utf-8") as file:
                file.write(text + "\n")
        except FileExistsError:
            _refuse_if_resumed(interrupted)
            self.claim(folder)  # the mark was void and is gone
        except OSError as error:
            limit = f"cannot be marked as resumed ({error.strerror})"
            remedy = "copy its folder to where it may be written, and resume the copy"
            raise BadInput(Problem("--resume", interrupted.name, limit, remedy)) from error


def resumed_run(run: Path, meanwhile: CellMeanwhile, lost: LostIntent | None) -> ResumedRun:
    """The rest of the run at `run` (its folder, or its run file).

    On a twin no time passes between two runs: `meanwhile` then only states an assumption.
    Raises `BadInput` where nothing is left or where the user must decide.
    """
    folder = run if run.is_dir() else run.parent
    _refuse_if_resumed(folder)
    return _resumed_run(folder, meanwhile, lost)


def _resumed_run(folder: Path, meanwhile: CellMeanwhile, lost: LostIntent | None) -> ResumedRun:
    if not ((folder / EXPERIMENT).is_file() and (folder / JOURNAL).is_file()):
        raise BadInput(Problem("--resume", str(folder), "is no run folder", "name the folder of an interrupted run"))
    recorded = recorded_charge(folder)
    text = _unchanged(folder / EXPERIMENT, recorded.experiment)
    _unchanged(folder / RIG, recorded.rig)
    experiment = experiment_from_text(text, str(_seen_from(folder, recorded.experiment_file)))
    lines, _ = read_lines(folder / JOURNAL)
    facts = [Fact.from_line(line) for line in lines]
    t, charge = recorded.t_ns, recorded.charge_C
    last_ns = max([t[-1] if t else 0, *(fact.t_ns for fact in facts)])

    def charge_at(t_ns: int) -> float:
        return float(np.interp(t_ns, t, charge)) if t else 0.0

    start = continuation(facts, last_ns, charge_at, meanwhile, 0, lost, folder.name)
    actions = _actions(experiment, recorded.capacity_C, start.action + 1)
    if len(actions) <= start.action:
        raise BadInput(Problem("--resume", folder.name, "has nothing left of its cell program", "run it anew"))
    _refuse_unknown(actions[start.action], meanwhile)
    history = (*_earlier_history(folder, facts), _history(facts, actions, lost, last_ns))
    return ResumedRun(experiment, str(folder), start, history, recorded.seed, recorded.parameters)


def _seen_from(folder: Path, original: str | None) -> Path:
    """The path from which the experiment's relative names are read: where its file lay, while that folder is there."""
    return Path(original) if original is not None and Path(original).parent.is_dir() else folder / EXPERIMENT


def _by_path(data: Any, path: str = "") -> dict[str, Any]:
    """The values of nested data by their place, as set.leaves.porosity.value."""
    if isinstance(data, Mapping):
        inner = ((f"{path}.{key}" if path else str(key), value) for key, value in data.items())
        return {place: one for name, value in inner for place, one in _by_path(value, name).items()}
    return {path: data}


def _refuse_if_resumed(folder: Path) -> None:
    """Raise `BadInput` where another run has continued this one: the specimen is no longer where this one left it."""
    mark = folder / RESUMED
    if not mark.is_file():
        return
    try:
        data = json.loads(mark.read_text(encoding="utf-8"))
        by, utc = Path(data["by"]), str(data["utc"])
    except (ValueError, TypeError, KeyError):
        by, utc = folder, "an unknown day"
    if by != folder and (by / JOURNAL).is_file() and not _began(by / JOURNAL):
        mark.unlink()  # that run ended before its first fact
        return
    limit = f"was resumed on {utc} by {by}, and its specimen is no longer where it was"
    raise BadInput(Problem("--resume", folder.name, limit, f"resume {by}; where that run is void, delete {mark}"))


def _began(journal: Path) -> bool:
    return any(Fact.from_line(line).kind == "run_started" for line in read_lines(journal)[0])


def _unchanged(path: Path, recorded: str) -> str:
    """The text of a file in the run folder; raises `BadInput` where it is not what the run was begun with."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        remedy = "put back the file that the run was begun with"
        raise BadInput(Problem(path.name, "", f"cannot be read ({error})", remedy, str(path))) from None
    if text == recorded:
        return text
    now, then = text.splitlines(), recorded.splitlines()
    line = next((k for k, (a, b) in enumerate(zip(now, then, strict=False)) if a != b), min(len(now), len(then)))
    value = repr(now[line]) if line < len(now) else "shorter"
    begun = f"it was {then[line]!r}" if line < len(then) else "it had no such line"
    limit = f"{begun} when the run began, and a run resumes with what it was begun with"
    remedy = f"undo the change, or run the edited experiment anew: opsicm run {path.parent / EXPERIMENT}"
    raise BadInput(Problem(path.name, value, limit, remedy, str(path), line + 1))


@overload
def resume_option(option: Literal["--cell-meanwhile"], value: str | None) -> CellMeanwhile: ...
@overload
def resume_option(option: Literal["--lost-intent"], value: str | None) -> LostIntent | None: ...
def resume_option(option: str, value: str | None) -> str | None:
    """The checked value of an option: --cell-meanwhile is required, --lost-intent only where an intent was lost."""
    choices = get_args(CellMeanwhile if option == "--cell-meanwhile" else LostIntent)
    if value in choices or (value is None and option == "--lost-intent"):
        return value
    choice_list = ", ".join(choices)
    remedy = "look at the potentiostat, or give unknown" if option == "--cell-meanwhile" else "give one of them"
    raise BadInput(Problem(option, value or "", f"must be one of {choice_list}", remedy))


def _actions(experiment: LoadedExperiment, capacity: float, count: int) -> list[CellAction]:
    program = experiment.experiment
    return list(itertools.islice(cell_actions(program.cell, program.specimen.area, capacity), count))


def _earlier_history(folder: Path, facts: Sequence[Fact]) -> tuple[History, ...]:
    """The history of the specimen in the runs that this one resumed."""
    name = facts[0].data.get("resumes") if facts else None
    if name is None:
        return ()
    previous = folder.parent / str(name)
    if not previous.is_dir():
        limit = f"resumed {name}, which is not beside it"
        raise BadInput(Problem("--resume", folder.name, limit, "put the two folders side by side"))
    start_data = facts[0].data
    lost: LostIntent | None = start_data["lost_intent"]["assumed"] if "lost_intent" in start_data else None
    return _resumed_run(previous, start_data["cell_meanwhile"], lost).history


def _refuse_unknown(action: CellAction, meanwhile: CellMeanwhile) -> None:
    if meanwhile == "unknown" and (action.timed.charge is not None or action.timed.soc is not None):
        limit = f"{action.path} ends by its charge, and the charge passed meanwhile is unknown"
        raise BadInput(Problem("--cell-meanwhile", "unknown", limit, "find out, or run the experiment anew"))


def _history(facts: Sequence[Fact], actions: Sequence[CellAction], lost: LostIntent | None, last_ns: int) -> History:
    controls: list[tuple[int, CellControl]] = []
    for applied in applied_controls(facts, lost):
        if applied.at_ns > last_ns:
            continue
        control: CellControl = OpenCircuit()
        if applied.action is not None:
            control = actions[applied.action].remainder(applied.spent_ns, 0.0).control
        controls.append((applied.at_ns, control))
    return (*controls, (last_ns, OpenCircuit()))
