"""The command line: a shell over the functions that the Python API offers.

Exit codes: 0 done, 2 bad input, 3 stopped by a limit or a fault (rig safe, file kept), 130 interrupted (the same).
Heavy imports stand inside the commands, so that `--help` and a refusal answer at once.
"""

from __future__ import annotations

import errno
import gc
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from opsicm.core.errors import BadInput, OpsicmError, Problem

app = typer.Typer(
    name="opsicm",
    help="Operando scanning ion conductance microscopy of battery electrodes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_OBJECTS_BEFORE_COLLECTING: Final = 50_000
# typer brings its own click or uses the installed one: the class is found through one that both have.
_UsageError: Any = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"opsicm {version('opsicm')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Operando scanning ion conductance microscopy of battery electrodes."""


@app.command(epilog="Example: opsicm reproduce --only E2,E5 --short --json table.json --out reproduced/")
def reproduce(
    only: Annotated[str | None, typer.Option(help="Only these experiments, as E5,E9; by default all twelve.")] = None,
    short: Annotated[
        bool, typer.Option("--short", help="The short forms: full chemistry, fewer hops and pixels.")
    ] = False,
    json: Annotated[Path | None, typer.Option("--json", help="Write the table to this file as well.")] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder for runs and figures.")] = Path("out/reproduction"),
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME", help="Only under this parameter set; by default under three. Repeatable."
        ),
    ] = None,
    sensitivity: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Instead of the table: how each predicted row of the short forms follows these assumed numbers, as "
            "transference,cone_deg, or all.",
        ),
    ] = None,
) -> None:
    """Reproduce the paper's twelve experiments on the digital twin.

    Each runs under three parameter sets, or those of --set.

    Prints the paper's numbers beside those found here, with uncertainty and verdict, and draws its figures. Runs that
    are finished are kept: given again, the command continues where it was interrupted. The first set has the figures.
    """
    from opsicm.record.run_folder import refuse_if_short
    from opsicm.reproduction.command import reproduce as run_reproduce
    from opsicm.reproduction.command import sensitivity as run_sensitivity

    refuse_if_short(out, None)
    if json is not None and not (json.parent.is_dir() and os.access(json.parent, os.W_OK | os.X_OK)):
        limit = f"{json.parent} is not a folder that may be written"
        raise BadInput(Problem("--json", str(json), limit, "choose another path", str(json)))
    if sensitivity is not None:
        raise typer.Exit(run_sensitivity(only, sensitivity, json, out, sets or ()))
    raise typer.Exit(run_reproduce(only, short, json, out, sets or ()))


@app.command(epilog="Example: opsicm bench --only hop --json bench.json")
def bench(
    json: Annotated[Path | None, typer.Option("--json", help="Write the rows to this file as well.")] = None,
    only: Annotated[str | None, typer.Option(help="Only rows whose file name contains this.")] = None,
) -> None:
    """Measure the performance of this machine and of peer software.

    Prints the table with the limit of the machine and the goal of every row. Needs a source checkout.
    """
    raise typer.Exit(_benchmarks().main(only, json))


def _benchmarks() -> Any:
    """The module `benchmarks.table` of the checkout that this package is installed from, or of the current folder."""
    for root in (Path(__file__).resolve().parents[3], Path.cwd()):
        if (root / "benchmarks/table.py").is_file():
            sys.path.insert(0, str(root))
            return import_module("benchmarks.table")
    limit = "come with a source checkout, and neither this installation nor the current folder is one"
    raise BadInput(Problem("benchmarks", "", limit, "clone the repository and run `make bench` there"))


_LONGEST_PATH: Final = 200  # characters of one in a message
_GROUPS: Final = {
    "kernel": "Show or compute the pipette's tables (current over distance).",
    "parameters": "List and show parameter sets, with units and sources.",
    "rig": "List drivers; bring up a rig step by step.",
}
_MODULES: Final = {
    "opsicm.cli.check": ("check", "schema"),
    "opsicm.cli.run": ("demo", "run"),
    "opsicm.cli.status": ("status", "runs"),
    "opsicm.cli.console": ("console",),
    "opsicm.cli.command": ("command",),
    "opsicm.cli.analyse": ("analyse", "report", "identify"),
    "opsicm.cli.record": ("recover", "validate", "replay"),
    "opsicm.cli.convert": ("convert",),
    "opsicm.cli.join": ("join",),
    "opsicm.cli.emulate": ("emulate",),
}


def _mount(arguments: list[str]) -> None:
    """Add the commands that this call needs: importing all of them would cost every other command a second."""
    words = arguments
    if "_OPSICM_COMPLETE" in os.environ:  # a shell asks how a line may go on
        words = (os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS") or "").split()[1:]
    if words[:1] == ["--version"]:
        return
    word = next((word for word in words if not word.startswith("-")), "")
    present = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    needed = [module for module, names in _MODULES.items() if word in names] or list(_MODULES)
    added: list[Any] = []
    for module in needed if word not in _GROUPS else ():
        if not present.intersection(_MODULES[module]):
            added += import_module(module).app.registered_commands
    app.registered_commands[:0] = added  # a run before the paper's twelve and the benchmarks
    app.registered_groups = []
    for name, summary in _GROUPS.items():  # one that is only listed, or completed, needs its name alone
        group = import_module(f"opsicm.cli.{name}").app if word == name else typer.Typer(no_args_is_help=True)
        app.add_typer(group, name=name, help=summary)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit code. An error of the user's never shows a traceback."""
    arguments = sys.argv[1:] if arguments is None else arguments
    # Importing makes some 10⁵ objects that all live on: looking through them for cycles, every 700 of them, costs a
    # command a tenth of a second to a fifth.
    gc.set_threshold(_OBJECTS_BEFORE_COLLECTING)
    # Figures go to files: a notebook's or a desktop's choice, inherited or misspelt, has no say in it.
    os.environ.pop("MPLBACKEND", None)
    _mount(arguments)
    command: Callable[..., Any] = typer.main.get_command(app)
    try:
        code = command(arguments, standalone_mode=False)
    except OpsicmError as error:
        from opsicm.cli.terminal import print_problems

        print_problems(error)
        return error.exit_code
    except typer.Exit as error:
        return int(error.exit_code)
    except _UsageError as error:
        error.show()
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 130
    except (BrokenPipeError, SystemExit):  # click exits where a pipe is closed: who read it has read enough
        return 0
    except OSError as error:
        if "OPSICM_TRACEBACK" in os.environ:
            raise
        from opsicm.cli.terminal import print_problems

        print_problems(_refused_by_the_system(error))
        return 2
    except Exception as error:
        if "OPSICM_TRACEBACK" in os.environ:
            raise
        sys.stderr.write(
            f"internal error {type(error).__name__}: {error}; please report it (OPSICM_TRACEBACK=1 shows where)\n"
        )
        return 1
    return code if isinstance(code, int) else 0


def _refused_by_the_system(error: OSError) -> BadInput:
    """What the operating system refuses as a problem of the user's: a path too long, a full disk, a device that is
    gone."""
    reason = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        limit = "cannot be written (File too large): this shell limits the size of files"
        return BadInput(Problem("an output", "", limit, "lift the limit with ulimit -f unlimited"))
    if error.filename is None:
        thing, remedy = "an output", "free some space, or write to another file or device"
    else:
        thing, remedy = os.fsdecode(error.filename), "name another file or folder"
    if len(thing) > _LONGEST_PATH:
        thing = f"{thing[:_LONGEST_PATH]}…"
    return BadInput(Problem(thing, "", f"cannot be used ({reason})", remedy))


def _exit_at_once(_signal: int, _frame: object) -> None:
    os._exit(130)


def entry() -> None:
    """Entry point of the console script."""
    # Until a run installs its own handler nothing has moved and nothing is open, so an interrupt during the imports may
    # end the program at once; otherwise an import lock could swallow it.
    signal.signal(signal.SIGINT, _exit_at_once)
    # The matrices here have a few hundred rows: more threads wait for each other longer than they work, and a report
    # of 17 images takes 17 s of processor instead of 11.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from opsicm.cli.terminal import flush_output, prepare_streams

    prepare_streams()
    sys.exit(flush_output(main()))
