"""The time line of an experiment: when each step of the cell and of the probe runs, and what it waits for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from opsicm.experiment.model import Experiment
from opsicm.experiment.probe_bounds import AwaitedEvents
from opsicm.experiment.probe_steps import SingleProbeStep
from opsicm.experiment.program import Track, written_steps
from opsicm.experiment.step_model import BaseCellStep
from opsicm.experiment.yaml_file import inline
from opsicm.forecast.cell import CellForecast
from opsicm.forecast.schedule import Window

_INSTANT: Final = 0.5  # [s]: a shorter gap is no waiting
_WHEN: Final = {"during", "at", "every_min"}  # keys that say when a step runs, not what it does


@dataclass(frozen=True, slots=True)
class Span:
    """One uninterrupted period of a step [s]; `cut` where the step is not done at its end."""

    start: float
    end: float
    cut: bool = False


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step of the file with every period in which it runs, none where it never does.

    `what` it does, in the keys of the file; `when` it runs and what it waits for, empty where it simply begins.
    `deferred` steps interrupt the others each time that they run.
    """

    track: Track
    path: str
    word: str
    what: str
    when: str
    spans: tuple[Span, ...]
    deferred: bool = False


@dataclass(frozen=True, slots=True)
class TimeLine:
    """The steps in the order of their beginning, and the periods in which no step of the probe runs."""

    steps: tuple[TimedStep, ...]
    idle: tuple[Span, ...]
    end: float


def time_line(experiment: Experiment, cell: CellForecast, windows: Sequence[Window]) -> TimeLine:
    """The time line of `experiment` by the forecast of its cell and the windows of its probe steps."""
    steps = [*_cell_steps(experiment, cell), *_probe_steps(experiment, windows)]
    # A cell step stands before what runs beside it; a step that never runs stands at the end.
    steps.sort(key=lambda step: (step.spans[0].start if step.spans else cell.end, step.track != "cell"))
    return TimeLine(tuple(steps), tuple(_idle(windows, cell.end)) if experiment.probe else (), cell.end)


def _cell_steps(experiment: Experiment, cell: CellForecast) -> Iterator[TimedStep]:
    for placed in written_steps("cell", experiment.cell):
        spans = tuple(Span(i.start, i.end) for i in cell.intervals if i.path == placed.path)
        yield TimedStep("cell", placed.path, placed.step.word, _settings(placed.step), "", spans)


def _probe_steps(experiment: Experiment, windows: Sequence[Window]) -> Iterator[TimedStep]:
    free = 0.0  # when the step before it in the order of the file is over
    for placed in written_steps("probe", experiment.probe):
        step = placed.step
        mine = [window for window in windows if window.path == placed.path]
        # Of a step that others interrupt only its last period may be cut off.
        spans = tuple(
            Span(window.start, window.end, not window.whole and (step.deferred or window is mine[-1]))
            for window in mine
        )
        when = _waits_for(step)
        if not step.deferred and mine:
            if mine[0].start - free > _INSTANT and step.during is not None:
                when = f"waits for {step.during}"
            free = mine[-1].end
        yield TimedStep("probe", placed.path, step.word, _settings(step), when, spans, step.deferred)


def _waits_for(step: SingleProbeStep) -> str:
    if step.every_min is not None:
        return f"every {step.every_min:g} min" + (f" during {step.during}" if step.during else "")
    if step.at is not None:
        return f"at {_events(step.at)}"
    return f"during {step.during}" if step.during else ""


def _events(at: AwaitedEvents) -> str:
    if at.after_each is not None:
        return f"each {at.after_each}"
    values, unit = (at.soc_pct, "% SOC") if at.soc_pct is not None else (at.potential_V or (), "V")
    return f"{', '.join(f'{value:g}' for value in values)} {unit}"


def _settings(step: BaseCellStep | SingleProbeStep) -> str:
    """What a step does, as the file has it: `{c_rate: -0.2, until: {potential_V: 0.05}}`; first what is its own."""
    settings = step.model_dump(mode="json", exclude_unset=True, exclude=_WHEN)
    keys = sorted(settings, key=lambda key: key not in type(step).__annotations__)
    return inline(_plain({key: settings[key] for key in keys}))


def _plain(value: Any) -> Any:
    """A value with whole numbers written as such: 1800, not 1800.0."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1e15 else value


def _idle(windows: Sequence[Window], end: float) -> Iterator[Span]:
    free = 0.0
    for window in sorted(windows, key=lambda window: window.start):
        if window.start - free > _INSTANT:
            yield Span(free, window.start)
        free = max(free, window.end)
    if end - free > _INSTANT:
        yield Span(free, end)
