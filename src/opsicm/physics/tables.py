"""Tables shipped with the package: the only files that physics reads."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


def path_of(name: str) -> Path:
    """Where the table `name` lies (an .npz in physics/tables)."""
    return Path(str(resources.files("opsicm.physics") / "tables" / f"{name}.npz"))


def load(name: str) -> dict[str, F64]:
    """The arrays of the table `name`, by their keys, as float64; never unpickles."""
    with np.load(path_of(name), allow_pickle=False) as stored:
        return {key: np.asarray(stored[key], dtype=np.float64) for key in stored.files}
