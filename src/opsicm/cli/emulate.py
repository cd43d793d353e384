"""`opsicm emulate`: the instruments of a rig file on the wire, the twin behind them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True)


@app.command(epilog="Example: opsicm emulate experiments/rigs/emulated.yaml --experiment experiments/short/e09….yaml")
def emulate(
    rig: Annotated[str, typer.Argument(help="The rig file; its emulation key says what stands behind.")],
    experiment: Annotated[
        Path | None, typer.Option(help="The experiment that will run: its specimen, electrolyte and pipette.")
    ] = None,
    speed: Annotated[float, typer.Option(help="World seconds in a second.", min=0.1, max=100.0)] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Seed of the world.", min=0)] = None,
    fault: Annotated[
        list[str] | None, typer.Option(help="ROLE=KIND[:VALUE][@SECONDS], e.g. scanner=late:0.5@30; may be repeated.")
    ] = None,
) -> None:
    """Emulate the instruments of a rig file.

    They answer on the wire with the digital twin behind them, until Ctrl-C.
    """
    from opsicm.cli.emulated_rig import serve_until_interrupted
    from opsicm.cli.terminal import out

    serve_until_interrupted(rig, experiment, speed, seed, fault or (), lambda line: out.print(line, markup=False))
