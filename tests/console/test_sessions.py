"""Who may come in, for how long, and who of them steers."""

from __future__ import annotations

import pytest

from opsicm.console.sessions import VALID, AnotherSteers, Session, Sessions

SECOND = 1_000_000_000


class Hands:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


def two() -> tuple[Hands, Sessions, Session, Session]:
    clock = Hands()
    sessions = Sessions("right", clock)
    first, second = sessions.enter("right"), sessions.enter("right")
    assert first is not None
    assert second is not None
    return clock, sessions, first, second


@pytest.mark.parametrize("token", ["", "wrong", "righ", "rightt", "ri\udc80ght"])
def test_a_wrong_token_lets_nobody_in(token: str) -> None:
    assert Sessions("right").enter(token) is None


def test_every_console_has_a_token_of_its_own() -> None:
    tokens = {Sessions().token for _ in range(8)}
    assert len(tokens) == 8
    assert min(map(len, tokens)) >= 32


def test_a_cookie_expires() -> None:
    clock, sessions, first, _ = two()
    clock.now = VALID * SECOND - 1
    assert sessions.of(first.key) is first
    clock.now += 1
    assert sessions.of(first.key) is None
    clock.now = 0
    assert sessions.of(first.key) is None, "it is forgotten"
    assert sessions.of(None) is None


def test_one_steers_and_the_refusal_says_who() -> None:
    _, sessions, first, second = two()
    sessions.take(first, "Anna\x1b[2J")
    assert sessions.operator is first
    assert first.name == "Anna[2J", "without what steers a terminal"
    with pytest.raises(AnotherSteers, match=r"Anna.* steers this run; ask Anna"):
        sessions.take(second)
    sessions.release(second)
    assert sessions.operator is first, "nobody hands over for another"
    sessions.release(first)
    sessions.take(second)
    assert sessions.operator is second


def test_who_has_closed_the_page_holds_the_lock_for_fifteen_seconds() -> None:
    clock, sessions, first, second = two()
    sessions.opened(first)
    sessions.take(first)
    clock.now = 3600 * SECOND
    assert sessions.operator is first, "a page that is open keeps it"
    sessions.closed(first)
    clock.now += 15 * SECOND
    assert sessions.operator is first, "a page may be loaded anew"
    clock.now += 1
    assert not sessions.operator
    sessions.take(second)


def test_the_eldest_of_a_thousand_visitors_has_to_come_in_again() -> None:
    _, sessions, first, second = two()
    for _ in range(999):
        sessions.enter("right")
    assert sessions.of(first.key) is None
    assert sessions.of(second.key) is second
