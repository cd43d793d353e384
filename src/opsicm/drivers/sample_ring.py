"""The last seconds of a converter's samples, by their index; what was lost is marked, never closed up."""

from __future__ import annotations

import threading
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.facts import Quality

_LONGEST: Final = 4.0  # [s]
_MOST_BYTES: Final = 1 << 27
_END_OF_RANGE: Final = 0.9998  # of the range: a converter that clips stays within a few of its steps
STALE_READS: Final = 2  # reads in a row that repeat one value bit for bit


class SampleRing:
    """`ranges` [V] of the inputs; those in `noisy` always carry noise, so that one of them that stands still is stuck.

    One thread appends, others read. Sample k is row k for ever; only the last `capacity` are kept.
    """

    def __init__(self, rate: float, ranges: list[tuple[float, float]], noisy: list[bool]) -> None:
        self.count = len(ranges)
        self.capacity = int(min(_LONGEST * rate, _MOST_BYTES / (8 * max(self.count, 1))))
        self._volts = np.full((self.count, self.capacity), np.nan)
        self._low = np.array([low for low, _ in ranges]) * _END_OF_RANGE
        self._high = np.array([high for _, high in ranges]) * _END_OF_RANGE
        self._noisy = np.array(noisy, bool)
        self._repeats = np.zeros(self.count, int)
        self._last = np.full(self.count, np.nan)
        self._holes: list[tuple[int, int]] = []
        self.end = 0
        self.lost = 0
        """Samples that never came, so far."""
        self._changed = threading.Condition()

    def append(self, first: int, volts: NDArray[np.float64]) -> None:
        """Samples [input, n] from index `first` on, which lies at the end or beyond it."""
        with self._changed:
            if first > self.end:
                self._holes.append((self.end, first))
                self.lost += first - self.end
                self._put(
                    max(self.end, first - self.capacity),
                    np.full((self.count, min(first - self.end, self.capacity)), np.nan),
                )
            same = (volts == volts[:, :1]).all(axis=1) & (volts[:, 0] == self._last)
            self._repeats = np.where(same, self._repeats + 1, 0)
            self._last = volts[:, -1].copy()
            kept = volts[:, -self.capacity :]
            self._put(first + volts.shape[1] - kept.shape[1], kept)
            self.end = first + volts.shape[1]
            self._holes = [hole for hole in self._holes if hole[1] > self.end - self.capacity]
            self._changed.notify_all()

    def _put(self, first: int, volts: NDArray[np.float64]) -> None:
        at = first % self.capacity
        head = min(volts.shape[1], self.capacity - at)
        self._volts[:, at : at + head] = volts[:, :head]
        self._volts[:, : volts.shape[1] - head] = volts[:, head:]

    def wait_for(self, end: int, seconds: float) -> bool:
        """Whether samples up to index `end` have come within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.end >= end, seconds)

    def between(self, first: int, end: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """(samples [n, input] with indices from `first` to before `end`, quality of each input among them).

        What is no longer kept, or never came, is NaN.
        """
        with self._changed:
            volts = np.full((end - first, self.count), np.nan)
            kept = max(first, self.end - self.capacity)
            index = np.arange(kept, end) % self.capacity
            volts[kept - first :] = self._volts[:, index].T
            missing = kept > first or any(a < end and b > first for a, b in self._holes)
            stale = self._noisy & (self._repeats >= STALE_READS)
        if missing:
            return volts, np.full(self.count, Quality.MISSING, np.uint8)
        return volts, self._quality(volts, stale)

    def _quality(self, volts: NDArray[np.float64], stale: NDArray[np.bool_]) -> NDArray[np.uint8]:
        quality = np.zeros(self.count, np.uint8)
        quality[stale] = Quality.STALE
        if volts.shape[0]:
            quality[(volts <= self._low).any(axis=0) | (volts >= self._high).any(axis=0)] = Quality.SATURATED
            quality[~np.isfinite(volts).all(axis=0)] = Quality.SUSPECT
        return quality

    def repeats(self, column: int) -> int:
        """Reads in a row that have repeated one value of an input bit for bit."""
        return int(self._repeats[column])

    @property
    def quality(self) -> NDArray[np.uint8]:
        """Quality of each input in the last read."""
        return self.between(max(0, self.end - 1), self.end)[1]
