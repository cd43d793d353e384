"""Facts, numbered and stamped in the order in which they happen."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from math import isfinite
from typing import Any

from opsicm.core.errors import OpsicmError
from opsicm.core.facts import Fact, Kind, Track
from opsicm.core.output_file import as_utf8
from opsicm.instruments.clock import Clock
from opsicm.record.recorder import Recorder


class FactLog:
    """Hands facts to the recorder."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder = recorder
        self._clock = clock
        self._seq = 0
        self._last_ns = 0

    def write(self, kind: Kind, track: Track, step: str, data: Mapping[str, Any]) -> None:
        """Record a fact with the present time. An `intent` is on disk when this returns."""
        # The clock may be an instrument's, and gone with it: the end of the run is recorded all the same.
        with contextlib.suppress(OpsicmError):
            self._last_ns = self._clock.now_ns()
        self._recorder.fact(Fact(self._seq, self._last_ns, kind, track, step, _recordable(dict(data))))
        self._seq += 1


def _recordable(data: Any) -> Any:
    """`data` as JSON in UTF-8 can hold it: an instrument may answer half a surrogate pair or NaN, and a fact that
    could not be written would end a run at its own alarm."""
    match data:
        case str():
            return as_utf8(data)
        case float() if not isfinite(data):
            return str(data)
        case Mapping():
            return {_recordable(key): _recordable(value) for key, value in data.items()}
        case list() | tuple():
            return [_recordable(value) for value in data]
        case _:
            return data
