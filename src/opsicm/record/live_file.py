"""One live file: made whole, then switched to SWMR, then only appended to. Only the writer process imports this."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import SampleBlock
from opsicm.record import decimate
from opsicm.record.live_files import HOP_ROW, LIVE_VERSION, READING_ROW, Columns, block_row, chunk_rows, data_crc, seal
from opsicm.record.packed_counts import PackedCounts
from opsicm.record.recorder import RunHeader, header_text

# Low bound 1.10: SWMR needs it, and all metadata then carries checksums. High bound: tools older than HDF5 2 read it.
_FORMAT: Final = ("v110", "v110")
_ROW_CHUNK: Final = 1024


class LiveFile:
    """`path` grows by blocks, hops and readings until `close`; `flush` hands everything to the system."""

    def __init__(self, path: Path, header: RunHeader, first_serial: int) -> None:
        self.path = path
        self.key: tuple[int, int] | None = None  # (segment, dt_ns) of the samples in this file
        self._columns = Columns.of(header.channels)
        self._factor = decimate.factor(header.dt_ns)
        self._block_row = block_row(max(1, len(header.channels)))  # HDF5 has no column of width 0
        self._file = h5py.File(path, "w", libver=_FORMAT, rdcc_nbytes=8 << 20)
        self._file.attrs["live_version"] = LIVE_VERSION
        self._file.attrs["first_serial"] = first_serial
        self._file.attrs["factor"] = self._factor
        text = np.frombuffer(header_text(header).encode(), np.uint8)
        self._file.create_dataset("header", data=text, chunks=(max(1, text.size),), fletcher32=True)
        full, kept = len(self._columns.full), len(self._columns.decimated)
        rows = chunk_rows(header.dt_ns)
        if full:
            self._table("counts", np.int16, rows, (full,), hdf5plugin.Bitshuffle(cname="lz4"))
        if kept:
            packed = hdf5plugin.Bitshuffle(cname="lz4")
            self._table("minimum", np.int16, _ROW_CHUNK, (kept,), packed)
            self._table("maximum", np.int16, _ROW_CHUNK, (kept,), packed)
            self._table("mean", np.float32, _ROW_CHUNK, (kept,), packed)
        self._table("row_samples", np.int32, _ROW_CHUNK, (), {})
        for name, dtype in (("blocks", self._block_row), ("hops", HOP_ROW), ("readings", READING_ROW)):
            # No filter: a chunk is rewritten where it is each second instead of leaving its old self behind.
            self._file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(256,))
        self._sets: dict[str, Any] = {name: self._file[name] for name in self._file}
        self._length = dict.fromkeys(self._sets, 0)
        self._counts = PackedCounts(self._sets["counts"]) if full else None
        # The decimated stream waits for the flush as well: one write instead of one per block and array.
        self._short: dict[str, list[NDArray[Any]]] = {
            name: [] for name in ("minimum", "maximum", "mean", "row_samples")
        }
        self._rows = 0
        self._waiting: dict[str, list[NDArray[Any]]] = {"blocks": [], "hops": [], "readings": []}
        self._file.flush()
        self._file.swmr_mode = True
        self._file.flush()
        self._descriptor = os.open(path, os.O_RDONLY)

    def _table(self, name: str, dtype: Any, rows: int, width: tuple[int, ...], packed: Any) -> None:
        self._file.create_dataset(
            name, (0, *width), dtype, maxshape=(None, *width), chunks=(rows, *width), fletcher32=bool(packed), **packed
        )

    def _append(self, name: str, values: NDArray[Any]) -> None:
        if not values.shape[0]:
            return
        dataset, before = self._sets[name], self._length[name]
        # h5py's own level below its indexing: half the time of a small write is spent in working out the selection.
        width = values.shape[1:]
        dataset.id.set_extent((before + values.shape[0], *width))
        space = dataset.id.get_space()
        space.select_hyperslab((before, *(0 for _ in width)), values.shape)
        data = np.ascontiguousarray(values)
        dataset.id.write(h5py.h5s.create_simple(values.shape), space, data)
        self._length[name] = before + values.shape[0]

    def block(self, serial: int, block: SampleBlock) -> None:
        """Keep a block: what is kept in full, the decimated stream, and the row that says where they are.

        Its samples must not change before `settle` or `flush` returns.
        """
        self.key = (block.segment, block.dt_ns)
        counts, columns = block.counts, self._columns
        width = counts.shape[1]
        whole = low = high = mean = None
        if self._counts is not None:
            whole = counts if len(columns.full) == width else counts[:, columns.full]
            self._counts.append(whole)
        rows = 0
        if columns.decimated:
            kept = counts if len(columns.decimated) == width else counts[:, columns.decimated]
            low, high, mean, samples = decimate.decimate(kept, self._factor)
            rows = samples.size
            for name, values in (("minimum", low), ("maximum", high), ("mean", mean), ("row_samples", samples)):
                self._short[name].append(values)
            self._rows += rows
        row = np.zeros(1, self._block_row)
        check = data_crc(whole, low, high, mean)
        row[0] = (
            serial,
            block.segment,
            block.first_sample,
            counts.shape[0],
            block.t0_ns,
            block.dt_ns,
            self._rows - rows,
            rows,
            block.quality,
            check,
            0,
        )
        self._waiting["blocks"].append(seal(row))

    def hops(self, serial: int, step: bytes, records: NDArray[Any]) -> None:
        """Keep hop records."""
        rows = np.zeros(records.shape[0], HOP_ROW)
        rows["serial"], rows["step"] = serial, step
        for name in records.dtype.names or ():
            rows[name] = records[name]
        self._waiting["hops"].append(seal(rows))

    def reading(self, serial: int, reading: NDArray[Any]) -> None:
        """Keep a slow row."""
        rows = np.zeros(1, READING_ROW)
        rows["serial"] = serial
        for name in reading.dtype.names or ():
            rows[name] = reading[name]
        self._waiting["readings"].append(seal(rows))

    def settle(self) -> None:
        """The samples of every block so far are in the file, but for less than a chunk."""
        if self._counts is not None:
            self._counts.settle()

    def flush(self) -> None:
        """Everything so far is with the operating system, and readers see it: first the samples, then the rows that
        speak of them, so that after a kill no row announces samples that are not there."""
        if self._counts is not None:
            self._counts.flush()
        self._append_all(self._short)
        self._file.flush()
        self._append_all(self._waiting)
        self._file.flush()

    def _append_all(self, waiting: dict[str, list[NDArray[Any]]]) -> None:
        for name, rows in waiting.items():
            if rows:
                self._append(name, np.concatenate(rows))
                rows.clear()

    def sync(self) -> None:
        """Everything flushed is on the disk; another thread may call this while blocks are appended."""
        os.fdatasync(self._descriptor)

    def close(self) -> None:
        """Close it plainly: any reader opens it now."""
        self.flush()
        if self._counts is not None:
            self._counts.close()
        self._counts = None
        self._sets.clear()
        self._file.close()
        os.fsync(self._descriptor)
        os.close(self._descriptor)
