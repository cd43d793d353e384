"""Reads a run in progress into the same arrays as the finished file; also reads the live files that a crash has left.

It reads as an SWMR reader, which cannot disturb the writer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Fact
from opsicm.record import labelled_arrays
from opsicm.record.journal import read_lines
from opsicm.record.live_files import HOP_ROW, READING_ROW, Columns, LiveParts, Piece
from opsicm.record.nexus_file import CELL, SLOW
from opsicm.record.recorder import RunHeader
from opsicm.record.recover import in_use
from opsicm.record.run_folder import JOURNAL, RunFolder


class LiveRun:
    """The run in `folder` so far. Every property reads the present state of the files. A context manager."""

    def __init__(self, folder: Path | str) -> None:
        self.path = Path(folder)
        if not (self.path / JOURNAL).is_file():
            limit = "is not a run folder (no journal.jsonl)"
            raise BadInput(Problem("folder", str(folder), limit, "give the folder of a run in progress", str(folder)))
        self._parts = LiveParts(RunFolder(self.path))

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files."""
        self._parts.close()

    @property
    def live(self) -> bool:
        """Whether the run is still being written."""
        return in_use(self.path)

    @property
    def header(self) -> RunHeader | None:
        """The header; None where the run was interrupted before it was written."""
        self._parts.look()
        return self._parts.header

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The journal so far."""
        return tuple(Fact.from_line(line) for line in read_lines(self.path / JOURNAL)[0])

    @property
    def hops(self) -> xr.Dataset:
        """One row per hop so far."""
        rows = self._rows("hops", HOP_ROW)
        return labelled_arrays.hops({name: _plain(rows[name]) for name in labelled_arrays.HOP_COLUMNS})

    @property
    def cell(self) -> xr.Dataset:
        """The cell's slow rows so far."""
        rows = self._rows("readings", READING_ROW)
        return labelled_arrays.table({name: _plain(rows[name]) for name in labelled_arrays.CELL_COLUMNS}, CELL, "row")

    @property
    def slow(self) -> xr.Dataset:
        """The probe's slow rows so far."""
        rows = self._rows("readings", READING_ROW)
        return labelled_arrays.table({name: _plain(rows[name]) for name in labelled_arrays.SLOW_COLUMNS}, SLOW, "row")

    def _rows(self, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        self._parts.look()
        rows = self._parts.rows(name)
        return np.empty(0, dtype) if rows is None else rows

    def segments(self) -> dict[int, int]:
        """Samples so far of every segment."""
        self._parts.look()
        return {n: pieces[-1].first_sample + pieces[-1].samples for n, pieces in self._parts.segments().items()}

    def samples(self, segment: int, first: int, stop: int) -> xr.Dataset:
        """Samples [first, stop) of a segment, as far as they are recorded; NaN where they are lost."""
        self._parts.look()
        pieces = self._parts.segments().get(segment, [])
        header = self._parts.header
        if header is None or not pieces:
            return xr.Dataset()
        full = Columns.of(header.channels).full
        stop = min(stop, pieces[-1].first_sample + pieces[-1].samples)
        rows = np.zeros((max(0, stop - first), len(full)), np.int16)
        lost = np.array([[first, stop]], np.int64)
        for piece in pieces:
            a, b = max(first, piece.first_sample), min(stop, piece.first_sample + piece.samples)
            if a < b:
                rows[a - first : b - first] = piece.part.counts(a - piece.first_sample, b - piece.first_sample)
                lost = _without(lost, a, b)
        t0_ns, dt_ns = _clock(pieces[0])
        return labelled_arrays.samples(rows, first, [header.channels[k] for k in full], t0_ns, dt_ns, lost)


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return np.char.decode(values, "utf-8").astype(object) if values.dtype.kind == "S" else values


def _clock(piece: Piece) -> tuple[int, int]:
    block = piece.blocks[0]
    return int(block["t0_ns"]) - int(block["first_sample"]) * int(block["dt_ns"]), int(block["dt_ns"])


def _without(stretches: NDArray[np.int64], a: int, b: int) -> NDArray[np.int64]:
    left = [(begin, min(end, a)) for begin, end in stretches] + [(max(begin, b), end) for begin, end in stretches]
    return np.array([(begin, end) for begin, end in left if begin < end], np.int64).reshape(-1, 2)
