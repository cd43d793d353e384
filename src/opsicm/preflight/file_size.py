"""How large the run file will be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from opsicm.preflight.cell_forecast import CellForecast
from opsicm.preflight.rig_numbers import RigNumbers
from opsicm.preflight.schedule import Window
from opsicm.protocol.potential_steps import Sweep
from opsicm.protocol.probe_program import Hopping, Tower

_KEPT: Final = 0.447  # of int16 samples after bitshuffle-lz4: measured on the twin, 16 bit over ±10 nA and ±10 µm
_HOP: Final = 150.0  # bytes of a hop's record in the finished file
_ROW: Final = 60.0  # bytes of a slow row, all its columns
_HEAD: Final = 200e3  # bytes of a file without samples: groups, attributes, texts
_ROW_STEP: Final = 1e-3  # [V] between two slow rows of a sweep while the pipette is parked
_FINEST, _COARSEST = 0.1, 1.0  # [s]


def file_bytes(
    cell: CellForecast,
    windows: Sequence[Window],
    samples: int,
    hops: int,
    rig: RigNumbers,
) -> float:
    """Bytes of the finished run file: samples of the channels in full, hop records, slow rows, a head.

    The share that compression leaves was measured on the twin's noise; a noisier amplifier compresses less.
    """
    return samples * rig.channels * 2.0 * _KEPT + hops * _HOP + _rows(cell, windows) * _ROW + _HEAD


def _rows(cell: CellForecast, windows: Sequence[Window]) -> float:
    """Slow rows of the whole run."""
    rows = 0.0
    for interval in cell.intervals:
        period = interval.step.record_every_s if hasattr(interval.step, "record_every_s") else None
        if period is None:
            slope = interval.step.rate if isinstance(interval.step, Sweep) else 0.0
            period = min(max(_ROW_STEP / slope, _FINEST), _COARSEST) if slope > 0.0 else _COARSEST
        rows += (interval.end - interval.start) / period
    for window in windows:
        if isinstance(window.step, Tower):
            rows += (window.end - window.start) / window.step.record_every_s
        elif isinstance(window.step, Hopping):
            rows += window.end - window.start
    return rows
