"""The performance table: every row's file in turn, in one run."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

from rich.progress import track
from rich.table import Table

import benchmarks
from benchmarks.row import BenchRow
from opsicm.cli.terminal import err, out
from opsicm.core.errors import BadInput, Problem

_NOT_ROWS = {"row", "table", "dfn_peer", "check_against_run", "__main__"}


def row_files() -> list[str]:
    """Names of the modules that hold rows."""
    return sorted(module.name for module in pkgutil.iter_modules(benchmarks.__path__) if module.name not in _NOT_ROWS)


def run_rows(only: str | None) -> list[BenchRow]:
    """Measure every row, or those whose file name contains `only`."""
    names = [name for name in row_files() if only is None or only in name]
    if not names:
        row_names = ", ".join(row_files())
        raise BadInput(
            Problem("--only", repr(only), f"matches none of {row_names}", "give a part of one of these names")
        )
    rows: list[BenchRow] = []
    for name in track(names, "measuring", console=err, transient=True, disable=not err.is_terminal):
        row: Callable[[], list[BenchRow]] = importlib.import_module(f"benchmarks.{name}").row
        rows.extend(row())
    return rows


def print_rows(rows: Iterable[BenchRow]) -> None:
    """The rows as a table."""
    table = Table(box=None, pad_edge=False)
    for column in ("name", "value", "unit", "against", "goal", "met"):
        table.add_column(column, overflow="fold")
    for row in rows:
        met = "–" if row.met is None else "yes" if row.met else "no"
        against = "; ".join(text for text in (row.peer, row.limit) if text)
        table.add_row(row.name, f"{row.value:.4g}", row.unit, against, row.goal, f"{met} {row.reason}".strip())
    out.print(table)


def write_rows(rows: Iterable[BenchRow], path: Path) -> None:
    """The rows as JSON, a list of records."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def main(only: str | None = None, path: Path | None = None) -> int:
    """Measure, print, and write to `path` if one is given: what `opsicm bench` and `python -m benchmarks` do."""
    rows = run_rows(only)
    print_rows(rows)
    if path is not None:
        write_rows(rows, path)
    return 0
