"""`opsicm reproduce`: the paper's experiments on the twin, analysed, beside what the paper prints."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from opsicm.analysis.result import Result
from opsicm.cli.terminal import err, out, stop_on_interrupt, working
from opsicm.reproduction.cases import Case, chosen_experiments, plan
from opsicm.reproduction.runs import CaseRun, OnProgress, begin_child, run_all
from opsicm.reproduction.table import (
    NO_NUMBER,
    ComparedRow,
    ExperimentResults,
    is_finished_declared,
    side_by_side,
    table,
    write_json,
)
from opsicm.reproduction.variants import declared_sets
from opsicm.results.number_text import number

_WORKERS: Final = 2  # each may need 1 GB
CAPTION: Final = (
    "kind: input - a parameter of the twin, so that recovering it tests the instrument and not nature; calibrated - "
    "one parameter, the pipette's cone angle, was chosen for it; predicted - what follows from physics and measuring "
    "chain. Twin and analysis share the approach curve. Verdicts: agrees - within the paper's precision or 15 %; a "
    "statement in words can reach 'same trend' at best."
)


def reproduce(only: str | None, short: bool, json: Path | None, folder: Path, names: Sequence[str] = ()) -> int:
    """Run the experiments under each set, draw the first one's figures, print the table with a column for each.

    `names` of the sets, all declared ones if empty. Returns the exit code: 0 if all ran, 130 if interrupted, else 3.
    """
    experiments, sets = chosen_experiments(only), declared_sets(names)
    plans = {one.name: plan(experiments, short, one, in_full=one is sets[0]) for one in sets}
    for experiment, reason in {e: r for one in plans.values() for e, r in one.refused.items()}.items():
        err.print(f"{experiment}: not run: {reason}")
    cases = {case.key: case for one in plans.values() for case in one.all}
    with Evaluator(folder / "figures", sets[0].name) as evaluator, stop_on_interrupt() as stop:
        with _progress(list(cases.values())) as on_progress:
            workers = min(_WORKERS, os.cpu_count() or 1)
            runs = run_all(plans, folder / "runs", stop, on_progress, workers, evaluator.begin)
        if stop():
            err.print(f"interrupted; what was finished is kept in {folder / 'runs'} and not run again")
            return 130
        made = {one.case.key: one for of_set in runs.values() for ones in of_set.values() for one in ones}
        for one in (one for one in made.values() if one.path is None):
            err.print(f"{one.case.label}: no run: {one.reason}")
        with working("analysing the runs and drawing the figures"):
            evaluated = evaluator.results()
    columns = [
        table(experiments, plans[one.name], runs[one.name], evaluated.get(one.name, {}), one) for one in sets
    ]
    compared = side_by_side(columns)
    print_table(compared)
    if json is not None:
        write_json(compared, json)
    first = evaluated.get(sets[0].name, {})
    for path in (path for experiment in experiments if experiment in first for path in first[experiment].figures):
        out.print(f"figure  {path}", markup=False)
    complete = not any(one.refused for one in plans.values()) and all(one.path is not None for one in made.values())
    return 0 if complete else 3


def print_table(compared: Sequence[ComparedRow]) -> None:
    """The table on standard output, one line per row; the quantity comes last because it is long."""
    lines = [("id", "paper", "here ± u (k = 1)", "unit", "kind", "verdict", "quantity")]
    for one in compared:
        row = one.row
        paper = f"{row.paper:g}" if row.paper is not None else "–"
        here = number(one.result.value, one.result.u)
        lines.append((row.id, paper, here, row.unit, row.kind, one.verdict or NO_NUMBER, row.quantity))
    widths = [max(len(line[k]) for line in lines) for k in range(6)]
    for line in lines:
        cells = [
            text.rjust(w) if k in (1, 2) else text.ljust(w)
            for k, (text, w) in enumerate(zip(line, widths, strict=False))
        ]
        out.print("  ".join((*cells, line[6])), markup=False)
    for one in compared:
        if one.verdict is None:
            out.print(f"{one.row.id}: {one.outcome}", markup=False)
    out.print(CAPTION)


@contextmanager
def _progress(cases: Sequence[Case]) -> Iterator[OnProgress]:
    """A bar per experiment on standard error: how many of its runs are done."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[shown]}"))
    shares: dict[str, dict[str, float]] = {}
    for case in cases:
        shares.setdefault(case.experiment, {})[case.key] = 0.0
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        tasks = {name: bars.add_task(name, total=len(each), shown="") for name, each in shares.items()}

        def on_progress(case: Case, share: float) -> None:
            of_experiment = shares[case.experiment]
            of_experiment[case.key] = share
            shown = (
                f"{sum(value == 1.0 for value in of_experiment.values())} of {len(of_experiment)} runs; {case.label}"
            )
            bars.update(tasks[case.experiment], completed=sum(of_experiment.values()), shown=shown)

        yield on_progress


class Evaluator(AbstractContextManager["Evaluator"]):
    """A process that evaluates experiments one after another, and draws the figures of the set `drawn` into `figures`.

    A process of its own, because reading runs imports HDF5, which must not be loaded beside a live run. Sets that share
    all runs of an experiment share its evaluation.
    """

    def __init__(self, figures: Path, drawn: str) -> None:
        self._figures, self._drawn = figures, drawn
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_child)
        self._jobs: dict[tuple[str, str], Future[ExperimentResults]] = {}
        self._by_runs: dict[tuple[str, ...], Future[ExperimentResults]] = {}

    def begin(self, name: str, experiment: str, runs: Sequence[CaseRun]) -> None:
        """Evaluate this experiment of the set `name`, all runs of which are finished, as soon as the process is free."""
        if not any(is_finished_declared(one) for one in runs):
            return
        keys = tuple(one.case.key for one in runs)
        figures = self._figures if name == self._drawn else None
        if keys not in self._by_runs:
            self._by_runs[keys] = self._pool.submit(_evaluate, experiment, tuple(runs), figures)
        self._jobs[name, experiment] = self._by_runs[keys]

    def results(self) -> dict[str, dict[str, ExperimentResults]]:
        """The results by set and experiment; waits for them, and raises what the process raised."""
        results: dict[str, dict[str, ExperimentResults]] = {}
        for (name, experiment), job in self._jobs.items():
            results.setdefault(name, {})[experiment] = job.result()
        return results

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _evaluate(experiment: str, runs: Sequence[CaseRun], figures: Path | None) -> ExperimentResults:
    from opsicm.reproduction.evaluation.experiments import evaluate
    from opsicm.reproduction.paper_figures import PaperFigures

    pictures = None if figures is None else PaperFigures(figures)
    results = evaluate(experiment, runs, (lambda *_: None) if pictures is None else pictures.draw)
    without = {row: _without_traces(each) for row, each in results.without.items()}
    drawn = () if pictures is None else tuple(pictures.drawn)
    return ExperimentResults(_without_traces(results.by_row), without, drawn)


def _without_traces(results: Mapping[str, Result]) -> dict[str, Result]:
    """The results without their traces, which are drawn already and would have to be sent between processes."""
    return {name: replace(result, trace=None) for name, result in results.items()}
