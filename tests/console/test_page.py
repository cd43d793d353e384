"""The page in a browser: its numbers against the run file, keys that pause and stop, and nothing of a run executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from opsicm.analysis.hops.results import images_of
from opsicm.record.reader import Run
from tests.fixtures.browser import NEEDED, text, until
from tests.fixtures.running import COLUMNS, ROWS, running
from tests.fixtures.served import served_live, served_replay, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = NEEDED


def gauge(page: Page, key: str) -> float:
    return float(text(page, f'.gauge[data-key="{key}"] .value').replace("−", "-"))


def cell_goes_on(page: Page) -> None:
    """Wait until the cell's potential has fallen by another 4 mV."""
    begin = gauge(page, "cell_potential")
    wait_for(lambda: gauge(page, "cell_potential") < begin - 0.004)


def image_number(page: Page) -> int:
    """Which image grows now; 0 before the first pixel."""
    found = re.search(r"image (\d+):", text(page, "#map-title"))
    return 0 if found is None else int(found[1])


def height_under(page: Page, column: int, row: int, columns: int = COLUMNS, rows: int = ROWS) -> float:
    """The height that the page shows where the pointer is put on a pixel of the image, in nm."""
    box = page.locator("#map-body canvas").bounding_box()
    assert box is not None
    x0, width = 60.0, box["width"] - 60.0 - 92.0
    height = box["height"] - 8.0 - 44.0
    width = min(width, height * (columns / rows))
    page.mouse.move(
        box["x"] + x0 + (column + 0.5) * width / columns, box["y"] + 8.0 + (rows - row - 0.5) * height / rows
    )
    found = re.match(r"height (\S+) (nm|µm) at", until(page, "document.getElementById('map-readout').textContent"))
    assert found is not None, text(page, "#map-readout")
    return float(found[1]) * {"nm": 1.0, "µm": 1e3}[found[2]]


def test_a_run_is_watched_paused_and_stopped(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as run, served_live(run.folder) as console:
        page.goto(console.entrance)
        assert "token" not in page.url
        until(page, "document.getElementById('state').textContent === 'running'")
        wait_for(lambda: image_number(page) > 1)
        assert text(page, "#title") == "<b>images</b> & <script>alert(1)</script>"

        page.fill("#note", "<img src=x onerror=alert(2)>")
        page.keyboard.type("  ")  # in a field a space is a space
        page.click("#note-form button")
        until(page, "document.getElementById('answer').textContent.startsWith('note: noted')")
        page.keyboard.press("Space")
        until(page, "document.getElementById('state').textContent === 'probe paused'")
        assert "probe[0] is paused, pipette up" in text(page, "#answer")
        cell_goes_on(page)  # the figures of the last hops may still be on their way
        before = text(page, "#map-title")
        cell_goes_on(page)
        assert text(page, "#map-title").partition("image")[2] == before.partition("image")[2], "no pixel has come"
        page.keyboard.press("Space")
        until(page, "document.getElementById('state').textContent === 'running'")
        number = image_number(page)
        wait_for(lambda: image_number(page) > number)
        page.keyboard.press("Escape")
        until(page, "document.getElementById('answer').textContent.startsWith('stop:')")
        answer = re.fullmatch(r"stop: pipette up, cell to open circuit, file kept \((\d+) ms\)", text(page, "#answer"))
        assert answer is not None
        with Run(run.file()) as file:
            until(page, "document.getElementById('state').textContent === 'interrupted'")
            assert page.is_disabled("#stop")
            facts = page.locator("#facts li").all_inner_texts()
            kinds = [fact.kind for fact in file.facts if fact.kind != "hops"]
            assert [line.split("\n")[1] for line in reversed(facts)] == [kind.replace("_", " ") for kind in kinds]
            assert any("<img src=x onerror=alert(2)>" in line for line in facts), "text, not an image"
            assert gauge(page, "cell_potential") == pytest.approx(file.cell["potential"].values[-1], abs=6e-4)
            _compare_image(page, file)
            commands = [fact.data["command"] for fact in file.facts if fact.kind == "command"]
        assert commands == ["pause-probe", "resume-probe", "stop"]


def _compare_image(page: Page, file: Run) -> None:
    """Heights under the pointer against those of the file, as differences between two pixels."""
    hops = file.hops.isel(hop=np.flatnonzero(file.hops["outcome"].values == 0))
    present = hops.isel(hop=np.flatnonzero(hops["line"].values // ROWS == hops["line"].values[-1] // ROWS))
    place = [(int(p), int(n) % ROWS) for p, n in zip(present["pixel"].values, present["line"].values, strict=True)]
    assert len(place) >= 3
    shown = [height_under(page, *one) for one in place[:4]]
    coarse = np.interp(present["t_ns"].values, file.slow["t_ns"].values, file.slow["coarse_z"].values)
    expected = 1e9 * (present["z_stop"].values + coarse)[:4]
    np.testing.assert_allclose(np.diff(shown), np.diff(expected), atol=0.2)


def test_what_is_not_renewed_is_not_shown_as_live(page: Page, tmp_path: Path) -> None:
    with running(tmp_path) as run:
        with served_live(run.folder) as console:
            page.goto(console.entrance)
            until(page, "document.querySelectorAll('.gauge').length > 4")
            assert page.locator(".gauge.stale").count() == 0
        until(page, "!document.getElementById('banner').hidden")
        assert text(page, "#banner") == "No word from the console: nothing on this page is live"
        assert page.locator(".gauge.stale").count() == page.locator(".gauge").count() > 4
        assert page.is_disabled("#probe")
        page.goto("about:blank")


def test_a_stored_run_is_replayed(page: Page, short_run: Run) -> None:
    with served_replay(short_run.path) as console:
        page.goto(console.entrance)
        until(page, "document.getElementById('state').textContent === 'playing'")
        assert page.is_hidden("#steering"), "a stored run cannot be steered"
        page.keyboard.press("Space")
        until(page, "document.getElementById('state').textContent === 'replay'")
        page.locator("#seek").evaluate("e => { e.value = 50; e.dispatchEvent(new Event('input')); }")
        until(page, "document.getElementById('clock').textContent.startsWith('0:00:50')")
        row = int((short_run.cell["t_ns"].values <= 50e9).sum()) - 1
        until(page, "document.querySelector('.gauge[data-key=\"cell_potential\"] .age').textContent.includes('50.0')")
        assert gauge(page, "cell_potential") == pytest.approx(short_run.cell["potential"].values[row], abs=6e-4)
        assert gauge(page, "cell_current") == pytest.approx(1e3 * short_run.cell["current"].values[row], abs=6e-4)
        assert page.locator("#time-body .uplot").count() == 4
        page.locator("#speed").evaluate("e => { e.value = 3; e.dispatchEvent(new Event('input')); }")
        page.keyboard.press("Space")
        until(page, "document.getElementById('clock').textContent.startsWith('0:01:40')")
        assert text(page, "#people") == "1 watching", "nothing was left out"


def test_images_of_a_stored_run_are_the_reports(page: Page, tmp_path: Path) -> None:
    with running(tmp_path, speed=20.0) as run:
        wait_for(lambda: (run.folder / "journal.jsonl").read_text(encoding="utf-8").count('"hops"') > 20)
    with Run(run.file()) as file, served_replay(run.file()) as console:
        frame = images_of(file.hops, file.slow)[0]
        end = 1e-9 * file.hops["t_ns"].values[ROWS * COLUMNS - 1]
        page.goto(console.entrance)
        until(page, "['playing', 'replay'].includes(document.getElementById('state').textContent)")
        page.keyboard.press("Space")
        page.locator("#seek").evaluate(f"e => {{ e.value = {end + 1e-3}; e.dispatchEvent(new Event('input')); }}")
        until(page, "document.getElementById('map-title').textContent.includes('image 1: 30 of 30')")
        shown = [height_under(page, column, row) for row in range(ROWS) for column in range(COLUMNS)]
        expected = 1e9 * (frame.heights - np.nanmean(frame.heights)).ravel()
        np.testing.assert_allclose(shown, expected, atol=0.02, rtol=1e-4)
