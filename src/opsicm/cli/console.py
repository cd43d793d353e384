"""`opsicm console`: a page in the browser on a run in progress, a stored run, or the demo."""

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

from opsicm.cli.status import latest_run
from opsicm.cli.terminal import DEFAULT_OUT, OutOption
from opsicm.core.errors import BadInput, OpsicmError, Problem

if TYPE_CHECKING:
    from uvicorn import Server

    from opsicm.figures.view import View

app = typer.Typer(add_completion=False)
_STARTS_WITHIN: Final = 120.0  # [s]: the check of the demo
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_GIVES_WAY: Final = 5e-4  # [s]
_ENDS_WITHIN: Final = 60.0  # [s]: a stop, and the run file


@app.command(epilog="Example: opsicm console --demo")
def console(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="Folder of a run in progress, or a stored run; by default the latest."),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Start a run on the digital twin at real time.")] = False,
    host: Annotated[str, typer.Option(help="Address that is listened on; by default this machine alone.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="Port; 0 takes a free one.", min=0, max=65535)] = 8642,
    out: OutOption = DEFAULT_OUT,
) -> None:
    """Open a run in the browser, to watch it and to steer it.

    Prints the page's address, which lets in whoever has it. Ctrl-C ends the console; a run in progress goes on, only
    the demo ends with it. A stored run is replayed.
    """
    _refuse_without_server()
    if demo and run is not None:
        raise BadInput(Problem("--demo", "", f"starts a run of its own, beside {run}", "leave out one of them"))
    with _Signals() as signals, ExitStack() as stack:
        path = stack.enter_context(_demo_run(out)) if demo else latest_run() if run is None else run
        _serve(path, host, port, stack, signals)


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


def _serve(path: Path, host: str, port: int, stack: ExitStack, signals: _Signals) -> None:
    from opsicm.cli.terminal import out as terminal
    from opsicm.console.feed import Feed
    from opsicm.console.live_feed import LiveFeed
    from opsicm.console.replay_feed import ReplayFeed
    from opsicm.console.server import Site, origins_of
    from opsicm.console.serving import bound, server_of
    from opsicm.console.sessions import Sessions, cookie_of
    from opsicm.console.snapshot import StoredRun
    from opsicm.record.run_folder import JOURNAL, RUN_FILE

    folder = path if path.is_dir() else path.parent
    live = (folder / JOURNAL).is_file() and not (folder / RUN_FILE).is_file() and path.suffix != ".nxs"
    feed: Feed
    if live:
        feed = LiveFeed(folder, _plan_of(folder))
    else:
        feed = ReplayFeed(stored := stack.enter_context(StoredRun(path)), _plan_of(stored.path.parent))
    listening = stack.enter_context(bound(host, port))
    actual = listening.getsockname()[1]
    sessions = Sessions()
    site = Site(feed, sessions, folder if live else None, origins_of(host, actual), cookie_of(actual))
    name = f"[{host}]" if ":" in host else host
    terminal.print(f"{'run in progress' if live else 'replay of'}  {folder if live else stored.path}")
    terminal.print(f"console  http://{name}:{actual}/?token={sessions.token}")
    # The thread that makes figures gives way to a command after this long, not after the 5 ms of the interpreter, which a
    # command would wait for at each of its dozen steps.
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


# -- the demo -------------------------------------------------------------------------------------------------------


@contextmanager
def _demo_run(out: Path) -> Iterator[Path]:
    """A run on the twin at real time in another process, by its folder; it is stopped when the console ends."""
    from importlib.resources import files

    from opsicm.cli.terminal import working
    from opsicm.record.run_folder import JOURNAL

    before = set(out.glob(f"*/{JOURNAL}"))
    file = Path(str(files("opsicm.console").joinpath("demo.yaml")))
    # -P: no file of the folder that it is started in takes a module's place; the package is found where this one is.
    arguments = ["-P", "-m", "opsicm", "run", str(file), "--speed", "1", "--out", str(out)]
    source, inherited = str(Path(__file__).resolve().parents[2]), os.environ.get("PYTHONPATH")
    environment = {**os.environ, "PYTHONPATH": source if not inherited else f"{source}{os.pathsep}{inherited}"}
    # In a session of its own: Ctrl-C is for the console, which then stops it in order.
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
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
