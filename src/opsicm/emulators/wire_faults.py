"""What an emulated instrument does wrong, when a test or `opsicm emulate --fault` asks for it.

Each emulator asks `takes` at the place in its protocol where a real instrument of its kind fails that way; a kind that
its protocol cannot show is refused when it is set, so that no fault test passes for want of a fault.
"""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Final

from opsicm.core.errors import BadInput, Problem

KINDS: Final[dict[str, str]] = {
    "late": "answers so many seconds late",
    "silent": "does not answer at all",
    "busy": "says that it is busy",
    "partial": "sends half of an answer, and the rest never",
    "reset": "closes the connection",
    "garbage": "answers what is none",
    "nan": "answers a number that is none",
    "stuck": "repeats the last value for ever",
    "unavailable": "refuses every call, as a server that is being restarted",
    "latched": "its one-shot trigger does not fire a second time",
    "ticks": "its counter wraps, or counts another unit by this factor",
    "overload": "its input is at the end of its range",
    "detached": "the wire of its input has come off",
}
"""Kind of fault → what the instrument then does."""


class WireFaults:
    """The faults of one emulated instrument; `known` are the kinds that its protocol can show."""

    def __init__(self, name: str, known: Collection[str]) -> None:
        self.name = name
        self.known = tuple(known)
        self._lock = threading.Lock()
        self._set: dict[str, tuple[float, int]] = {}

    def set(self, kind: str, value: float = 0.0, times: int = 1) -> None:
        """Let the next `times` answers show this fault (-1: all of them); `value` as the kind's words say."""
        self.refuse_unknown(kind)
        with self._lock:
            self._set[kind] = (value, times)

    def refuse_unknown(self, kind: str) -> None:
        """`BadInput` for a kind that this instrument's protocol cannot show."""
        if kind not in self.known:
            limit = f"{self.name} can show {', '.join(self.known)}"
            raise BadInput(Problem("--fault", kind, limit, "take one of these"))

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._set.clear()

    def takes(self, kind: str) -> float | None:
        """The value of a fault that is due, which is thereby shown once; None without one."""
        assert kind in self.known
        with self._lock:
            if kind not in self._set:
                return None
            value, left = self._set[kind]
            if left == 1:
                del self._set[kind]
            elif left > 1:
                self._set[kind] = (value, left - 1)
            return value
