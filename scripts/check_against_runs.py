"""Writes docs/reference/check-against-runs.md: what `check` says beside what runs showed.

Usage: python -m scripts.check_against_runs FOLDER, with the runs of every short experiment somewhere below it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from benchmarks.check_against_run import Comparison, comparisons
from opsicm.cli.check import si_text
from opsicm.record.reader import Run

PAGE: Final = Path(__file__).parents[1] / "docs/reference/check-against-runs.md"
HEAD: Final = """# What `check` says, and what the run then showed

Every short experiment on the twin, its usual seed. Goals: signal within 20 %, duration within 2 %, file within 10 %.
Where a swing is no larger than its noise, ten times the noise counts, and what 0.5 mV of bias make of the current; only
currents are taken at which the wire stood that near its potential. Of ten hops the most is said. Where the last column
says no, [decision 0107](../explanations/decisions/0107-the-bias-lag-is-forecast.md) says why. Written by
`scripts/check_against_runs.py`.

The long E6 besides (17 images of 128², 30 November 2026): said 40 800 s, 278 528 hops and 274 MB, found 40 800 s,
278 528 hops and 259.4 MB.

"""


def row(title: str, item: Comparison) -> str:
    """A row of the table."""
    unit = "%" if item.unit == "1" and item.quantity == "ten hops" else item.unit
    predicted, measured = (
        f"{100 * value:.2g} %" if unit == "%" else f"{value:.0f}" if unit == "1" else si_text(value, unit)
        for value in (item.predicted, item.measured)
    )
    off = f"{100 * (item.predicted / item.measured - 1):+.1f} %" if item.measured else ""
    within = "yes" if item.holds else "no"
    return f"| {title} | {item.step} | {item.quantity} | {predicted} | {measured} | {off} | {within} |"


def main(folder: Path) -> None:
    """Write the page from every run below `folder`."""
    rows: list[str] = []
    missed = total = 0
    for path in sorted(folder.rglob("run.nxs")):
        with Run(path) as run:
            for item in comparisons(run):
                rows.append(row(run.title, item))
                total, missed = total + 1, missed + (not item.holds)
    table = [
        "| experiment | step | quantity | said | found | off by | within |",
        "|---|---|---|---|---|---|---|",
        *rows,
    ]
    PAGE.write_text(f"{HEAD}{total - missed} of {total} hold.\n\n" + "\n".join(table) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
