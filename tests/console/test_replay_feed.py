"""A replay: played again from its end, and gone on with where a connection was lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from tests.fixtures.browser import NEEDED, until
from tests.fixtures.served import Page, served_replay

if TYPE_CHECKING:
    from playwright.sync_api import Page as BrowserPage
    from playwright.sync_api import WebSocketRoute


def test_what_is_over_is_played_again_from_its_beginning(raster: Path) -> None:
    with served_replay(raster) as console, console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        connection.send('{"playing": true, "seek": 1e6, "speed": 1}')
        page.until(lambda: page.status.get("state") == "replay")
        assert page.status["t_s"] == page.status["total_s"] > 100.0
        connection.send('{"playing": true}')
        page.until(lambda: page.status["state"] == "playing")
        assert 0.0 <= page.status["t_s"] < 60.0
        assert page.until(lambda: page.facts)[0]["kind"] == "run_started"


@NEEDED[0]
@NEEDED[1]
def test_a_lost_connection_goes_on_where_it_was(page: BrowserPage, raster: Path) -> None:
    said: list[list[dict[str, object]]] = []
    routes: list[WebSocketRoute] = []

    def between(route: WebSocketRoute) -> None:
        server, heard = route.connect_to_server(), list[dict[str, object]]()
        said.append(heard)
        routes.append(route)

        def from_page(words: str | bytes) -> None:
            heard.append(json.loads(words))
            server.send(words)

        route.on_message(from_page)

    with served_replay(raster) as console:
        page.route_web_socket("**/ws", between)
        page.goto(console.entrance)
        until(page, "document.getElementById('state').textContent === 'playing'")
        page.locator("#speed").evaluate("e => { e.value = 0; e.dispatchEvent(new Event('input')); }")
        page.click("#play")
        until(page, "document.getElementById('play-word').textContent === 'Play'")
        page.locator("#seek").evaluate("e => { e.value = 50; e.dispatchEvent(new Event('input')); }")
        until(page, "document.getElementById('clock').textContent.startsWith('0:00:50')")
        routes[0].close()
        until(page, "document.getElementById('state').textContent === 'no contact'")
        until(page, "document.getElementById('state').textContent === 'replay'")
        assert said[1][0] == {"levelling": "none", "speed": 1, "seek": 50, "playing": False}
        until(page, "document.getElementById('clock').textContent.startsWith('0:00:50')")
        assert page.locator("#play-word").inner_text() == "Play"
