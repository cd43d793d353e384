"""`opsicm console`: pages in the browser to prepare an experiment, to start it, and to watch and steer its run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opsicm.cli.status import newest_run
from opsicm.cli.terminal import DEFAULT_OUT, OutOption
from opsicm.core.errors import BadInput, OpsicmError, Problem

if TYPE_CHECKING:
    from uvicorn import Server

    from opsicm.console.prepare_page import Preparing
    from opsicm.figures.view import View

app = typer.Typer(add_completion=False)
_EXPERIMENTS: Final = (".yaml", ".yml")
_STARTS_WITHIN: Final = 120.0  # [s]: the check of the demo
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GIVES_WAY: Final = 5e-4  # [s]
_ENDS_WITHIN: Final = 60.0  # [s]: a stop, and the run file


@app.command(epilog="Example: opsicm console --demo")
def console(
    shown: Annotated[
        Path | None,
        typer.Argument(
            metavar="[RUN|FILE]",
            help="Folder of a run in progress, a stored run, or an experiment file (.yaml) to prepare and start; by "
            "default the latest run.",
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Start a run on the digital twin at real time.")] = False,
    host: Annotated[str, typer.Option(help="Address that is listened on; by default this machine alone.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8642,
    out: OutOption = DEFAULT_OUT,
) -> None:
    """Open the browser page that prepares, starts and steers runs.

    Prints the page's address, which lets in whoever has it. An experiment file is opened in the page, checked there and
    started from there; a run in progress is shown live, a stored one is replayed. Ctrl-C ends the console; runs go on,
    only that of --demo ends with it.
    """
    _refuse_without_server()
    if demo and shown is not None:
        raise BadInput(Problem("--demo", "", f"starts a run of its own, beside {shown}", "leave out one of them"))
    with _Signals() as signals, ExitStack() as stack:
        if shown is not None and shown.suffix in _EXPERIMENTS:
            folder, first = place_of(shown)
            _serve(None, preparing(folder, out, first), out, (host, port), stack, signals)
        else:
            path = stack.enter_context(_demo_run(out)) if demo else newest_run(out) if shown is None else shown
            _serve(path, preparing(Path.cwd(), out), out, (host, port), stack, signals)


def place_of(file: Path) -> tuple[Path, str]:
    """(the folder whose files the page may open, the name of `file` there): this folder, or the file's if elsewhere."""
    if not file.is_file():
        raise BadInput(Problem("FILE", str(file), "is no file", "check the spelling and the folder"))
    absolute, here = file.resolve(), Path.cwd()
    folder = here if absolute.is_relative_to(here) else absolute.parent
    return folder, f"here:{absolute.relative_to(folder)}"


class _Signals:
    """Ends the console in order on Ctrl-C, SIGTERM and a terminal that closes: a demo must not be left behind.

    While it runs the server has handlers of its own for two of them, and hands them on when it has ended.
    """

    def __init__(self) -> None:
        self.server: Server | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> _Signals:
        self._before = {number: signal.signal(number, self._end) for number in _ENDING}
        return self

    def __exit__(self, *_: object) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)

    def _end(self, _signal: int, _frame: object) -> None:
        if self.server is None:
            raise KeyboardInterrupt
        self.server.should_exit = True


def _refuse_without_server() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("fastapi", "uvicorn", "websockets") if find_spec(name) is None]
    if missing:
        limit = f"needs {', '.join(missing)}, not installed here"
        raise BadInput(Problem("opsicm console", "", limit, "pip install 'opsicm[console]'"))


def _serve(
    path: Path | None, preparing: Preparing, out: Path, address: tuple[str, int], stack: ExitStack, signals: _Signals
) -> None:
    from opsicm.cli.terminal import out as terminal
    from opsicm.console.on_show import OnShow, opened
    from opsicm.console.server import Site, origins_of
    from opsicm.console.serving import bound, server_of
    from opsicm.console.sessions import Sessions, cookie_of

    host, port = address
    listening = stack.enter_context(bound(host, port))
    first = None if path is None else opened(path, _plan_of)
    actual = listening.getsockname()[1]
    sessions = Sessions()
    on_show = OnShow(out, _plan_of, first)
    site = Site(on_show, preparing, sessions, origins_of(host, actual), cookie_of(actual))
    name = f"[{host}]" if ":" in host else host
    if first is not None:
        terminal.print(f"{'replay of' if first.folder is None else 'run in progress'}  {first.path}")
    terminal.print(f"console  http://{name}:{actual}/?token={sessions.token}")
    # The thread that makes figures gives way to a command after this long, not after the 5 ms of the interpreter, which
    # a command would wait for at each of its dozen steps.
    sys.setswitchinterval(_GIVES_WAY)
    signals.server = server = server_of(site)
    server.run(sockets=[listening])


def _plan_of(folder: Path) -> Callable[[], View | None]:
    """Makes the forecast's time line of the run in `folder`; None where there is none."""

    def plan() -> View | None:
        from opsicm.cli.check import checked_run, plan_of
        from opsicm.experiment.file import read_experiment
        from opsicm.figures.time_line import time_line_view
        from opsicm.record.run_folder import EXPERIMENT, RIG

        file, rig = folder / EXPERIMENT, folder / RIG
        if not (file.is_file() and rig.is_file()):
            return None
        experiment = read_experiment(file)
        prediction = checked_run(experiment, str(rig), None)
        return time_line_view(plan_of(experiment, prediction), prediction.cell, experiment.experiment.title)

    return plan


# -- other processes ------------------------------------------------------------------------------------------------


def program(module: str) -> list[str]:
    """The command that runs a module of this package."""
    # -P: no file of the folder that it is started in takes a module's place.
    return [sys.executable, "-P", "-m", module]


def environment() -> dict[str, str]:
    """The environment of such a process, in which the package is found where this one is."""
    source, inherited = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": source if not inherited else f"{source}{os.pathsep}{inherited}"}


def preparing(folder: Path, out: Path, first: str | None = None) -> Preparing:
    """What the prepare page works with: the files below `folder`, runs below `out`; `first` is opened."""
    from opsicm.console.checking import Checker
    from opsicm.console.experiment_files import ExperimentFiles
    from opsicm.console.prepare_page import Preparing
    from opsicm.console.starting import Starter

    checker = Checker(program("opsicm.cli.check_worker"), environment(), folder)
    starter = Starter([*program("opsicm"), "run"], environment(), folder, out)
    return Preparing(ExperimentFiles(folder), checker, starter, first)


# -- the demo -------------------------------------------------------------------------------------------------------


@contextmanager
def _demo_run(out: Path) -> Iterator[Path]:
    """A run on the twin at real time in another process, by its folder; it is stopped when the console ends."""
    from importlib.resources import files

    from opsicm.cli.terminal import working
    from opsicm.record.run_folder import JOURNAL

    before = set(out.glob(f"*/{JOURNAL}"))
    file = Path(str(files("opsicm.console").joinpath("demo.yaml")))
    # In a session of its own: Ctrl-C is for the console, which then stops it in order.
    process = subprocess.Popen(
        [*program("opsicm"), "run", str(file), "--speed", "1", "--out", str(out)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        with working("starting the demo"):
            folder = _new_run(process, out, before)
        yield folder
    finally:
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            process.kill()


def _new_run(process: subprocess.Popen[bytes], out: Path, before: set[Path]) -> Path:
    from opsicm.instruments.clock import pause, stopwatch
    from opsicm.record.run_folder import JOURNAL

    elapsed = stopwatch()
    while elapsed() < _STARTS_WITHIN and process.poll() is None:
        if new := set(out.glob(f"*/{JOURNAL}")) - before:
            return new.pop().parent
        pause(0.1)
    said = b"" if process.poll() is None or process.stderr is None else process.stderr.read()
    limit = f"did not start: {said.decode('utf-8', 'replace').strip() or 'no run folder'}"
    raise OpsicmError(Problem("the demo", "", limit, "try opsicm demo"))
