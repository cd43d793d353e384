"""The line to one instrument as a state machine: open, lost after a few retries, open again when it answers.

Commands of a role are idempotent, so what may or may not have arrived can be sent again. A line that is lost fails at
once, so that a turn of the run never waits for the dead; it is looked at anew by `revive`, which a role's `state()`
calls.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final, Generic, TypeVar

from opsicm.core.errors import BadInput, InstrumentLost, LimitCrossed, OpsicmError, Problem
from opsicm.instruments.clock import stopwatch

RETRIES: Final = 3
NOTICED: Final = 0.45  # [s] within which a lost instrument is noticed, retries included: 0.5 with what comes after
TIMEOUT: Final = NOTICED / (RETRIES + 1)
"""[s] that one attempt may take: a driver gives it to its client as the time-out of a command."""

Client = TypeVar("Client")
Answer = TypeVar("Answer")


class Link(Generic[Client]):
    """`connect` opens the vendor's client, `close` closes it; `failures` are what it raises when the line fails.

    `name` is what an operator calls the instrument, `role` the one that it plays. `software` has those of `failures`
    that say that the vendor's own driver software is missing, each with what to install. One thread at a time talks.
    """

    def __init__(
        self,
        role: str,
        name: str,
        connect: Callable[[], Client],
        close: Callable[[Client], None],
        failures: tuple[type[Exception], ...],
        software: Mapping[type[Exception], str] = MappingProxyType({}),
    ) -> None:
        self.role, self.name = role, name
        self._connect, self._close, self._failures, self._software = connect, close, failures, software
        self._client: Client | None = None
        self._lost: Problem | None = None
        self._lock = threading.RLock()

    def open(self) -> None:
        """Connect for the first time; `BadInput` where nobody answers or nothing can ask, before anything has moved."""
        with self._lock:
            try:
                self._client = self._connect()
            except self._failures as error:
                limit, remedy = f"nobody answers there ({_said(error)})", "switch it on, check its cable and address"
                for kind, install in self._software.items():
                    if isinstance(error, kind):
                        limit, remedy = f"its driver software is not on this computer ({_said(error)})", install
                raise BadInput(Problem(self.role, self.name, limit, remedy)) from error

    def ask(self, what: Callable[[Client], Answer]) -> Answer:
        """What `what` gets from the client; sent again at most `RETRIES` times, within `NOTICED`, each on a new line.

        Raises `InstrumentLost` after that, and at once while the line is lost.
        """
        with self._lock:
            if self._lost is not None:
                raise InstrumentLost(self.role, self._lost)
            waited, said = stopwatch(), ""
            for _ in range(RETRIES + 1):
                try:
                    if self._client is None:
                        self._client = self._connect()
                    return what(self._client)
                except self._failures as error:
                    said = _said(error)
                    self._drop()
                if waited() > NOTICED:
                    break
            limit = f"it does not answer as it should ({said})"
            self._lost = Problem(self.role, f"{self.name} lost", limit, "check its cable and power, then resume")
            raise InstrumentLost(self.role, self._lost)

    @property
    def lost(self) -> str:
        """Why the line is lost, in words; empty while it is open."""
        return "" if self._lost is None else str(self._lost)

    def revive(self) -> bool:
        """Whether the line is open: one that is lost is tried once more."""
        with self._lock:
            if self._lost is None:
                return True
            try:
                self._client = self._connect()
            except OpsicmError:
                return False
            except self._failures:
                return False
            self._lost = None
            return True

    def close(self) -> None:
        """Close the client; what it says to that does not matter any more."""
        with self._lock:
            self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(*self._failures):
                self._close(client)


def defect(role: str, error: Exception) -> LimitCrossed:
    """What a thread of a driver met that is no failure of a line: the driver's own mistake, which ends a run safely."""
    remedy = "look at the instrument before anything else, and report this with the run's journal"
    return LimitCrossed(Problem(role, "not driven any more", f"its driver has a defect ({_said(error)})", remedy))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
