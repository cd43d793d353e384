"""Who may come in: a token in the printed address, exchanged for a cookie; and who of them may steer.

Any number of people may watch; one steers, the operator. Everybody who may come in may stop the run: to withdraw the
pipette contradicts no other command, and who sees a tip in danger should not have to ask for the right to save it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opsicm.core.errors import OpsicmError, Problem
from opsicm.instruments.clock import monotonic_ns

VALID: Final = 12 * 3600  # [s]: a shift
_MOST: Final = 1000  # sessions: older ones have to come in again
_LONGEST_NAME: Final = 40
_ABSENT_NS: Final = 15_000_000_000  # after which an operator whose page is closed holds the lock no longer


def cookie_of(port: int) -> str:
    """The cookie's name: browsers keep cookies by host, and two consoles of one host must not end each other's."""
    return f"opsicm_console_{port}"


class AnotherSteers(OpsicmError):
    """Somebody else is the operator."""


@dataclass(slots=True)
class Session:
    """Somebody who came in: `name` for facts and for others; `pages` are open now; `left_ns` when the last closed."""

    key: str
    name: str
    expires_ns: int
    pages: int = 0
    left_ns: int = 0


class Sessions:
    """Everybody who came in, and who of them steers. Used from the event loop alone."""

    def __init__(self, token: str | None = None, clock: Callable[[], int] = monotonic_ns) -> None:
        self.token = secrets.token_urlsafe(24) if token is None else token
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._count = 0
        self._operator: Session | None = None

    def enter(self, token: str) -> Session | None:
        """A new session for who knows the token; None for a wrong one."""
        if not secrets.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            return None
        self._count += 1
        key = secrets.token_urlsafe(32)
        session = Session(key, f"visitor {self._count}", self._clock() + VALID * 1_000_000_000)
        self._sessions[key] = session
        while len(self._sessions) > _MOST:
            del self._sessions[next(iter(self._sessions))]
        return session

    def of(self, key: str | None) -> Session | None:
        """The session of a cookie; None where there is none or it has expired."""
        session = self._sessions.get(key or "")
        if session is None or self._clock() < session.expires_ns:
            return session
        del self._sessions[session.key]
        return None

    @property
    def watching(self) -> int:
        """How many pages are open."""
        return sum(session.pages for session in self._sessions.values())

    def opened(self, session: Session) -> None:
        """A page of this session was opened."""
        session.pages += 1

    def closed(self, session: Session) -> None:
        """A page of this session was closed."""
        session.pages -= 1
        session.left_ns = self._clock()

    @property
    def operator(self) -> Session | None:
        """Who steers; None where nobody does, or where who did has closed the page."""
        operator = self._operator
        if operator is not None:
            absent = operator.pages <= 0 and self._clock() - operator.left_ns > _ABSENT_NS
            if absent or self.of(operator.key) is None:
                self._operator = None
        return self._operator

    def take(self, session: Session, name: str = "") -> None:
        """Make `session` the operator, under `name` if one is given; raises `AnotherSteers`, which says who does."""
        operator = self.operator
        if operator is not None and operator is not session:
            limit = f"{operator.name} steers this run"
            remedy = f"ask {operator.name} to hand over, or wait until that page is closed; a stop is always possible"
            raise AnotherSteers(Problem("control", "", limit, remedy))
        session.name = _plain(name) or session.name
        if operator is None:
            session.left_ns = self._clock()
        self._operator = session

    def release(self, session: Session) -> None:
        """Hand over, if `session` is the operator."""
        if self._operator is session:
            self._operator = None


def _plain(name: str) -> str:
    """A name without characters that would steer a terminal or a log, shortened."""
    return "".join(character for character in name if character.isprintable()).strip()[:_LONGEST_NAME]
