"""Commands about stored runs: recover, validate, replay."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from opsicm.cli.terminal import DEFAULT_OUT, JsonFlag, OutOption

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: opsicm recover out/20261123T080000Z_height")
def recover(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Run folders, or folders of run folders.")],
    json: JsonFlag = False,
) -> None:
    """Recover runs that were interrupted by a crash.

    Makes their run files from the live records. A folder that is not a run is named and left alone.
    """
    from opsicm.cli.execute import signature
    from opsicm.cli.terminal import err, print_json
    from opsicm.cli.terminal import out as console
    from opsicm.record.recover import recover as recover_runs

    recoveries = []
    for recovery in recover_runs(paths, signature()):
        recoveries.append(recovery)
        stream = console if recovery.opens and recovery.state != "no run" else err
        if not json or stream is err:
            stream.print(f"{recovery.state:<10} {recovery.path}  {recovery.note}", markup=False)
    if json:
        print_json([{**asdict(recovery), "path": str(recovery.path)} for recovery in recoveries])
    missing = any(not path.exists() for path in paths)
    raise typer.Exit(0 if all(recovery.opens for recovery in recoveries) and not missing else 2)


@app.command(epilog="Example: opsicm validate out/20261123T080000Z_height")
def validate(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Run folders or run files.")],
    json: JsonFlag = False,
) -> None:
    """Validate run files against the standard (NXsicm).

    Checks names, types, units, order, gaps and every checksum.
    """
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import print_json, print_problems
    from opsicm.core.errors import OpsicmError
    from opsicm.record.validate import validate as validate_run

    records = []
    bad = False
    for file in files:
        try:
            results = validate_run(file)
        except OpsicmError as error:
            print_problems(error)
            bad = True
            records.append({"file": str(file), "check": "opens", "ok": False, "seen": str(error)})
            continue
        bad = bad or not all(result.ok for result in results)
        records += [{"file": str(file), **asdict(result)} for result in results]
        if not json:
            console.print(f"{file}: {'valid' if all(result.ok for result in results) else 'NOT valid'}", markup=False)
            for result in results:
                console.print(f"  {'ok ' if result.ok else 'BAD'} {result.check:<14} {result.seen}", markup=False)
    if json:
        print_json(records)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm replay out/20261123T080000Z_height --speed 10 --out again/")
def replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder or run file.")],
    out: OutOption = DEFAULT_OUT,
    speed: Annotated[str, typer.Option(help="max, or a factor: 1 is real time, 10 ten times as fast.")] = "max",
) -> None:
    """Replay a stored run into a new run.

    The stored samples, hops and readings pass through the recorder again at the given speed. Prints the new run file's
    path.
    """
    from opsicm.cli.replaying import replay_run
    from opsicm.cli.terminal import out as console
    from opsicm.cli.terminal import pace_of, stop_on_interrupt

    pace = pace_of(speed)
    with stop_on_interrupt() as stop:
        path = replay_run(run, out, pace, stop)
    console.print(str(path), markup=False)
