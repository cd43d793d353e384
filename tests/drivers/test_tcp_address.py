"""Where an instrument is, and connecting without waiting for the dead."""

from __future__ import annotations

import threading

import pytest

from opsicm.core.errors import BadInput
from opsicm.drivers.tcp_address import connected_in_time, tcp_address
from opsicm.instruments.clock import stopwatch
from opsicm.instruments.link import TIMEOUT
from tests.fixtures.one_instrument import role_setup

SCANNER = "{driver: pi_gcs, settings: {up: 1, z_range_um: 20, xy_range_um: 80}}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [("192.168.0.30:50001", ("192.168.0.30", 50001)), ("piezo.lab", ("piezo.lab", 50000)), ("::1:7", ("::1", 7))],
)
def test_an_address_is_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    assert tcp_address(role_setup("scanner", SCANNER, address), 50000) == expected


@pytest.mark.parametrize("address", [None, "", ":50000", "piezo:", "piezo:0", "piezo:70000", "piezo:fast"])
def test_any_other_address_is_refused(address: str | None) -> None:
    with pytest.raises(BadInput, match=r"must be HOST:PORT; without the port it is 50000; write 192\.168\.0\.10:50000"):
        tcp_address(role_setup("scanner", SCANNER, address), 50000)


def test_a_client_that_connects_is_returned_and_what_it_raises_is_raised() -> None:
    assert connected_in_time(lambda: "client", lambda _: None) == "client"
    with pytest.raises(ZeroDivisionError):
        connected_in_time(lambda: 1 / 0, lambda _: None)


def test_one_that_hangs_is_not_waited_for_and_closed_when_it_comes() -> None:
    goes_on, closed = threading.Event(), threading.Event()

    def connect() -> str:
        goes_on.wait(5.0)
        return "too late"

    waited = stopwatch()
    with pytest.raises(TimeoutError):
        connected_in_time(connect, lambda client: closed.set() if client == "too late" else None)
    assert TIMEOUT <= waited() < TIMEOUT + 0.2
    assert not closed.is_set()
    goes_on.set()
    assert closed.wait(2.0)
