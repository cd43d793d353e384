"""`opsicm convert`: cell programs to and from aurora-unicycler's JSON, and the movie of a run."""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from opsicm.cli.terminal import LevellingOption
from opsicm.core.errors import BadInput, Problem

if TYPE_CHECKING:
    from opsicm.formats.unicycler.reading import CyclerProgram

app = typer.Typer(add_completion=False)

KNOWN: Final = (
    "known are .json (aurora-unicycler) to .yaml (experiment), and .yaml to .json, and a run to a movie (.gif or .mp4)"
)
_MOVIES: Final = (".gif", ".mp4")
_MARGIN: Final = 1.1  # of the longest duration, for the limit of a program that outlasts the usual one


@app.command(epilog="Example: opsicm convert cycling.json cycling.yaml --title 'three cycles'")
def convert(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="A cycling protocol (.json), an experiment (.yaml), or a run.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="A new file: .yaml, .json, or .gif or .mp4 of a run.")],
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
    """Convert a protocol, an experiment, or a run to a movie.

    The movie shows a run's images, or its line. Protocols are aurora-unicycler's .json files. An experiment made of
    one has no probe program; a protocol made of an experiment has its cell steps only.
    """
    from opsicm.cli.terminal import err
    from opsicm.cli.terminal import out as console

    kinds = (_kind(source), _kind(target))
    if kinds[1] in _MOVIES:
        if target.exists():
            raise BadInput(
                Problem("OUT", str(target), "a file of this name exists", "name a new file, or move it away")
            )
        console.print(str(_movie(source, target, levelling, per_second)), markup=False)
        return
    for name, value in (("--levelling", levelling), ("--per-second", per_second)):
        _refuse_option(name, value, "is for movies", "leave it out, or name OUT with .gif")
    if kinds not in ((".json", ".yaml"), (".yaml", ".json")):
        remedy = "give IN and OUT such names"
        raise BadInput(Problem("the conversion", f"{source} to {target}", KNOWN, remedy))
    if target.exists():
        raise BadInput(Problem("OUT", str(target), "a file of this name exists", "name a new file, or move it away"))
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


def _movie(source: Path, target: Path, levelling: str | None, per_second: float | None) -> Path:
    from opsicm.cli.terminal import working
    from opsicm.results.image_figures import image_choice
    from opsicm.results.run_or_file import movie_of_path

    choice = image_choice(levelling, None)
    with working("drawing the movie"):
        return movie_of_path(source, target, choice, per_second)


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
