"""From runs to results: an experiment's runs opened and read by its reader."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from opsicm.analysis.result import Result
from opsicm.app.reproduce.declared import SWITCHED_OFF
from opsicm.app.reproduce.open_runs import Runs, opened
from opsicm.app.reproduce.planning import Plan
from opsicm.app.reproduce.reading_process import Read, is_declared, table
from opsicm.app.reproduce.readings.index import READERS
from opsicm.app.reproduce.runs import Made
from opsicm.app.reproduce.table import Compared


def read(experiment: str, made: Sequence[Made], look: Callable[[str, Runs], None]) -> Read:
    """Read one experiment's runs; `look` is shown them while they are open."""
    without: dict[str, dict[str, Result]] = {}
    with opened(made) as runs:
        found = {result.name: result for result in READERS[experiment](runs)}
        for term in SWITCHED_OFF:
            if runs.of(term):
                for result in READERS[experiment](runs.taking(term)):
                    without.setdefault(result.name, {})[term] = result
        look(experiment, runs)
    return Read(found, without)


def read_all(
    experiments: Sequence[str],
    planned: Plan,
    made: Mapping[str, Sequence[Made]],
    look: Callable[[str, Runs], None],
) -> list[Compared]:
    """Read every experiment's runs, one after another in this process, and compare."""
    there = [name for name in experiments if any(is_declared(one) for one in made.get(name, []))]
    return table(experiments, planned, made, {name: read(name, made[name], look) for name in there})
