"""From a list of experiments to their runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsicm.app.reproduce.cases import Case, cases_of
from opsicm.app.reproduce.declared import LONGEST
from opsicm.app.reproduce.paper import IDS
from opsicm.app.reproduce.runs import Made, Told, make
from opsicm.errors import BadInput, OpsicmError, Problem


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of the chosen experiments; `refused` says why an experiment has none."""

    cases: dict[str, list[Case]]
    refused: dict[str, str]

    @property
    def all(self) -> list[Case]:
        """Every run to make, in the paper's order."""
        return [case for cases in self.cases.values() for case in cases]


def chosen(only: str | None) -> tuple[str, ...]:
    """The experiments that `--only E5,E9` names, in the paper's order; all without it."""
    if only is None:
        return IDS
    named = [name.strip() for name in only.split(",") if name.strip()]
    unknown = [name for name in named if name not in IDS]
    if unknown or not named:
        limit = f"experiments are {', '.join(IDS)}"
        raise BadInput(Problem("--only", ", ".join(unknown) or repr(only), limit, "write, for example, E5,E9"))
    return tuple(name for name in IDS if name in named)


def plan(experiments: Sequence[str], short: bool) -> Plan:
    """The runs of `experiments`; one whose file is missing or refused by this version is kept with the reason."""
    cases: dict[str, list[Case]] = {}
    refused: dict[str, str] = {}
    for experiment in experiments:
        try:
            cases[experiment] = cases_of(experiment, short)
        except OpsicmError as error:
            refused[experiment] = str(error)
    return Plan(cases, refused)


def run_all(
    planned: Plan,
    folder: Path,
    stop: Callable[[], bool],
    told: Told,
    workers: int = 1,
    whole: Callable[[str, list[Made]], None] = lambda *_: None,
) -> dict[str, list[Made]]:
    """Make every run that `folder` does not hold; by experiment, in the plan's order. Fewer if a stop was asked for.

    `whole` is told of an experiment and its runs, in the plan's order, once the last of them is made.
    """
    made: dict[str, Made] = {}
    left = {experiment: {case.key for case in cases} for experiment, cases in planned.cases.items()}

    def of(experiment: str) -> list[Made]:
        return [made[case.key] for case in planned.cases[experiment] if case.key in made]

    for one in make(longest_first(planned) if workers > 1 else planned.all, folder, stop, told, workers):
        made[one.case.key] = one
        left[one.case.experiment].discard(one.case.key)
        if not left[one.case.experiment]:
            whole(one.case.experiment, of(one.case.experiment))
    return {experiment: of(experiment) for experiment in planned.cases}


def longest_first(planned: Plan) -> list[Case]:
    """Every run to make, those that take longest first: several at a time then end together."""
    order = {name: k for k, name in enumerate((*LONGEST, *IDS)[::-1])}
    return sorted(planned.all, key=lambda case: -order[case.experiment])
