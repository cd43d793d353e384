"""`opsicm check` and `opsicm schema`: what an experiment file may say, and what one says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from opsicm.app.options import JsonFlag
from opsicm.errors import OpsicmError

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: opsicm check experiments/e09_height_during_voltammogram.yaml")
def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Experiment files.")],
    rig: Annotated[str | None, typer.Option(help="Rig file or preset instead of the experiment's.")] = None,
    json: JsonFlag = False,
) -> None:
    """Say every problem at once, each with its line, and what the run will take and show. Runs nothing."""
    from opsicm.app.check import checked
    from opsicm.app.prediction_text import checked_text, prediction_record
    from opsicm.app.terminal import complain, print_json
    from opsicm.app.terminal import out as console

    records: list[dict[str, Any]] = []
    bad = False
    for file in files:
        try:
            predictions = checked(file, rig)
        except OpsicmError as error:
            bad = True
            complain(error)
            problems = [{"file": p.file, "line": p.line, "problem": str(p)} for p in error.problems]
            records.append({"file": str(file), "ok": False, "problems": problems})
            continue
        for experiment, prediction in predictions:
            record = prediction_record(experiment, prediction)
            records.append({"file": str(file), "ok": True, "problems": [], **record})
        if not json:
            console.print(checked_text(file, predictions), markup=False, soft_wrap=True)
    if json:
        print_json(records)
    raise typer.Exit(2 if bad else 0)


@app.command(epilog="Example: opsicm schema > opsicm.schema.json")
def schema() -> None:
    """Print the JSON Schema of the experiment file."""
    import json as json_module

    from opsicm.protocol.experiment_file import json_schema

    print(json_module.dumps(json_schema(), indent=2, ensure_ascii=False))
