"""Axon's `.abf` of patch-clamp amplifiers, read with pyabf: a pipette's current, and what was recorded beside it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.formats.column_titles import QUANTITIES, unit_factor, unit_name
from opsicm.formats.columns import ColumnTable
from opsicm.formats.optional import needed
from opsicm.formats.text import bad

F64 = NDArray[np.float64]
MAGIC: Final = (b"ABF ", b"ABF2")


def read_abf(data: bytes, path: Path) -> ColumnTable:
    """The first channel of each quantity (I, V, z) against time, sweeps one after the other.

    A gain that the amplifier telegraphs is in the header beside the programmed one. pyabf divides by it where the
    header says that it is enabled; a header that says so with a gain of zero would make every value infinite, and one
    that was switched on without an amplifier is not seen, so the gain used is stated as a thing to look at.
    """
    pyabf = needed("pyabf", path, "an Axon file (.abf)")
    try:
        with tempfile.TemporaryDirectory() as folder:  # pyabf opens paths only
            copy = Path(folder) / "copy.abf"
            copy.write_bytes(data)
            file = pyabf.ABF(str(copy))
        channels = [_channel(file, k) for k in range(file.channelCount)]
    except Exception as error:  # noqa: BLE001  # a library's own: a damaged file raises anything there
        limit = f"pyabf cannot read it ({type(error).__name__}: {str(error)[:80]})"
        raise bad(path, "content", "a damaged .abf file", limit, "copy it again, or export it as .atf") from None
    values: dict[str, F64] = {"t": _time(file, channels[0].size)}
    units, skipped, notes, looks = {"t": "s"}, [], [], []
    for k, channel in enumerate(channels):
        name, unit = str(file.adcNames[k]).strip(), str(file.adcUnits[k]).strip()
        letter = next(
            (q for q in ("I", "V", "z") if unit_factor(unit_name(unit) or "", QUANTITIES[q]) is not None), None
        )
        if letter is None or letter in values:
            skipped.append(f"{name} [{unit}]")
            continue
        values[letter] = (unit_factor(unit_name(unit) or "", QUANTITIES[letter]) or 1.0) * channel
        units[letter] = unit
        notes.append(f"{letter} is the channel {name!r} [{unit}]")
        if not np.isfinite(channel).all():
            looks.append(f"{name}: its gain makes values infinite: the header's gains are damaged")
        enabled, gain = _telegraph(file, k)
        if enabled and gain != 1.0:
            looks.append(f"{name}: a telegraphed gain of {gain:g} is divided out: is it the amplifier's at the time?")
    if len(values) < 2:
        raise bad(path, "channels", ", ".join(skipped), "a channel in A, V or m is needed", "export it as .atf")
    sweeps = int(file.sweepCount)
    if sweeps > 1:
        notes.append(f"{sweeps} sweeps of {file.sweepPointCount} points, one after the other")
    return ColumnTable(
        values, units, (str(file.abfFileComment or ""),), f"{file.dataRate} Hz", ".", f"ABF {file.abfVersionString}",
        tuple(skipped), tuple(notes), tuple(looks),
    )  # fmt: skip


def _channel(file: Any, k: int) -> F64:
    return np.asarray(file.data[k], dtype=np.float64)


def _time(file: Any, size: int) -> F64:
    """Seconds of each sample; sweeps begin where the file says that they did."""
    step = float(file.dataSecPerPoint)
    per_sweep = int(file.sweepPointCount)
    if int(file.sweepCount) * per_sweep != size or int(file.sweepCount) < 2:
        return np.asarray(step * np.arange(size), dtype=np.float64)
    interval = max(float(getattr(file, "sweepIntervalSec", 0.0) or 0.0), step * per_sweep)
    sweep, point = np.divmod(np.arange(size), per_sweep)
    return np.asarray(interval * sweep + step * point, dtype=np.float64)


def _telegraph(file: Any, k: int) -> tuple[bool, float]:
    section = getattr(file, "_adcSection", None)
    if section is not None:
        return section.nTelegraphEnable[k] == 1, float(section.fTelegraphAdditGain[k])
    header = file._headerV1
    adc = header.nADCSamplingSeq[k]
    return header.nTelegraphEnable[adc] == 1, float(header.fTelegraphAdditGain[adc])
