"""What the page of a stored run is made of: the report's own Views, thinned truthfully; the exports of `convert`."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.console.stored_results import export, prepare, sent_view
from opsicm.console.wire import Kind, decoded
from opsicm.core.errors import BadInput
from opsicm.figures.view import Axis, CurvePanel, ImagePanel, Series, View, to_csv
from opsicm.record.reader import Run
from opsicm.reporting.reports import run_content
from opsicm.results.conversion import convert_path
from opsicm.results.run_results import results_of

X, Y = Axis("time", "s"), Axis("height", "nm")


def silent(_: str) -> None:
    """Progress that nobody reads."""


@pytest.fixture(scope="module")
def prepared(short_run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(folder, what was said meanwhile) of the short run."""
    folder, said = tmp_path_factory.mktemp("prepared"), list[str]()
    prepare(short_run.path, folder, said.append)
    return folder, said


def test_the_page_has_the_views_and_the_texts_of_the_report(prepared: tuple[Path, list[str]], short_run: Run) -> None:
    folder, said = prepared
    shown = json.loads((folder / "content.json").read_text(encoding="utf-8"))
    report = run_content(short_run)
    assert (shown["title"], shown["answer"], shown["doubts"]) == (report.title, [*report.answer], [*report.doubts])
    assert [row[0] for row in shown["results"]["rows"]] == [r.label.replace("_", " ") for r in results_of(short_run)]
    plots = [table.view for table in report.tables if table.view is not None]
    views = [view for view in (report.key, *report.views, *plots) if view is not None]
    assert [figure["name"] for figure in shown["figures"]] == [view.name for view in views]
    assert len(views) > 4
    for figure, view in zip(shown["figures"], views, strict=True):
        kind, _, sent = decoded((folder / f"{figure['id']}.view").read_bytes())
        assert (kind, sent["title"], figure["left_out"]) == (Kind.VIEW, view.title, "")
        for panel, drawn in zip(view.panels, sent["panels"], strict=True):
            for here, there in zip(_arrays(panel), _sent_arrays(drawn), strict=True):
                np.testing.assert_array_equal(here, there)
        assert (folder / f"{figure['id']}.csv").read_text(encoding="utf-8") == to_csv(view)
    for k, table in enumerate(report.tables, 1):
        assert (folder / f"table-{k}.csv").read_text(encoding="utf-8") == table.csv()
        assert shown["tables"][k - 1]["rows"][0] == [column.text(0) for column in table.columns]
    hops = short_run.hops.sizes["hop"]
    assert said[1] == f"analysing {hops} hops and {short_run.cell.sizes['row']} rows of the cell"
    assert said[-1] == f"figure {len(views)} of {len(views)}"


def _arrays(panel: CurvePanel | ImagePanel) -> list[Any]:
    if isinstance(panel, ImagePanel):
        return [panel.values]
    return [a for s in panel.series for a in (s.x, s.y, *([] if s.band is None else [s.band]))]


def _sent_arrays(panel: dict[str, Any]) -> list[Any]:
    if panel["kind"] == "image":
        return [panel["values"]]
    return [a for s in panel["series"] for a in (s["x"], s["y"], *([] if s["band"] is None else [s["band"]]))]


def test_a_long_curve_keeps_its_spikes_its_gaps_and_says_what_is_left_out() -> None:
    n = 100_000
    x: NDArray[np.float64] = 0.1 * np.arange(n, dtype=np.float64)
    y: NDArray[np.float64] = np.sin(0.01 * x)
    y[41_234], y[70_000] = 9.0, np.nan
    view = View("v", "v", (CurvePanel(X, Y, (Series("height", x, y, band=np.arange(float(n))),)),))
    sent, left_out = sent_view(view)
    panel = sent.panels[0]
    assert isinstance(panel, CurvePanel)
    series = panel.series[0]
    assert series.x.size < 20_100
    assert series.band is not None
    rows = np.round(series.x / 0.1).astype(int)
    np.testing.assert_array_equal(series.y, y[rows])
    np.testing.assert_array_equal(series.band, rows)
    assert {41_234, 70_000} <= set(rows.tolist())
    assert left_out == f"height: {rows.size} of 100000 points are drawn"


def test_a_large_image_shows_pixels_that_were_measured() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 1000))
    sent, left_out = sent_view(View("v", "v", (ImagePanel(X, X, Y, values, (0.0, 1.0, 0.0, 1.0)),)))
    panel = sent.panels[0]
    assert isinstance(panel, ImagePanel)
    np.testing.assert_array_equal(panel.values, values[::2, ::2])
    assert left_out == "height: one in 2 rows and columns of 2000 × 1000 pixels is drawn"


def test_several_files_become_one_and_no_export_is_a_place(raster: Path, tmp_path: Path) -> None:
    path = export(raster, "images.gsf", tmp_path, silent)
    direct = convert_path(raster, tmp_path / "images.gsf", "gsf")
    assert path.name == "images.gsf.zip"
    with zipfile.ZipFile(path) as archive:
        assert archive.namelist() == [one.name for one in direct]
        assert [archive.read(one.name) for one in direct] == [one.read_bytes() for one in direct]
    for name in ("../run.nxs", "/etc/passwd", "run", "", "images.gsf/../hops.csv"):
        with pytest.raises(BadInput, match=r"the exports are run\.nxs, report\.html, images\.gwy"):
            export(raster, name, tmp_path, silent)
    assert not (tmp_path.parent / "run.nxs").exists()
