"""The page of a stored run: numbers read off it against the run file, exports against `convert`; what is refused."""

from __future__ import annotations

import asyncio
import re
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from multiprocessing import active_children
from pathlib import Path
from shutil import copytree
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

import httpx
import numpy as np
import pytest
import xarray as xr
from fastapi import FastAPI
from numpy.typing import NDArray
from PIL import Image as Picture

from opsicm.console.results_page import ResultsPage
from opsicm.figures.view import ImagePanel, View
from opsicm.record.reader import Run
from opsicm.reporting import document
from opsicm.reporting.document import Content, result_rows
from opsicm.reporting.reports import run_content
from opsicm.results.conversion import convert_path
from tests.fixtures.browser import NEEDED, text, until
from tests.fixtures.raster_run import COLUMNS, MISSING, PITCH, ROWS, height, raster_run
from tests.fixtures.served import Served, served_replay, wait_for

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TITLE: Final = "<b>two images</b> & <script>alert(1)</script>"
FOLDER: Final = 'é "run"; filename=x\r\nX-Evil: 1'
ANALYSED: Final = 180.0  # [s]: where everybody works at once, the process takes long to load


def bumps(k: int) -> NDArray[np.float64]:
    """Heights [m] of pass `k` that no plane takes away."""
    x, y = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    return np.asarray(height(k) + 50e-9 * ((x + 2 * y * y) % 3))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two images whose title is markup and whose folder is called as a header ends."""
    return raster_run(tmp_path_factory.mktemp("results") / FOLDER, title=TITLE, surface=bumps)


@pytest.fixture(scope="module")
def report(run: Path) -> Content:
    """What the report of the run says."""
    with Run(run) as file:
        return run_content(file)


@pytest.fixture(scope="module")
def console(run: Path) -> Iterator[Served]:
    with served_replay(run) as made:
        yield made


@pytest.fixture
def visitor(console: Served) -> Iterator[httpx.Client]:
    with console.visitor() as client:
        client.timeout = httpx.Timeout(ANALYSED)
        yield client


def opened(page: Page, console: Served) -> None:
    """Open the page of the run and wait until it has been analysed."""
    page.goto(console.entrance)
    until(page, "!document.getElementById('results').hidden")
    page.click("#results")
    until(page, "!document.getElementById('report').hidden", ANALYSED)


def shown(page: Page, name: str) -> Locator:
    """The figure of this name, where it stays: all others are drawn too, which takes place only when they are seen."""
    for one in page.locator("figure").all():
        one.scroll_into_view_if_needed()
        wait_for(one.locator("figcaption").count)
    figure = page.locator(f'figure[data-name="{name}"]').first
    figure.scroll_into_view_if_needed()
    return figure


def contents(page: Page, selector: str) -> list[str]:
    return [one or "" for one in page.locator(selector).all_text_contents()]


def numbers(words: str) -> list[float]:
    """Every number in a reading, as it is written there."""
    return [float(one.replace("−", "-")) for one in re.findall(r"[-−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", words)]


@pytest.mark.usefixtures("browser")
class TestInABrowser:
    pytestmark = NEEDED

    def test_it_says_what_the_report_says_as_text(self, page: Page, console: Served, report: Content) -> None:
        opened(page, console)
        rows = [[n, v, u, f"{o}: {r}" if o else r] for n, v, u, o, r in result_rows(report.results)]
        assert contents(page, "#title") == [TITLE]
        assert contents(page, "#subtitle") == [report.subtitle]
        assert FOLDER in report.subtitle
        assert contents(page, "#sentences li") == [*report.answer]
        details = page.locator("#details > details").filter(has_text=f"Every result ({len(rows)})")
        cells = details.locator("td").all_text_contents()
        assert [cells[k : k + 4] for k in range(0, len(cells), 4)] == rows
        assert page.evaluate("document.querySelectorAll('#report b, #report script').length") == 0
        for table in report.tables:
            body = page.locator(f'section[data-name="{table.name}"] td').all_text_contents()
            assert body == [column.text(k) for k in range(table.rows) for column in table.columns]

    def test_curves_are_read_at_the_pointer_and_at_the_same_time_in_every_panel(
        self, page: Page, console: Served, run: Path, report: Content
    ) -> None:
        opened(page, console)
        panels = shown(page, "time").locator(".shown")
        with Run(run) as file:
            t, potential, current = (file.cell[name].values for name in ("t_ns", "potential", "current"))
        names = [panel.y.label for panel in _view(report, "time").panels]
        assert names[-1] == "cell current (µA)"
        volts, amperes = (
            panels.nth(next(k for k, n in enumerate(names) if w in n)) for w in ("potential", "cell curr")
        )
        _point(page, volts.locator(".u-over"), 0.72)
        value, at = numbers(volts.locator(".readout").inner_text())[-2:]
        row = int(np.argmin(np.abs(t * 1e-9 - at)))
        assert at == pytest.approx(1e-9 * t[row])
        assert value == pytest.approx(potential[row])
        other, other_at = numbers(amperes.locator(".readout").inner_text())[-2:]
        assert (other, other_at) == pytest.approx((1e6 * current[row], at))

        whole = _range(volts)
        box = _box(volts.locator(".u-over"))
        page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 22, steps=4)
        page.mouse.up()
        span = whole[1] - whole[0]
        wait_for(lambda: _range(volts) != whole)
        np.testing.assert_allclose(_range(volts), [whole[0] + 0.25 * span, whole[0] + 0.5 * span], atol=0.01 * span)
        assert _range(amperes) == _range(volts), "panels of one axis are zoomed together"
        page.mouse.dblclick(box["x"] + 0.4 * box["width"], box["y"] + 20)
        wait_for(lambda: _range(amperes) == whole)

    def test_pixels_are_read_and_coloured_as_the_viewer_wants(
        self, page: Page, console: Served, report: Content
    ) -> None:
        opened(page, console)
        figure, image = shown(page, "image_series"), _view(report, "image_series").panels[0]
        assert isinstance(image, ImagePanel)
        canvas, readout = figure.locator(".image canvas").first, figure.locator(".readout").first
        for row, column in ((0, 0), (3, 4), (2, 1), MISSING):
            page.mouse.move(*_pixel(canvas, row, column))
            said = readout.inner_text()
            if (row, column) == MISSING:
                assert "not reached" in said
                continue
            value, x, y = numbers(said)
            assert value == pytest.approx(image.values[row, column], rel=1e-5)
            np.testing.assert_allclose([x, y], [1e6 * (1e-6 + PITCH * column), 1e6 * (-2e-6 + PITCH * row)], atol=1e-9)
        low, high = figure.locator(".limits input").first, figure.locator(".limits input").last
        top, bottom = float(np.nanmax(image.values)), float(np.nanmin(image.values))
        low.fill(f"{bottom - 2}")
        high.fill(f"{bottom - 1}")
        assert _colour(page, canvas, 1, 3) == _colour(page, canvas, 3, 4) == (253, 231, 36), "above: the end of viridis"
        high.fill(f"{top + 2}")
        low.fill(f"{top + 1}")
        assert _colour(page, canvas, 1, 3) == (68, 1, 84)
        figure.get_by_text("as in the report").first.click()
        assert _colour(page, canvas, 1, 3) != _colour(page, canvas, 3, 4)

    def test_a_click_saves_an_export(self, page: Page, console: Served, run: Path, tmp_path: Path) -> None:
        opened(page, console)
        convert_path(run, tmp_path / "hops.csv", "csv", "hops")
        for name, expected in (("run.nxs", run / "run.nxs"), ("hops.csv", tmp_path / "hops.csv")):
            with page.expect_download(timeout=1e3 * ANALYSED) as coming:
                page.click(f'#files button[data-name="{name}"]')
            saved = coming.value.path()
            assert saved.read_bytes() == expected.read_bytes()
            assert f"{_short(saved.stat().st_size)}" in text(page, "#made")


def _view(report: Content, name: str) -> View:
    views = [*([] if report.key is None else [report.key]), *report.views]
    return next(view for view in views if view.name == name)


def _box(place: Locator) -> dict[str, float]:
    box = place.bounding_box()
    assert box is not None
    return {"x": box["x"], "y": box["y"], "width": box["width"], "height": box["height"]}


def _point(page: Page, place: Locator, share: float) -> None:
    """Put the pointer at this share of a panel's width."""
    box = _box(place)
    page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])


def _range(panel: Locator) -> list[float]:
    """From where to where a panel shows x."""
    return [float(one) for one in str(panel.locator("[data-x]").get_attribute("data-x")).split()]


def _place(canvas: Locator) -> tuple[float, float, float, float]:
    """(left, top, width, height) of an image within its canvas: figures of `image.js`."""
    box = _box(canvas)
    height = box["height"] - 44.0 - (top := _TOP)
    return 60.0, top, min(box["width"] - 60.0 - 92.0, height * COLUMNS / ROWS), height


_TOP: Final = float(
    re.findall(r"top: (\d+)", Path("src/opsicm/console/static/image.js").read_text(encoding="utf-8"))[0]
)


def _pixel(canvas: Locator, row: int, column: int) -> tuple[float, float]:
    """Where the middle of a pixel is on the page."""
    box, (left, top, width, height) = _box(canvas), _place(canvas)
    x, y = left + (column + 0.5) * width / COLUMNS, top + (ROWS - row - 0.5) * height / ROWS
    return box["x"] + x, box["y"] + y


def _colour(page: Page, canvas: Locator, row: int, column: int) -> tuple[int, ...]:
    """The colour that a viewer sees of a pixel."""
    x, y = _pixel(canvas, row, column)
    seen = page.screenshot(clip={"x": x, "y": y, "width": 1, "height": 1})
    with Picture.open(BytesIO(seen)) as picture:
        return tuple(picture.convert("RGB").tobytes())


def _short(size: int) -> str:
    return f"{size / 1000:.3g} kB"


# -- exports ---------------------------------------------------------------------------------------------------------


def test_every_export_is_what_convert_makes(visitor: httpx.Client, run: Path, report: Content, tmp_path: Path) -> None:
    waited = []
    while (answer := visitor.get("/api/results")).status_code == 202:
        waited.append(answer.json()["progress"])
    offers = [offer["name"] for offer in answer.json()["exports"]]
    assert {"run.nxs", "report.html", "images.gwy", "images.gsf", "hops.csv", "everything.nc", "movie.gif"} <= {*offers}
    for name in offers:
        if name.startswith(("movie", "figures")) or name.endswith(".parquet"):
            continue  # as slow as they are, and made by the same call
        made = visitor.post(f"/api/export/{name}", json={})
        assert made.status_code == 200, made.text
        saved = visitor.get(f"/api/export/{name}")
        assert (saved.status_code, len(saved.content)) == (200, made.json()["bytes"])
        disposition = saved.headers["content-disposition"]
        assert disposition.startswith("attachment; filename*=utf-8''")
        suffix = {"run.nxs": ".nxs", "images.gsf": "_images.gsf.zip"}.get(name, f"_{name}")
        assert unquote(disposition.partition("''")[2]) == made.json()["file"] == FOLDER + suffix
        assert "x-evil" not in saved.headers
        _compare(name, saved.content, run, report, tmp_path)


def _compare(name: str, content: bytes, run: Path, report: Content, folder: Path) -> None:
    if name == "run.nxs":
        assert content == (run / "run.nxs").read_bytes()
    elif name == "report.html":
        assert content.decode() == document.page(report)
    elif name == "everything.nc":
        (folder / "saved.nc").write_bytes(content)
        with xr.open_dataset(folder / "saved.nc", group="hops", engine="h5netcdf") as saved, Run(run) as file:
            for field in ("z_stop", "i_ref", "x", "cell_potential"):
                np.testing.assert_array_equal(saved[field].values, file.hops[field].values)
    elif name == "images.gsf":
        with zipfile.ZipFile(BytesIO(content)) as archive:
            for path in convert_path(run, folder / "images.gsf", "gsf"):
                assert archive.read(path.name) == path.read_bytes()
    else:
        stem, _, ending = name.partition(".")
        kind: Any = {"bdf.csv": "bdf", "ome.tif": "ome-tiff"}.get(ending, ending)
        table: Any = stem if kind in ("csv", "bdf") else None
        (path,) = convert_path(run, folder / name, kind, table)
        assert _anonymous(content) == _anonymous(path.read_bytes())


def _anonymous(content: bytes) -> bytes:
    """Without the number that every OME-TIFF has of its own."""
    return re.sub(rb"urn:uuid:[0-9a-f-]{36}", b"", content)


@pytest.mark.parametrize(
    "path",
    [
        "/api/export/..%2frun.nxs",
        "/api/export/%2e%2e",
        "/api/export/../run.nxs",
        "/api/export/%2fetc%2fpasswd",
        "/api/results/..%2fcontent.json",
        "/api/results/content.json",
        "/api/results/figure-1.view%00.csv",
        "/api/results/figure-99.csv",
        "/api/results/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    ],
)
def test_no_name_reaches_another_file(console: Served, visitor: httpx.Client, path: str) -> None:
    host, port = console.address.removeprefix("http://").split(":")
    cookie = visitor.cookies[console.cookie]
    with socket.create_connection((host, int(port))) as client:
        client.settimeout(ANALYSED)
        head = f"Host: {host}:{port}\r\nCookie: {console.cookie}={cookie}\r\nConnection: close"
        client.sendall(f"GET {path} HTTP/1.1\r\n{head}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.split()[1] in (b"404", b"422"), answer[:200]
    assert b"root:" not in answer
    assert b"HDF" not in answer


def test_it_is_for_those_who_came_in_and_asked_from_the_page(console: Served, visitor: httpx.Client) -> None:
    for path in ("/results", "/api/results", "/api/results/figure-1.view", "/api/export/run.nxs"):
        answer = httpx.get(console.address + path, cookies={console.cookie: "forged"})
        assert answer.status_code == 401
        assert "open the whole address" in answer.json()["detail"]
    forged = visitor.post("/api/export/hops.csv", json={}, headers={"Origin": "http://evil.example"})
    assert forged.status_code == 403
    policy = visitor.get("/results").headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy


def test_a_run_file_that_vanished_is_said_and_nothing_else(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "vanishes"
    copytree(run, folder)
    with served_replay(folder) as console, console.visitor() as visitor:
        saved = visitor.get("/api/export/run.nxs")
        assert saved.content == (run / "run.nxs").read_bytes()
        (folder / "run.nxs").unlink()
        for answer in (
            visitor.get("/api/results"),
            visitor.get("/api/results/figure-1.view"),
            visitor.get("/api/export/run.nxs"),
            visitor.post("/api/export/hops.csv", json={}),
        ):
            assert answer.status_code == 410
            assert answer.json()["title"] == "The run file has vanished"
            assert "put it back, or open another run" in answer.json()["detail"]


def test_what_cannot_be_made_is_said_and_begun_again(raster: Path, tmp_path: Path) -> None:
    goes_on, damaged = tmp_path / "goes-on", tmp_path / "damaged"
    goes_on.mkdir()
    (goes_on / "journal.jsonl").touch()
    damaged.mkdir()
    (damaged / "run.nxs").write_bytes(b"no HDF5")
    on_show: list[Path | None] = [None]
    asked_for: list[Path | None] = []
    others = {*active_children()}

    def shown_now() -> Path | None:
        asked_for.append(on_show[0])
        return on_show[0]

    async def asked(client: httpx.AsyncClient) -> None:
        answer = await client.get("/api/results")
        assert (answer.status_code, answer.json()["problems"][0]["limit"]) == (409, "none is on show")
        on_show[0] = goes_on
        answer = await client.get("/api/export/hops.csv")
        assert answer.status_code == 409
        assert "wait for its end, or stop it" in answer.json()["detail"]
        on_show[0] = damaged
        while (answer := await client.get("/api/results")).status_code == 202:
            assert answer.json()["progress"]
        assert answer.status_code == 422
        assert "no HDF5 signature" in answer.json()["detail"]
        on_show[0] = raster
        drawing = asyncio.create_task(client.post("/api/export/figures", json={}))
        while raster not in asked_for:  # what is asked for next waits behind it
            await asyncio.sleep(0.001)
        while (await client.get("/api/results")).json().get("progress") != "making figures":
            assert not drawing.done()
        for process in {*active_children()} - others:
            process.kill()
        assert (await drawing).status_code == 422
        assert "ended before it was done (exit code -9); load the page anew" in (await drawing).json()["detail"]
        refused = await client.get("/api/export/none.csv")
        assert refused.status_code == 422
        assert "the exports are run.nxs, report.html, images.gwy" in refused.json()["detail"]

    async def served() -> None:
        app, results = FastAPI(), ResultsPage(shown_now)
        results.add_to(app)
        transport = httpx.ASGITransport(app)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://console", timeout=ANALYSED) as client:
                await asked(client)
        finally:
            results.stop()

    with ThreadPoolExecutor(1) as thread:  # Playwright keeps an event loop in this one
        thread.submit(asyncio.run, served()).result()
