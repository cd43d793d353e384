"""`opsicm reproduce`: the paper's experiments on the twin, analysed, beside what the paper prints."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from opsicm.analysis.result import Result
from opsicm.cli.terminal import err, out, stop_on_interrupt, working
from opsicm.reproduction.cases import Case, chosen_experiments, plan
from opsicm.reproduction.findings import write_findings
from opsicm.reproduction.paper import Kind
from opsicm.reproduction.runs import CaseRun, OnProgress, Workers, run_all
from opsicm.reproduction.sensitivity import ALL, RowSensitivity, assumed, chosen_names, sensitivities, turned
from opsicm.reproduction.table import (
    ComparedRow,
    ExperimentResults,
    is_finished_declared,
    side_by_side,
    summary,
    table,
    write_records,
)
from opsicm.reproduction.variants import declared_sets
from opsicm.results.number_text import number

_WORKERS: Final = 2  # each may need 1 GB
_MOST_NAMED: Final = 3  # numbers that move a row, in its line
CAPTION: Final = (
    "kind: input - a parameter of the twin, so that recovering it tests the instrument and not nature; calibrated - "
    "something was chosen for it, in every set the cone angle for E5.step; predicted - what follows from physics and "
    "measuring chain; by construction - the twin could give nothing else, no verdict. Twin and analysis share the "
    "approach curve. Verdicts: agrees - within the paper's precision or 15 %, for a prediction also within a quarter "
    "of the paper's own variation, and only where u is smaller than that; same trend - within a factor of 1.5 of a "
    "number, and all that words can reach."
)


def reproduce(only: str | None, short: bool, json: Path | None, folder: Path, names: Sequence[str] = ()) -> int:
    """Run the experiments under each set, draw the first one's figures, print the table with a column for each.

    `names` of the sets, all declared ones if empty. Returns the exit code: 0 if all ran, 130 if interrupted, else 3.
    """
    experiments, sets = chosen_experiments(only), declared_sets(names)
    plans = {one.name: plan(experiments, short, one, in_full=one is sets[0]) for one in sets}
    for name, experiment, reason in ((n, e, r) for n, one in plans.items() for e, r in one.refused.items()):
        _complain(experiment, [name], "not run", reason)
    cases = {case.key: case for one in plans.values() for case in one.all}
    with Workers(min(_WORKERS, os.cpu_count() or 1)) as workers, stop_on_interrupt() as stop:
        evaluator = Evaluator(workers, folder / "figures", sets[0].name)
        with _progress(list(cases.values())) as on_progress:
            runs = run_all(plans, folder / "runs", stop, on_progress, workers, evaluator.begin)
        if stop():
            err.print(f"interrupted; what was finished is kept in {folder / 'runs'} and not run again")
            return 130
        failed = _named_by_set(
            (one, n) for n, by in runs.items() for ones in by.values() for one in ones if not one.path
        )
        for one, of_sets in failed:
            _complain(one.case.label, of_sets, "no run", one.reason)
        with working("analysing the runs and drawing the figures"):
            evaluated = evaluator.results()
        unread = [(n, e, one.failure) for n, by in evaluated.items() for e, one in by.items() if one.failure]
        for name, experiment, reason in unread:
            _complain(experiment, [name], "not evaluated", reason)
    columns = [table(experiments, plans[one.name], runs[one.name], evaluated.get(one.name, {}), one) for one in sets]
    compared = side_by_side(columns)
    print_table(compared)
    if json is not None:
        write_records([one.record() for one in compared], json)
    out.print(f"findings  {write_findings(compared, folder, 'short' if short else 'long')}", markup=False)
    first = evaluated.get(sets[0].name, {})
    for path in (path for experiment in experiments if experiment in first for path in first[experiment].figures):
        out.print(f"figure  {path}", markup=False)
    return 3 if failed or unread or any(one.refused for one in plans.values()) else 0


def _complain(what: str, sets: Sequence[str], outcome: str, reason: str) -> None:
    """One line on standard error: an experiment or run, the sets that miss it, and why."""
    err.print(f"{what}, set {' and '.join(sets)}: {outcome}: {reason}", markup=False)


def _named_by_set(runs: Iterable[tuple[CaseRun, str]]) -> list[tuple[CaseRun, list[str]]]:
    """Each run once, with every set that has it."""
    sets: dict[str, tuple[CaseRun, list[str]]] = {}
    for one, name in runs:
        sets.setdefault(one.case.key, (one, []))[1].append(name)
    return list(sets.values())


def sensitivity(only: str | None, named: str, json: Path | None, folder: Path, sets: Sequence[str] = ()) -> int:
    """How every predicted row of the short forms follows the assumed numbers `named`, one at a time, under one set.

    Prints what moves each row most and which verdicts turn, and draws a figure for each experiment. Returns the exit
    code: 0, or 130 if interrupted; what was computed is kept.
    """
    experiments, chosen = chosen_experiments(only), declared_sets(sets)[0]
    names = chosen_names(named, chosen)
    kept = folder / "sensitivity"
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:.0f} of {task.total:.0f}"),
    )
    with stop_on_interrupt() as stop, Progress(*columns, console=err, disable=not err.is_terminal) as bars:
        task = bars.add_task("experiments with one number changed")
        rows = sensitivities(
            chosen,
            experiments,
            names,
            kept,
            stop,
            lambda done, total: bars.update(task, completed=done, total=total),
            min(_WORKERS, os.cpu_count() or 1),
        )
    if rows is None:
        err.print(f"interrupted; what was computed is kept in {kept}")
        return 130
    print_sensitivities(rows)
    _, without = assumed(chosen)
    if named == ALL and without:
        out.print(f"not varied, for nobody has stated a range: {', '.join(without)}", markup=False)
    if json is not None:
        write_records([row.record() for row in rows], json)
    with working("drawing the figures"):
        figures = [path for experiment in experiments for path in _tornados(experiment, rows, folder / "figures")]
    for path in figures:
        out.print(f"figure  {path}", markup=False)
    return 0


def print_sensitivities(rows: Sequence[RowSensitivity]) -> None:
    """For each row what moves it most, then every verdict that turns."""
    for row in rows:
        moved = [effect for effect in row.effects if effect.span(row.base) > 0.0][:_MOST_NAMED]
        texts = [f"{one.text}: {number(one.here[0], None)} … {number(one.here[1], None)}" for one in moved]
        texts += [f"{one.name}: no number, this form states its own" for one in row.effects if not one.applies]
        here = f"{number(row.base, row.u)} {row.row.unit}"
        out.print(f"{row.row.id}  {here}  {'; '.join(texts) or 'none of them moves it'}", markup=False)
    for row, effect, end in turned(rows):
        value = effect.here[end]
        assert value is not None
        text = f"{row.judged(row.base)} turns {row.judged(value)} at {effect.name} {effect.ends[end]}"
        out.print(f"{row.row.id}: {text} ({number(value, None)} {row.row.unit})", markup=False)


def _tornados(experiment: str, rows: Sequence[RowSensitivity], figures: Path) -> tuple[Path, ...]:
    from opsicm.figures.draw import draw, save
    from opsicm.figures.sensitivity import Bar, Tornado, tornado_view

    shown = [
        Tornado(
            row.row.id,
            row.row.quantity,
            row.row.unit,
            row.base,
            row.row.paper,
            tuple(Bar(effect.text, *effect.here) for effect in row.effects),
        )
        for row in rows
        if row.row.experiment == experiment
    ]
    if not shown:
        return ()
    title = f"{experiment}: each assumed number at its lower (blue) and its upper end (orange)"
    return save(draw(tornado_view(shown, title)), figures / f"sensitivity_{experiment}")


def print_table(compared: Sequence[ComparedRow]) -> None:
    """The table on standard output, one line per row: the first set, the others beside it; the quantity comes last."""
    others = tuple(compared[0].beside) if compared else ()
    heads = [text for name in others for text in (f"{compared[0].beside[name].chosen.label} ± u", "verdict")]
    lines = [("id", "paper", "here ± u (k = 1)", "unit", "ratio", "kind", "verdict", *heads, "quantity")]
    for one in compared:
        row = one.row
        paper = f"{row.paper:.4g}" if row.paper is not None else "–"
        ratio = "" if one.ratio is None else f"{one.ratio:.2f}"
        beside = [text for name in others for text in (_here(one.beside[name]), _verdict(one.beside[name], row.kind))]
        lines.append((row.id, paper, _here(one), row.unit, ratio, row.kind, _verdict(one), *beside, row.quantity))
    last = len(lines[0]) - 1
    widths = [max(len(line[k]) for line in lines) for k in range(last)]
    numbers = {1, 2, 4, *range(7, last, 2)}
    for line in lines:
        cells = [
            text.rjust(w) if k in numbers else text.ljust(w)
            for k, (text, w) in enumerate(zip(line, widths, strict=False))
        ]
        out.print("  ".join((*cells, line[last])), markup=False)
    for one in compared:
        if one.result.value is None:
            out.print(f"{one.row.id}: {one.outcome}", markup=False)
        if one.otherwise:
            readings = "; ".join(f"{label}: {number(r.value, r.u)}" for label, r in one.otherwise.items())
            out.print(
                f"{one.row.id}: {one.row.definition or 'as declared'}. Otherwise: {readings} {one.row.unit}",
                markup=False,
            )
    for k in range(1 + len(others)):
        column = [one if k == 0 else one.beside[others[k - 1]] for one in compared]
        out.print(f"{column[0].chosen.label}: parameter set {column[0].chosen.name}", markup=False)
        for text in summary([one.record() for one in column]):
            out.print(f"  {text}", markup=False)
    out.print(CAPTION)


def _here(one: ComparedRow) -> str:
    return number(one.result.value, one.result.u)


def _verdict(one: ComparedRow, kind: Kind | None = None) -> str:
    """The verdict, with the row's kind where it is another than `kind`, the first set's."""
    text = one.verdict or one.without_verdict
    return text if kind in (None, one.row.kind) else f"{text} ({one.row.kind})"


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


class Evaluator:
    """Evaluates experiments in the `workers`, and draws the figures of the set `drawn` into `figures`.

    Not in the command's own process, which does without HDF5. Sets that share all runs of an experiment share its
    evaluation.
    """

    def __init__(self, workers: Workers, figures: Path, drawn: str) -> None:
        self._workers, self._figures, self._drawn = workers, figures, drawn
        self._jobs: dict[tuple[str, str], Future[ExperimentResults]] = {}
        self._by_runs: dict[tuple[str, ...], Future[ExperimentResults]] = {}

    def begin(self, name: str, experiment: str, runs: Sequence[CaseRun]) -> None:
        """Evaluate this experiment of the set `name`, whose runs are all finished, as soon as a worker is free."""
        if not any(is_finished_declared(one) for one in runs):
            return
        keys = tuple(one.case.key for one in runs)
        figures = self._figures if name == self._drawn else None
        if keys not in self._by_runs:
            self._by_runs[keys] = self._workers.pool.submit(_evaluate, experiment, tuple(runs), figures)
        self._jobs[name, experiment] = self._by_runs[keys]

    def results(self) -> dict[str, dict[str, ExperimentResults]]:
        """The results by set and experiment; waits for them. One that raised costs its own rows, and says why."""
        results: dict[str, dict[str, ExperimentResults]] = {}
        for (name, experiment), job in self._jobs.items():
            error = job.exception()
            # An error of the program too: the runs took minutes, and the other experiments' rows stand without it.
            results.setdefault(name, {})[experiment] = (
                job.result() if error is None else _unevaluated(f"{type(error).__name__}: {error}")
            )
        return results


def _evaluate(experiment: str, runs: Sequence[CaseRun], figures: Path | None) -> ExperimentResults:
    from opsicm.reproduction.evaluation.experiments import evaluate
    from opsicm.reproduction.paper_figures import PaperFigures

    pictures = None if figures is None else PaperFigures(figures)
    results = evaluate(experiment, runs, (lambda *_: None) if pictures is None else pictures.draw)
    without, otherwise = (
        {row: _without_traces(each) for row, each in others.items()} for others in (results.without, results.otherwise)
    )
    drawn = () if pictures is None else tuple(pictures.drawn)
    return ExperimentResults(_without_traces(results.by_row), without, otherwise, drawn)


def _unevaluated(reason: str) -> ExperimentResults:
    return ExperimentResults(failure=f"the evaluation failed: {reason}")


def _without_traces(results: Mapping[str, Result]) -> dict[str, Result]:
    """The results without their traces, which are drawn already and would have to be sent between processes."""
    return {name: replace(result, trace=None) for name, result in results.items()}
