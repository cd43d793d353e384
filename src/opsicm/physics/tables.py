"""Tables shipped with the package, as npz in the folder `tables`: the only files that physics reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


def path_of(name: str) -> Path:
    """Where the table `name` lies."""
    return Path(str(files("opsicm.physics") / "tables" / f"{name}.npz"))


@cache
def load_table(name: str) -> Mapping[str, NDArray[np.float64]]:
    """The columns of the table `name`, float64 and read-only; never unpickles. A missing file is a packaging fault."""
    with np.load(path_of(name), allow_pickle=False) as stored:
        columns = {key: np.ascontiguousarray(stored[key], dtype=np.float64) for key in stored.files}
    for column in columns.values():
        column.setflags(write=False)
    return MappingProxyType(columns)
