"""Images of other people, read here with NumPy alone; None where the data folder is not at hand."""

from __future__ import annotations

import re

import numpy as np
from foreign_data import DATA
from numpy.typing import NDArray

F64 = NDArray[np.float64]
NID = DATA / "topography" / "nid-1.nid"


def nid() -> F64:
    """Forward heights of nid-1.nid in nm: Nanosurf, data set 0:1, 256 x 256 signed 32-bit little-endian."""
    raw = NID.read_bytes()
    mark = raw.index(b"#!")
    header = raw[:mark].decode("latin-1")
    section = header[header.index("[DataSet-0:1]") :].split("\r\n\r\n")[0]
    found = dict(re.findall(r"^(\w+)=(.*?)\r?$", section, re.MULTILINE))
    columns, rows, bits = int(found["Points"]), int(found["Lines"]), int(found["SaveBits"])
    # Data set 0:0 (deflection, of the same size) stands before it.
    first = mark + 2 + rows * columns * bits // 8
    counts = np.frombuffer(raw, dtype=f"<i{bits // 8}", count=rows * columns, offset=first).reshape(rows, columns)
    return counts.astype(np.float64) * (float(found["Dim2Range"]) / 2.0**bits) * 1e9
