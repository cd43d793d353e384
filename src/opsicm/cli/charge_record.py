"""The charge that a run's record holds, as JSON on standard output: python -m opsicm.cli.charge_record RUN.

A run that a crash cut off gets its run file first.

A process of its own: whatever reads runs imports HDF5, which has no place in the process that will move a pipette.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from opsicm.core.errors import BadInput, Problem

_PATIENCE = 600.0  # [s]


def charge_of(folder: Path) -> tuple[list[int], list[float], float, int]:
    """([ns], [C] of every slow row, capacity [C] of the specimen, seed) of the run in `folder`, by a child process."""
    command = [sys.executable, "-P", "-m", __spec__.name, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_PATIENCE)
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or ["its reader ended without a word"]
        remedy = f"opsicm recover {folder} says more"
        raise BadInput(Problem("--resume", str(folder), f"cannot be read: {said[0]}", remedy))
    read = json.loads(done.stdout)
    return read["t_ns"], read["charge_C"], read["capacity_C"], read["seed"]


def main() -> None:
    """Print what `charge_of` returns."""
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
            },
            sys.stdout,
        )


if __name__ == "__main__":
    main()
