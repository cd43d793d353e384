"""PalmSens' `.pssession` (PSTrace): JSON in UTF-16, with keys in lower case (PSTrace 5.7 and before) or in CamelCase.

A unit's symbol "A" stands for the quantity only: the numbers are in the unit that its type names, as `MicroAmpere`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.cell_record import CellFile, CellRecord
from opsicm.formats.text import bad

F64 = NDArray[np.float64]
_UNITS: Final[Mapping[str, tuple[str, float]]] = {
    "time": ("t", 1.0),
    "volt": ("E", 1.0),
    "millivolt": ("E", 1e-3),
    "ampere": ("I", 1.0),
    "milliampere": ("I", 1e-3),
    "microampere": ("I", 1e-6),
    "nanoampere": ("I", 1e-9),
    "picoampere": ("I", 1e-12),
}
_ARRAY_TYPES: Final = {"t": (0,), "E": (1,), "I": (2,)}  # others are of auxiliary inputs, of set values …


def looks_like_session(text: str) -> bool:
    """Whether a text is a session: JSON whose type says so, in either spelling."""
    head = text[:2000].lower()
    return head.lstrip("\ufeff \r\n").startswith("{") and "palmsens." in head and '"type"' in head


def read_session(text: str, path: Path) -> CellFile:
    """The measurements with time, potential and current; `BadInput` where none has them or the JSON is damaged."""
    try:
        session, _ = json.JSONDecoder().raw_decode(text.lstrip("\ufeff \r\n"))
    except ValueError as error:
        raise bad(path, "content", "a damaged .pssession", f"its JSON ends early ({error})", "save it again") from None
    measurements = _get(session, "measurements") or []
    records, without = [], []
    for k, measurement in enumerate(measurements):
        title = str(_get(measurement, "title") or f"measurement {k + 1}")
        arrays = _arrays(measurement, path)
        if {"t", "E", "I"} <= set(arrays):
            size = min(arrays[letter].size for letter in "tEI")
            t, potential, current = (arrays[letter][:size] for letter in "tEI")
            records.append(CellRecord(f"{k + 1} {title}", t, potential, current))
        else:
            without.append(f"{title} ({', '.join(arrays) or 'no'} arrays)")
    if not records:
        limit = "a measurement with time, potential and current is needed"
        raise bad(
            path, "measurements", ", ".join(without)[:160] or "none", limit, "export the curves from PSTrace as .csv"
        )
    notes = [f"without time, potential or current: {', '.join(without)}"] if without else []
    notes.append("units from the types of the arrays (µA); current positive anodic, PSTrace's default")
    program = str(_get(session, "coreversion") or "")
    return CellFile(".pssession", tuple(records), {"written by": f"PSTrace, core {program}"}, tuple(notes))


def _get(item: Any, key: str) -> Any:
    """The value of a key in either spelling."""
    return (
        next((value for name, value in item.items() if name.lower() == key), None) if isinstance(item, dict) else None
    )


def _arrays(measurement: Any, path: Path) -> dict[str, F64]:
    arrays: dict[str, F64] = {}
    for array in _get(_get(measurement, "dataset"), "values") or []:
        kind = str(_get(_get(array, "unit"), "type") or "").rpartition(".")[2].lower()
        letter, scale = _UNITS.get(kind, ("", 1.0))
        if not letter or letter in arrays or _get(array, "arraytype") not in _ARRAY_TYPES[letter]:
            continue
        try:
            values = [float(_get(one, "v")) for one in _get(array, "datavalues") or []]
        except (TypeError, ValueError):
            limit = "its values must be numbers"
            raise bad(path, "array", str(_get(array, "description")), limit, "save it again from PSTrace") from None
        if values:
            arrays[letter] = scale * np.array(values)
    return arrays
