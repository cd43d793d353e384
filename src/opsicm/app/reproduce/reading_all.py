"""From the runs to the table: every experiment's runs opened, read and compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from opsicm.analysis.result import Result, failed
from opsicm.app.reproduce.declared import AS_DECLARED, SWITCHED_OFF
from opsicm.app.reproduce.open_runs import Runs, opened
from opsicm.app.reproduce.planning import Plan
from opsicm.app.reproduce.readings.index import READERS
from opsicm.app.reproduce.readings.reading import NOT_RUN
from opsicm.app.reproduce.runs import Made
from opsicm.app.reproduce.table import Compared, compare


def read_all(
    experiments: Sequence[str], planned: Plan, made: dict[str, list[Made]], look: Callable[[str, Runs], None]
) -> list[Compared]:
    """Read every experiment's runs and compare; `look` is shown each experiment's runs while they are open."""
    found: dict[str, Result] = {}
    absent: dict[str, Result] = {}
    without: dict[str, dict[str, Result]] = {}
    for experiment in experiments:
        reason = planned.refused.get(experiment) or _why_not(made.get(experiment, []))
        absent[experiment] = failed(
            experiment, "", "", NOT_RUN, reason or "none of these runs gives it; the short form leaves some out"
        )
        if experiment in planned.refused or not any(_declared(one) for one in made.get(experiment, [])):
            continue
        with opened(made[experiment]) as runs:
            found.update({result.name: result for result in READERS[experiment](runs)})
            for term in SWITCHED_OFF:
                if runs.of(term):
                    for result in READERS[experiment](runs.taking(term)):
                        without.setdefault(result.name, {})[term] = result
            look(experiment, runs)
    return compare(found, absent, without, experiments)


def _declared(one: Made) -> bool:
    return one.case.variant == AS_DECLARED and one.path is not None


def _why_not(made: Sequence[Made]) -> str:
    reasons = [f"{one.case.label}: {one.reason}" for one in made if one.path is None]
    return reasons[0] if reasons else ("" if made else "it was interrupted before its first run")
