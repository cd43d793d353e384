"""Prints what a resumed run needs of its record as JSON: python -m opsicm.cli.recorded_charge RUN.

An interrupted run is recovered first. This is a process of its own because reading a run imports HDF5, which must stay
out of the process that will move a pipette.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opsicm.core.errors import BadInput, Problem

_TIMEOUT = 600.0  # [s]


@dataclass(frozen=True, slots=True)
class Recorded:
    """Of a run's record: `t_ns` [ns] and `charge_C` [C] of every slow row, `capacity_C` [C] of the specimen, the seed,
    the experiment and rig with which it was begun, word for word, all stated `parameters`, and where the experiment
    file lay, from where the files that it names are seen (runs of older versions do not say it)."""

    t_ns: list[int]
    charge_C: list[float]
    capacity_C: float
    seed: int
    experiment: str
    rig: str
    parameters: dict[str, Any]
    experiment_file: str | None


def recorded_charge(folder: Path) -> Recorded:
    """The record of the run in `folder`, read by a child process."""
    command = [sys.executable, "-P", "-m", __spec__.name, str(folder)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    if completed.returncode:
        reason = completed.stderr.strip().splitlines()[-1:] or ["its reader ended without a message"]
        remedy = f"opsicm recover {folder} says more"
        raise BadInput(Problem("--resume", str(folder), f"cannot be read: {reason[0]}", remedy))
    return Recorded(**json.loads(completed.stdout))


def main() -> None:
    """Print the record."""
    from opsicm.record.reader import Run
    from opsicm.record.recover import recover

    folder = Path(sys.argv[1])
    for recovery in recover([folder], "opsicm run --resume"):
        if recovery.state in ("running", "failed"):
            sys.exit(recovery.note)
    with Run(folder) as run:
        json.dump(
            {
                "t_ns": run.cell["t_ns"].values.tolist(),
                "charge_C": run.cell["charge"].values.tolist(),
                "capacity_C": run.parameters["specimen"]["capacity_C"],
                "seed": int(run.provenance["seed"]),
                "experiment": run.experiment_text,
                "rig": run.rig_text,
                "parameters": run.parameters,
                "experiment_file": run.provenance.get("experiment_file"),
            },
            sys.stdout,
        )


if __name__ == "__main__":
    main()
