"""What somebody tries who may not come in, or who came in and means harm: a clear answer, and nothing moved."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from opsicm.console import server
from opsicm.console.outbox import Outbox
from opsicm.console.sessions import Sessions
from opsicm.console.wire import FromPage, Kind, message
from opsicm.record.reader import Run
from tests.fixtures.served import TOKEN, Page, Served, served, served_replay


@pytest.fixture(scope="module")
def console(short_run: Run) -> Iterator[Served]:
    with served_replay(short_run.path) as made:
        yield made


@pytest.fixture
def visitor(console: Served) -> Iterator[httpx.Client]:
    with console.visitor() as client:
        yield client


def answer_to(console: Served, request: str) -> tuple[int, bytes]:
    """(status, all that comes) for a request as it goes over the wire, which may be no whole one."""
    host, port = console.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10.0) as client:
        client.sendall(request.replace("HOST", f"{host}:{port}").encode())
        received = b""
        while b"\r\n\r\n" not in received and (data := client.recv(65536)):
            received += data
    return int(received.split()[1]) if received else 0, received


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "", "[::1]:{port}"]
)
def test_a_foreign_name_for_this_machine_is_refused(console: Served, visitor: httpx.Client, host: str) -> None:
    """DNS rebinding: a page of another site, whose name was made to lead to this machine."""
    named = host.format(port=console.address.rpartition(":")[2])
    headers = {"Host": named, "Origin": f"http://{named}", "Content-Type": "application/json"}
    for answer in (
        visitor.get("/", params={"token": TOKEN}, headers=headers),
        visitor.get("/static/main.js", headers=headers),
        visitor.post("/api/command", content=b'{"command": "stop"}', headers=headers),
    ):
        assert answer.status_code == 421
        assert "set-cookie" not in answer.headers
        assert answer.json()["problems"][0]["limit"] == "is not this console"
    with pytest.raises(InvalidStatus) as refused:
        console.socket(visitor, Origin=f"http://{named}")
    assert refused.value.response.status_code == 403


def test_guesses_let_nobody_in_and_leave_nothing_behind(console: Served) -> None:
    before = len(console.sessions._sessions)
    with httpx.Client(base_url=console.address) as stranger:
        guesses = [TOKEN[:k] for k in range(len(TOKEN))] + [TOKEN + "x", TOKEN.upper(), f" {TOKEN}", f"{TOKEN}\0", "é"]
        for guess in guesses:
            answer = stranger.get("/", params={"token": guess})
            assert answer.status_code == 401, guess
            assert TOKEN not in answer.text
        assert not stranger.cookies
        assert len(console.sessions._sessions) == before
        assert stranger.get("/", params={"token": TOKEN}).status_code == 303, "who has it is not locked out"


@pytest.mark.parametrize(
    "path",
    [
        "/static/%252e%252e/server.py",
        "/static/%25252e%25252e%25252fserver.py",
        "/static/..%5cserver.py",
        "/static/%c0%ae%c0%ae/server.py",
        "/static/main.js%00",
        "/static/%00",
        "/static/vendor%2f..%2f..%2fserver.py",
        "/static/./main.js/../../server.py",
        "//static/main.js",
        "/static/main.js/",
    ],
)
def test_no_spelling_of_a_path_leads_out(console: Served, visitor: httpx.Client, path: str) -> None:
    cookie = f"{console.cookie}={visitor.cookies[console.cookie]}"
    status, received = answer_to(console, f"GET {path} HTTP/1.1\r\nHost: HOST\r\nCookie: {cookie}\r\n\r\n")
    assert status == 404, received[:200]
    assert b"import" not in received


def test_a_stranger_is_answered_before_his_upload_has_come(console: Served) -> None:
    head = "POST /api/start HTTP/1.1\r\nHost: HOST\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{{"
    for length in (100, 10**9):
        assert answer_to(console, head.format(length))[0] == 401


def test_endless_headers_are_cut_off(console: Served) -> None:
    status, received = answer_to(console, "GET / HTTP/1.1\r\nHost: HOST\r\nX-Long: " + "x" * 200_000)
    assert status == 400, received[:200]


def code_at_end(connection: ClientConnection) -> int:
    """The code with which the server closes a socket."""
    try:
        while True:
            connection.recv(5.0)
    except ConnectionClosed as closed:
        return 0 if closed.rcvd is None else closed.rcvd.code


@pytest.mark.parametrize(
    "said",
    [
        "[" * 1000,
        '{"drawn": ' * 90,
        '{"drawn": 1' + "0" * 900 + "}",
        '{"drawn": 1, "drawn": "x"}',
        '{"__proto__": {"drawn": 1}}',
        '{"seek": -1e308}',
        "\ud7ff" * 500,
    ],
)
def test_a_malformed_text_closes_its_page_alone(console: Served, visitor: httpx.Client, said: str) -> None:
    with console.socket(visitor) as other, console.socket(visitor) as bad:
        bad.send(said)
        assert code_at_end(bad) in (1008, 1009), "malformed, or too long in bytes"
        Page(other).take()


def test_of_many_who_take_control_at_once_one_has_it(console: Served) -> None:
    def take(k: int) -> tuple[int, dict[str, Any]]:
        with console.visitor() as one:
            answer = one.post("/api/operator", json={"take": True, "name": f"operator {k}"})
            return answer.status_code, answer.json()

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(take, range(6)))
    (winner,) = [said for status, said in answers if status == 200]
    refused = [said["detail"] for status, said in answers if status == 409]
    assert len(refused) == 5
    assert all(f"{winner['operator']} steers this run" in detail for detail in refused)
    operator = console.sessions.operator
    assert operator is not None
    console.sessions.release(operator)


def test_the_wall_clock_lets_nobody_in_or_out(monkeypatch: pytest.MonkeyPatch) -> None:
    sessions = Sessions(TOKEN)
    session = sessions.enter(TOKEN)
    assert session is not None
    sessions.take(session)
    for hours in (-1e6, -1.0, 1.0, 1e6):
        monkeypatch.setattr(time, "time", lambda h=hours: 1.8e9 + 3600.0 * h)
        monkeypatch.setattr(time, "time_ns", lambda h=hours: round((1.8e9 + 3600.0 * h) * 1e9))
        assert sessions.of(session.key) is session
        assert sessions.operator is session


class _Flood:
    """A feed that has megabytes of facts for a page."""

    def start(self, loop: object) -> None:
        pass

    async def stop(self) -> None:
        pass

    def join(self, outbox: Outbox) -> None:
        for _ in range(20):
            outbox.put("facts", message(Kind.FACTS, {"facts": [{"data": "x" * 1_000_000}]}))

    def leave(self, outbox: Outbox) -> None:
        pass

    def say(self, outbox: Outbox, said: FromPage) -> None:
        pass


def test_a_page_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_TAKES_WITHIN", 0.2)
    with served(_Flood(), None) as console, console.visitor() as visitor:
        host, port = console.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as page:
            page.sendall(
                f"GET /ws HTTP/1.1\r\nHost: {host}:{port}\r\nOrigin: {console.address}\r\nUpgrade: websocket\r\n"
                f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                f"Cookie: {console.cookie}={visitor.cookies[console.cookie]}\r\n\r\n".encode()
            )
            assert page.recv(12) == b"HTTP/1.1 101"
            began = time.monotonic()
            while console.sessions.watching == 0 and time.monotonic() - began < 20.0:
                time.sleep(0.01)
            while console.sessions.watching and time.monotonic() - began < 20.0:
                time.sleep(0.01)
            assert console.sessions.watching == 0


def test_nothing_of_a_run_can_become_part_of_the_page() -> None:
    """No script of the page makes elements or code of a text, so markup in titles, notes and facts stays text."""
    makes = re.compile(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|srcdoc|javascript:"
    )
    static = files("opsicm.console").joinpath("static")
    scripts = [file for file in static.iterdir() if file.name.endswith((".js", ".html"))]
    assert len(scripts) > 8
    for file in [*scripts, static.joinpath("vendor/uPlot.esm.js")]:
        found = makes.search(file.read_text(encoding="utf-8"))
        assert found is None, f"{file.name}: {found}"
    for file in scripts:
        if file.name.endswith(".html"):
            assert not re.search(r"\son\w+=|style=|<script(?![^>]*\bsrc=)", file.read_text(encoding="utf-8")), file.name


def test_a_refusal_repeats_no_markup(visitor: httpx.Client) -> None:
    markup = "<script>alert(1)</script>"
    for answer in (
        visitor.post("/api/command", json={"command": markup}),
        visitor.get(f"/static/{markup}"),
        visitor.get("/api/file", params={"name": markup}),
    ):
        assert answer.status_code in (400, 404)
        assert answer.headers["content-type"].startswith("application/problem+json"), (
            "which no browser takes for a page"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"
        json.loads(answer.text)
