"""From a list of experiments to their runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from opsicm.app.reproduce.cases import Case, cases_of
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
    planned: Plan, folder: Path, stop: Callable[[], bool], told: Told, workers: int = 1
) -> dict[str, list[Made]]:
    """Make every run that `folder` does not hold; by experiment, in the plan's order. Fewer if a stop was asked for."""
    made = {one.case.key: one for one in make(planned.all, folder, stop, told, workers)}
    return {
        experiment: [made[case.key] for case in cases if case.key in made]
        for experiment, cases in planned.cases.items()
    }
