"""A twin in a process of its own: python -m opsicm.cli.world_process EXPERIMENT FOLDER [SPEED].

`opsicm run EXPERIMENT --world FOLDER` then runs on it, with a watchdog. Every role made safe is logged in
FOLDER/witness as `role ns` (the machine's monotonic clock).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from opsicm.cli.rigs import load_rig, prepare, seed_of
from opsicm.emulators.paced_world import SLICE_NS
from opsicm.emulators.safe_world import SafeWorld
from opsicm.experiment.file import read_experiment

WITNESS = "witness"


def main(file: Path, folder: Path, speed: float) -> None:
    """Serve until killed. The world's clock advances only when a controller asks for it."""
    experiment = read_experiment(file)
    loaded = load_rig(experiment, None)
    seed = seed_of(experiment.experiment, loaded, None)
    log = os.open(folder / WITNESS, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def witness(role: str, t_ns: int) -> None:
        os.write(log, f"{role} {t_ns}\n".encode())

    world = SafeWorld(folder, witness, speed)
    # In pieces of a plan so short that a stop, or a safe channel, acts within the hop in flight.
    world.serve(prepare(experiment, loaded, seed, world.hold, slice_ns=round(SLICE_NS * speed)).rig)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 1.0)
