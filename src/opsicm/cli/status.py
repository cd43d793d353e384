"""`opsicm status` and `opsicm runs`: where a run is, from a second terminal, and the runs of a folder.

A run in progress is asked over its socket, which neither stops a hop nor leaves a trace in its record. What else there
is to say stands in its journal, so that a run that has ended, or that a crash interrupted, has a status too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from opsicm.cli.progress import lasting, left_text, share_text
from opsicm.cli.terminal import DEFAULT_OUT, JsonFlag
from opsicm.core.errors import BadInput, Problem
from opsicm.record import run_folder
from opsicm.record.journal import read_lines
from opsicm.runner.control_socket import ask_status

if TYPE_CHECKING:
    from opsicm.record.recover import CatalogueEntry

app = typer.Typer(add_completion=False)
_INTERVAL: Final = 2.0  # [s] between two looks
_LAST: Final = 3  # alarms, notes and remarks on the quality that are shown
_TOLD: Final = ("alarm", "quality", "gap", "note", "command", "tip_exchanged")


@dataclass(frozen=True, slots=True)
class RunStatus:
    """Where a run is. `live` is what its process answers, None where none does; `journal` what was recorded."""

    folder: Path
    title: str
    live: dict[str, Any] | None
    outcome: str | None
    hops: int
    t: float
    steps: tuple[str, ...]
    tips: int
    told: tuple[tuple[float, str], ...]
    bytes: int

    @property
    def state(self) -> str:
        """`running`, how it ended, or that a crash interrupted it."""
        if self.outcome is not None:
            finished = (self.folder / run_folder.RUN_FILE).is_file()
            return self.outcome if finished else f"{self.outcome}, its run file is being made"
        if self.live is None:
            return "no process runs it: interrupted, or about to begin or end"
        return "running" if self.live else "running, but it does not answer: it compiles, or an instrument keeps it"

    def record(self) -> dict[str, Any]:
        """The status with stable keys, SI."""
        journal = {"hops": self.hops, "t_s": self.t, "steps": list(self.steps), "tips_exchanged": self.tips}
        free, _ = run_folder.free(self.folder)
        told = [{"t_s": t, "message": message} for t, message in self.told]
        disk = {"bytes": self.bytes, "bytes_free": free}
        head = {"run": str(self.folder), "title": self.title, "state": self.state}
        return {**head, **journal, **(self.live or {}), **disk, "told": told}


def status_of(path: Path) -> RunStatus:
    """The status of the run in the folder `path`, or of the folder's run file; raises `BadInput` for what is no run."""
    folder = path if path.is_dir() else path.parent
    journal = folder / run_folder.JOURNAL
    if not journal.is_file():
        limit = "is no run folder: it has no journal"
        raise BadInput(Problem("run", str(path), limit, "name a folder that `opsicm run` has made, or see opsicm runs"))
    lines, _ = read_lines(journal)
    facts = [json.loads(line) for line in lines]
    ended = next((fact for fact in reversed(facts) if fact["kind"] == "run_ended"), None)
    last_hops = next((fact for fact in reversed(facts) if fact["kind"] == "hops"), None)
    title = next((str(fact["data"].get("title", "")) for fact in facts if fact["kind"] == "run_started"), folder.name)
    return RunStatus(
        folder,
        title,
        ask_status(folder) if ended is None else None,
        None if ended is None else str(ended["data"].get("outcome")),
        0 if last_hops is None else int(last_hops["data"]["range"][1]) + 1,
        facts[-1]["t_ns"] * 1e-9 if facts else 0.0,
        tuple(_running_steps(facts)),
        sum(fact["kind"] == "tip_exchanged" for fact in facts),
        tuple((fact["t_ns"] * 1e-9, _told(fact)) for fact in facts if fact["kind"] in _TOLD)[-_LAST:],
        sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
    )


def _running_steps(facts: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Paths of the steps that have begun and not ended, the cell's before the probe's."""
    open_steps: dict[tuple[str, str], None] = {}
    for fact in facts:
        if fact["kind"] == "step_started":
            open_steps[fact["track"], fact["step"]] = None
        elif fact["kind"] == "step_ended":
            open_steps.pop((fact["track"], fact["step"]), None)
    return (step for _, step in sorted(open_steps))


def _told(fact: dict[str, Any]) -> str:
    """A fact as one line: `alarm: …`, `note: …`, `command pause-probe: …`."""
    data = fact["data"]
    message = data.get("message") or data.get("text") or data.get("answer") or data.get("note") or ""
    word = fact["kind"].replace("_", " ")
    if fact["kind"] == "command":
        value = f" {data['key']}={data['value']:g}" if "key" in data else ""
        word += f" {data.get('command')}{value}{'' if data.get('accepted', True) else ' refused'}"
    return f"{word}: {message}" if message else word


def status_lines(status: RunStatus) -> Iterator[str]:
    """The output of `opsicm status`."""
    live = status.live or {}
    yield f"{status.title}"
    yield f"run       {status.folder}"
    where = _in_words(status, str(live.get("where") or " ".join(status.steps)))
    yield f"state     {status.state}" + (f"; {where}" if where else "")
    t, total = float(live.get("t_s", status.t)), live.get("total_s")
    yield f"time      {_time_text(t, total, live)}"
    yield f"hops      {live.get('hops', status.hops)}"
    if live.get("potential_V") is not None:
        soc = "" if live.get("soc") is None else f", SOC {live['soc'] * 100:.1f} %"
        yield f"cell      {live['potential_V']:.4g} V, {live['cell_current_A'] * 1e3:.4g} mA{soc}"
    exchanged = f"; exchanged {status.tips} times" if status.tips else ""
    if live.get("pipette_current_A") is not None:
        share = live.get("pipette_share")
        first = "" if share is None else f", {share * 100:.0f} % of its first"
        yield f"tip       {live['pipette_current_A'] * 1e9:.4g} nA far from the surface{first}{exchanged}"
    elif exchanged:
        yield f"tip       {exchanged.removeprefix('; ')}"
    free, _ = run_folder.free(status.folder)
    yield f"disk      {_bytes_text(status.bytes)} so far, {_bytes_text(free)} free"
    for when, message in status.told:
        yield f"at {when:<7.0f}{message}"
    if status.live is None and status.outcome is None:
        yield f"if it was interrupted: opsicm recover {status.folder}"


def _time_text(t: float, total: Any, live: dict[str, Any]) -> str:
    if not live:
        return f"{t:.0f} s ({lasting(t)})"
    if total is None:
        return f"{t:.0f} s ({lasting(t)}); how long yet depends on a cut-off"
    speed = live.get("speed")
    pace = "" if not speed or abs(speed - 1.0) < 0.05 else f" at {speed:.3g} times real time"
    return f"{t:.0f} of about {total:.0f} s, {share_text(t, total)}; {left_text(live.get('left_s'))}{pace}"


def _in_words(status: RunStatus, where: str) -> str:
    """`cell[0] probe[1]` with the word of each step: `cell[0] sweep, probe[1] hop`; as it is where the file is gone."""
    from opsicm.core.errors import OpsicmError
    from opsicm.experiment.file import read_experiment
    from opsicm.experiment.program import written_steps

    try:
        experiment = read_experiment(status.folder / run_folder.EXPERIMENT).experiment
    except OpsicmError:
        return where
    words = {placed.path: placed.step.word for placed in written_steps("cell", experiment.cell)}
    words |= {placed.path: placed.step.word for placed in written_steps("probe", experiment.probe)}
    paths, paused, why = where.partition(" (")
    return ", ".join(f"{path} {words[path]}" for path in paths.split() if path in words) + paused + why


def _bytes_text(count: float) -> str:
    for factor, unit in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


@app.command(epilog="Example: opsicm status out/20261123T080000Z_height")
def status(
    run: Annotated[
        Path | None,
        typer.Argument(metavar="[RUN]", help="Folder of the run; without it, the latest one below the default folder."),
    ] = None,
    json: JsonFlag = False,
) -> None:
    """Show where a run is and how long it has yet.

    Its present steps, hops, cell, tip, disk and last messages, from any terminal, while it goes on or after it has
    ended. Asking does not disturb the run.
    """
    from opsicm.cli.terminal import out, print_json

    seen = status_of(latest_run() if run is None else run)
    if json:
        print_json([seen.record()])
        return
    for line in status_lines(seen):
        out.print(line, markup=False)


def newest_run(out: Path) -> Path | None:
    """The folder of the latest run below `out`; None where there is none."""
    folders = [path.parent for path in out.glob(f"*/{run_folder.JOURNAL}")]
    return max(folders, key=lambda folder: folder.name, default=None)


def latest_run() -> Path:
    """The folder of the latest run below the default folder; raises `BadInput` without one."""
    if (folder := newest_run(DEFAULT_OUT)) is None:
        limit = f"is not named, and there is none below {DEFAULT_OUT}"
        raise BadInput(Problem("RUN", "", limit, "name its folder, which `opsicm run` prints"))
    return folder


# -- The runs of a folder.


@app.command(epilog="Example: opsicm runs out/ --watch")
def runs(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder that was given as --out.", show_default=True)
    ] = DEFAULT_OUT,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Read every run again instead of the folder's table.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Look again every two seconds, until no run is in progress or Ctrl-C.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """List the runs in a folder.

    One line a run, its path first and never broken, so that it can be copied; when it began, how it ended, and how long
    one in progress has yet.
    """
    from opsicm.cli.terminal import out, print_json
    from opsicm.record.recover import run_catalogue

    catalogue = run_catalogue(folder, rebuild)
    if json:
        print_json([asdict(entry) for entry in catalogue])
        return
    if watch:
        _watch(folder)
        return
    for line in run_lines(folder, catalogue):
        out.print(line, markup=False)


def run_lines(folder: Path, catalogue: Sequence[CatalogueEntry]) -> list[str]:
    """The list of runs, columns aligned, the path first and the title last."""
    rows = [("run", "started (UTC)", "state", "duration", "hops", "size", "title")]
    for entry in catalogue:
        path, state, duration, hops = folder / entry.folder, entry.outcome, lasting(entry.duration), entry.hops
        live = ask_status(path) if entry.outcome == "running" else None
        if live is not None:
            t = live.get("t_s", 0.0)
            parts = ("running", share_text(t, live.get("total_s")), left_text(live.get("left_s")))
            state, duration, hops = ", ".join(part for part in parts if part), lasting(t), live.get("hops", hops)
        size = _bytes_text(entry.bytes)
        rows.append((str(path), entry.started[:19], state, duration, str(hops), size, entry.title))
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in rows
    ]


def _watch(folder: Path) -> None:
    """Print the list again and again; on a terminal in place and cut to its width."""
    from rich.live import Live
    from rich.text import Text

    from opsicm.cli.terminal import out
    from opsicm.instruments.clock import pause
    from opsicm.record.recover import run_catalogue

    with Live(console=out, auto_refresh=False) if out.is_terminal else nullcontext() as live:
        while True:
            catalogue = run_catalogue(folder)
            text = "\n".join(run_lines(folder, catalogue))
            if live is None:
                out.print(text, markup=False)
            else:
                live.update(Text(text, no_wrap=True, overflow="ellipsis"), refresh=True)
            if not any(entry.outcome == "running" for entry in catalogue):
                return
            pause(_INTERVAL)
