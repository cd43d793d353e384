"""What reading an experiment's runs gave, and from that every row of the table, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from opsicm.analysis.result import Result, failed
from opsicm.reproduction.cases import Plan
from opsicm.reproduction.declared import AS_DECLARED
from opsicm.reproduction.runs import Made
from opsicm.reproduction.table import NOT_RUN, Compared, compare


@dataclass(frozen=True, slots=True)
class Read:
    """What one experiment's runs gave: results by row, by row and term switched off, and the figures drawn."""

    found: Mapping[str, Result]
    without: Mapping[str, Mapping[str, Result]]
    drawn: tuple[Path, ...] = field(default=())


def table(
    experiments: Sequence[str], planned: Plan, made: Mapping[str, Sequence[Made]], reads: Mapping[str, Read]
) -> list[Compared]:
    """Every row of these experiments; where there is no number, why."""
    found: dict[str, Result] = {}
    absent: dict[str, Result] = {}
    without: dict[str, Mapping[str, Result]] = {}
    for experiment in experiments:
        reason = planned.refused.get(experiment) or _why_not(made.get(experiment, []))
        absent[experiment] = failed(
            experiment, "", "", NOT_RUN, reason or "none of these runs gives it; the short form leaves some out"
        )
        if experiment in reads:
            found.update(reads[experiment].found)
            without.update(reads[experiment].without)
    return compare(found, absent, without, experiments)


def is_declared(one: Made) -> bool:
    """Whether this is a finished run of the declared set: without one there is nothing to read."""
    return one.case.variant == AS_DECLARED and one.path is not None


def _why_not(made: Sequence[Made]) -> str:
    reasons = [f"{one.case.label}: {one.reason}" for one in made if one.path is None]
    return reasons[0] if reasons else ("" if made else "it was interrupted before its first run")
