"""Commands about the record: recover, validate, runs, replay. Mounted beside the others."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)

JsonFlag = Annotated[bool, typer.Option("--json", help="A list of records with stable keys on standard output.")]


@app.command(epilog="Example: opsicm recover out/20261123T080000Z_height")
def recover(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Run folders, or folders of run folders.")],
    json: JsonFlag = False,
) -> None:
    """Make the run file of runs that a crash cut off. What is no run is named and left alone."""
    from opsicm.cli.execute import who
    from opsicm.cli.terminal import err, print_json
    from opsicm.cli.terminal import out as console
    from opsicm.record.recover import recover as recover_runs

    done = []
    for one in recover_runs(paths, who()):
        done.append(one)
        stream = console if one.opens and one.state != "no run" else err
        if not json or stream is err:
            stream.print(f"{one.state:<10} {one.path}  {one.note}", markup=False)
    if json:
        print_json([{**asdict(one), "path": str(one.path)} for one in done])
    missing = any(not path.exists() for path in paths)
    raise typer.Exit(0 if all(one.opens for one in done) and not missing else 2)


@app.command(epilog="Example: opsicm validate out/20261123T080000Z_height")
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Run folders or run files.")],
    json: JsonFlag = False,
) -> None:
    """Check run files against the standard (NXsicm): names, types, units, order, gaps and every checksum."""
    from opsicm.cli.terminal import complain, print_json
    from opsicm.cli.terminal import out as console
    from opsicm.core.errors import OpsicmError
    from opsicm.record.validate import validate as findings_of

    records = []
    bad = False
    for file in files:
        try:
            findings = findings_of(file)
        except OpsicmError as error:
            complain(error)
            bad = True
            records.append({"file": str(file), "check": "opens", "ok": False, "seen": str(error)})
            continue
        bad = bad or not all(finding.ok for finding in findings)
        records += [{"file": str(file), **asdict(finding)} for finding in findings]
        if not json:
            console.print(f"{file}: {'valid' if all(f.ok for f in findings) else 'NOT valid'}", markup=False)
            for finding in findings:
                console.print(f"  {'ok ' if finding.ok else 'BAD'} {finding.check:<14} {finding.seen}", markup=False)
    if json:
        print_json(records)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm runs out/")
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder that --out named.")] = Path(),
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Read every run anew.")] = False,
    json: JsonFlag = False,
) -> None:
    """List the runs in a folder: what, when, how it ended."""
    from rich.table import Table

    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import print_json
    from opsicm.record.recover import entries

    found = entries(folder, rebuild)
    if json:
        print_json([asdict(entry) for entry in found])
        return
    table = Table(box=None, pad_edge=False)
    for column in ("run", "title", "started (UTC)", "outcome", "duration", "hops", "size"):
        table.add_column(column, overflow="fold")
    for entry in found:
        table.add_row(
            entry.folder,
            entry.title,
            entry.started[:19],
            entry.outcome,
            f"{entry.duration:.0f} s",
            str(entry.hops),
            f"{entry.bytes * 1e-6:.1f} MB",
        )
    console.print(table)


@app.command(epilog="Example: opsicm replay out/20261123T080000Z_height --speed 10 --out again/")
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or run file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder in which the new run's folder is made.")] = Path(
        "replayed"
    ),
    speed: Annotated[str, typer.Option(help="max, 1 for real time, or how many times faster.")] = "max",
) -> None:
    """Tell a stored run again as the stream it was, into a new run; prints the new run file's path."""
    from opsicm.cli.replaying import replay_run
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import pace_of, stop_on_interrupt

    pace = pace_of(speed)
    with stop_on_interrupt() as stop:
        path = replay_run(run, out, pace, stop)
    console.print(str(path), markup=False)
