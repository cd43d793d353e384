"""A first experiment without a terminal: a mistake is read, mended, the run started, paused, stopped and opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from opsicm.analysis.hops.results import images_of
from opsicm.cli.console import preparing
from opsicm.console.on_show import OnShow
from opsicm.core.errors import BadInput
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.schema import json_schema
from opsicm.record.reader import Run
from tests.console.test_page import cell_goes_on, gauge, height_under, image_number
from tests.fixtures.browser import NEEDED, text, until
from tests.fixtures.laboratory import RIG
from tests.fixtures.running import COLUMNS, RASTER, ROWS
from tests.fixtures.served import served_on, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = NEEDED
SLOW = 120.0  # [s]: a process that loads the program on a busy machine
WANTED = RASTER.replace("twin/graphite", "rig.yaml")
MISTAKEN = WANTED.replace("setpoint_pct: 2.0", "setpoint_pct: 200")


def test_a_first_experiment_without_a_terminal(page: Page, tmp_path: Path) -> None:
    (tmp_path / "rig.yaml").write_text(RIG, encoding="utf-8")
    (tmp_path / "first.yaml").write_text(MISTAKEN, encoding="utf-8")
    out = tmp_path / "out"
    with served_on(OnShow(out, lambda _: lambda: None), preparing(tmp_path, out, "here:first.yaml")) as console:
        page.goto(console.entrance)
        _mend(page, tmp_path)
        page.fill("#name", "walk.yaml")
        page.fill("#who", "Anna")
        page.click("#start")
        page.wait_for_url(f"{console.address}/", timeout=1e3 * SLOW)
        until(page, "document.getElementById('state').textContent === 'running'", SLOW)
        assert (tmp_path / "walk.yaml").read_text(encoding="utf-8") == WANTED
        wait_for(lambda: image_number(page) > 1)
        assert text(page, "#title") == "<b>images</b> & <script>alert(1)</script>"
        shown = _pause_and_stop(page)
        page.click("text=prepare, runs")
        until(page, "document.querySelector('#runs .state')?.textContent === 'interrupted'", SLOW)
        (path,) = out.glob("*Z_*")
        with Run(path) as file:
            _compare_with_file(file, shown)
            page.click("#runs button")
            page.wait_for_url(f"{console.address}/")
            until(page, "['playing', 'replay'].includes(document.getElementById('state').textContent)")
            _move_the_cursor(page, file)


def _mend(page: Page, folder: Path) -> None:
    """Read what is wrong, and write what is right with the help of the schema."""
    with pytest.raises(BadInput) as wrong:
        experiment_from_text(MISTAKEN, str(folder / "first.yaml"))
    (mistake,) = wrong.value.problems
    until(page, "document.getElementById('verdict').textContent === '1 problem'", SLOW)
    assert text(page, "#problems li").split("\n") == [
        f"line {mistake.line}{mistake.thing} is {mistake.value}; {mistake.limit}",
        mistake.remedy,
    ]
    assert page.locator("#editor .margin .bad").all_inner_texts() == [str(mistake.line)]
    assert page.is_disabled("#start")

    page.locator("#text").evaluate(
        "e => { const k = e.value.indexOf('setpoint_pct: 200'); e.focus(); e.setSelectionRange(k, k + 17); }"
    )
    page.keyboard.type("setp")
    assert page.locator("#completions li").all_inner_texts() == ["setpoint_pct", "setpoint"]
    described = json_schema()["$defs"]["Raster"]["properties"]["setpoint_pct"]["description"]
    assert text(page, "#completion-detail").startswith(described)
    page.keyboard.press("Enter")
    page.keyboard.type("2.0")
    until(page, "document.getElementById('verdict').textContent === 'no problems'", SLOW)
    assert page.input_value("#text") == WANTED
    assert page.locator("#editor .margin .bad").count() == 0
    assert "duration         100 s" in text(page, "#forecast")
    until(page, "document.getElementById('plan-note').textContent.startsWith('Plan of <b>images</b>')")


def _pause_and_stop(page: Page) -> list[tuple[float, float]]:
    """(time [s], cell potential [V]) as shown while the probe was paused."""
    page.keyboard.press("Space")
    until(page, "document.getElementById('state').textContent === 'probe paused'")
    shown = []
    for _ in range(2):
        cell_goes_on(page)
        age = text(page, '.gauge[data-key="cell_potential"] .age')
        shown.append((float(age.removeprefix("at ").removesuffix(" s")), gauge(page, "cell_potential")))
    page.keyboard.press("Escape")
    until(page, "document.getElementById('state').textContent === 'interrupted'")
    return shown


def _compare_with_file(file: Run, shown: list[tuple[float, float]]) -> None:
    """What was commanded and by whom, and what was shown, against the record."""
    assert file.experiment_text == WANTED
    done = [fact for fact in file.facts if fact.kind in ("command", "note")]
    said = [(fact.data["command"], fact.data["sender"]["from"], fact.data.get("text")) for fact in done]
    assert said == [
        ("note", "console: Anna", "started from the console: walk.yaml, --speed 1"),
        ("pause-probe", "console: Anna", None),
        ("stop", "console: Anna", None),
    ]
    paused, stopped = done[1].t_ns, done[2].t_ns
    assert not ((file.hops["t_ns"].values > paused) & (file.hops["t_ns"].values <= stopped)).any(), "the probe stands"
    t = 1e-9 * file.cell["t_ns"].values
    for time, potential in shown:
        assert 1e-9 * paused < time + 0.05
        # Times are shown to 0.1 s, in which the potential falls by 0.8 mV, and potentials to a millivolt.
        assert potential == pytest.approx(float(np.interp(time, t, file.cell["potential"].values)), abs=1.5e-3)


def _move_the_cursor(page: Page, file: Run) -> None:
    """Heights under the pointer in the replay of the first image, against the file."""
    frame = images_of(file.hops, file.slow)[0]
    end = 1e-9 * file.hops["t_ns"].values[ROWS * COLUMNS - 1] + 1e-3
    page.keyboard.press("Space")
    page.locator("#seek").evaluate(f"e => {{ e.value = {end}; e.dispatchEvent(new Event('input')); }}")
    until(page, "document.getElementById('map-title').textContent.includes('image 1: 30 of 30')")
    expected = 1e9 * (frame.heights - np.nanmean(frame.heights))
    for row, column in ((0, 0), (2, 3), (ROWS - 1, COLUMNS - 1)):
        assert height_under(page, column, row) == pytest.approx(expected[row, column], abs=0.02, rel=1e-4)
