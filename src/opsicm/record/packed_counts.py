"""The samples of a live file, chunk by chunk: packed in a thread of their own, written as they are packed.

A chunk that lies within a block is packed straight from the ring; what is left over waits for the next block, and is
written as a chunk that ends in zeros when the file is flushed.
"""

from __future__ import annotations

import threading
from queue import SimpleQueue
from typing import Any, Final

import h5py
import numpy as np
from numpy.typing import NDArray

from opsicm.record.chunk_press import ChunkPress

_AHEAD: Final = 12  # chunks on their way at most: what they look into must stay in the ring


class PackedCounts:
    """Appends int16 [sample, channel] to `dataset`, which must be empty, chunked by rows and have the press's filters.

    Arrays given to `append` must not change before `settle` or `flush` returns.
    """

    def __init__(self, dataset: Any) -> None:
        self._dataset = dataset
        self._rows, self._width = dataset.chunks
        self._length = self._extent = self._on_way = 0
        self._tail = np.zeros((self._rows, self._width), np.int16)
        self._in_tail = 0
        self._dirty = False
        # Memory is used again: to ask for it anew costs as much as to copy a chunk.
        self._free: list[NDArray[np.uint8]] = []
        self._spare: list[NDArray[np.int16]] = []
        self._todo: SimpleQueue[tuple[int, NDArray[np.int16], NDArray[np.uint8]] | None] = SimpleQueue()
        self._done: SimpleQueue[tuple[int, NDArray[np.int16], NDArray[np.uint8], int | Exception]] = SimpleQueue()
        try:
            self._press: ChunkPress | None = ChunkPress(self._rows * self._width)
        except (OSError, AttributeError):  # a build that does not offer it: HDF5 packs by itself, more slowly
            self._press = None
        else:
            threading.Thread(target=self._work, args=(self._press,), daemon=True).start()

    def append(self, counts: NDArray[np.int16]) -> None:
        """Keep them; they are in the file after `settle`, but for less than a chunk that waits for more or a flush."""
        at, n = 0, counts.shape[0]
        while at < n:
            take = min(self._rows - self._in_tail, n - at)
            part = counts[at : at + take]
            at += take
            self._length += take
            if take == self._rows:
                self._send(self._length - take, np.ascontiguousarray(part))
                continue
            self._tail[self._in_tail : self._in_tail + take] = part
            self._in_tail += take
            self._dirty = self._in_tail < self._rows
            if not self._dirty:
                self._send(self._length - self._rows, self._tail)
                self._in_tail = 0
                self._tail = self._spare.pop() if self._spare else np.zeros_like(self._tail)

    def settle(self) -> None:
        """Every whole chunk so far is written."""
        while self._on_way:
            self._take()

    def flush(self) -> None:
        """Everything so far is written."""
        if self._dirty:
            self._tail[self._in_tail :] = 0
            self._send(self._length - self._in_tail, self._tail)
            self._dirty = False
        self.settle()

    def close(self) -> None:
        """End the thread; nothing may come after."""
        self._todo.put(None)

    def _send(self, row: int, counts: NDArray[np.int16]) -> None:
        if self._press is None:
            self._reach()
            kept = counts[: self._length - row]
            place = self._dataset.id.get_space()
            place.select_hyperslab((row, 0), kept.shape)
            self._dataset.id.write(h5py.h5s.create_simple(kept.shape), place, kept)
            return
        if self._on_way >= _AHEAD:
            self._take()
        into = self._free.pop() if self._free else np.empty(self._press.room, np.uint8)
        self._on_way += 1
        self._todo.put((row, counts, into))

    def _take(self) -> None:
        row, counts, packed, size = self._done.get()
        self._on_way -= 1
        if isinstance(size, Exception):
            raise size
        self._reach()
        self._dataset.id.write_direct_chunk((row, 0), packed[:size])
        self._free.append(packed)
        if counts.base is None and counts is not self._tail and len(self._spare) < _AHEAD:
            self._spare.append(counts)

    def _reach(self) -> None:
        """The dataset is as long as what is known; what is announced of it are the rows of `blocks`, later."""
        if self._length > self._extent:
            self._dataset.id.set_extent((self._length, self._width))
            self._extent = self._length

    def _work(self, press: ChunkPress) -> None:
        while (job := self._todo.get()) is not None:
            row, counts, into = job
            try:
                self._done.put((row, counts, into, press.pack(counts, into)))
            except (OSError, ValueError) as error:
                self._done.put((row, counts, into, error))
