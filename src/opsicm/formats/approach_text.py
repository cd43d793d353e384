"""Approach curves as text (`.ac`) and the settings of their scan beside them (`.inf`), as Matlab-SICM reads them.

Columns z [µm], R [MΩ], I [pA] under a header `Z-Pos[um]|R[MOhm]|I[pA]`; decimal comma, CRLF, latin-1. Where z jumps
back, a second approach begins in the same file. The format has no public description:
this reading follows the files themselves, and R·I equals the stated pulse height, which confirms units and signs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.errors import OutsideDomain
from opsicm.core.units import factor
from opsicm.formats.text import Text, bad, decode, number, read_bytes

# The withdrawal between two approaches is one step in a step-by-step file: far larger than a step or its noise.
_RESTART_STEPS: Final = 10.0


def sweeps(z: NDArray[np.float64]) -> tuple[slice, ...]:
    """The sweeps of `z` (any unit): a new one begins where z jumps back by more than ten of its own steps.

    Holds for stepwise files, in which the withdrawal is not recorded. A file that records the withdrawal sample by
    sample is returned as one sweep; `analysis` finds the hops in such a trace.
    """
    if z.size < 3:
        return (slice(0, z.size),)
    steps = np.diff(z)
    typical = float(np.nanmedian(np.abs(steps)))
    direction = float(np.sign(np.nanmedian(steps)))
    if typical == 0.0 or direction == 0.0 or not np.isfinite(typical):
        return (slice(0, z.size),)
    starts = np.flatnonzero(-direction * steps > _RESTART_STEPS * typical) + 1
    edges = [0, *(int(start) for start in starts), z.size]
    return tuple(slice(a, b) for a, b in pairwise(edges))


_HEADER: Final = re.compile(r"\s*Z-Pos\s*\[(\w+|[µμ]m)\]\s*\|\s*R\s*\[(\w+)\]\s*\|\s*I\s*\[(\w+)\]\s*", re.IGNORECASE)
_SECTION: Final = re.compile(r"\s*\[Scan Info\]\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ScanSettings:
    """The settings in an `.inf`, in SI; None where it has none. `threshold` is the stop criterion R/R_inf (1.025)."""

    name: str | None = None
    resistance: float | None = None
    resistance_at_end: float | None = None
    threshold: float | None = None
    pulse_height: float | None = None
    step: float | None = None
    backstep: float | None = None
    pitch_x: float | None = None
    pitch_y: float | None = None
    stated: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MeasuredApproach:
    """One approach in the order of measurement: z [m] (up positive), resistance [Ohm], current [A]."""

    z: NDArray[np.float64]
    resistance: NDArray[np.float64]
    current: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ApproachFile:
    """The curves of one file, and the settings of its scan when an `.inf` stands beside it."""

    name: str
    curves: tuple[MeasuredApproach, ...]
    settings: ScanSettings | None
    encoding: str
    decimal: str


def looks_like_curves(text: Text) -> bool:
    """Whether the first line is this format's header."""
    return bool(text.lines) and _HEADER.fullmatch(text.lines[0]) is not None


def looks_like_settings(text: Text) -> bool:
    """Whether one of the first lines opens the section `[Scan Info]`."""
    return any(_SECTION.fullmatch(line) for line in text.lines[:5])


def parse_approach(text: Text, path: Path, settings: ScanSettings | None) -> ApproachFile:
    """The approach curves of a decoded file; `BadInput` names the line that cannot be read."""
    header = _HEADER.fullmatch(text.lines[0]) if text.lines else None
    if header is None:
        first = text.lines[0][:40] if text.lines else ""
        raise bad(path, "first line", repr(first), "it must be Z-Pos[um]|R[MOhm]|I[pA]", "read it as columns", line=1)
    units = [_unit(unit, path) for unit in header.groups()]
    rows: list[list[float]] = []
    body = [(n, line) for n, line in enumerate(text.lines[1:], start=2) if line.strip()]
    decimal = "," if any("," in line for _, line in body) else "."
    for n, line in body:
        values = [number(token, decimal) for token in line.split()]
        if len(values) != 3 or None in values:
            raise bad(
                path,
                "row",
                repr(line[:60]),
                f"three numbers with decimal {decimal!r} are needed",
                "the file is cut or damaged here: copy it again, or delete this line and what follows",
                line=n,
            )
        rows.append([value for value in values if value is not None])
    if not rows:
        raise bad(
            path, "rows", "0", "an approach has at least one", "the approach was never recorded: use another file"
        )
    columns = np.array(rows, dtype=np.float64) * np.array(units)
    curves = tuple(MeasuredApproach(*columns[part].T.copy()) for part in sweeps(columns[:, 0]))
    return ApproachFile(path.name, curves, settings, text.encoding, decimal)


def settings_beside(path: Path) -> ScanSettings | None:
    """The settings of the scan that a curve belongs to: `scan01_07.inf` for `scan01_07_12.ac`; None without one."""
    stems = [path.stem, re.sub(r"_\d+$", "", path.stem)]
    for stem in stems:
        for ending in (".inf", ".INF"):
            candidate = path.with_name(stem + ending)
            if candidate.is_file():
                return read_settings(candidate)
    return None


def read_settings(path: Path) -> ScanSettings:
    """The settings in an `.inf` file: lines `key=value ; unit`, decimal comma."""
    return parse_settings(decode(read_bytes(path), path), path)


def parse_settings(text: Text, path: Path) -> ScanSettings:
    """As `read_settings`, from text already decoded."""
    if not looks_like_settings(text):
        raise bad(path, "settings", "without a section [Scan Info]", "an .inf file has one", "check the file")
    stated: dict[str, str] = {}
    section = ""
    for line in (line.strip() for line in text.lines):
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif "=" in line:
            key, _, value = line.partition("=")
            stated[f"{section}/{key.strip()}"] = value.strip()

    def si(key: str) -> float | None:
        if key not in stated:
            return None
        value, _, unit = (part.strip() for part in stated[key].partition(";"))
        parsed = number(value, "," if "," in value else ".")
        if parsed is None:
            raise bad(path, key, repr(stated[key]), "a number and a unit are needed", "mend the line or remove it")
        return parsed * _unit(unit, path)

    return ScanSettings(
        name=stated.get("Scan Info/Name"),
        resistance=si("Scan Info/Resistance"),
        resistance_at_end=si("Scan Finished/Resistance"),
        threshold=si("Scan Settings/Threshold"),
        pulse_height=si("Scan Settings/Pulse Height"),
        step=si("Scan Settings/Stepsize"),
        backstep=si("Scan Settings/Backstep"),
        pitch_x=si("Scan Dimensions/dx"),
        pitch_y=si("Scan Dimensions/dy"),
        stated=stated,
    )


def _unit(unit: str, path: Path) -> float:
    # The Greek mu (U+03BC) and the micro sign (U+00B5) look alike.
    try:
        return factor(unit.strip().replace("μ", "µ"))
    except OutsideDomain:
        raise bad(
            path, "unit", repr(unit), "it is not one this program knows", "write um, nm, MOhm, pA, mV or %"
        ) from None
