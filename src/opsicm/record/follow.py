"""Reads a run in progress into the same arrays as the finished file, from the tail of its log, which it only reads."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.core.errors import BadInput, Problem
from opsicm.core.facts import Channel, Fact
from opsicm.record import labelled_arrays, packed_counts
from opsicm.record.journal import JournalReader
from opsicm.record.log import HOP_ROW, READING_ROW, Columns, LogReader, Samples
from opsicm.record.nexus_file import CELL, SLOW
from opsicm.record.recorder import RunHeader
from opsicm.record.recover import in_use
from opsicm.record.run_folder import JOURNAL, RunFolder

_ROWS_AT_FIRST: Final = 1024


class LiveRun:
    """The run in `folder` so far. Every property takes in what has come. A context manager.

    The last `keep` samples are kept, of whatever segment: packed, they take a few bytes each.
    """

    def __init__(self, folder: Path | str, keep: int = 1 << 24) -> None:
        self.path = Path(folder)
        if not (self.path / JOURNAL).is_file():
            limit = "is not a run folder (no journal.jsonl)"
            raise BadInput(Problem("folder", str(folder), limit, "give the folder of a run in progress", str(folder)))
        self._log = LogReader(RunFolder(self.path))
        self._journal = JournalReader(self.path / JOURNAL)
        self._facts: list[Fact] = []
        self._hops = _Columns(HOP_ROW, labelled_arrays.HOP_COLUMNS)
        self._rows = _Columns(READING_ROW, {*labelled_arrays.CELL_COLUMNS, *labelled_arrays.SLOW_COLUMNS})
        self._samples: dict[int, list[Samples]] = {}
        self._begins: dict[int, tuple[int, int]] = {}  # t0_ns and dt_ns of each segment
        self._ends: dict[int, int] = {}
        self._keep = keep
        self._kept = 0

    def __enter__(self) -> LiveRun:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def look(self) -> None:
        """Take in what has come since the last look."""
        for group in self._log.groups():
            for hops in group.hops:
                self._hops.append(hops)
            for readings in group.readings:
                self._rows.append(readings)
            for blocks in group.blocks:
                for segment, first, n, t0_ns, dt_ns in blocks[["segment", "first_sample", "samples", "t0_ns", "dt_ns"]]:
                    self._begins.setdefault(int(segment), (int(t0_ns) - int(first) * int(dt_ns), int(dt_ns)))
                    self._ends[int(segment)] = int(first + n)
            for one in group.samples:
                self._samples.setdefault(one.segment, []).append(one)
                self._kept += one.rows
                while self._kept - one.rows > self._keep:
                    self._forget_oldest()

    def _forget_oldest(self) -> None:
        segment, kept = next(iter(self._samples.items()))
        self._kept -= kept.pop(0).rows
        if not kept:
            del self._samples[segment]

    @property
    def live(self) -> bool:
        """Whether the run is still being written."""
        return in_use(self.path)

    @property
    def header(self) -> RunHeader | None:
        """The header; None where the run was interrupted before it was written."""
        self.look()
        return self._log.header

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The journal so far."""
        self._facts += map(Fact.from_line, self._journal.lines())
        return tuple(self._facts)

    @property
    def size(self) -> tuple[int, int]:
        """(hops, slow rows) so far: whether there is anything new, without making tables of it."""
        self.look()
        return len(self._hops), len(self._rows)

    @property
    def hops(self) -> xr.Dataset:
        """One row per hop so far."""
        self.look()
        return labelled_arrays.hops(self._hops.of(labelled_arrays.HOP_COLUMNS))

    @property
    def cell(self) -> xr.Dataset:
        """The cell's slow rows so far."""
        self.look()
        return labelled_arrays.table(self._rows.of(labelled_arrays.CELL_COLUMNS), CELL, "row")

    @property
    def slow(self) -> xr.Dataset:
        """The probe's slow rows so far."""
        self.look()
        return labelled_arrays.table(self._rows.of(labelled_arrays.SLOW_COLUMNS), SLOW, "row")

    def segments(self) -> dict[int, int]:
        """Samples so far of every segment."""
        self.look()
        return dict(self._ends)

    def samples(self, segment: int, first: int, stop: int) -> xr.Dataset:
        """Samples [first, stop) of a segment, as far as they are recorded; NaN where they are lost or kept no more."""
        self.look()
        header = self._log.header
        if header is None or segment not in self._ends:
            return xr.Dataset()
        channels = [header.channels[k] for k in Columns.of(header.channels).full]
        counts, lost = self._unpacked(segment, first, min(stop, self._ends[segment]), len(channels))
        t0_ns, dt_ns = self._begins[segment]
        return labelled_arrays.samples(counts, first, channels, t0_ns, dt_ns, lost)

    def counts(
        self, segment: int, names: tuple[str, ...], first: int, stop: int
    ) -> tuple[NDArray[np.int16], tuple[Channel, ...], NDArray[np.int64]] | None:
        """As `Run.counts`, of what is recorded so far; what is kept no more counts as lost."""
        self.look()
        header = self._log.header
        channels = [] if header is None else [header.channels[k] for k in Columns.of(header.channels).full]
        columns = [k for name in names for k, channel in enumerate(channels) if channel.name == name]
        if segment not in self._ends or len(columns) < len(names):
            return None
        counts, lost = self._unpacked(segment, first, min(stop, self._ends[segment]), len(channels))
        return np.ascontiguousarray(counts[:, columns]), tuple(channels[k] for k in columns), lost

    def _unpacked(self, segment: int, first: int, stop: int, width: int) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
        """Counts [sample, channel] of [first, stop) with zeros where they are not there, and the ranges of these."""
        counts = np.zeros((max(0, stop - first), width), np.int16)
        lost = np.array([[first, stop]], np.int64)
        for one in self._samples.get(segment, []):
            a, b = max(first, one.first), min(stop, one.first + one.rows)
            if a < b:
                rows = np.empty((one.rows, one.width), np.int16)
                packed_counts.unpack(one.packed, rows)
                counts[a - first : b - first] = rows[a - one.first : b - one.first]
                lost = _without(lost, a, b)
        return counts, lost


class _Columns:
    """Columns of a table that grows: eight bytes for each value of each row, texts too, and no copy for a reader.

    What was handed out stays as it is: rows are only added behind it. A night has half a million hops, and a page looks
    at all of them many times a second.
    """

    def __init__(self, dtype: np.dtype[Any], names: Iterable[str]) -> None:
        kinds = {name: np.dtype(object) if dtype[name].kind == "S" else dtype[name] for name in names}
        self._columns = {name: np.empty(_ROWS_AT_FIRST, kind) for name, kind in kinds.items()}
        self._texts: dict[bytes, str] = {}  # few different ones: each stands once
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def append(self, rows: NDArray[Any]) -> None:
        """Add rows of the dtype behind the others."""
        first, self._n = self._n, self._n + rows.size
        for name, column in self._columns.items():
            if self._n > column.size:
                self._columns[name] = larger = np.empty(max(2 * column.size, self._n), column.dtype)
                larger[:first] = column[:first]
            self._columns[name][first : self._n] = self._plain(rows[name])

    def of(self, names: Iterable[str]) -> dict[str, NDArray[Any]]:
        """The named columns so far."""
        return {name: self._columns[name][: self._n] for name in names}

    def _plain(self, values: NDArray[Any]) -> NDArray[Any] | list[str]:
        if values.dtype.kind != "S":
            return values
        return [self._texts.setdefault(text, text.decode("utf-8")) for text in values.tolist()]


def _without(stretches: NDArray[np.int64], a: int, b: int) -> NDArray[np.int64]:
    left = [(begin, min(end, a)) for begin, end in stretches] + [(max(begin, b), end) for begin, end in stretches]
    return np.array([(begin, end) for begin, end in left if begin < end], np.int64).reshape(-1, 2)
