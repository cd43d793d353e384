"""Output to the terminal: tables on standard output, progress and problems on standard error."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from types import FrameType
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from opsicm.analysis.result import Result
from opsicm.core.errors import BadInput, OpsicmError, Problem
from opsicm.results.number_text import number
from opsicm.runner.runner import Progress as RunProgress

_REMARK: Final = 40
_GAPS: Final = 6  # between four columns

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

OutOption = Annotated[Path, typer.Option("--out", help="Folder in which the run's own folder is made.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print a list of records with stable keys instead.")]
SetpointOption = Annotated[
    float | None,
    typer.Option(
        "--setpoint",
        metavar="PCT",
        help="Setpoint: the current drop [%] that ended the approaches of a trace of hops.",
        min=0.01,
        max=99,
    ),
]
LevellingOption = Annotated[
    str | None,
    typer.Option(
        "--levelling",
        metavar="HOW",
        help="What is subtracted from images: first-plane (of the first image, the default), none, plane, parabola or "
        "rows (each row's median).",
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="X0,Y0,X1,Y1",
        help="Line of the profiles through images [µm], in the experiment's coordinates; by default the row with the "
        "largest change.",
    ),
]
ColumnsOption = Annotated[str | None, typer.Option(help="Columns of a text file with their units, as t=s,I=pA,z=um.")]


def print_problems(error: OpsicmError) -> None:
    """Every problem of an error, one a line, on standard error."""
    for problem in error.problems:
        err.print(f"[bold red]error[/] {escape(str(problem))}")


def print_json(records: Sequence[dict[str, Any]]) -> None:
    """Records as JSON on standard output; a number that JSON does not know becomes null."""
    print(json.dumps(list(records), indent=2, ensure_ascii=False, allow_nan=False))


def print_results(results: Iterable[Result], title: str) -> None:
    """Results as a table: name, value ± u, unit; why not, where there is no value."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    # A wrapped name cannot be searched for, so only the remark wraps, and never below the width of a sentence.
    table.add_column("quantity", no_wrap=True)
    table.add_column("value ± u (k = 1)", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("remark", min_width=_REMARK)
    shown = list(results)
    for result in shown:
        bad = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.flags.items() if count)
        remark = bad if result.outcome == "ok" else f"{result.outcome}: {result.reason}"
        table.add_row(result.label, number(result.value, result.u, result.unit), result.unit, escape(remark))
    narrow = sum(max((len(text) for text in column), default=0) for column in zip(*_cells(shown), strict=True))
    # A console prints no wider than itself, so a wide table gets a wider one.
    Console(highlight=False, soft_wrap=True, width=max(out.width, narrow + _REMARK + _GAPS)).print(table)


def _cells(results: Sequence[Result]) -> list[tuple[str, str, str]]:
    """The texts of the three columns that may not break, headings included."""
    rows = ((r.label, number(r.value, r.u, r.unit), r.unit) for r in results)
    return [("quantity", "value ± u (k = 1)", "unit"), *rows]


@contextmanager
def run_progress(title: str = "running") -> Iterator[Callable[[RunProgress], None]]:
    """A progress bar of a run with the time left, on standard error; silent without a terminal.

    The time left is wall time, from the speed of the last few seconds: a twin hops more slowly than it parks.
    """
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[shown]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(escape(title), total=None, shown="compiling")

        def update(now: RunProgress) -> None:
            total = None if now.total_ns is None else now.total_ns * 1e-9
            left = "" if total is None else f" of {total:.0f}"
            shown = escape(f"{now.t_ns * 1e-9:.0f}{left} s, {now.hops} hops, {now.where}")
            progress.update(task, completed=now.t_ns * 1e-9, total=total, shown=shown)

        yield update


def working(what: str) -> AbstractContextManager[object]:
    """A spinner on standard error during a task of some seconds; silent without a terminal."""
    return err.status(what) if err.is_terminal else nullcontext()


@contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """A function that returns whether Ctrl-C was pressed or SIGTERM received; the run then ends by itself, safely."""
    stop_requested = False

    def handler(_signal: int, _frame: FrameType | None) -> None:
        nonlocal stop_requested
        if not stop_requested:
            err.print("stopping: pipette up, cell to open circuit, file kept …")
        stop_requested = True

    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: stop_requested
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def pace_of(text: str) -> float | None:
    """The value of --speed: None for max, else how many times faster than real time."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0.0 < speed < 1e9:
        raise BadInput(Problem("--speed", repr(text), "is max, or a number above 0", "1 is real time, max the fastest"))
    return speed
