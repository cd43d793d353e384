"""Who may come in and what is answered to whom; nothing is served but the page, and nothing moves for a stranger."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from importlib.resources import files
from pathlib import Path

import httpx
import matplotlib as mpl
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

from opsicm.console.live_feed import LiveFeed
from opsicm.console.server import LONGEST_BODY, origins_of, static_files
from opsicm.console.serving import bound
from opsicm.console.sessions import VALID
from opsicm.core.errors import BadInput
from opsicm.figures.colours import COLOUR
from opsicm.record.reader import Run
from tests.fixtures.served import Page, Served, served, served_replay


@pytest.fixture(scope="module")
def console(short_run: Run) -> Iterator[Served]:
    with served_replay(short_run.path) as made:
        yield made


@pytest.fixture
def visitor(console: Served) -> Iterator[httpx.Client]:
    with console.visitor() as client:
        yield client


JSON = {"Content-Type": "application/json"}


def test_the_token_is_exchanged_for_a_cookie_that_scripts_cannot_read(console: Served) -> None:
    answer = httpx.get(console.entrance)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"]
    port = console.address.rpartition(":")[2]
    assert cookie.startswith(f"opsicm_console_{port}="), "two consoles of one host have two"
    assert {"HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={VALID}"} <= set(cookie.split("; "))
    assert "token" not in cookie.split(";")[0].partition("=")[2], "the token is not the cookie"


@pytest.mark.parametrize("path", ["/", "/?token=wrong", "/?token=", "/static/main.js", "/api/command", "/nothing"])
def test_a_stranger_gets_401_and_is_told_how_to_come_in(console: Served, path: str) -> None:
    answer = httpx.get(console.address + path, cookies={console.cookie: "forged"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert "open the whole address that opsicm console has printed" in answer.json()["detail"]


def test_every_answer_forbids_what_is_not_the_pages_own(visitor: httpx.Client) -> None:
    for path in ("/", "/static/main.js", "/static/none", "/api/none"):
        headers = visitor.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["referrer-policy"] == "no-referrer", "the first address holds the token"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"


def test_the_page_needs_nothing_from_elsewhere_and_has_no_inline_script(visitor: httpx.Client) -> None:
    page = visitor.get("/").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        if not address.startswith("data:"):
            assert visitor.get("/" + address).status_code == 200, address
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="static/main.js">']
    assert not re.search(r"\son\w+=|style=", page)
    for name, (content, _) in static_files().items():
        if name.endswith(".js") and not name.startswith("vendor/"):
            text = content.decode()
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!\$)", text)
            for module in re.findall(r'from "\./([^"]+)"', text):
                assert visitor.get(f"/static/{module}").status_code == 200, module
    assert b"MIT License" in visitor.get("/static/vendor/LICENSE").content
    assert b"uPlot (v1.6.32)" in visitor.get("/static/vendor/uPlot.esm.js").content


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/vendor/../../server.py",
        "/static//etc/passwd",
        "/static/%2fetc%2fpasswd",
        "/static/",
        "/static/vendor",
        "/static/main.js%00.txt",
        "/../../etc/passwd",
        "/docs",
        "/openapi.json",
    ],
)
def test_nothing_is_served_outside_the_folder(console: Served, visitor: httpx.Client, path: str) -> None:
    # Written by hand: a client would take the dots out of the path before it asks.
    host, port = console.address.removeprefix("http://").split(":")
    cookie = visitor.cookies[console.cookie]
    with socket.create_connection((host, int(port))) as client:
        head = f"Host: {host}:{port}\r\nCookie: {console.cookie}={cookie}\r\nConnection: close"
        client.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.split()[1] == b"404", answer[:200]
    assert b"root:" not in answer
    assert b"import" not in answer


@pytest.mark.parametrize(
    ("path", "headers", "body", "status", "words"),
    [
        ("/api/command", {"Origin": "http://evil.example"}, b"{}", 403, "is not this page"),
        ("/api/command", {"Origin": "null"}, b"{}", 403, "is not this page"),
        ("/api/command", {"Origin": ""}, b"{}", 403, "is not this page"),
        ("/api/operator", {"Origin": "http://127.0.0.1:1"}, b'{"take": true}', 403, "is not this page"),
        ("/api/command", {"Content-Type": "text/plain"}, b'{"command": "stop"}', 415, "Not JSON"),
        ("/api/command", {}, b"x" * (LONGEST_BODY + 1), 413, "at most 8192 bytes"),
        ("/api/operator", {}, b"x" * (LONGEST_BODY + 1), 413, "at most 8192 bytes"),
        ("/api/command", {}, b"no json", 400, "one JSON object a line"),
        ("/api/command", {}, b'{"command": "explode"}', 400, "the commands are pause-probe"),
        ("/api/command", {}, b'{"command": "set", "key": "cell.rate", "value": 1}', 400, "what can be set is"),
        ("/api/command", {}, b'{"command": "pause-probe"}', 409, "the run is a stored one"),
        ("/api/command", {}, b'{"command": "stop"}', 409, "no run is in progress"),
        ("/api/command", {}, b'{"command": "stop", "run": "../out"}', 409, "no run of this name is in progress"),
        ("/api/operator", {}, b"[]", 400, "take: true or false"),
        ("/api/operator", {}, b"[" * 8000, 400, "take: true or false"),
    ],
)
def test_bad_requests(
    visitor: httpx.Client, path: str, headers: dict[str, str], body: bytes, status: int, words: str
) -> None:
    answer = visitor.post(path, content=body, headers=JSON | headers)
    assert answer.status_code == status, answer.text
    assert words in json.dumps(answer.json())
    assert answer.json()["status"] == status


def test_a_body_of_unknown_length_is_cut_off(visitor: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * 1024

    assert visitor.post("/api/command", content=endless(), headers=JSON).status_code == 413


def test_other_methods_are_refused(visitor: httpx.Client) -> None:
    assert visitor.request("TRACE", "/").status_code == 405
    assert visitor.put("/api/command", content=b"{}").status_code == 405
    assert visitor.options("/api/command").status_code == 405


@pytest.mark.parametrize("changes", [{"Origin": "http://evil.example"}, {"Cookie": ""}, {"Cookie": "{cookie}=forged"}])
def test_the_websocket_is_for_the_page_alone(console: Served, visitor: httpx.Client, changes: dict[str, str]) -> None:
    with pytest.raises(InvalidStatus) as refused:
        console.socket(visitor, **{name: value.format(cookie=console.cookie) for name, value in changes.items()})
    assert refused.value.response.status_code == 403


def closed_with(connection: ClientConnection) -> int:
    """The code with which the server closes a socket, after whatever it still sends."""
    try:
        while True:
            connection.recv(5.0)
    except ConnectionClosed as closed:
        return 0 if closed.rcvd is None else closed.rcvd.code


@pytest.mark.parametrize(
    ("said", "code"), [("hello", 1008), ('{"speed": -1}', 1008), (b'{"drawn": 1}', 1008), ("x" * 2000, 1009)]
)
def test_a_malformed_frame_closes_the_socket(
    console: Served, visitor: httpx.Client, said: str | bytes, code: int
) -> None:
    with console.socket(visitor) as connection:
        connection.send(said)
        assert closed_with(connection) == code
    with console.socket(visitor) as connection:
        Page(connection).take()  # others are served as before


def test_strangers_who_say_nothing_lock_nobody_out(console: Served, visitor: httpx.Client) -> None:
    host, port = console.address.removeprefix("http://").split(":")
    with console.socket(visitor) as connection, ExitStack() as strangers:
        first, *_ = [strangers.enter_context(socket.create_connection((host, int(port)))) for _ in range(210)]
        first.settimeout(5.0)
        with suppress(ConnectionResetError):
            assert first.recv(1) == b"", "the oldest gives way"
        stopped = visitor.post("/api/command", content=b'{"command": "stop"}', headers=JSON)
        assert stopped.status_code == 409, "answered: of a stored run"
        Page(connection).take()  # its page goes on


def test_an_expired_cookie_is_refused_and_its_page_is_closed(short_run: Run) -> None:
    now = [0]
    feed = LiveFeed(short_run.path.parent, lambda: None)
    with (
        served(feed, None, lambda: now[0]) as console,
        console.visitor() as visitor,
        console.socket(visitor) as connection,
    ):
        now[0] = VALID * 1_000_000_000
        assert visitor.post("/api/operator", content=b'{"take": true}', headers=JSON).status_code == 401
        assert closed_with(connection) == 1008


def test_a_replay_shows_the_run_moment_by_moment_and_drops_nothing(console: Served, short_run: Run) -> None:
    with console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        connection.send('{"playing": false, "seek": 30}')
        page.until(lambda: page.status.get("t_s") == 30 and "time" in page.views and "map" in page.views)
        wanted = int(((short_run.hops["t_ns"].values <= 30e9) & (short_run.hops["outcome"].values == 0)).sum())
        assert page.until(lambda: len(page.views["map"]["panels"][0]["series"][0]["x"]) == wanted)
        connection.send('{"playing": true, "speed": 50}')
        times = [page.status["t_s"]]
        while times[-1] < page.status["total_s"]:
            page.take()
            times.append(page.status["t_s"])
        assert page.until(lambda: page.views["time"]["panels"][-1]["series"][0]["x"][-1] > 99)
        assert times == sorted(times)
        assert len(set(times)) > 5, "it went on step by step"
        assert page.until(lambda: page.people)["dropped"] == 0
    cell = next(panel for panel in page.views["time"]["panels"] if panel["y"]["quantity"] == "cell current")
    assert cell["y"]["unit"] == "µA"
    np.testing.assert_allclose(cell["series"][0]["y"].min(), 1e6 * short_run.cell["current"].values.min())
    kinds = [fact["kind"] for fact in page.facts]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_ended"
    assert [f["seq"] for f in page.facts] == [f.seq for f in short_run.facts if f.kind != "hops"], "each once, in order"


def test_a_replay_waits_for_a_page_that_does_not_draw(console: Served) -> None:
    with console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection, draws=False)
        connection.send('{"playing": true, "speed": 100, "seek": 10}')
        page.until(lambda: "time" in page.views)
        for _ in range(4):  # heartbeats
            page.take()
        assert page.status["t_s"] < 60.0
        assert page.people["dropped"] == 0


def test_the_page_has_the_reports_colours() -> None:
    css = files("opsicm.console").joinpath("static/console.css").read_text(encoding="utf-8")
    light = dict(re.findall(r"--role-(\w+): (#\w+);", css.partition('[data-theme="dark"]')[0]))
    assert light == dict(COLOUR)
    text = files("opsicm.console").joinpath("static/colourmaps.js").read_text(encoding="utf-8")
    for name in ("viridis", "RdBu_r"):
        digits = "".join(re.findall(r'"([0-9a-f]+)"', text.partition(f"{name}:")[2].partition(",\n")[0]))
        table = mpl.colormaps[name](np.arange(256), bytes=True)[:, :3]
        assert bytes.fromhex(digits) == table.tobytes()


def test_an_address_that_means_all_addresses_is_refused() -> None:
    with pytest.raises(BadInput, match="no request could be told from a forged one"):
        bound("0.0.0.0", 0)
    with bound("127.0.0.1", 0) as taken, pytest.raises(BadInput, match="cannot be used"):
        bound("127.0.0.1", taken.getsockname()[1])
    assert origins_of("::1", 8) == {"http://[::1]:8"}
    assert origins_of("localhost", 8) == {"http://localhost:8", "http://127.0.0.1:8"}


def test_a_run_file_that_vanished_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"), served_replay(tmp_path / "none"):
        pass
