"""What `run.nxs` holds under which name: shared by who makes it, who reads it and who validates it."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

FILE_VERSION: Final = 1
DEFINITION_VERSION: Final = "1.0"
PROGRAM_URL: Final = "https://pypi.org/project/opsicm/"
GROUPS: Final = ("samples", "hops", "cell", "slow", "journal", "experiment", "rig", "parameters", "provenance")

# column of the file → (field of a slow row, unit)
CELL: Final = {
    "t_ns": "ns", "potential": "V", "current": "A", "charge": "C", "set_point": "V", "soc": "1",
}  # fmt: skip
SLOW: Final = {
    "t_ns": "ns", "pipette_current": "A", "pipette_bias": "V", "bias_residual": "V", "z": "m", "coarse_z": "m",
}  # fmt: skip
HOP_UNITS: Final = {
    "x": "m", "y": "m", "t_ns": "ns", "i_ref": "A", "i_stop": "A", "setpoint": "1", "z_stop": "m", "z_min": "m",
    "cell_potential": "V", "cell_current": "A", "bias_residual": "V",
}  # fmt: skip
SOC_DEFINITION: Final = (
    "charge since the last delithiated cut-off over the reversible capacity between the program's cut-offs at rest; "
    "NaN before the first such cut-off; not the stoichiometry"
)
OUTCOMES: Final = "0 contact, 1 no contact in range, 2 below threshold at start, 3 overload, 4 aborted"
QUALITIES: Final = "0 good, 1 saturated, 2 stale, 3 missing, 4 suspect"
BLOCK_COLUMNS: Final = ("first_sample", "samples", "t0_ns")
MISSING: Final = 3


def column_dtype(name: str) -> Any:
    """The type of a column of `cell` or `slow`."""
    return np.int64 if name == "t_ns" else np.float64
