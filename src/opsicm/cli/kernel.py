"""`opsicm kernel show | build`: the pipette's tables, shown for one pipette and computed again."""

from __future__ import annotations

import math
import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from opsicm.cli.terminal import JsonFlag, err, print_json
from opsicm.cli.terminal import out as console
from opsicm.core.output_file import write_output
from opsicm.figures.draw import draw, png
from opsicm.figures.pipette import kernel_view
from opsicm.physics.pipette import tip_field as tip_table
from opsicm.physics.pipette.geometry import Pipette, radius_band, resistance
from opsicm.physics.pipette.ion_current import response_time
from opsicm.physics.pipette.lateral import point_spread
from opsicm.physics.pipette.tip_field import approach_curve, hyperbola_bias
from opsicm.physics.tables import path_of

app = typer.Typer(no_args_is_help=True)

Record = dict[str, float]


def kernel_numbers(pipette: Pipette, kappa: float) -> Record:
    """The labelled numbers of `kernel show` for a bath of conductivity `kappa` [S/m]; units are in the keys."""
    resistance(pipette, kappa)  # refuses a bad conductivity
    curve = approach_curve(pipette)
    d98 = float(curve.distance(np.array(0.98)))
    slope = float(curve.slope(np.array(d98)))
    spread = point_spread(pipette, d98)
    bias = hyperbola_bias(curve, np.array([0.95, 0.99, 0.995]))
    angle = pipette.cone_angle
    band = radius_band(curve.far / kappa, kappa, (angle / 1.5, min(1.5 * angle, math.radians(60.0))), pipette.length)
    numbers: Record = {
        "radius_nm": pipette.radius * 1e9,
        "wall": pipette.wall,
        "cone_deg": math.degrees(angle),
        "length_um": pipette.length * 1e6,
        "kappa_S_m": kappa,
        "resistance_MOhm": curve.far / kappa * 1e-6,
        "access_share": curve.access / curve.far,
        "distance_98_nm": d98 * 1e9,
        "slope_per_nm": slope * 1e-9,
        "height_noise_nm_per_1e-4": 1e-4 / slope * 1e9,
        "edge_10_90_nm": spread.edge_width() * 1e9,
        "ring_radius_nm": spread.peak_radius * 1e9,
        "hyperbola_bias_nm_at_95": float(bias[0]) * 1e9,
        "hyperbola_bias_nm_at_99": float(bias[1]) * 1e9,
        "hyperbola_bias_nm_at_99.5": float(bias[2]) * 1e9,
        "radius_band_low_nm": band.low * 1e9,
        "radius_band_high_nm": band.high * 1e9,
        "response_50_ms": response_time(pipette, 2.6e-10, 0.5) * 1e3,
        "response_90_ms": response_time(pipette, 2.6e-10, 0.9) * 1e3,
    }
    # 50e-9 * 1e9 is 50.00000000000001.
    return {key: float(f"{value:.9g}") for key, value in numbers.items()}


_LABELS = {
    "resistance_MOhm": "resistance far from the sample, MOhm",
    "access_share": "share of it outside the cone",
    "distance_98_nm": "98 % of the current at, nm (with the shank's length above)",
    "slope_per_nm": "slope there, 1/nm (of the current far away)",
    "height_noise_nm_per_1e-4": "height noise per 1e-4 of the current far away, nm",
    "edge_10_90_nm": "step edge 10-90 %, nm",
    "ring_radius_nm": "radius of the response's ring, nm",
    "hyperbola_bias_nm_at_95": "hyperbola reads too far at 95 %, nm",
    "hyperbola_bias_nm_at_99": "hyperbola reads too far at 99 %, nm",
    "hyperbola_bias_nm_at_99.5": "hyperbola reads too far at 99.5 %, nm",
    "radius_band_low_nm": "radius from this resistance, angle unknown by 1.5: from, nm",
    "radius_band_high_nm": "  to, nm",
    "response_50_ms": "responds to a step of concentration: 50 % after, ms (D 2.6e-10 m2/s)",
    "response_90_ms": "  90 % after, ms",
}


@app.command(epilog="Example: opsicm kernel show --radius-nm 50 --wall 1.5 --cone-deg 3")
def show(
    radius_nm: Annotated[float, typer.Option(help="Inner radius of the aperture, nm.")] = 50.0,
    wall: Annotated[float, typer.Option(help="Outer over inner radius at the aperture.")] = 1.5,
    cone_deg: Annotated[float, typer.Option(help="Inner half-cone angle, degrees.")] = 3.0,
    length_um: Annotated[float, typer.Option(help="Length of shank that counts as resistance, µm.")] = 20.0,
    kappa: Annotated[float, typer.Option(help="Conductivity of the electrolyte, S/m.")] = 0.62,
    figure: Annotated[
        Path | None, typer.Option("--plot", "--figure", help="PNG file for the figure; kernel.png unless --json.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show one pipette: approach curve, resolution, noise.

    Prints the numbers and draws the figure.
    """
    pipette = Pipette(radius_nm * 1e-9, wall, math.radians(cone_deg), length_um * 1e-6)
    numbers = kernel_numbers(pipette, kappa)
    target = figure or (None if as_json else Path("kernel.png"))
    if target is not None:
        curve = approach_curve(pipette)
        spread = point_spread(pipette, float(curve.distance(np.array(0.98))))
        write_output(target, png(draw(kernel_view(curve, spread))), "figure", "--figure")
    if as_json:
        print_json([numbers])
        return
    console.print(f"pipette {radius_nm:g} nm, b/a {wall:g}, {cone_deg:g}°, shank {length_um:g} µm, bath {kappa:g} S/m")
    for key, label in _LABELS.items():
        console.print(f"  {label:<66} {numbers[key]:10.4g}")
    console.print(f"figure: {target}")


def _single_thread() -> None:
    # Two processes with two BLAS threads each would share two cores four ways.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"


@app.command(epilog="Example: opsicm kernel build --out tip_field.npz --workers 2")
def build(
    out: Annotated[Path | None, typer.Option(help="File to write; the package's own table by default.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 2,
) -> None:
    """Compute the shipped table again by finite elements.

    Takes some minutes on 2 cores.
    """
    target = out or path_of("tip_field")
    geometries = tip_table.geometries()
    _single_thread()
    bar = Progress(
        TextColumn("solving the tip's field"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), console=err
    )
    with bar, ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        task = bar.add_task("solve", total=len(geometries))
        table: dict[str, Any] = dict(tip_table.build(pool.map(tip_table.column, geometries), lambda: bar.advance(task)))
    np.savez_compressed(target, **table)
    console.print(str(target))
