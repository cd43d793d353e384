"""The functions of `import opsicm`: run, open, analyse, report, check and plot, as the command line has them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Final

from opsicm.core.errors import BadInput, Problem
from opsicm.experiment.expansion import expanded
from opsicm.experiment.file import LoadedExperiment, experiment_from_text, read_experiment, to_yaml
from opsicm.experiment.model import Experiment

# Reading a run imports HDF5, which should stay out of a process until its run has ended: imported inside the functions.
if TYPE_CHECKING:
    from opsicm.cli.python_run import StoredRun
    from opsicm.cli.python_tables import FigureDict, ResultList
    from opsicm.forecast.prediction import Prediction

_TEXT: Final = "<text>"
AnyExperiment = LoadedExperiment | Experiment | Path | str
"""An experiment file by its path; its text (a string of several lines); or what `check(…).experiments` holds."""


@dataclass(frozen=True, slots=True, repr=False)
class CheckedExperiment:
    """What `check` says of an experiment file: `problems`, or the `experiments` in it with a prediction each.

    A file without `vary` is one experiment. `ok` is whether it can run. Shows itself as `opsicm check` prints it.
    """

    name: str
    problems: tuple[Problem, ...]
    experiments: tuple[LoadedExperiment, ...]
    predictions: tuple[Prediction, ...]

    @property
    def ok(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def __repr__(self) -> str:
        if self.problems:
            return "\n".join([f"{self.name}: {len(self.problems)} problem(s)", *(f"  {p}" for p in self.problems)])
        from opsicm.cli.check import check_report

        return check_report(Path(self.name), list(zip(self.experiments, self.predictions, strict=True)))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        if not self.problems:
            return f"<pre>{escape(repr(self))}</pre>"
        from opsicm.cli.python_tables import html_table

        rows = [("" if p.line is None else str(p.line), p.thing, p.value, p.limit, p.remedy) for p in self.problems]
        return html_table(rows, ("line", f"problem in {self.name}", "value", "limit", "remedy"))


def check(experiment: AnyExperiment, *, rig: str | None = None) -> CheckedExperiment:
    """Check an experiment on its rig and forecast the run; executes nothing.

    - experiment: path of the file, or its text (a string of several lines).
    - rig: rig file or preset instead of the experiment's.

    Returns every problem, or duration, file size and signals against noise. A problem is returned, not raised.

        opsicm.check("first.yaml")
    """
    from opsicm.cli.check import checked_run

    name = str(experiment) if isinstance(experiment, Path) else _TEXT
    if isinstance(experiment, str) and "\n" not in experiment:
        name = experiment
    experiments: list[LoadedExperiment] = []
    predictions: list[Prediction] = []
    problems: dict[Problem, None] = {}
    try:
        experiments = expanded(_loaded(experiment))
    except BadInput as error:
        problems = dict.fromkeys(error.problems)
    for each in experiments:
        try:
            predictions.append(checked_run(each, rig, None))
        except BadInput as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        return CheckedExperiment(name, tuple(problems), (), ())
    return CheckedExperiment(name, (), tuple(experiments), tuple(predictions))


def run(
    experiment: AnyExperiment,
    *,
    out: Path | str = ".",
    rig: str | None = None,
    seed: int | None = None,
    speed: float | None = None,
) -> StoredRun:
    """Execute an experiment and return its run.

    - experiment: path of the file, or its text (a string of several lines).
    - out: folder in which the run's own folder is made.
    - rig: rig file, preset or stored run instead of the experiment's.
    - seed: of every random number of the twin.
    - speed: 1 is real time, None as fast as possible.

    The experiment is checked first. Raises `BadInput` with every problem before anything moves, or the error that
    stopped the run, with the rig safe and the file kept. Ctrl-C (a notebook's stop button) ends the run safely, keeps
    the file, and raises `KeyboardInterrupt`.

        run = opsicm.run("first.yaml", out="runs")
    """
    from opsicm.cli.check import checked_run
    from opsicm.cli.execute import execute
    from opsicm.cli.progress import run_progress
    from opsicm.cli.replaying import execute_on_run
    from opsicm.cli.terminal import err

    series = expanded(_loaded(experiment))
    if len(series) > 1:
        remedy = "run each: [opsicm.run(one) for one in opsicm.check(FILE).experiments]"
        raise BadInput(Problem("vary", "", f"makes {len(series)} runs of the file, and this is one", remedy))
    (loaded,) = series
    prediction = checked_run(loaded, rig, seed)
    estimate, expected = prediction.file_bytes, prediction.duration
    with _stop_on_interrupt() as stop, run_progress(err, loaded.experiment.title, expected) as progress:
        if rig is not None and Path(rig).is_dir():
            execution = execute_on_run(Path(rig), loaded, Path(out), speed, stop, progress, estimate)
        else:
            execution = execute(loaded, Path(out), rig, seed, speed, stop, progress, estimate, expected=expected)
    kept = f"the run file is kept: opsicm.open({str(execution.path)!r})"
    if execution.ending.outcome == "interrupted":
        raise KeyboardInterrupt(f"the run was interrupted, the rig is safe; {kept}")
    if execution.ending.error is not None:
        execution.ending.error.add_note(kept)
        raise execution.ending.error
    return open(execution.path)


def open(path: Path | str) -> StoredRun:
    """The run at `path` (its folder or run file), read when asked for.

        run = opsicm.open("runs/20261130T094059Z_first-light")
        run.hops, run.cell, run.slow, run.images(), run.trace(0), run.results, run.plot.time()

    Raises `BadInput` where there is no run, `UnreadableRun` where it is damaged or was interrupted (`opsicm recover`).
    """
    from opsicm.cli.python_run import StoredRun

    return StoredRun(path)


def analyse(
    source: StoredRun | Path | str,
    *more: StoredRun | Path | str,
    columns: str | None = None,
    setpoint: float | None = None,
    particle_radius: float | None = None,
) -> ResultList:
    """All results of runs or third-party files, each with uncertainty, unit and method.

    - source, more: runs, their paths, or files of other instruments. Of several, each result names its run, and what
      they show together (a calibration, concentrations) comes last.
    - columns: of a text file, as "t=s,I=pA,z=um".
    - setpoint: the relative drop [1] that ended the approaches of a trace of hops that does not state it.
    - particle_radius: of the active particles [m], where a cell's file is analysed: the diffusivity needs it.

        results = opsicm.analyse(run)
        results["expansion_lithiation"].value, results.select("expansion")
    """
    from opsicm.cli.python_run import StoredRun
    from opsicm.cli.python_tables import ResultList
    from opsicm.results.run_or_file import results_of_path, results_of_several

    each = []
    for one in (source, *more):
        path = _path(one)
        if isinstance(one, StoredRun):
            results = list(one.results)
        else:
            results = results_of_path(path, columns, setpoint, particle_radius=particle_radius)
        each.append((path, results))
    if len(each) == 1:
        return ResultList(each[0][1])
    named = [r.within(run=_run_name(path)) for path, results in each for r in results]
    return ResultList([*named, *results_of_several(each)])


def report(
    source: StoredRun | Path | str,
    *more: StoredRun | Path | str,
    output: Path | str | None = None,
    columns: str | None = None,
    csv: Path | str | None = None,
) -> Path:
    """Write the report of a run, of several together, or of a third-party file: one HTML page; returns its path.

    - source, more: runs or their paths; or one file of another instrument.
    - output: the file to write; by default beside the run, and in the working folder for a third-party file.
    - columns: of a text file, as "t=s,I=pA,z=um".
    - csv: a folder, for the data of every figure and table as well.

        opsicm.report(run)
    """
    from opsicm.reporting.reports import report_of

    paths = [_path(one) for one in (source, *more)]
    return report_of(paths, None if output is None else Path(output), columns, None if csv is None else Path(csv))


def plot(source: StoredRun | Path | str, *, columns: str | None = None, setpoint: float | None = None) -> FigureDict:
    """Every figure that applies to a run or a third-party file, by name: matplotlib figures.

    - source: a run, its path, or another instrument's file.
    - columns, setpoint: as for `analyse`.

    A run has each by itself as well: `run.plot.images()`, `run.plot.voltammogram()`, `run.plot.sections()`.

        opsicm.plot("scan.sicm")["image"].savefig("image.png")
    """
    from opsicm.cli.python_plots import figures
    from opsicm.cli.python_run import StoredRun
    from opsicm.results.run_or_file import results_of_path, views_of_path

    if isinstance(source, StoredRun):
        return source.plot()
    path = Path(source)
    return figures(views_of_path(path, results_of_path(path, columns, setpoint)))


def _loaded(experiment: AnyExperiment) -> LoadedExperiment:
    if isinstance(experiment, LoadedExperiment):
        return experiment
    if isinstance(experiment, Experiment):
        return experiment_from_text(to_yaml(experiment), _TEXT)
    if isinstance(experiment, str) and "\n" in experiment:
        return experiment_from_text(experiment, _TEXT)
    return read_experiment(experiment)


def _run_name(path: Path) -> str:
    return path.name if path.is_dir() or path.suffix != ".nxs" else path.resolve().parent.name


@contextmanager
def _stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """As on the command line; outside the main thread, which alone may handle signals, nothing stops the run."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    from opsicm.cli.terminal import stop_on_interrupt

    with stop_on_interrupt() as stop:
        yield stop


def _path(source: StoredRun | Path | str) -> Path:
    return Path(source) if isinstance(source, Path | str) else source.path
