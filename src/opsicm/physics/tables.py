"""The package's own tables: npz files in the folder `tables`, the only files that physics reads."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


@cache
def load_table(name: str) -> Mapping[str, F64]:
    """The columns of the package table `name`, read-only; `KeyError`-free: a missing file is a packaging fault."""
    with files(__package__).joinpath("tables", f"{name}.npz").open("rb") as stream, np.load(stream) as stored:
        columns = {key: np.ascontiguousarray(stored[key], dtype=np.float64) for key in stored.files}
    for column in columns.values():
        column.setflags(write=False)
    return MappingProxyType(columns)


def path_of(name: str) -> Path:
    """Where the table `name` lies (an .npz in physics/tables)."""
    return Path(str(files("opsicm.physics") / "tables" / f"{name}.npz"))


def load(name: str) -> dict[str, F64]:
    """The arrays of the table `name`, by their keys, as float64; never unpickles."""
    with np.load(path_of(name), allow_pickle=False) as stored:
        return {key: np.asarray(stored[key], dtype=np.float64) for key in stored.files}
