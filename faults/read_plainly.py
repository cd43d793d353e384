"""Read the counts of run files with h5py alone, as others do: python read_plainly.py GOOD FILE... One JSON string each:
"message" (HDF5 refuses), "same" (every count true), or what was wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import hdf5plugin  # noqa: F401  registers the filter
import numpy as np
from numpy.typing import NDArray


def counts(path: str) -> dict[str, NDArray[np.int16]]:
    """Everything that `counts` of a segment holds."""
    with h5py.File(path, "r") as file:
        samples = file["entry/samples"]
        return {name: samples[name]["counts"][:] for name in samples}


def answer(path: str, intact: dict[str, NDArray[np.int16]]) -> str:
    """What comes out of a damaged file."""
    try:
        read = counts(path)
    except (OSError, RuntimeError, LookupError, ValueError):
        return "message"
    same = read.keys() == intact.keys() and all(np.array_equal(read[name], intact[name]) for name in intact)
    return "same" if same else f"other counts in {Path(path).name}"


if __name__ == "__main__":
    good = counts(sys.argv[1])
    for name in sys.argv[2:]:
        print(json.dumps(answer(name, good)), flush=True)
