"""What the page of a stored run shows and offers: its report as JSON and messages of `wire.py`, and its exports.

Made in a process of its own (`results_page.py`) as files in a folder, which the server sends from there: the server
holds no run in its memory, and neither a page nor a replay waits while a run is analysed.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import numpy as np

from opsicm.console.wire import view_message
from opsicm.core.errors import BadInput, Problem
from opsicm.core.output_file import as_utf8
from opsicm.figures.view import CurvePanel, ImagePanel, Series, View, rows_kept, to_csv
from opsicm.record.reader import Run
from opsicm.reporting.document import RESULT_HEADINGS, Content, numeric_columns, page, result_rows, u_note
from opsicm.reporting.reports import run_content, write_page
from opsicm.results.conversion import convert_path, exports, exports_of
from opsicm.results.tables import Table

Progress = Callable[[str], None]
REPORT: Final = "report.html"
# Beside what `opsicm convert` makes.
OWN_EXPORTS: Final = (
    {"name": "run.nxs", "purpose": "the run itself: HDF5, NeXus"},
    {"name": REPORT, "purpose": "the report, one file"},
)
CONTENT: Final = "content.json"
_MOST_POINTS: Final = 20_000  # of a curve that is sent, 0.3 MB: enough to zoom into a hop of 0.2 s
_MOST_PIXELS: Final = 1 << 19  # of an image: 4 MB


# -- the page -------------------------------------------------------------------------------------------------------


def prepare(path: Path, folder: Path, progress: Progress) -> None:
    """Analyse the run at `path` and write into `folder` what its page shows: `content.json`, and of its k-th figure
    `figure-k.view`, a message of the wire, and `figure-k.csv`; of its k-th table `table-k.csv`.

    The figures are the Views that the report draws, and the texts are the report's. Raises what reading the run raises.
    """
    content, offers = _analysed(path, progress)
    figures = [] if content.key is None else [("answer", content.key)]
    figures += [("figure", view) for view in content.views]
    figures += [(f"table-{k}", table.view) for k, table in enumerate(content.tables, 1) if table.view is not None]
    shown = []
    for k, (place, view) in enumerate(figures, 1):
        progress(f"figure {k} of {len(figures)}")
        sent, left_out = sent_view(view)
        (folder / f"figure-{k}.view").write_bytes(view_message(f"figure-{k}", sent).numbered(k))
        _write_text(folder / f"figure-{k}.csv", to_csv(view))
        shown.append(
            {"id": f"figure-{k}", "place": place, "name": view.name, "columns": view.columns, "left_out": left_out}
        )
    for k, table in enumerate(content.tables, 1):
        _write_text(folder / f"table-{k}.csv", table.csv())
    _write_text(folder / CONTENT, json.dumps({**_texts(content), "figures": shown, "exports": offers}, allow_nan=False))


_last: dict[tuple[Path, int], tuple[Content, list[dict[str, str]]]] = {}


def _analysed(path: Path, progress: Progress) -> tuple[Content, list[dict[str, str]]]:
    """(the report's content, what can be downloaded) of the run; kept until another one is asked for."""
    key = path, path.stat().st_mtime_ns
    if key not in _last:
        _last.clear()
        progress("opening the run")
        with Run(path) as run:
            progress(f"analysing {run.hops.sizes['hop']} hops and {run.cell.sizes['row']} rows of the cell")
            content = run_content(run)
            made = [{"name": one.name, "purpose": one.purpose} for one in exports_of(run, [*content.results])]
        _last[key] = content, [*OWN_EXPORTS, *made]
    return _last[key]


def _write_text(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "backslashreplace"))


def _texts(content: Content) -> dict[str, Any]:
    """The report's texts, in its order."""
    return {
        "title": as_utf8(content.title),
        "subtitle": as_utf8(content.subtitle),
        "warnings": [*content.warnings],
        "setup": [*content.setup],
        "answer": [*content.answer],
        "u_note": u_note(content.answer),
        "doubts": [*content.doubts],
        "tables": [_table(k, table) for k, table in enumerate(content.tables, 1)],
        "methods": [*content.methods],
        "results": {"headings": RESULT_HEADINGS, "rows": result_rows(content.results)},
        "folded": [(name, [*rows]) for name, rows in content.folded if rows],
        "source": [(name, as_utf8(text)) for name, text in content.source],
    }


def _table(k: int, table: Table) -> dict[str, Any]:
    return {
        "id": f"table-{k}",
        "name": table.name,
        "title": table.title,
        "headings": [column.heading for column in table.columns],
        "numeric": numeric_columns(table),
        "rows": [[column.text(row) for column in table.columns] for row in range(table.rows)],
        "notes": table.notes,
    }


def sent_view(view: View) -> tuple[View, str]:
    """The view with as many points and pixels as a screen can show, and what was left out, in words.

    Of a curve the extremes of every so many rows are kept, as everywhere; of an image every so many-th row and column
    with their true values, no means: what stands under the pointer was measured.
    """
    left_out: list[str] = []
    panels = [
        _thinned(panel, left_out) if isinstance(panel, CurvePanel) else _coarsened(panel, left_out)
        for panel in view.panels
    ]
    return replace(view, panels=tuple(panels)), "; ".join(dict.fromkeys(left_out))


def _thinned(panel: CurvePanel, left_out: list[str]) -> CurvePanel:
    chosen: list[Series] = []
    for series in panel.series:
        rows = rows_kept(series.y, _MOST_POINTS)
        if rows.size < series.y.size:
            left_out.append(f"{series.label or panel.y.quantity}: {rows.size} of {series.y.size} points are drawn")
            band = None if series.band is None else series.band[..., rows]
            chosen.append(replace(series, x=series.x[rows], y=series.y[rows], band=band))
        else:
            chosen.append(series)
    return replace(panel, series=tuple(chosen))


def _coarsened(panel: ImagePanel, left_out: list[str]) -> ImagePanel:
    rows, columns = panel.values.shape
    step = int(np.ceil(np.sqrt(rows * columns / _MOST_PIXELS)))
    if step <= 1:
        return panel
    left_out.append(f"{panel.value.quantity}: one in {step} rows and columns of {rows} × {columns} pixels is drawn")
    return replace(panel, values=panel.values[::step, ::step])


# -- exports --------------------------------------------------------------------------------------------------------


def export(path: Path, name: str, folder: Path, progress: Progress) -> Path:
    """Write the export `name` of the run at `path` into a new folder in `folder`; returns the file.

    What is several files (figures; images in a format that holds one) becomes a .zip. Raises `BadInput` for an unknown
    name, where the run has nothing of this kind, and where a library is missing.
    """
    into = Path(mkdtemp(dir=folder))
    if name == REPORT:
        content, _ = _analysed(path, progress)
        progress("drawing the report")
        write_page(into / name, page(content))
        return into / name
    one = next((one for one in exports() if one.name == name), None)
    if one is None:
        known = ", ".join([*(own["name"] for own in OWN_EXPORTS), *(one.name for one in exports())])
        raise BadInput(Problem("export", ascii(name[:60]), f"the exports are {known}", "choose one of them"))
    progress(f"making {name}")
    written = convert_path(path, into / name, one.kind, one.table)
    return written[0] if len(written) == 1 and one.kind != "figures" else _zipped(written, into / f"{name}.zip")


def _zipped(paths: Sequence[Path], target: Path) -> Path:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.write(path, path.name)
            path.unlink()
    return target
