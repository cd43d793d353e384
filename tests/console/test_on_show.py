"""The run on show: chosen from those below one folder, exchanged for all pages, by who steers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from opsicm.cli.console import preparing
from opsicm.console.feed import Plan
from opsicm.console.on_show import OnShow, opened
from opsicm.console.server import EXCHANGED
from opsicm.record.reader import Run
from tests.fixtures.running import running
from tests.fixtures.served import Page, Served, served_on


@pytest.fixture
def out(tmp_path: Path, raster: Path, short_run: Run) -> Path:
    """A folder with two runs, what is none, and a link to a run elsewhere."""
    made = tmp_path / "out"
    shutil.copytree(raster, made / "raster")
    shutil.copytree(short_run.path.parent, made / "short")
    (made / "notes").mkdir()
    (made / "broken").mkdir()
    (made / "broken" / "run.nxs").write_bytes(b"no HDF5")
    os.symlink(raster, made / "link")
    return made


@pytest.fixture
def console(out: Path) -> Iterator[Served]:
    def plan_of(_: Path) -> Plan:
        return lambda: None

    with served_on(OnShow(out, plan_of, opened(out / "short", plan_of)), preparing(out.parent, out)) as made:
        yield made


def test_another_run_is_put_on_show_for_every_page(console: Served, short_run: Run, raster: Path) -> None:
    with console.visitor() as anna, console.visitor() as ben:
        listed = anna.get("/api/runs").json()
        assert listed["on_show"] == "short"
        with Run(raster) as other:
            expected = {"short": (short_run.title, "completed"), "raster": (other.title, other.outcome)}
            facts = [fact.seq for fact in other.facts if fact.kind != "hops"]
        states = {run["name"]: (run["title"], run["state"]) for run in listed["runs"]}
        assert states["broken"][1] == "unreadable"
        assert {name: states[name] for name in expected} == expected
        starts = [run["started"] for run in listed["runs"]]
        assert starts == sorted(starts, reverse=True), "newest first"

        with console.socket(anna) as first, console.socket(ben) as second:
            pages = Page(first), Page(second)
            for page in pages:
                while page.status.get("title") != short_run.title:
                    page.take()
                assert page.people["run"] == "short"
            assert anna.post("/api/show", json={"run": "raster"}).json() == {"run": "raster", "live": False}
            for page in pages:
                with pytest.raises(ConnectionClosed) as closed:
                    page.until(lambda: False)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == EXCHANGED
        with console.socket(ben) as connection:
            page = Page(connection)
            connection.send('{"speed": 10000}')
            page.until(lambda: [fact["seq"] for fact in page.facts] == facts)
            assert (page.people["run"], page.people["stored"]) == ("raster", True)
        refused = ben.post("/api/show", json={"run": "short"})
        assert refused.status_code == 409, "who put it on show steers"
        assert refused.json()["title"] == "Another steers"
        assert anna.post("/api/show", json={"run": "short"}).json()["run"] == "short", "a closed one is opened again"


def test_nothing_else_is_put_on_show(console: Served) -> None:
    with console.visitor() as visitor:
        for name in (
            "link",
            "notes",
            "vanished",
            "broken",
            "../out/short",
            "short/../raster",
            "/etc",
            "",
            "..",
            "short\0",
        ):
            answer = visitor.post("/api/show", json={"run": name})
            assert (answer.status_code, answer.json()["title"]) == (404, "No such run"), name
        for body in (b"{}", b'{"run": 3}', b"[]", b"\xff", b"[" * 5000):
            answer = visitor.post("/api/show", content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.json()["title"]) == (400, "Malformed"), body
        assert visitor.get("/api/runs").json()["on_show"] == "short", "what was on show stays"


def test_the_prepare_page_hears_who_is_here_and_gets_no_figures(console: Served) -> None:
    with console.visitor() as visitor, console.socket(visitor, "/ws?people") as connection:
        page = Page(connection)
        connection.send('{"seek": 50}')  # which is of no run here
        for _ in range(3):
            page.take()
        assert page.people["run"] == "short"
        assert page.people["watching"] == 1
        assert (page.views, page.status, page.facts) == ({}, {}, [])
        visitor.post("/api/show", json={"run": "raster"})
        page.until(lambda: page.people["run"] == "raster")


def test_a_run_in_progress_is_stopped_by_everybody_while_a_stored_one_is_on_show(tmp_path: Path, raster: Path) -> None:
    def plan_of(_: Path) -> Plan:
        return lambda: None

    with running(tmp_path) as run:
        out, name = tmp_path / "out", run.folder.name
        shutil.copytree(raster, out / "stored")
        on_show = OnShow(out, plan_of, opened(out / "stored", plan_of))
        served = served_on(on_show, preparing(tmp_path, out))
        with served as console, console.visitor() as anna, console.visitor() as ben:
            assert anna.post("/api/operator", json={"take": True, "name": "Anna"}).json()["yours"]
            with console.socket(ben) as connection:
                page = Page(connection)
                page.until(lambda: page.people.get("others") == [name])
            assert ben.post("/api/show", json={"run": name}).json() == {"run": name, "live": True}, "back needs no lock"
            with console.socket(ben) as connection:
                page = Page(connection)
                page.until(lambda: page.status.get("gauges") and "time" in page.views)
                # What a killed process leaves: a journal without an end, and nobody who holds the folder.
                shutil.copytree(run.folder, out / "killed", ignore=shutil.ignore_patterns("control.sock"))
            refused = ben.post("/api/show", json={"run": "stored"})
            assert refused.json()["title"] == "Another steers", "away from it does"
            assert anna.post("/api/show", json={"run": "stored"}).status_code == 200
            paused = ben.post("/api/command", json={"command": "pause-probe"})
            assert "the run is a stored one" in paused.json()["detail"]
            stopped = ben.post("/api/command", json={"command": "stop"}).json()
            assert (stopped["run"], stopped["accepted"]) == (name, True)
            run.file()
            anna.post("/api/show", json={"run": "killed"})
            with console.socket(ben) as connection:
                page = Page(connection)
                page.until(lambda: page.status.get("state") == "no process" and page.status["gauges"])
            assert all(gauge["stale"] for gauge in page.status["gauges"])
            assert "nobody drives the pipette now" in page.status["message"]
            assert f"opsicm recover {out / 'killed'} makes the run file" in page.status["message"]
            with console.socket(ben, "/ws?people") as connection:
                page = Page(connection)
                page.until(lambda: page.people.get("others") == [])
            gone = ben.post("/api/command", json={"command": "stop", "run": name})
            assert (gone.status_code, gone.json()["title"]) == (409, "Not a run in progress")
