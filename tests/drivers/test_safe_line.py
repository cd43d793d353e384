"""A watchdog's own line."""

from __future__ import annotations

import json

import pytest

from opsicm.core.errors import InstrumentLost, Problem
from opsicm.drivers.safe_line import SafeLine, address_of_safe


def test_the_address_says_who_opens_it_with_what() -> None:
    address = address_of_safe("a.module", {"port": 5, "axis": "#"}, "scanner")
    place, _, role = address.rpartition("#")
    name, _, settings = place.partition(" ")
    assert (name, role) == ("driver:a.module:safe_channel", "scanner")
    assert json.loads(settings) == {"port": 5, "axis": "#"}


@pytest.mark.parametrize("answer", [True, False])
def test_a_line_is_revived_before_it_is_used_and_its_answer_is_the_instruments(answer: bool) -> None:
    calls: list[str] = []

    def make_safe() -> bool:
        calls.append("safe")
        return answer

    def revive() -> bool:
        calls.append("revive")
        return True

    assert SafeLine(make_safe, revive, lambda: None)() is answer
    assert calls == ["revive", "safe"]


def test_an_instrument_that_is_lost_is_not_safe() -> None:
    def lost() -> bool:
        raise InstrumentLost("scanner", Problem("scanner", "lost", "it does not answer", "look"))

    assert SafeLine(lost, lambda: False, lambda: None)() is False
