"""`opsicm analyse`, `report` and `identify`: the results, the report and the content of a run or a third-party file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opsicm.cli.terminal import (
    ColumnsOption,
    JsonFlag,
    LevellingOption,
    ParticleOption,
    ProfileOption,
    SetpointOption,
    SizeOption,
    UnitOption,
)

app = typer.Typer(add_completion=False)


def _share(percent: float | None) -> float | None:
    return None if percent is None else 0.01 * percent


def _metres(micrometres: float | None) -> float | None:
    return None if micrometres is None else 1e-6 * micrometres


@app.command(epilog="Example: opsicm analyse out/20261123T080000Z_height --json")
def analyse(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders, run files or third-party files.")],
    json: JsonFlag = False,
    columns: ColumnsOption = None,
    setpoint: SetpointOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write the figures there, as .svg and .png.")
    ] = None,
    levelling: LevellingOption = None,
    profile: ProfileOption = None,
    size_um: SizeOption = None,
    unit: UnitOption = None,
    particle_radius_um: ParticleOption = None,
) -> None:
    """Analyse runs or third-party files.

    Prints every result that applies, each with uncertainty, unit and method.
    """
    from opsicm.cli.terminal import err, print_json, print_results, working
    from opsicm.formats.matrix import ImageScale
    from opsicm.results.image_figures import image_choice
    from opsicm.results.run_or_file import (
        figures_of_path,
        figures_of_several,
        refuse_for_files,
        results_of_path,
        results_of_several,
    )

    refuse_for_files(runs, {"--levelling": levelling, "--profile": profile})
    choice, scale = image_choice(levelling, profile), ImageScale.of(size_um, unit)
    records: list[dict[str, Any]] = []
    each = []
    for path in runs:
        with working(f"analysing {path}"):
            results = results_of_path(path, columns, _share(setpoint), scale, _metres(particle_radius_um))
            pictures = [] if out is None else figures_of_path(path, results, out, choice)
        each.append((path, results))
        records.extend({"run": str(path), **result.record()} for result in results)
        if not json:
            print_results(results, str(path))
        # On standard error: what is on standard output is the results and nothing else.
        if pictures:
            err.print("\n".join(map(str, pictures)), markup=False)
    together = results_of_several(each, columns, scale)
    records.extend({"run": "all", **result.record()} for result in together)
    if together and not json:
        print_results(together, "all runs together")
    if together and out is not None:
        err.print("\n".join(map(str, figures_of_several(together, out))), markup=False)
    if json:
        print_json(records)


@app.command(epilog="Example: opsicm report out/20261123T080000Z_height -o report.html --csv data/")
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN...",
            help="Run folder or run file; several runs, or the halves of a resumed one, together; a third-party file, "
            "or several images of one area.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--out", "--output", help="File to write; by default report.html beside the run."),
    ] = None,
    columns: ColumnsOption = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FOLDER", help="Write the data of every figure and table there as well."),
    ] = None,
    levelling: LevellingOption = None,
    profile: ProfileOption = None,
    size_um: SizeOption = None,
    unit: UnitOption = None,
    setpoint: SetpointOption = None,
    particle_radius_um: ParticleOption = None,
) -> None:
    """Write a self-contained HTML report with figures.

    What was found first, then figures, then tables. Of several runs one page: what was varied, and how the results
    follow it. Prints the path of the report.
    """
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import working
    from opsicm.formats.matrix import ImageScale
    from opsicm.reporting.reports import report_of
    from opsicm.results.image_figures import image_choice
    from opsicm.results.run_or_file import refuse_for_files

    if len(runs) == 1 and runs[0].is_file():  # several images of one area are levelled alike
        refuse_for_files(runs, {"--levelling": levelling, "--profile": profile})
    choice = image_choice(levelling, profile)
    with working("drawing the report"):
        scale = ImageScale.of(size_um, unit)
        target = report_of(runs, output, columns, csv, choice, scale, _share(setpoint), _metres(particle_radius_um))
    console.print(str(target), markup=False)


@app.command(epilog="Example: opsicm identify scan.sicm")
def identify(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any measured file.")],
    json: JsonFlag = False,
    columns: ColumnsOption = None,
    size_um: SizeOption = None,
    unit: UnitOption = None,
) -> None:
    """Identify a measured file and check that it is plausible."""
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import print_json
    from opsicm.formats.matrix import ImageScale
    from opsicm.results.run_or_file import identification

    text, records = identification(file, columns, ImageScale.of(size_um, unit))
    if json:
        print_json(records)
    else:
        console.print(text, markup=False)
