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
from opsicm.reproduction.findings import write_findings
from opsicm.reproduction.runs import CaseRun, OnProgress, begin_child, run_all
from opsicm.reproduction.table import ComparedRow, ExperimentResults, is_finished_declared, summary, table, write_json
from opsicm.results.number_text import number

_WORKERS: Final = 2  # each may need 1 GB
CAPTION: Final = (
    "kind: input - a parameter of the twin, so that recovering it tests the instrument and not nature; calibrated - "
    "one parameter, the pipette's cone angle, was chosen for it; predicted - what follows from physics and measuring "
    "chain; by construction - the twin could give nothing else, no verdict. Twin and analysis share the approach "
    "curve. Verdicts: agrees - within the paper's precision or 15 %, for a prediction also within a quarter of the "
    "paper's own variation; same trend - within a factor of 1.5 of a number, and all that words can reach."
)


def reproduce(only: str | None, short: bool, json: Path | None, folder: Path) -> int:
    """Run the experiments, draw the figures, print the table. Returns the exit code: 0 if all ran, 130 if interrupted,
    else 3."""
    experiments = chosen_experiments(only)
    planned = plan(experiments, short)
    for experiment, reason in planned.refused.items():
        err.print(f"{experiment}: not run: {reason}")
    with Evaluator(folder / "figures") as evaluator, stop_on_interrupt() as stop:
        with _progress(planned.all) as on_progress:
            workers = min(_WORKERS, os.cpu_count() or 1)
            runs = run_all(planned, folder / "runs", stop, on_progress, workers, evaluator.begin)
        if stop():
            err.print(f"interrupted; what was finished is kept in {folder / 'runs'} and not run again")
            return 130
        for one in (one for ones in runs.values() for one in ones if one.path is None):
            err.print(f"{one.case.label}: no run: {one.reason}")
        with working("analysing the runs and drawing the figures"):
            evaluated = evaluator.results()
    compared = table(experiments, planned, runs, evaluated)
    print_table(compared)
    if json is not None:
        write_json(compared, json)
    out.print(f"findings  {write_findings(compared, folder, 'short' if short else 'long')}", markup=False)
    for path in (
        path for experiment in experiments if experiment in evaluated for path in evaluated[experiment].figures
    ):
        out.print(f"figure  {path}", markup=False)
    complete = not planned.refused and all(one.path is not None for ones in runs.values() for one in ones)
    return 0 if complete else 3


def print_table(compared: Sequence[ComparedRow]) -> None:
    """The table on standard output, one line per row; the quantity comes last because it is long."""
    lines = [("id", "paper", "here ± u (k = 1)", "unit", "ratio", "kind", "verdict", "quantity")]
    for one in compared:
        row = one.row
        paper = f"{row.paper:.4g}" if row.paper is not None else "–"
        here = number(one.result.value, one.result.u)
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        lines.append((row.id, paper, here, row.unit, ratio, row.kind, one.verdict or one.without_verdict, row.quantity))
    widths = [max(len(line[k]) for line in lines) for k in range(7)]
    for line in lines:
        cells = [
            text.rjust(w) if k in (1, 2, 4) else text.ljust(w)
            for k, (text, w) in enumerate(zip(line, widths, strict=False))
        ]
        out.print("  ".join((*cells, line[7])), markup=False)
    for one in compared:
        if one.result.value is None:
            out.print(f"{one.row.id}: {one.outcome}", markup=False)
        if one.otherwise:
            readings = "; ".join(f"{label}: {number(r.value, r.u)}" for label, r in one.otherwise.items())
            out.print(
                f"{one.row.id}: {one.row.definition or 'as declared'}. Otherwise: {readings} {one.row.unit}",
                markup=False,
            )
    for text in summary([one.record() for one in compared]):
        out.print(text, markup=False)
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
    """A process that evaluates experiments and draws their figures into `figures`, one after another.

    A process of its own, because reading runs imports HDF5, which must not be loaded beside a live run.
    """

    def __init__(self, figures: Path) -> None:
        self._figures = figures
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), begin_child)
        self._jobs: dict[str, Future[ExperimentResults]] = {}

    def begin(self, experiment: str, runs: Sequence[CaseRun]) -> None:
        """Evaluate this experiment, all runs of which are finished, as soon as the process is free."""
        if any(is_finished_declared(one) for one in runs):
            self._jobs[experiment] = self._pool.submit(_evaluate, experiment, tuple(runs), self._figures)

    def results(self) -> dict[str, ExperimentResults]:
        """The results by experiment; waits for them, and raises what the process raised."""
        return {experiment: job.result() for experiment, job in self._jobs.items()}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def _evaluate(experiment: str, runs: Sequence[CaseRun], figures: Path) -> ExperimentResults:
    from opsicm.reproduction.evaluation.experiments import evaluate
    from opsicm.reproduction.paper_figures import PaperFigures

    pictures = PaperFigures(figures)
    results = evaluate(experiment, runs, pictures.draw)
    without, otherwise = (
        {row: _without_traces(each) for row, each in others.items()} for others in (results.without, results.otherwise)
    )
    return ExperimentResults(_without_traces(results.by_row), without, otherwise, tuple(pictures.drawn))


def _without_traces(results: Mapping[str, Result]) -> dict[str, Result]:
    """The results without their traces, which are drawn already and would have to be sent between processes."""
    return {name: replace(result, trace=None) for name, result in results.items()}
