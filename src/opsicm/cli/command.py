"""`opsicm command`: sends a command to a run in progress."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

app = typer.Typer(add_completion=False)
_ANSWERED_WITHIN: Final = 10.0  # [s]
_CHECKED_WITHIN: Final = 300.0  # [s]: a setting is checked against the whole experiment


@app.command(epilog="Example: opsicm command out/20261123T080000Z_height set probe.setpoint_pct=2.5")
def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run in progress.")],
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="COMMAND",
            help="pause probe, resume probe, pause cell, resume cell, skip, skip cell, stop, note TEXT, set KEY=VALUE.",
        ),
    ],
) -> None:
    """Send a command to a run in progress and print its answer.

    Every command is recorded in the run's journal with who sent it.
    """
    from opsicm.cli.terminal import err
    from opsicm.cli.terminal import out as console
    from opsicm.runner.commands import from_words
    from opsicm.runner.control_socket import send

    asked = from_words(words)
    patience = _CHECKED_WITHIN if asked.word == "set" else _ANSWERED_WITHIN
    accepted, message = send(run if run.is_dir() else run.parent, asked, "command line", patience)
    stream = console if accepted else err
    stream.print(message if accepted else f"refused: {message}", markup=False)
    raise typer.Exit(0 if accepted else 2)
