"""The page in a browser: its numbers against the run file, keys that pause and stop, and nothing of a run executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from opsicm.analysis.hops.results import images_of
from opsicm.analysis.topography.levelling import plane
from opsicm.console.replay_feed import ReplayFeed
from opsicm.console.snapshot import StoredRun
from opsicm.console.view_settings import Shown, ViewSettings, read_settings
from opsicm.figures.colours import Role
from opsicm.figures.view import Axis, CurvePanel, Series, View
from opsicm.record.reader import Run
from tests.fixtures.browser import NEEDED, text, until
from tests.fixtures.raster_run import EXPERIMENT, X, Y, height, raster_run
from tests.fixtures.running import COLUMNS, ROWS, running
from tests.fixtures.served import served, served_live, served_replay, wait_for
from tests.fixtures.tower_run import HIGH, LOW, current

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = NEEDED


def gauge(page: Page, key: str) -> float:
    return float(text(page, f'.gauge[data-key="{key}"] .value').replace("−", "-"))


def cell_goes_on(page: Page) -> None:
    """Wait until the cell's potential has fallen by another 4 mV."""
    begin = gauge(page, "cell_potential")
    wait_for(lambda: gauge(page, "cell_potential") < begin - 0.004)


def set_to(page: Page, t: float) -> None:
    """Hold a replay at a time [s]."""
    until(page, "['playing', 'replay'].includes(document.getElementById('state').textContent)")
    if text(page, "#state") == "playing":
        page.keyboard.press("Space")
    page.locator("#seek").evaluate(f"e => {{ e.value = {t}; e.dispatchEvent(new Event('input')); }}")
    clock = f"{int(t // 3600)}:{int(t // 60) % 60:02d}:{int(t) % 60:02d} of"
    until(page, f"document.getElementById('clock').textContent.startsWith('{clock}')")


def curve(page: Page, selector: str, label: str) -> dict[str, float]:
    """What the page says of a curve to who does not see it: points, first, last, lowest and highest value."""
    words = str(page.locator(f"{selector} canvas").first.get_attribute("aria-label"))
    found = re.search(rf"{label}: (\d+) points from (\S+) to (\S+), lowest (\S+), highest ([^\s;]+)", words)
    assert found is not None, words
    return dict(zip(("points", "first", "last", "lowest", "highest"), map(float, found.groups()), strict=True))


def image_number(page: Page) -> int:
    """Which image grows now; 0 before the first pixel."""
    found = re.search(r"image (\d+):", text(page, "#map-title"))
    return 0 if found is None else int(found[1])


def point_at(page: Page, column: int, row: int, columns: int = COLUMNS, rows: int = ROWS) -> None:
    """Put the pointer on a pixel of the image."""
    page.locator("#map-body canvas").first.scroll_into_view_if_needed()
    box = page.locator("#map-body canvas").first.bounding_box()
    assert box is not None
    x0, width = 60.0, box["width"] - 60.0 - 92.0
    height = box["height"] - 26.0 - 44.0
    width = min(width, height * (columns / rows))
    page.mouse.move(
        box["x"] + x0 + (column + 0.5) * width / columns, box["y"] + 26.0 + (rows - row - 0.5) * height / rows
    )


def height_under(page: Page, column: int, row: int, columns: int = COLUMNS, rows: int = ROWS) -> float:
    """The height that the page shows where the pointer is put on a pixel of the image, in nm."""
    point_at(page, column, row, columns, rows)
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
        assert page.input_value("#note") == ""
        page.fill("#value", "2,5")
        page.click("#set-form button")
        until(page, "document.getElementById('answer').textContent.includes('\"2,5\" is no number')")
        assert "Write setpoint_pct in %" in text(page, "#answer")
        for cut in ("3 nonsense", "1.9 um", "0x10", "", "1e", "."):
            page.fill("#value", cut)
            page.click("#set-form button")
            assert text(page, "#answer").startswith(f'set was not sent: "{cut}" is no number'), cut
        refusal = {"accepted": False, "message": "not now", "command": "note", "run": run.folder.name}
        page.route("**/api/command", lambda route: route.fulfill(json=refusal))
        page.fill("#note", "keep me")
        page.click("#note-form button")
        until(page, "document.getElementById('answer').textContent.startsWith('note: refused, not now')")
        assert page.input_value("#note") == "keep me"
        page.unroute("**/api/command")
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
            last = pytest.approx(file.cell["potential"].values[-1], abs=6e-4)
            wait_for(lambda: gauge(page, "cell_potential") == last)  # the last row may be shown a moment after the end
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


def test_one_cursor_runs_through_all_figures(page: Page, tmp_path: Path) -> None:
    path = raster_run(tmp_path / "run", EXPERIMENT)
    with served_replay(path) as console:
        page.goto(console.entrance)
        set_to(page, 119.0)
        until(page, "document.getElementById('map-title').textContent.includes('image 2: 20 of 20')")
        point_at(page, 3, 2, X.size, Y.size)  # hopped at 100 s + 13 s
        expected = "cursor at 0:01:53: image 2, row 3, pixel 4"
        assert until(page, "document.getElementById('moment').textContent") == expected
        assert "113.000" in page.locator("#time-body .u-value").all_inner_texts(), "the hop of that moment"
        assert text(page, "#cell-readout") == "at the cursor 0.3000 V, -100.0 µA"
        along, up = curve(page, "#profile-x", "profile"), curve(page, "#profile-y", "profile")
        heights = 1e6 * (height(1) - np.nanmean(height(0)))
        for shown, section in ((along, heights[2]), (up, heights[:, 3])):
            assert shown["points"] == section.size
            assert (shown["first"], shown["last"]) == pytest.approx((section[0], section[-1]), rel=1e-5)
        assert "x = 2.500 µm, y = -1.000 µm, under the pointer; not levelled" in text(page, "#profile-title")
        # From the curves against time to the map, and back to nothing.
        box = page.locator("#time-body .u-over").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] * 106.0 / 119.0, box["y"] + 20)
        moment = until(page, "document.getElementById('moment').textContent")
        assert re.fullmatch(r"cursor at 0:01:4[56]: image 2, row 2, pixel [12]", moment), moment
        page.mouse.move(2, 2)
        until(page, "document.getElementById('moment').textContent === ''")


def test_levelling_units_and_limits_are_kept_with_the_run(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = raster_run(tmp_path / "run", EXPERIMENT)
    unlevelled, levelled = 1e9 * (height(1) - np.nanmean(height(0))), 1e9 * plane(height(1)).heights
    with served_replay(path) as console:
        page.goto(console.entrance)
        set_to(page, 119.0)
        until(page, "document.getElementById('map-title').textContent.includes('image 2: 20 of 20')")
        assert height_under(page, 1, 1, X.size, Y.size) == pytest.approx(unlevelled[1, 1], abs=0.01)
        page.select_option("#levelling", "plane")
        until(page, "document.getElementById('map-note').textContent.includes('own plane')")
        assert height_under(page, 1, 1, X.size, Y.size) == pytest.approx(levelled[1, 1], abs=0.01)
        page.click("#channels summary")
        row = page.locator('.channel[data-channel="height"]')
        row.locator("select").select_option("µm")
        row.locator("input").first.fill("-0.25")
        row.locator("input").last.fill("-0.5")
        row.locator("input").last.press("Enter")
        until(
            page,
            "document.querySelector('.channel[data-channel=height] .error').textContent.includes('lower one first')",
        )
        row.locator("input").last.fill("1.5")
        row.locator("input").last.press("Enter")
        wait_for(lambda: (path / "view.json").is_file() and read_settings(path).channels)
        wait_for(lambda: read_settings(path).channels["height"].limits)
        assert read_settings(path) == ViewSettings({"height": Shown("µm", (-0.25, 1.5))}, "plane")
        assert text(page, "#channels-kept") == "Kept with the run, in view.json beside it."
        page.select_option("#levelling", "none")
        until(page, "document.getElementById('map-note').textContent.includes('Not levelled')")
        assert height_under(page, 1, 1, X.size, Y.size) == pytest.approx(unlevelled[1, 1], abs=0.01)
        assert " µm at 1.500 µm, -1.500 µm" in text(page, "#map-readout")

        page.reload()  # a page that comes later
        set_to(page, 119.0)
        until(page, "document.getElementById('map-title').textContent.includes('image 2: 20 of 20')")
        assert [row.locator("input").nth(k).input_value() for k in (0, 1)] == ["-0.25", "1.5"]
        assert height_under(page, 1, 1, X.size, Y.size) == pytest.approx(unlevelled[1, 1], abs=0.01)
        assert "µm" in text(page, "#map-readout")

        (path / "view.json").write_text('{"opsicm_view": 1, "channels": {"<b>": 1}}', encoding="utf-8")
        page.reload()
        until(page, "document.getElementById('channels-kept').textContent.startsWith('Refused: view.json: channel')")
        assert page.locator("#channels-kept b").count() == 0, "text, not markup"

        (path / "view.json").unlink()
        monkeypatch.setattr("os.access", lambda *_: False)
        page.reload()
        set_to(page, 119.0)
        until(page, "document.getElementById('channels-kept').textContent.includes('kept in this browser')")
        page.click("#channels summary")
        row.locator("select").select_option("nm")
        page.reload()
        until(page, "document.querySelector('.channel[data-channel=height] select')?.value === 'nm'")
    assert not (path / "view.json").exists()


def test_a_tower_is_an_image_of_height_and_time(page: Page, tower: Path) -> None:
    with served_replay(tower) as console:
        page.goto(console.entrance)
        set_to(page, 30.0)
        until(page, "document.getElementById('map-title').textContent === 'probe[0] tower'")
        box = page.locator("#map-body canvas").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 60 + 0.5 * (box["width"] - 152), box["y"] + 26 + 0.25 * (box["height"] - 70))
        until(page, "document.getElementById('map-readout').textContent")
        shown = re.fullmatch(r"pipette current (\S+) nA at (\S+) s, (\S+) mm", text(page, "#map-readout"))
        assert shown is not None, text(page, "#map-readout")
        value, t, z = map(float, shown.groups())
        assert value == pytest.approx(1e9 * float(current(np.array(t), np.array(1e-3 * z))), abs=0.01)
        assert text(page, "#section-title") == "Profiles of the tower: current against height"
        last = curve(page, "#section-body .image:not([hidden])", "last")
        low, high = (float(current(np.array(27.5), np.array(at))) for at in (LOW, HIGH))
        assert last["first"] == pytest.approx(1e12 * (low - high), rel=0.05)


def test_the_last_approach_is_shown_with_its_prediction(page: Page, short_run: Run) -> None:
    with served_replay(short_run.path) as console:
        page.goto(console.entrance)
        set_to(page, 60.0)
        until(page, "document.getElementById('approach-title').textContent.startsWith('Approach of hop')")
        number = int((short_run.hops["t_ns"].values <= 60e9).sum()) - 1
        assert text(page, "#approach-title") == f"Approach of hop {number} against its prediction"
        trace = 1e9 * short_run.trace(number)["pipette_current"].values
        shown = curve(page, "#approach-body", "samples")
        assert shown["highest"] <= trace.max() + 1e-5
        assert shown["highest"] > np.median(trace)
        predicted = curve(page, "#approach-body", "predicted")
        assert predicted["highest"] == pytest.approx(1e9 * short_run.hops["i_ref"].values[number], rel=5e-3)
        assert "it predicts 33.7 nm" in text(page, "#approach-note")
        assert text(page, "#section-title") == "Section of the last approaches"
        for at in (60.0, 30.0):
            set_to(page, at)
            last = int((short_run.hops["t_ns"].values <= round(1e9 * at)).sum()) - 1
            stop = f"stop at z = {1e6 * short_run.hops['z_stop'].values[last]:.3f} µm"
            until(page, f"document.getElementById('hop-body').textContent.includes('{stop}')")


def test_progress_and_gauges_are_read_from_afar(page: Page, tower: Path) -> None:
    roles: tuple[tuple[str, Role], ...] = (("cell[0]", "cell"), ("probe[1]", "pipette"))
    bars = [Series(path, np.array([0.0, 1.0, np.nan]), np.zeros(3), role, "bars") for path, role in roles]
    rows = CurvePanel(Axis("time", "min"), Axis("", ""), tuple(bars), row_names=("cell[0] sweep", "probe[1] hop"))
    plan = View("time_line", "Plan", (rows,))
    with StoredRun(tower) as run, served(ReplayFeed(run, lambda: plan), None) as console:
        page.set_viewport_size({"width": 1280, "height": 800})
        page.goto(console.entrance)
        set_to(page, 15.0)
        until(page, "document.querySelectorAll('#progress progress').length === 2")
        assert text(page, '#progress [data-track="cell"] .share') == "25 % of the forecast, forecast for now: cell[0]"
        probe = '#progress [data-track="probe"]'
        assert text(page, f"{probe} .step") == "probe: probe[0]"
        assert text(page, f"{probe} .share") == "25 % of the forecast, forecast for now: probe[1]"
        page.keyboard.press("f")
        size = "parseFloat(getComputedStyle(e.querySelector('.number')).fontSize)"
        sizes = page.evaluate(
            f"[...document.querySelectorAll('.gauge')].map((e) => [{size}, e.scrollWidth - e.clientWidth])"
        )
        assert len(sizes) >= 4
        assert all(size >= 60.0 and overflow <= 0 for size, overflow in sizes), sizes
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.set_viewport_size({"width": 1000, "height": 800})
        widths = "[...document.querySelectorAll('.gauge')].map((e) => e.scrollWidth - e.clientWidth)"
        assert all(overflow <= 0 for overflow in page.evaluate(widths)), page.evaluate(widths)
        assert page.is_hidden("#time")
        page.keyboard.press("f")
        assert page.is_visible("#time")
