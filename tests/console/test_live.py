"""A run in progress: what pages are sent is what the run file holds, and what they command is done and recorded."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from opsicm.console.wire import Kind
from opsicm.record.reader import Run
from tests.fixtures.running import COLUMNS, ROWS, Running, running
from tests.fixtures.served import Page, Served, served_live, wait_for


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as made:
        yield made


@pytest.fixture
def console(run: Running) -> Iterator[Served]:
    with served_live(run.folder) as made:
        yield made


def test_two_pages_watch_and_steer_a_run(run: Running, console: Served) -> None:
    with (
        console.visitor() as anna,
        console.visitor() as ben,
        console.socket(anna) as first,
        console.socket(ben) as second,
    ):
        page, other = Page(first), Page(second, draws=False)
        page.until(lambda: "map" in page.views and page.status.get("state") == "running")
        assert page.status["title"] == "<b>images</b> & <script>alert(1)</script>"
        assert page.people["operator"] is None
        assert page.status["forecast"] is False, "none was asked for"

        assert anna.post("/api/operator", json={"take": True, "name": "Anna"}).json()["yours"]
        refused = ben.post("/api/command", json={"command": "pause-probe"})
        assert refused.status_code == 409
        assert refused.json()["title"] == "Another steers"
        assert "Anna steers this run" in refused.json()["detail"]
        other.until(lambda: other.people.get("operator") == "Anna" and not other.people["yours"])

        paused = anna.post("/api/command", json={"command": "pause-probe"}).json()
        said = {"accepted": True, "message": "probe[0] is paused, pipette up", "command": "pause-probe"}
        assert paused == {**said, "run": run.folder.name}
        page.until(lambda: page.status["tracks"]["probe"]["paused"])
        again = anna.post("/api/command", json={"command": "pause-probe"}).json()
        assert (again["accepted"], again["message"]) == (False, "the probe is paused already")
        hops, t = page.status["hops"], page.status["t_s"]
        page.until(lambda: page.status["t_s"] > t + 1.0)
        assert page.status["hops"] == hops, "the probe stands"
        assert not page.status["tracks"]["cell"]["paused"], "the cell goes on"
        potential = [gauge["value"] for gauge in page.status["gauges"] if gauge["key"] == "cell_potential"]
        assert potential[0] < 0.4

        note = {"command": "note", "text": "<img src=x onerror=alert(1)>"}
        assert anna.post("/api/command", json=note).json()["message"] == "noted"
        assert anna.post("/api/command", json={"command": "resume-probe"}).json()["accepted"]
        page.until(lambda: page.status["hops"] > hops + 3)
        stopped = ben.post("/api/command", json={"command": "stop"}).json()
        assert stopped["accepted"], "who sees a tip in danger need not ask"
        assert stopped["message"] == "pipette up, cell to open circuit, file kept"
        with Run(run.file()) as file:
            page.until(lambda: page.status["state"] == "interrupted")
            page.until(lambda: page.facts and page.facts[-1]["kind"] == "run_ended")
            other.until(lambda: other.people.get("dropped", 0) > 0)
            _compare_with_file(page, file)
            senders = [
                (fact.data.get("command"), fact.data["sender"]["from"], fact.data["accepted"])
                for fact in file.facts
                if fact.kind in ("command", "note") and "sender" in fact.data
            ]
    assert senders == [
        ("pause-probe", "console: Anna", True),
        ("pause-probe", "console: Anna", False),
        ("note", "console: Anna", True),
        ("resume-probe", "console: Anna", True),
        ("stop", "console: visitor 2", True),
    ]


def _compare_with_file(page: Page, file: Run) -> None:
    """The last figures of the page against the run file, by loops of their own."""
    hops, slow = file.hops, file.slow
    page.until(lambda: page.views["time"]["panels"][-1]["series"][0]["x"].size == file.cell.sizes["row"])
    for _ in range(3):  # the other figures of that moment: coarse heights are between two rows, of which one is new
        page.take()
    potential = next(p for p in page.views["time"]["panels"] if p["y"]["quantity"] == "potential vs Li/Li+")
    np.testing.assert_array_equal(potential["series"][0]["y"], file.cell["potential"].values)
    heights = {}
    for k in range(hops.sizes["hop"]):
        row = hops.isel(hop=k)
        if int(row["outcome"]) == 0:
            coarse = slow["coarse_z"].values[np.searchsorted(slow["t_ns"].values, int(row["t_ns"])) - 1]
            heights[int(row["line"]) // ROWS, int(row["line"]) % ROWS, int(row["pixel"])] = float(
                row["z_stop"] + coarse
            )
    present = int(hops["line"].values[-1]) // ROWS
    expected = np.full((ROWS, COLUMNS), np.nan)
    for (number, line, pixel), z in heights.items():
        if number == present:
            expected[line, pixel] = z
    known = np.isfinite(expected)
    # The views of one moment come one after the other.
    page.until(lambda: np.array_equal(np.isfinite(page.views["map"]["panels"][-1]["values"]), known))
    image = page.views["map"]["panels"][-1]
    factor = {"nm": 1e9, "µm": 1e6}[image["value"]["unit"]]
    shown = image["values"] / factor
    assert np.array_equal(np.isfinite(shown), np.isfinite(expected))
    # About a common zero: differences are compared.
    np.testing.assert_allclose(shown - np.nanmean(shown), expected - np.nanmean(expected), atol=1e-12)
    sent = [fact["seq"] for fact in page.facts]
    assert sent == [fact.seq for fact in file.facts if fact.kind != "hops"], "every fact once, in order"


def test_pages_that_misbehave_are_nothing_to_the_run_nor_to_others(run: Running, console: Served) -> None:
    with ExitStack() as stack:
        visitor = stack.enter_context(console.visitor())
        good, *others = [Page(stack.enter_context(console.socket(visitor)), draws=k == 0) for k in range(5)]
        good.until(lambda: "map" in good.views and good.status)
        for other in others[:2]:  # cut, without a farewell
            other.connection.socket.shutdown(socket.SHUT_RDWR)
        hops, count = good.status["hops"], sum(kind == Kind.VIEW for kind, _ in good.received)
        good.until(lambda: good.status["hops"] > hops + 20)
        assert sum(kind == Kind.VIEW for kind, _ in good.received) > count + 4, "frames went on"
        assert good.people["dropped"] == 0
        good.until(lambda: good.people["watching"] == 3)
        visitor.post("/api/command", json={"command": "stop"})
        with Run(run.file()) as file:
            assert not [fact for fact in file.facts if fact.kind == "gap"]
            np.testing.assert_array_equal(file.hops["number"].values, np.arange(file.hops.sizes["hop"]))


def test_a_run_that_the_console_cannot_follow_can_be_stopped(run: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise RuntimeError("no figures")

    monkeypatch.setattr("opsicm.console.live_feed.live_snapshot", broken)
    with served_live(run.folder) as console, console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        page.until(lambda: page.status.get("state") == "vanished")
        assert "RuntimeError: no figures); the run goes on without it" in page.status["message"]
        assert page.status["stoppable"]
        assert visitor.post("/api/command", json={"command": "stop"}).json()["accepted"]


def test_a_run_that_has_not_answered_yet_is_starting_and_one_that_nobody_holds_has_died(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "journal.jsonl").touch()
    monkeypatch.setattr("opsicm.console.live_feed.ask_status", lambda *_: {})
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)  # as the process of a run does
    with served_live(tmp_path) as console, console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        page.until(lambda: page.status.get("state") == "starting")
        assert page.status["message"] == ""
    os.close(descriptor)
    with served_live(tmp_path) as console, console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        page.until(lambda: page.status.get("state") == "no process")
        assert f"opsicm recover {tmp_path} makes the run file" in page.status["message"]


def test_a_run_folder_that_is_taken_away_is_said(run: Running, console: Served) -> None:
    with console.visitor() as visitor, console.socket(visitor) as connection:
        page = Page(connection)
        page.until(lambda: page.status.get("state") == "running")
        visitor.post("/api/command", json={"command": "stop"})
        run.file()
        shutil.rmtree(run.folder)
        page.until(lambda: page.status["state"] == "vanished")
        assert page.status["message"] == "the run folder is gone"
        gone = visitor.post("/api/command", json={"command": "note", "text": "anybody?"})
    assert gone.status_code == 410
    assert gone.json()["title"] == "The run has ended or is gone"


def test_a_page_that_comes_late_gets_all_of_it(run: Running, console: Served) -> None:
    with console.visitor() as visitor:
        with console.socket(visitor) as connection:
            first = Page(connection)
            first.until(lambda: "time" in first.views)
        wait_for(lambda: console.sessions.watching == 0)
        with console.socket(visitor) as connection:
            page = Page(connection)
            page.until(lambda: page.views and page.facts and page.status)
            assert page.facts[0]["kind"] == "run_started"
            connection.send('{"levelling": "plane"}')
            page.until(lambda: "own plane" in page.views.get("map", {}).get("caption", ""))
        assert not run.ended, "pages that come and go are nothing to the run"


def test_a_run_that_ended_before_its_log_was_read_is_shown_to_its_end(short_run: Run) -> None:
    with served_live(short_run.path.parent) as console, console.visitor() as visitor:
        with console.socket(visitor) as connection:
            page = Page(connection)
            page.until(lambda: page.status.get("state") == "completed" and "time" in page.views)
        potential = next(p for p in page.views["time"]["panels"] if p["y"]["quantity"] == "potential vs Li/Li+")
        np.testing.assert_array_equal(potential["series"][0]["y"], short_run.cell["potential"].values)
        with console.socket(visitor) as connection:
            late = Page(connection)
            late.until(lambda: late.facts and "time" in late.views)
            assert [fact["seq"] for fact in late.facts] == [f.seq for f in short_run.facts if f.kind != "hops"]
