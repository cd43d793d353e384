"""Facts, numbered and stamped in the order in which they happen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from opsicm.core.facts import Fact, Kind, Track
from opsicm.instruments.clock import Clock
from opsicm.record.recorder import Recorder


class FactLog:
    """Hands facts to the recorder."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._seq = 0

    def write(self, kind: Kind, track: Track, step: str, data: Mapping[str, Any]) -> None:
        """Record a fact with the present time. An `intent` is on disk when this returns."""
        self._recorder.fact(Fact(self._seq, self._clock.now_ns(), kind, track, step, data))
        self._seq += 1
