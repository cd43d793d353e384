"""Options that several commands share, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsicm.errors import BadInput, Problem

OutOption = Annotated[Path, typer.Option("--out", help="Folder in which the run's own folder is made.")]
JsonFlag = Annotated[bool, typer.Option("--json", help="A list of records with stable keys on standard output.")]
SetpointOption = Annotated[
    float | None,
    typer.Option(
        "--setpoint", metavar="PCT", help="Drop [%] that ended the falls of a trace of hops.", min=0.01, max=99
    ),
]
ColumnsOption = Annotated[str | None, typer.Option(help="Columns of a text table, as t=s,I=pA,z=um.")]


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
