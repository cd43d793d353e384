"""`opsicm join`: a potentiostat's file and a pipette's trace as one run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from opsicm.cli.terminal import ColumnsOption, SetpointOption

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: opsicm join cycles.mpt pipette.txt -o joined --thickness-um 40")
def join(
    cell: Annotated[Path, typer.Argument(metavar="CELL", help="The potentiostat's file: time, potential, current.")],
    probe: Annotated[
        Path, typer.Argument(metavar="PROBE", help="The pipette's trace: time and current, and height or bias.")
    ],
    output: Annotated[Path, typer.Option("-o", "--out", "--output", metavar="RUN", help="The new run folder.")],
    offset_s: Annotated[
        float | None,
        typer.Option(
            "--offset-s",
            help="What is added to the pipette's time to give the cell's [s]: positive where the pipette's record "
            "began later. Found from the changes that both show, if left out.",
        ),
    ] = None,
    drift_ppm: Annotated[
        float | None, typer.Option("--drift-ppm", help="By how much the cell's clock is faster [ppm]; with --offset-s.")
    ] = None,
    cell_columns: ColumnsOption = None,
    probe_columns: ColumnsOption = None,
    setpoint: SetpointOption = None,
    thickness_um: Annotated[float | None, typer.Option(help="Thickness of the specimen [µm].", min=1e-3)] = None,
    area_cm2: Annotated[float | None, typer.Option(help="Area of the specimen [cm²].", min=1e-6)] = None,
    capacity_mah: Annotated[float | None, typer.Option(help="Capacity of the specimen [mAh].", min=1e-9)] = None,
    radius_nm: Annotated[float | None, typer.Option(help="Inner radius of the pipette [nm].", min=1.0)] = None,
    bias_v: Annotated[float | None, typer.Option(help="Bias of the pipette against Li/Li+ [V].")] = None,
) -> None:
    """Join a potentiostat's file and a pipette's trace to one run.

    Their clocks are joined by the changes that both show, or by --offset-s. Everything takes the result as a run:
    analyse, report, convert, Python. What is not stated (thickness, capacity, radius) no result is made of.
    """
    from opsicm.cli.execute import host_and_versions
    from opsicm.cli.terminal import err, working
    from opsicm.cli.terminal import out as console
    from opsicm.core.errors import BadInput, Problem
    from opsicm.core.units import to_si
    from opsicm.results.run_of_two_files import StatedValues, join_files

    if drift_ppm is not None and offset_s is None:
        raise BadInput(Problem("--drift-ppm", f"{drift_ppm:g}", "goes with --offset-s", "give both, or neither"))

    def si(key: str, value: float | None) -> float | None:
        return None if value is None else to_si(key, value)

    stated = StatedValues(
        si("thickness_um", thickness_um),
        si("area_cm2", area_cm2),
        si("capacity_mAh", capacity_mah),
        si("radius_nm", radius_nm),
        bias_v,
        None if setpoint is None else 0.01 * setpoint,
    )
    with working("joining the records"):
        made = join_files(
            cell,
            probe,
            output,
            stated,
            host_and_versions(),
            offset_s,
            1e-6 * (drift_ppm or 0.0),
            (cell_columns, probe_columns),
        )
    for sentence in (made.clock, *made.remarks):
        err.print(sentence, markup=False)
    console.print(str(made.path), markup=False)
