"""The comparison table: every row of the paper with the number obtained here, or why there is none, and the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from opsicm.analysis.result import Result, failed
from opsicm.core.errors import BadInput, Problem
from opsicm.reproduction.cases import Plan
from opsicm.reproduction.paper import ROWS, Row, Verdict, verdict
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.variants import AS_DECLARED, DEFAULT, DeclaredSet

NOT_STATED: Final = "not stated"
NO_NUMBER: Final = "no number"
NOT_RUN: Final = "not run"


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A row of the paper beside its `result` here; without a value that has a reason, and the row no verdict.

    `without` has the results of this row with a term of the physics switched off ("ohmic off"), `beside` the same row
    under other parameter sets, by their names. `chosen` is the set of this one.
    """

    row: Row
    result: Result
    without: Mapping[str, Result] = field(default_factory=dict)
    chosen: DeclaredSet = DEFAULT
    beside: Mapping[str, ComparedRow] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict, or None where there is no number to judge."""
        if self.result.value is None:
            return None
        return verdict(self.row.expected, self.result.value, self.result.u, self.row.paper, self.row.precision)

    def judged(self, result: Result) -> Verdict | None:
        """The verdict on another number of this row."""
        return replace(self, result=result).verdict

    @property
    def outcome(self) -> str:
        """`ok`, or why there is no number."""
        return "ok" if self.result.value is not None else f"{self.result.outcome}: {self.result.reason}"

    def record(self) -> dict[str, Any]:
        """The keys that `--json` prints."""
        return {
            "id": self.row.id,
            "quantity": self.row.quantity,
            "paper": NOT_STATED if self.row.paper is None else self.row.paper,
            "precision": self.row.precision or None,
            "said": self.row.statement,
            "expected": self.row.expected,
            "here": self.result.value,
            "u": self.result.u,
            "unit": self.row.unit,
            "verdict": self.verdict,
            "kind": self.row.kind,
            "set": self.chosen.name,
            "method": self.result.method or self.outcome,
            "outcome": self.outcome,
            "without": {
                term: {"here": other.value, "u": other.u, "verdict": self.judged(other)}
                for term, other in self.without.items()
                if other.value is not None
            },
            "sets": {name: other.column() for name, other in {self.chosen.name: self, **self.beside}.items()},
        }

    def column(self) -> dict[str, Any]:
        """What this set gives of the row: the keys of one entry of `sets`."""
        return {
            "label": self.chosen.label,
            "here": self.result.value,
            "u": self.result.u,
            "verdict": self.verdict,
            "kind": self.row.kind,
            "outcome": self.outcome,
        }


def compare(
    results: Mapping[str, Result],
    missing_experiment: Mapping[str, Result],
    without: Mapping[str, Mapping[str, Result]],
    experiments: Iterable[str],
    chosen: DeclaredSet = DEFAULT,
) -> list[ComparedRow]:
    """Every row of the wanted experiments under a set, in the paper's order; its kind is that under the set.

    `results` by row id; `missing_experiment` by experiment id, for rows that no evaluation gave; `without` by row
    id and term.
    """
    wanted = set(experiments)
    rows = [row for row in ROWS if row.experiment in wanted]
    return [
        ComparedRow(
            replace(row, kind=chosen.kind_of(row)),
            results[row.id] if row.id in results else missing_experiment[row.experiment],
            without.get(row.id, {}),
            chosen,
        )
        for row in rows
    ]


def side_by_side(columns: Sequence[Sequence[ComparedRow]]) -> list[ComparedRow]:
    """The rows of the first set, each with those of the other sets beside it."""
    return [
        replace(row, beside={other.chosen.name: other for other in others})
        for row, *others in zip(*columns, strict=True)
    ]


def write_json(compared: Iterable[ComparedRow], path: Path) -> None:
    """The table as a list of records; `BadInput` where it cannot be written."""
    text = json.dumps([one.record() for one in compared], indent=2, ensure_ascii=False, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("--json", str(path), limit, "choose another path", str(path))) from error


@dataclass(frozen=True, slots=True)
class ExperimentResults:
    """The results of one experiment's runs: by row, by row and term switched off, and the paths of its figures."""

    by_row: Mapping[str, Result]
    without: Mapping[str, Mapping[str, Result]]
    figures: tuple[Path, ...] = field(default=())


def table(
    experiments: Sequence[str],
    planned: Plan,
    runs: Mapping[str, Sequence[CaseRun]],
    evaluated: Mapping[str, ExperimentResults],
    chosen: DeclaredSet = DEFAULT,
) -> list[ComparedRow]:
    """Every row of these experiments under a set, with the reason where there is no number."""
    results: dict[str, Result] = {}
    missing_experiment: dict[str, Result] = {}
    without: dict[str, Mapping[str, Result]] = {}
    for experiment in experiments:
        reason = planned.refused.get(experiment) or _why_not(runs.get(experiment, []))
        missing_experiment[experiment] = failed(
            experiment, "", "", NOT_RUN, reason or "none of these runs gives it; the short form leaves some out"
        )
        if experiment in evaluated:
            results.update(evaluated[experiment].by_row)
            without.update(evaluated[experiment].without)
    return compare(results, missing_experiment, without, experiments, chosen)


def is_finished_declared(one: CaseRun) -> bool:
    """Whether this is a finished run of the declared set: without one there is nothing to evaluate."""
    return one.case.variant == AS_DECLARED and one.path is not None


def _why_not(runs: Sequence[CaseRun]) -> str:
    reasons = [f"{one.case.label}: {one.reason}" for one in runs if one.path is None]
    return reasons[0] if reasons else ("" if runs else "it was interrupted before its first run")
