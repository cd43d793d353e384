"""Recover run folders and compare what is kept with what was recorded: python recover_all.py FOLDER...

One JSON string a folder: "message" (refused in words), "same", "less" (with the loss named), or what was wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.stream import Stream
from opsicm.record.reader import Run
from opsicm.record.recover import recover

_BLOCKS = 6


def judged(folder: Path) -> str:
    """What became of a folder that held six blocks and six slow rows."""
    stream = Stream(channels=2, samples=2_000, per_segment=4)
    (recovery,) = recover([folder], "faults")
    if not recovery.opens:
        return "message" if folder.name in recovery.note else f"says nothing of use: {recovery.note}"
    try:
        stored = list(stream.kept(recovery.path))
    except AssertionError as error:
        return str(error)
    with Run(recovery.path) as run:
        t_ns, current = run.slow["t_ns"].values, run.slow["pipette_current"].values
        losses = run.provenance["losses"]
    rows = [stream.reading(k) for k in range(_BLOCKS)]
    true = {row.t_ns: row.pipette_current for row in rows}
    if any(true.get(int(t)) != i for t, i in zip(t_ns, current, strict=True)):
        return "another slow row"
    if len(stored) == _BLOCKS and t_ns.size == _BLOCKS:
        return "same"
    return "less" if losses != "none" else f"{len(stored)} blocks and {t_ns.size} rows, and no loss is named"


def main() -> None:
    """Answer for every folder."""
    np.seterr(all="ignore")
    for folder in sys.argv[1:]:
        print(json.dumps(judged(Path(folder))), flush=True)


if __name__ == "__main__":
    main()
