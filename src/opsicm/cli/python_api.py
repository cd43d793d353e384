"""The Python API: open, run and analyse, as the command line does them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opsicm.analysis.result import Result
from opsicm.cli.execute import execute
from opsicm.experiment.file import experiment_from_text, read_experiment, to_yaml
from opsicm.experiment.model import Experiment

# Reading a run imports HDF5, which must stay out of a process with a live run: imported after the run has ended.
if TYPE_CHECKING:
    from opsicm.record.reader import Run


def open_run(path: Path | str) -> Run:
    """The run at `path` (folder or file), read lazily."""
    from opsicm.record.reader import Run

    return Run(path)


def run(
    experiment: Experiment | Path | str, *, rig: str | None = None, out: Path | str = ".", seed: int | None = None
) -> Run:
    """Execute an experiment (a model or a file) below `out`; raises the error that stopped it, with the file kept."""
    loaded = (
        experiment_from_text(to_yaml(experiment), "<experiment>")
        if isinstance(experiment, Experiment)
        else read_experiment(experiment)
    )
    execution = execute(loaded, Path(out), rig, seed)
    if execution.ending.error is not None:
        raise execution.ending.error
    from opsicm.record.reader import Run

    return Run(execution.path)


def analyse(source: Run | Path | str, columns: str | None = None, setpoint: float | None = None) -> list[Result]:
    """All results of a run or a third-party file; `columns` as "t=s,I=pA,z=um" of a text file, `setpoint` [1] of a
    trace of hops that does not state it.
    """
    from opsicm.record.reader import Run
    from opsicm.results.run_or_file import results_of_path
    from opsicm.results.run_results import results_of

    if isinstance(source, Run):
        return results_of(source)
    return results_of_path(Path(source), columns, setpoint)
