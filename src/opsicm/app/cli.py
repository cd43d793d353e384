"""The command line: a shell over the same functions that the Python door offers.

Exit codes: 0 done, 2 bad input, 3 stopped by a limit or a fault (rig safe, file kept), 130 interrupted (the same).
Heavy imports stand inside the commands, so that `--help` and a refusal answer at once.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from opsicm.app.command_command import app as steering_commands
from opsicm.app.convert_command import app as convert_commands
from opsicm.app.record_command import app as record_commands
from opsicm.errors import BadInput, OpsicmError, Problem

if TYPE_CHECKING:
    from opsicm.app.resume import Resumed
    from opsicm.protocol.experiment_file import LoadedExperiment

app = typer.Typer(
    name="opsicm",
    help="Operando scanning ion conductance microscopy of battery electrodes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
# typer brings its own click or uses the installed one: the class is found from the one it surely has.
_UsageFault: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")
_OUTCOMES = {"completed": 0, "interrupted": 130, "stopped": 3, "fault": 3}

OutOption = Annotated[Path, typer.Option("--out", help="Folder in which the run's own folder is made.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="A list of records with stable keys on standard output.")]


def pace_of(text: str) -> float | None:
    """What --speed says: None for max, else how many times faster than real time."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < 1e9:
        raise BadInput(Problem("--speed", repr(text), "is max, or a number above 0", "1 is real time, max the fastest"))
    return speed


def _run(
    file: Path, out: Path, rig: str | None, seed: int | None, speed: str, world: Path | None = None
) -> tuple[Path, int]:
    """Every run of a file, one after the other; the last one's path, and the code of the first that did not complete.

    All are checked before the first one moves.
    """
    from opsicm.app.check import refuse
    from opsicm.protocol.expansion import expanded
    from opsicm.protocol.experiment_file import read_experiment

    pace = pace_of(speed)
    if rig is not None and Path(rig).is_dir() and (seed is not None or world is not None):
        limit = "is a stored run: its noise and its world are what was recorded"
        raise BadInput(Problem("--rig", rig, limit, "leave out --seed and --world"))
    runs = expanded(read_experiment(file))
    estimates = [refuse(one, rig, seed).file_bytes for one in runs]
    for experiment, estimate in zip(runs, estimates, strict=True):
        path, code = _execute(experiment, out, rig, seed, pace, estimate, world=world)
        if code:
            break
    return path, code


def _execute(
    experiment: LoadedExperiment,
    out: Path,
    rig: str | None,
    seed: int | None,
    pace: float | None,
    estimate: float | None = None,
    resumed: Resumed | None = None,
    world: Path | None = None,
) -> tuple[Path, int]:
    from opsicm.app.execute import execute
    from opsicm.app.terminal import complain, err, run_progress, stop_on_interrupt

    with stop_on_interrupt() as stop, run_progress(experiment.experiment.title) as progress:
        if rig is not None and resumed is None and Path(rig).is_dir():
            from opsicm.app.replaying import execute_on_run

            execution = execute_on_run(Path(rig), experiment, out, pace, stop, progress, estimate)
        else:
            execution = execute(experiment, out, rig, seed, pace, stop, progress, estimate, resumed, world)
    if execution.ending.error is not None:
        complain(execution.ending.error)
    outcome = execution.ending.outcome
    if outcome != "completed":
        err.print(f"run ended: {outcome}; rig safe, file kept")
    return execution.path, _OUTCOMES[outcome]


def _resume(
    run: Path,
    file: Path | None,
    out: Path,
    speed: str,
    meanwhile: str | None,
    lost: str | None,
    others: tuple[str | None, int | None],
) -> tuple[Path, int]:
    from opsicm.app.resume import choice, resumed

    if file is not None or others != (None, None):
        limit = "a run goes on with its own experiment, rig and seed"
        raise BadInput(Problem("--resume", str(run), limit, "leave out FILE, --rig and --seed"))
    found = resumed(run, choice("--cell-meanwhile", meanwhile), choice("--lost-intent", lost))
    return _execute(found.experiment, out, found.rig, found.seed, pace_of(speed), None, found)


@app.command(epilog="Example: opsicm demo --out out/")
def demo(
    out: OutOption = Path("opsicm-demo"),
    seed: Annotated[int | None, typer.Option(help="Decides every random number.")] = None,
) -> None:
    """Run a short operando experiment on the twin; leave a run file and a report; print the headline numbers."""
    from opsicm.app.terminal import out as console
    from opsicm.app.terminal import working
    from opsicm.protocol.packaged import experiment_path

    path, code = _run(experiment_path("short/e09_height_during_voltammogram.yaml"), out, None, seed, "max")
    # Not before: whatever reads runs imports HDF5, which has no place beside a live one.
    from opsicm.app.demo import headline
    from opsicm.app.run_results import results_of, write_report
    from opsicm.app.terminal import print_results
    from opsicm.record.reader import Run

    with working("drawing the report"):
        report = write_report(path, None)
    with Run(path) as run:
        print_results(headline(results_of(run)), run.title)
    console.print(f"run file  {path}")
    console.print(f"report    {report}")
    raise typer.Exit(code)


@app.command(epilog="Example: opsicm check experiments/e09_height_during_voltammogram.yaml")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Experiment files.")],
    rig: Annotated[str | None, typer.Option(help="Rig file or preset instead of the experiment's.")] = None,
    json: JsonFlag = False,
) -> None:
    """Say every problem at once, each with its line, and what the run will take and show. Runs nothing."""
    from opsicm.app.check import checked
    from opsicm.app.prediction_text import checked_text, prediction_record
    from opsicm.app.terminal import complain, print_json
    from opsicm.app.terminal import out as console

    records: list[dict[str, Any]] = []
    bad = False
    for file in files:
        try:
            predictions = checked(file, rig)
        except OpsicmError as error:
            bad = True
            complain(error)
            problems = [{"file": p.file, "line": p.line, "problem": str(p)} for p in error.problems]
            records.append({"file": str(file), "ok": False, "problems": problems})
            continue
        for experiment, prediction in predictions:
            record = prediction_record(experiment, prediction)
            records.append({"file": str(file), "ok": True, "problems": [], **record})
        if not json:
            console.print(checked_text(file, predictions), markup=False, soft_wrap=True)
    if json:
        print_json(records)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm run experiments/e09_height_during_voltammogram.yaml --out out/ --speed max")
def run(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="Experiment file.")] = None,
    rig: Annotated[
        str | None, typer.Option(help="Rig file, preset, or a stored run to be replayed, instead of the experiment's.")
    ] = None,
    out: OutOption = Path(),
    seed: Annotated[int | None, typer.Option(help="Decides every random number of a twin.")] = None,
    speed: Annotated[str, typer.Option(help="max, 1 for real time, or how many times faster.")] = "max",
    resume: Annotated[Path | None, typer.Option(metavar="RUN", help="Go on where this run was cut off.")] = None,
    cell_meanwhile: Annotated[
        str | None, typer.Option(help="What the cell did since: open (circuit), held (its last set-point), unknown.")
    ] = None,
    lost_intent: Annotated[
        str | None, typer.Option(help="Whether a control that was handed over last began: began, never.")
    ] = None,
    world: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Run on a twin in another process, watched by a watchdog.")
    ] = None,
) -> None:
    """Execute an experiment. Ctrl-C stops safely and keeps the file; the last line printed is the run file's path."""
    from opsicm.app.terminal import out as console

    if resume is not None:
        path, code = _resume(resume, file, out, speed, cell_meanwhile, lost_intent, (rig, seed))
    elif file is None:
        raise BadInput(Problem("FILE", "", "is missing", "name an experiment file, or a run with --resume"))
    elif cell_meanwhile is not None or lost_intent is not None:
        raise BadInput(Problem("--cell-meanwhile", "", "says how to go on with a run", "name it with --resume"))
    else:
        path, code = _run(file, out, rig, seed, speed, world)
    console.print(str(path), markup=False)
    raise typer.Exit(code)


@app.command(epilog="Example: opsicm analyse out/20261123T080000Z_height --json")
def analyse(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, run files, other people's files.")],
    json: JsonFlag = False,
    columns: Annotated[str | None, typer.Option(help="Columns of a text table, as t=s,I=pA,z=um.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write the figures there, as .svg and .png.")
    ] = None,
) -> None:
    """All results that apply to a run or a file, each with uncertainty, unit and method."""
    from opsicm.app.sources import figures_of_path, figures_of_several, results_of_path, results_of_several
    from opsicm.app.terminal import err, print_json, print_results, working

    records: list[dict[str, Any]] = []
    each = []
    for path in runs:
        with working(f"analysing {path}"):
            results = results_of_path(path, columns)
            pictures = [] if out is None else figures_of_path(path, results, out)
        each.append((path, results))
        records.extend({"run": str(path), **result.record()} for result in results)
        if not json:
            print_results(results, str(path))
        # On standard error: what is on standard output is the results and nothing else.
        err.print("\n".join(map(str, pictures)), markup=False) if pictures else None
    together = results_of_several(each)
    records.extend({"run": "all", **result.record()} for result in together)
    if together and not json:
        print_results(together, "all runs together")
    if together and out is not None:
        err.print("\n".join(map(str, figures_of_several(together, out))), markup=False)
    if json:
        print_json(records)


@app.command(epilog="Example: opsicm report out/20261123T080000Z_height -o report.html")
def report(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder, run file, or another instrument's file.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Where to; by default beside the run file.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Columns of a text table, as t=s,I=pA,z=um.")] = None,
) -> None:
    """Write a self-contained HTML report with the figures; print where it is."""
    from opsicm.app.sources import report_of_path
    from opsicm.app.terminal import out as console
    from opsicm.app.terminal import working

    with working("drawing the report"):
        target = report_of_path(run, output, columns)
    console.print(str(target), markup=False)


@app.command(epilog="Example: opsicm identify scan.sicm")
def identify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any measured file.")],
    json: JsonFlag = False,
    columns: Annotated[str | None, typer.Option(help="Columns of a text table, as t=s,I=pA,z=um.")] = None,
) -> None:
    """Say what is in a file, and whether it looks plausible."""
    from opsicm.app.sources import identification
    from opsicm.app.terminal import out as console
    from opsicm.app.terminal import print_json

    text, records = identification(file, columns)
    if json:
        print_json(records)
    else:
        console.print(text, markup=False)


@app.command(epilog="Example: opsicm schema > opsicm.schema.json")
def schema() -> None:
    """Print the JSON Schema of the experiment file."""
    import json as json_module

    from opsicm.protocol.experiment_file import json_schema

    print(json_module.dumps(json_schema(), indent=2, ensure_ascii=False))


@app.command(epilog="Example: opsicm reproduce --only E2,E5 --short --json table.json --out reproduced/")
def reproduce(
    only: Annotated[str | None, typer.Option(help="Experiments, as E5,E9; by default all twelve.")] = None,
    short: Annotated[bool, typer.Option("--short", help="Full chemistry, fewer hops and pixels.")] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the table to this file as well.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for runs and figures.")] = Path("opsicm-reproduced"),
) -> None:
    """The paper's twelve experiments on the twin: its numbers beside ours with uncertainty and verdict, its figures."""
    from opsicm.app.reproduce.command import reproduce as run_reproduce

    raise typer.Exit(run_reproduce(only, short, json, out))


@app.command(epilog="Example: opsicm bench --only hop --json bench.json")
def bench(
    json: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file as well.")] = None,
    only: Annotated[str | None, typer.Option(help="Only rows whose file name contains this.")] = None,
) -> None:
    """The performance table, against peers and the machine's limit, in one run."""
    from opsicm.app.bench.table import print_rows, run_rows, write_rows

    rows = run_rows(only)
    print_rows(rows)
    if json is not None:
        write_rows(rows, json)


_GROUPS = {"kernel": "opsicm.app.kernel_command", "parameters": "opsicm.app.parameters_command"}


def _mount(arguments: list[str]) -> None:
    """Add the command groups that this call can mean: importing all of them would cost every other command a second."""
    mounted = {group.name for group in app.registered_groups}
    for name, module in _GROUPS.items():
        if name not in mounted and (not arguments or arguments[0] in (name, "--help")):
            app.add_typer(import_module(module).app, name=name)


for _more in (record_commands, steering_commands, convert_commands):
    app.registered_commands += _more.registered_commands


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. No traceback ever reaches the user for an error of theirs."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _mount(arguments)
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        code = command(arguments, standalone_mode=False)
    except OpsicmError as error:
        from opsicm.app.terminal import complain

        complain(error)
        return error.exit_code
    except typer.Exit as error:
        return int(error.exit_code)
    except _UsageFault as error:
        error.show()
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0
    except Exception as error:
        if "OPSICM_TRACEBACK" in os.environ:
            raise
        sys.stderr.write(
            f"internal error {type(error).__name__}: {error}; please report it (OPSICM_TRACEBACK=1 shows where)\n"
        )
        return 1
    return code if isinstance(code, int) else 0


def _end_at_once(_signal: int, _frame: object) -> None:
    os._exit(130)


def entry() -> None:
    """What the console script calls."""
    # Until a run has its own handler nothing has moved and nothing is open: an interrupt during the imports ends the
    # program there and then, instead of being swallowed by an import lock.
    signal.signal(signal.SIGINT, _end_at_once)
    sys.exit(main())
