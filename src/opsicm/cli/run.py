"""`opsicm run` and `opsicm demo`: an experiment from its file to its run file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opsicm.cli.terminal import DEFAULT_OUT, OutOption, pace_of
from opsicm.core.errors import BadInput, Problem

if TYPE_CHECKING:
    from opsicm.analysis.result import Result
    from opsicm.cli.resume import ResumedRun
    from opsicm.experiment.file import LoadedExperiment

app = typer.Typer(add_completion=False)
_EXIT_CODES: Final = {"completed": 0, "interrupted": 130, "stopped": 3, "fault": 3}
_LONGEST_WORLD: Final = 500  # as of an address in a rig file
_HEADLINE: Final = (  # (result, part) of the demo: what a newcomer should see first
    ("hops", ""),
    ("expansion", "lithiation"),
    ("expansion", "delithiation"),
    ("height_scatter", ""),
    ("ten_hop_bulk_change", ""),
    ("hop_period", ""),
    ("pipette_change_at_peak", "lithiation"),
    ("peak_current", "lithiation"),
)


def headline_results(results: Iterable[Result]) -> list[Result]:
    """The headline results in a fixed order; one that failed stays, with its reason."""
    from opsicm.analysis.result import WHOLE, Subject

    by_key = {(result.name, result.of): result for result in results}
    keys = [(name, Subject(part=part) if part else WHOLE) for name, part in _HEADLINE]
    return [by_key[key] for key in keys if key in by_key]


def _runs(
    file: Path, out: Path, rig: str | None, seed: int | None, speed: str, world: Path | None = None
) -> Iterator[tuple[Path, int]]:
    """(run file, exit code) of every run of an experiment file, one after the other; none after a run that did not
    complete. All are checked before anything moves.
    """
    from opsicm.cli.check import checked_run
    from opsicm.experiment.expansion import expanded
    from opsicm.experiment.file import read_experiment

    pace = pace_of(speed)
    if rig is not None and Path(rig).is_dir() and (seed is not None or world is not None):
        limit = "is a stored run: its noise and its world are already recorded"
        raise BadInput(Problem("--rig", rig, limit, "leave out --seed and --world"))
    if world is not None:
        _refuse_unless_a_world(world)
    runs = expanded(read_experiment(file))
    predictions = [checked_run(experiment, rig, seed) for experiment in runs]
    for experiment, prediction in zip(runs, predictions, strict=True):
        estimate, expected = prediction.file_bytes, prediction.duration
        path, code = _execute(experiment, out, rig, seed, pace, estimate, world=world, expected=expected)
        yield path, code
        if code:
            return


def _refuse_unless_a_world(folder: Path) -> None:
    if not folder.is_dir():
        remedy = "start a world, python -m opsicm.cli.world_process FILE FOLDER, and name its folder"
        raise BadInput(Problem("--world", str(folder), "is not a folder", remedy))
    if len(str(folder)) > _LONGEST_WORLD:
        value, limit = f"{len(str(folder))} characters long", f"may have {_LONGEST_WORLD}"
        raise BadInput(Problem("--world", value, limit, "change into a folder above it and give the path from there"))


def _execute(
    experiment: LoadedExperiment,
    out: Path,
    rig: str | None,
    seed: int | None,
    pace: float | None,
    estimate: float | None = None,
    resumed: ResumedRun | None = None,
    world: Path | None = None,
    expected: float | None = None,
) -> tuple[Path, int]:
    from opsicm.cli.execute import execute
    from opsicm.cli.progress import run_progress
    from opsicm.cli.rigs import world_process_role
    from opsicm.cli.terminal import err, print_problems, stop_on_interrupt

    def say(message: str) -> None:
        err.print(f"alarm: {message}")

    with stop_on_interrupt() as stop, run_progress(err, experiment.experiment.title, expected) as progress:
        if rig is not None and resumed is None and Path(rig).is_dir():
            from opsicm.cli.replaying import execute_on_run

            execution = execute_on_run(Path(rig), experiment, out, pace, stop, progress, estimate)
        else:
            stand_in = None if world is None else world_process_role(world)
            execution = execute(
                experiment,
                out,
                rig,
                seed,
                pace,
                stop,
                progress,
                estimate,
                resumed,
                stand_in,
                say=say,
                expected=expected,
            )
    if execution.ending.error is not None:
        print_problems(execution.ending.error)
    outcome = execution.ending.outcome
    if outcome != "completed":
        state = "rig safe" if execution.ending.safe else "RIG NOT KNOWN TO BE SAFE"
        err.print(f"run ended: {outcome}; {state}, file kept")
    refused = isinstance(execution.ending.error, BadInput)  # by an instrument, before anything had moved
    return execution.path, BadInput.exit_code if refused else _EXIT_CODES[outcome]


def _resume(
    run: Path,
    file: Path | None,
    out: Path,
    speed: str,
    meanwhile: str | None,
    lost: str | None,
    other_options: tuple[str | None, int | None],
) -> tuple[Path, int]:
    from opsicm.cli.resume import resume_option, resumed_run

    if file is not None or other_options != (None, None):
        limit = "a run resumes with its own experiment, rig and seed"
        raise BadInput(Problem("--resume", str(run), limit, "leave out FILE, --rig and --seed"))
    resume_from = resumed_run(run, resume_option("--cell-meanwhile", meanwhile), resume_option("--lost-intent", lost))
    return _execute(resume_from.experiment, out, resume_from.rig, resume_from.seed, pace_of(speed), None, resume_from)


@app.command(epilog="Example: opsicm demo --out out/")
def demo(
    out: OutOption = DEFAULT_OUT, seed: Annotated[int | None, typer.Option(help="Seed of every random number.")] = None
) -> None:
    """Run a short operando experiment on the digital twin.

    Leaves a run file and an HTML report, and prints where they are and the headline numbers.
    """
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import working
    from opsicm.experiment.file import experiment_path

    ((path, code),) = _runs(experiment_path("short/e09_height_during_voltammogram.yaml"), out, None, seed, "max")
    # Imported after the run: what reads runs imports HDF5, which has no place beside a live one.
    from opsicm.cli.terminal import print_results
    from opsicm.record.reader import Run
    from opsicm.reporting.reports import write_report
    from opsicm.results.run_results import results_of

    with working("drawing the report"):
        report = write_report(path, None)
    with Run(path) as run:
        print_results(headline_results(results_of(run)), run.title)
    console.print(f"run file  {path}")
    console.print(f"report    {report}")
    raise typer.Exit(code)


@app.command(epilog="Example: opsicm run experiments/e09_height_during_voltammogram.yaml --out out/ --speed max")
def run(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Experiment file.")] = None,
    rig: Annotated[
        str | None, typer.Option(help="Rig file, preset or stored run to use instead of the experiment's rig.")
    ] = None,
    out: OutOption = DEFAULT_OUT,
    seed: Annotated[int | None, typer.Option(help="Seed of every random number of the twin.")] = None,
    speed: Annotated[str, typer.Option(help="max, or a factor: 1 is real time, 10 ten times as fast.")] = "max",
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Resume this interrupted run.")] = None,
    cell_meanwhile: Annotated[
        str | None,
        typer.Option(
            help="With --resume: what the cell did since, open (circuit), held (its last set-point) or unknown."
        ),
    ] = None,
    lost_intent: Annotated[
        str | None,
        typer.Option(
            help="With --resume: whether the control that was handed over last began or never did: began, never."
        ),
    ] = None,
    world: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Run on the twin of another process (its folder), with a watchdog."),
    ] = None,
) -> None:
    """Run an experiment on its rig or on the digital twin.

    Ctrl-C stops safely and keeps the file. Prints the path of every run file, the last one on the last line.
    """
    from opsicm.cli.terminal import print_path

    if resume is not None:
        path, code = _resume(resume, file, out, speed, cell_meanwhile, lost_intent, (rig, seed))
        print_path(path)
    elif file is None:
        raise BadInput(
            Problem("FILE", "", "is missing", "name an experiment file, or an interrupted run with --resume")
        )
    elif cell_meanwhile is not None or lost_intent is not None:
        raise BadInput(Problem("--cell-meanwhile", "", "says how to resume a run", "name the run with --resume"))
    else:
        for path, code in _runs(file, out, rig, seed, speed, world):  # noqa: B007 - the last code is the whole's
            print_path(path)
    raise typer.Exit(code)
