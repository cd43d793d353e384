"""How large the run file will be."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from opsicm.preflight.cell_forecast import CellForecast
from opsicm.preflight.rig_numbers import RigNumbers
from opsicm.preflight.schedule import Window
from opsicm.preflight.slow_rows import row_period
from opsicm.protocol.probe_program import Hopping, PipetteSweep, Tower

# Bytes in finished files of the short experiments on the twin, found by listing what each of their parts takes.
_KEPT: Final = 0.424  # of int16 samples after bitshuffle-lz4 at 30 nm/ms and at 4.4 converter steps of noise
_KEPT_PER_OCTAVE: Final = 0.081  # more for a fall twice as fast: another bit of the height changes from block to block
_USUAL_FALL: Final = 30e-6  # [m/s]
_DECIMATED: Final = 5.6  # of a row of the decimated stream, a channel: smallest, largest and mean
_DECIMATED_ROWS: Final = 781.0  # a second at 100 kS/s
_STREAM: Final = 140.0  # a second of sampling: the list of blocks, the journal's plans of hops
_HOP: Final = 68.0  # a hop's record and its place in the default plot
_ROW: Final = 49.0  # a slow row, all its columns
_ROW_TRAVELLING: Final = 58.0  # the same with a coarse stage under way
_ROW_HOPPING: Final = 69.0  # the same with a height that never stands still
_HEAD: Final = 65e3  # a file without samples: groups, attributes, texts
_SEGMENT: Final = 16e3  # a stretch of samples: its groups and attributes
_INDEX: Final = 1e-3  # of the samples: where their pieces lie


def file_bytes(cell: CellForecast, windows: Sequence[Window], hops: int, rig: RigNumbers) -> float:
    """Bytes of the finished run file: samples in full and decimated, hop records, slow rows, heads.

    The share that compression leaves was measured on the twin's noise; a noisier amplifier compresses less.
    """
    total = _HEAD + hops * _HOP + _rows(cell, windows)
    for window in windows:
        if not isinstance(window.step, Hopping | PipetteSweep):
            continue
        seconds = window.end - window.start
        fall = window.step.fall_rate if isinstance(window.step, Hopping) else _USUAL_FALL
        kept = min(1.0, max(0.1, _KEPT + _KEPT_PER_OCTAVE * math.log2(fall / _USUAL_FALL)))
        full = seconds * 1e9 / rig.timing.dt_ns * rig.channels * 2.0 * kept
        decimated = seconds * _DECIMATED_ROWS * rig.channels_kept * _DECIMATED
        total += full * (1.0 + _INDEX) + decimated + seconds * _STREAM + _SEGMENT
    return total


def _rows(cell: CellForecast, windows: Sequence[Window]) -> float:
    """Bytes of the slow rows of the whole run."""
    rows = 0.0
    for interval in cell.intervals:
        # While hopping a row is kept after every plan, which lasts a second at most; a tower keeps its own.
        hopping = _shared(interval.start, interval.end, windows, Hopping)
        towers = _shared(interval.start, interval.end, windows, Tower)
        rows += (interval.end - interval.start - hopping - towers) / row_period(interval.step) * _ROW
        rows += hopping * _ROW_HOPPING
        periods = [window.step.record_every_s for window in windows if isinstance(window.step, Tower)]
        rows += towers / min([row_period(interval.step), *periods]) * _ROW_TRAVELLING
    return rows


def _shared(start: float, end: float, windows: Sequence[Window], kind: type) -> float:
    """[s] between `start` and `end` in which a step of a `kind` runs."""
    spans = (min(end, window.end) - max(start, window.start) for window in windows if isinstance(window.step, kind))
    return sum(span for span in spans if span > 0.0)
