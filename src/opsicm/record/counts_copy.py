"""Copies checked samples into a run file: packed chunks as they are, where both files have the same chunks.

To pack a chunk again costs as much as to unpack and check it. A chunk is copied when all its samples are good and it
holds the same rows in the live file as in the run file; the rest goes through HDF5's filters (decision 0110).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from opsicm.record.live_files import Piece

_MOST_WAITING: Final = 1 << 18  # samples that wait at most


class CountsCopy:
    """Fills `into`, an empty int16 dataset [sample, channel] of a segment; `copied` counts chunks not packed anew.

    Call `put` in the order of time and `flush` at the end.
    """

    def __init__(self, into: Any) -> None:
        self._into = into
        self._rows = int(into.chunks[0])
        self._waiting: list[NDArray[np.int16]] = []
        self._piece: Piece | None = None
        self._source: Any = None  # the dataset with its packed chunks, if both files have the same chunks
        self._at = self._waiting_samples = 0
        self.copied = 0

    def put(self, piece: Piece, first: int, counts: NDArray[np.int16]) -> None:
        """Good samples of `piece` from sample `first` of the segment on."""
        if piece is not self._piece or first != self._at + self._waiting_samples:
            self.flush()
            self._at = first
        if piece is not self._piece:
            self._piece, self._source = piece, self._same_chunks(piece)
        self._waiting.append(counts)
        self._waiting_samples += counts.shape[0]
        if self._waiting_samples >= _MOST_WAITING:
            self._write(self._at + self._waiting_samples - (self._at + self._waiting_samples) % self._rows)

    def flush(self) -> None:
        """Everything put so far is in the dataset."""
        self._write(self._at + self._waiting_samples)

    def _same_chunks(self, piece: Piece) -> Any:
        source = piece.part.dataset("counts")
        same_rows = piece.first_sample % self._rows == 0 and source.chunks == self._into.chunks
        return source if same_rows and _packing(source) == _packing(self._into) else None

    def _write(self, stop: int) -> None:
        """What waits before sample `stop`; the rest goes on waiting."""
        begin, end = self._at, self._at + self._waiting_samples
        if stop <= begin:
            return
        a, b = stop, stop
        if self._source is not None:
            a, b = min(stop, -(-begin // self._rows) * self._rows), max(begin, stop - stop % self._rows)
        if a < b:
            self._through_filters(begin, a)
            for at in range(a, b, self._rows):
                self._copy(at)
            self._through_filters(b, stop)
        else:
            self._through_filters(begin, stop)
        waiting = [self._between(stop, end)] if stop < end else []
        self._waiting, self._at, self._waiting_samples = waiting, stop, end - stop

    def _copy(self, at: int) -> None:
        assert self._piece is not None
        mask, packed = self._source.id.read_direct_chunk((at - self._piece.first_sample, 0))
        if mask:  # some filter was left out of it
            self._through_filters(at, at + self._rows)
            return
        self._into.id.write_direct_chunk((at, 0), packed)
        self.copied += 1

    def _through_filters(self, first: int, stop: int) -> None:
        if first < stop:
            self._into[first:stop] = self._between(first, stop)

    def _between(self, first: int, stop: int) -> NDArray[np.int16]:
        """Samples that wait, from `first` to `stop`."""
        parts, at = [], self._at
        for counts in self._waiting:
            end = at + counts.shape[0]
            if end > first and at < stop:
                parts.append(counts[max(0, first - at) : min(counts.shape[0], stop - at)])
            at = end
        return np.concatenate(parts)


def _packing(dataset: Any) -> list[Any]:
    properties = dataset.id.get_create_plist()
    return [properties.get_filter(k) for k in range(properties.get_nfilters())]
