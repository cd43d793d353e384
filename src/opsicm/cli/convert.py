"""`opsicm convert`: runs and measured files for other programs; cell programs to and from aurora-unicycler's JSON."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opsicm.cli.terminal import ColumnsOption, LevellingOption, SetpointOption, SizeOption, UnitOption
from opsicm.core.errors import BadInput, Problem

if TYPE_CHECKING:
    from opsicm.formats.unicycler.reading import CyclerProgram
    from opsicm.results.conversion import FileOptions

app = typer.Typer(add_completion=False)

KNOWN: Final = (
    "known are .json (aurora-unicycler) to .yaml (experiment) and back; and of a run or a measured file .gwy, .gsf, "
    ".ome.tif, .nc, .csv, .bdf.csv, .parquet, .gif, .mp4 or a folder for its figures"
)
_FORMATS: Final = ("gwy", "gsf", "ome-tiff", "netcdf", "csv", "bdf", "parquet", "gif", "mp4", "figures")
_NAMED_TABLES: Final = ("record", "hops", "images", "results")
_MARGIN: Final = 1.1  # of the longest duration, for the limit of a program that outlasts the usual one


@app.command(epilog="Example: opsicm convert out/20261123T080000Z_images heights.gwy")
def convert(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="IN", help="A run, a measured file, a cycling protocol (.json) or an experiment (.yaml)."
        ),
    ],
    target: Annotated[
        Path,
        typer.Argument(
            metavar="OUT",
            help="A new file, whose ending says the format: .gwy .gsf .ome.tif (images), .csv .bdf.csv .parquet "
            "(tables), .nc (everything), .gif .mp4 (movie), .yaml .json; or a folder for every figure.",
        ),
    ],
    to: Annotated[
        str | None, typer.Option("--to", metavar="FORMAT", help=f"Whatever OUT is called: {', '.join(_FORMATS)}.")
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            metavar="NAME",
            help="Which table becomes .csv or .parquet: record (time, cell and pipette; the default), hops, images (a "
            "row for each pixel) or results.",
        ),
    ] = None,
    columns: ColumnsOption = None,
    size_um: SizeOption = None,
    unit: UnitOption = None,
    setpoint: SetpointOption = None,
    title: Annotated[
        str | None, typer.Option(help="Title of the experiment; by default the sample's name, or that of the file.")
    ] = None,
    rig: Annotated[
        str | None, typer.Option(help="Rig of the experiment, a preset or a rig file; twin/graphite by default.")
    ] = None,
    capacity_mah: Annotated[
        float | None, typer.Option(help="Capacity of the sample in mAh: a .json with C-rates needs it.")
    ] = None,
    levelling: LevellingOption = None,
    per_second: Annotated[
        float | None,
        typer.Option(help="Images or passes shown a second in a movie; 2 or 10 by default.", min=0.1, max=60),
    ] = None,
) -> None:
    """Convert a run, file or protocol for another program.

    Numbers are in SI and not levelled. Images go to Gwyddion (.gwy, .gsf) and ImageJ (.ome.tif), tables to .csv with a
    row of units, .parquet and the Battery Data Format (.bdf.csv), all of it to NetCDF (.nc). A folder gets every
    figure as .svg, .png and .csv. A movie shows the images, or a line.

    Protocols are aurora-unicycler's .json. An experiment made of one has no probe program; a protocol has cell steps
    only.
    """
    from opsicm.cli.terminal import err
    from opsicm.cli.terminal import out as console

    _refuse_unless_known("--to", to, _FORMATS)
    _refuse_unless_known("--table", table, _NAMED_TABLES)
    kinds = (_kind(source), _kind(target))
    if to is None and kinds in ((".json", ".yaml"), (".yaml", ".json")):
        for name, value in (("--levelling", levelling), ("--per-second", per_second)):
            _refuse_option(name, value, "is for movies", "leave it out, or name OUT with .gif")
        for name, value in (
            ("--table", table),
            ("--columns", columns),
            ("--size-um", size_um),
            ("--unit", unit),
            ("--setpoint", setpoint),
        ):
            _refuse_option(name, value, "is for measured files", "leave it out")
        if target.exists():
            limit = "a file of this name exists"
            raise BadInput(Problem("OUT", str(target), limit, "name a new file, or move it away"))
        if kinds[0] == ".json":
            _refuse_option(
                "--capacity-mah", capacity_mah, "is for an experiment's C-rates", "write it as sample.capacity_mAh"
            )
            text = _experiment(source, title, rig)
        else:
            _refuse_option("--title", title, "is for a new experiment", "leave it out")
            _refuse_option("--rig", rig, "is for a new experiment", "leave it out")
            text = _protocol(source, capacity_mah)
        _write(target, text)
        err.print("positive current raises the potential: it delithiates the specimen, in a half cell against lithium")
        console.print(str(target), markup=False)
        return
    for name, value in (("--title", title), ("--rig", rig), ("--capacity-mah", capacity_mah)):
        _refuse_option(name, value, "is for protocols and experiments", "leave it out")
    from opsicm.formats.matrix import ImageScale
    from opsicm.results.conversion import FileOptions

    options = FileOptions(columns, ImageScale.of(size_um, unit), None if setpoint is None else 0.01 * setpoint)
    paths = _measured(source, target, to, table, options, levelling, per_second)
    console.print("\n".join(map(str, paths)), markup=False)


def _measured(
    source: Path,
    target: Path,
    to: str | None,
    table: str | None,
    options: FileOptions,
    levelling: str | None,
    per_second: float | None,
) -> list[Path]:
    from opsicm.cli.terminal import working
    from opsicm.results.conversion import MOVIES, TABLES, convert_path, kind_of
    from opsicm.results.image_figures import image_choice

    kind = to or kind_of(target)
    if kind is None or (to is None and _kind(source) in (".json", ".yaml") and source.is_file()):
        raise BadInput(Problem("the conversion", f"{source} to {target}", KNOWN, "give IN and OUT such names"))
    if kind not in TABLES:
        _refuse_option("--table", table, "is for .csv and .parquet", "leave it out, or name OUT with .csv")
    if kind not in (*MOVIES, "figures"):
        _refuse_option("--levelling", levelling, "is for movies and figures", "leave it out: data are not levelled")
    if kind not in MOVIES:
        _refuse_option("--per-second", per_second, "is for movies", "leave it out, or name OUT with .gif")
    choice = image_choice(levelling, None)
    with working(f"converting {source.name}"):
        return convert_path(source, target, kind, table, options, choice, per_second)  # type: ignore[arg-type] # as checked


def _refuse_unless_known(option: str, value: str | None, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        raise BadInput(Problem(option, repr(value), f"known are {', '.join(known)}", "write one of these"))


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    return ".yaml" if suffix == ".yml" else suffix


def _refuse_option(option: str, value: object, limit: str, remedy: str) -> None:
    if value is not None:
        raise BadInput(Problem(option, str(value), limit, remedy))


def _experiment(source: Path, title: str | None, rig: str | None) -> str:
    """A complete experiment without a probe program, checked like any experiment file."""
    from opsicm.experiment.file import experiment_from_text
    from opsicm.experiment.yaml_file import read_text, yaml_text
    from opsicm.formats.unicycler.reading import from_unicycler

    program = from_unicycler(read_text(source), str(source))
    data = {
        "opsicm": 1,
        "title": title or program.name or source.stem,
        "rig": rig or "twin/graphite",
        "pipette": {"bias_V": 0.7},
        "cell": [{step.word: step.model_dump(mode="json", exclude_defaults=True)} for step in program.steps],
        "envelope": _envelope(program),
    }
    text = yaml_text(data)
    try:
        experiment_from_text(text, str(source))
    except BadInput as error:
        raise BadInput(_of_the_protocol(problem) for problem in error.problems) from None
    return f"# From {source.name} by opsicm convert. Add a probe program, your pipette and your specimen.\n{text}"


def _envelope(program: CyclerProgram) -> dict[str, object]:
    """The protocol's limits, and its duration where that exceeds the envelope's default."""
    from opsicm.core.units import to_si
    from opsicm.experiment.controls import program_duration

    envelope = program.envelope
    limits: dict[str, object] = {"cell_V": list(envelope.cell_V), "cell_mA": envelope.cell_mA}
    longest = program_duration(program.steps)
    if longest is not None and longest > envelope.duration:
        limits["run_h"] = min(float(ceil(_MARGIN * longest / to_si("run_h", 1))), 10_000.0)
    return limits


def _of_the_protocol(problem: Problem) -> Problem:
    """The problem without its line, which refers to the intermediate YAML; a protocol's limits are its `safety`."""
    remedy = problem.remedy
    if "envelope.cell" in problem.limit:
        remedy = "stay within it, or widen safety in the protocol if the cell allows it"
    return Problem(problem.thing, problem.value, problem.limit, remedy, problem.file)


def _protocol(source: Path, capacity_mah: float | None) -> str:
    from opsicm.cli.terminal import err
    from opsicm.experiment.file import read_experiment
    from opsicm.formats.unicycler.writing import to_unicycler

    if capacity_mah is not None and not 0.0 < capacity_mah <= 1e6:
        raise BadInput(Problem("--capacity-mah", f"{capacity_mah:g}", "must be above 0 mAh", "give the sample's"))
    loaded = read_experiment(source)
    text = to_unicycler(loaded, capacity_mah)
    if loaded.experiment.probe:
        err.print("a cycling protocol has no probe program: it is left out")
    return text


def _write(target: Path, text: str) -> None:
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        limit = f"cannot be written: {error.strerror}"
        raise BadInput(Problem("OUT", str(target), limit, "name a file in a folder that you may write to")) from None
