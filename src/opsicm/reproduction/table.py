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
from opsicm.reproduction.paper import KINDS, ROWS, Row, Verdict
from opsicm.reproduction.runs import CaseRun
from opsicm.reproduction.variants import AS_DECLARED, DEFAULT, DeclaredSet

VERDICTS: Final[tuple[Verdict, ...]] = ("agrees", "same trend", "disagrees", "not modelled", "not stated")
_INPUT_WORDS: Final = {
    "agrees": "recovered",
    "same trend": "recovered within a factor 1.5",
    "disagrees": "not recovered",
}
NOT_STATED: Final = "not stated"
NO_NUMBER: Final = "no number"
NOT_RUN: Final = "not run"
NOT_DETERMINED: Final = "not determined"
NO_VERDICT: Final = "no verdict"


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """A row of the paper beside its `result` here; without a value that has a reason, and the row no verdict.

    `without` has the results of this row with a term of the physics switched off ("ohmic off"), `otherwise` those by
    another definition than the row's own ("5 % of the change"). `chosen` is the parameter set, `beside` the same row
    under other sets, by their names.
    """

    row: Row
    result: Result
    without: Mapping[str, Result] = field(default_factory=dict)
    otherwise: Mapping[str, Result] = field(default_factory=dict)
    chosen: DeclaredSet = DEFAULT
    beside: Mapping[str, ComparedRow] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict | None:
        """The verdict; None where there is no number to judge, and by construction."""
        return None if self.result.value is None else self.row.judge(self.result.value, self.result.u)

    def judged(self, result: Result) -> Verdict | None:
        """The verdict on another number of this row."""
        return replace(self, result=result).verdict

    @property
    def without_verdict(self) -> str:
        """What stands in the place of a verdict that there is not."""
        return NO_NUMBER if self.result.value is None else NO_VERDICT

    @property
    def ratio(self) -> float | None:
        """This number over the paper's; None where one of the two is missing."""
        if self.result.value is None or not self.row.paper:
            return None
        return self.result.value / self.row.paper

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
            "tolerance": self.row.tolerance or None,
            "said": self.row.statement,
            "expected": self.row.expected,
            "here": self.result.value,
            "u": self.result.u,
            "unit": self.row.unit,
            "ratio": self.ratio,
            "verdict": self.verdict,
            "kind": self.row.kind,
            "set": self.chosen.name,
            "method": self.result.method or self.outcome,
            "outcome": self.outcome,
            "resistor": self.row.resistor,
            "definition": self.row.definition or None,
            "not_modelled": self.row.not_modelled or None,
            "otherwise": {label: self._short(other) for label, other in self.otherwise.items()},
            "without": {term: self._short(other) for term, other in self.without.items() if other.value is not None},
            "sets": {name: other.column() for name, other in {self.chosen.name: self, **self.beside}.items()},
        }

    def column(self) -> dict[str, Any]:
        """What this set gives of the row: the keys of one entry of `sets`."""
        return {
            "label": self.chosen.label,
            "here": self.result.value,
            "u": self.result.u,
            "ratio": self.ratio,
            "verdict": self.verdict,
            "kind": self.row.kind,
            "resistor": self.row.resistor,
            "outcome": self.outcome,
        }

    def _short(self, other: Result) -> dict[str, Any]:
        return {
            "here": other.value,
            "u": other.u,
            "verdict": self.judged(other),
            **({} if other.value is not None else {"outcome": f"{other.outcome}: {other.reason}"}),
        }


def compare(
    results: Mapping[str, Result],
    missing_experiment: Mapping[str, Result],
    without: Mapping[str, Mapping[str, Result]],
    experiments: Iterable[str],
    otherwise: Mapping[str, Mapping[str, Result]] | None = None,
    chosen: DeclaredSet = DEFAULT,
) -> list[ComparedRow]:
    """Every row of the wanted experiments under a set, in the paper's order; its kind is that under the set.

    `results` by row id; `missing_experiment` by experiment id, for rows that no evaluation gave; `without` by row
    id and term; `otherwise` by row id and other definition.
    """
    wanted = set(experiments)
    rows = [row for row in ROWS if row.experiment in wanted]
    return [
        ComparedRow(
            replace(row, kind=chosen.kind_of(row)),
            results[row.id] if row.id in results else missing_experiment[row.experiment],
            without.get(row.id, {}),
            (otherwise or {}).get(row.id, {}),
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


def summary(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """How many rows of each kind have which verdict, one line a kind: no sum over kinds, because recovering an input
    and meeting a calibration are no agreement with nature. Predictions that hold, but would with a plain resistor in
    place of the bath as well, are counted again beside. `records` as `ComparedRow.record` gives them, or entries of
    their `sets`."""
    lines = []
    by_kind: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for one in records:
        by_kind[one["kind"]].append(one)
    for kind in reversed(KINDS[:-1]):
        rows = by_kind[kind]
        verdicts = [one["verdict"] or NO_NUMBER for one in rows]
        words = _INPUT_WORDS if kind == "input" else {}
        ohmic = sum(one["resistor"] and one["verdict"] == "same trend" for one in rows)
        beside = (
            {"same trend": f" ({ohmic} of these a plain resistor in place of the bath gives as well)"} if ohmic else {}
        )
        counts = [
            f"{verdicts.count(word)} {words.get(word, word)}{beside.get(word, '')}"
            for word in (*VERDICTS, NO_NUMBER)
            if word in verdicts
        ]
        if rows:
            lines.append(f"{kind}: {_rows(rows)}, {', '.join(counts)}")
    if by_kind[KINDS[-1]]:
        lines.append(f"{KINDS[-1]}: {_rows(by_kind[KINDS[-1]])}, without a verdict")
    return lines


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(rows)} row{'' if len(rows) == 1 else 's'}"


def write_records(records: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A list of records as JSON; `BadInput` where it cannot be written."""
    text = json.dumps(list(records), indent=2, ensure_ascii=False, allow_nan=False)
    try:
        path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        limit = f"cannot be written ({error.strerror})"
        raise BadInput(Problem("--json", str(path), limit, "choose another path", str(path))) from error


@dataclass(frozen=True, slots=True)
class ExperimentResults:
    """The results of one experiment's runs: by row, by row and term switched off, by row and other definition, and the
    paths of its figures. An evaluation that failed has none of these, and the reason in `failure`."""

    by_row: Mapping[str, Result] = field(default_factory=dict)
    without: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    otherwise: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    figures: tuple[Path, ...] = field(default=())
    failure: str = ""


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
    otherwise: dict[str, Mapping[str, Result]] = {}
    for experiment in experiments:
        failure = evaluated[experiment].failure if experiment in evaluated else ""
        reason = planned.refused.get(experiment) or failure or _why_not(runs.get(experiment, []))
        missing_experiment[experiment] = failed(
            experiment, "", "", NOT_RUN, reason or "none of these runs gives it; the short form leaves some out"
        )
        if experiment in evaluated:
            results.update(evaluated[experiment].by_row)
            without.update(evaluated[experiment].without)
            otherwise.update(evaluated[experiment].otherwise)
        if chosen.compensation_pct and experiment in planned.own_compensation:
            # What the set's compensation was chosen by is another number with another compensation.
            reason = (
                f"this form states {planned.own_compensation[experiment]:g} % compensation itself, and this row chose "
                f"the set's {chosen.compensation_pct:g} %"
            )
            for row in ROWS:
                if row.experiment == experiment and row.id in chosen.calibrated:
                    results[row.id] = failed(row.id, row.unit, "", NOT_RUN, reason)
                    otherwise.pop(row.id, None)
                    without.pop(row.id, None)
    return compare(results, missing_experiment, without, experiments, otherwise, chosen)


def is_finished_declared(one: CaseRun) -> bool:
    """Whether this is a finished run of the declared set: without one there is nothing to evaluate."""
    return one.case.variant == AS_DECLARED and one.path is not None


def _why_not(runs: Sequence[CaseRun]) -> str:
    reasons = [f"{one.case.label}: {one.reason}" for one in runs if one.path is None]
    return reasons[0] if reasons else ("" if runs else "it was interrupted before its first run")
