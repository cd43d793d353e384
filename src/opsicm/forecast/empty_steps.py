"""Problems of cell steps that end where they begin, most often because a sign is the other way round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from opsicm.core.errors import Problem
from opsicm.experiment.cell_steps import CURRENTS_AND_WORDS, CurrentStep
from opsicm.experiment.controls import nominal_controls
from opsicm.experiment.current_words import DIRECTIONS
from opsicm.experiment.file import LoadedExperiment
from opsicm.experiment.program import written_steps
from opsicm.experiment.refusal import KeyPath
from opsicm.forecast.cell import EmptyStep

_SHORTEST: Final = 1e-3  # [s] of a control: no potentiostat answers sooner
CONVENTIONS: Final = (
    "here a negative current lithiates (IUPAC: cathodic is negative); where cathodic currents are written positive, or "
    "the charge of a full cell is, the sign is the other one"
)
_WORDS: Final = {sign: word for word, sign in DIRECTIONS.items()}


def empty_step_problems(loaded: LoadedExperiment, empty: tuple[EmptyStep, ...]) -> Iterator[Problem]:
    """Every step of the cell program that ends where it begins, and every one too short to be one."""
    by_path = {step.path: step for step in empty}
    for placed in written_steps("cell", loaded.experiment.cell):
        step, path = placed.step, placed.key_path
        if placed.path in by_path:
            yield _problem(loaded, path, step, by_path[placed.path])
            continue
        lengths = [timed.duration_ns for timed in nominal_controls(step).round if timed.duration_ns is not None]
        if lengths and min(lengths) * 1e-9 < _SHORTEST:
            limit = f"holds a control for less than {_SHORTEST * 1e3:g} ms, in which nothing happens"
            yield loaded.problem(path, "", limit, "let it last longer, or delete it")


def _problem(loaded: LoadedExperiment, path: KeyPath, step: Any, empty: EmptyStep) -> Problem:
    when = f"at {empty.time:.4g} s" + (f", in round {empty.visit + 1}," if empty.visit else "")
    if empty.ends == "current":
        limit = (
            f"ends where it begins, {when} for the current there is {abs(empty.current) * 1e3:.3g} mA, already below "
            f"the {empty.limit * 1e3:.3g} mA that end the hold"
        )
        return loaded.problem((*path, "until"), "", limit, "delete the hold, write for_s, or end it at a lower current")
    assert isinstance(step, CurrentStep)
    if empty.ends == "soc":
        limit = f"ends where it begins: {when} the state of charge is already beyond {empty.limit * 100:g} %"
        return loaded.problem((*path, "until", "soc_pct"), empty.limit * 100, limit, _turned(step, empty, "it"))
    key, value = _as_written(step)
    word = _WORDS[-1.0 if empty.current < 0.0 else 1.0]
    way = "lowers" if empty.current < 0.0 else "raises"
    if empty.ends == "drop":
        limit = (
            f"ends where it begins: {when} the specimen is at {empty.potential:.3f} V, and the current's own drop "
            f"takes it to its cut-off of {empty.limit:g} V at once"
        )
        remedy = "use a smaller current, move until.potential_V, or hold at that potential instead"
        return loaded.problem((*path, key), value, limit, remedy)
    side = "above" if empty.current > 0.0 else "below"
    limit = (
        f"ends where it begins: {when} the specimen is at {empty.potential:.3f} V, already {side} its cut-off of "
        f"{empty.limit:g} V, and a current that {word}s {way} the potential; {CONVENTIONS}"
    )
    target = f"{empty.limit:g} V"
    return loaded.problem((*path, key), value, limit, _turned(step, empty, target))


def _as_written(step: CurrentStep) -> tuple[str, Any]:
    return next((key, getattr(step, key)) for key in CURRENTS_AND_WORDS if getattr(step, key) is not None)


_UNIT_OF: Final[Mapping[str, str]] = {"current_mA": "mA", "current_mA_cm2": "mA/cm2", "c_rate": "C"}


def _turned(step: CurrentStep, empty: EmptyStep, target: str) -> str:
    """The same current in the other direction, in both forms, and what else may have been meant."""
    key, value = step.signed
    word = _WORDS[1.0 if value < 0.0 else -1.0]
    written = f"{key}: {-value:g}, or {word}: {abs(value):g} {_UNIT_OF[key]}"
    side = "below" if empty.current < 0.0 else "above"
    stay = f"delete the step, or choose a cut-off {side} {empty.potential:.3f} V" if empty.ends == "potential" else ""
    return f"to go to {target} write {written}; if the direction is right, {stay or 'delete the step'}"
