"""The package's own tables: measured curves as npz files in the folder `tables`, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray


@cache
def load_table(name: str) -> Mapping[str, NDArray[np.float64]]:
    """The columns of the package table `name`, read-only; `KeyError`-free: a missing file is a packaging fault."""
    with files(__package__).joinpath("tables", f"{name}.npz").open("rb") as stream, np.load(stream) as stored:
        columns = {key: np.ascontiguousarray(stored[key], dtype=np.float64) for key in stored.files}
    for column in columns.values():
        column.setflags(write=False)
    return MappingProxyType(columns)
