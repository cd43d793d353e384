"""When each step of the probe program ran, from the experiment and the journal stored in a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from opsicm.core.facts import Fact
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.probe_steps import SingleProbeStep
from opsicm.experiment.program import written_steps
from opsicm.record.reader import Run


@dataclass(frozen=True, slots=True)
class ProbeInterval:
    """One execution of a probe step (in a `repeat`, one round of it): path, step, start and stop [ns]."""

    path: str
    step: SingleProbeStep
    start_ns: int
    stop_ns: int


def probe_intervals(run: Run) -> list[ProbeInterval]:
    """Every execution of every probe step, in order of time; a step that never ended ends with the run.

    Raises `BadInput` where the run's experiment cannot be read.
    """
    program = experiment_from_text(run.experiment_text, f"experiment of {run.path}").experiment.probe
    steps = {placed.path: placed.step for placed in written_steps("probe", program)}
    return intervals_of(steps, run.facts, max((fact.t_ns for fact in run.facts), default=0))


def intervals_of(steps: Mapping[str, SingleProbeStep], facts: Sequence[Fact], now_ns: int) -> list[ProbeInterval]:
    """Every execution of the probe's `steps` by path, in order of time; one that goes on ends at `now_ns`."""
    intervals: list[ProbeInterval] = []
    started: dict[str, int] = {}
    for fact in facts:
        if fact.kind == "step_started" and fact.step in steps:
            started[fact.step] = fact.t_ns
        elif fact.kind == "step_ended" and fact.step in started:
            intervals.append(ProbeInterval(fact.step, steps[fact.step], started.pop(fact.step), fact.t_ns))
    intervals += [ProbeInterval(path, steps[path], start, now_ns) for path, start in started.items()]
    return sorted(intervals, key=lambda interval: interval.start_ns)
