"""A self-contained HTML page: the answer first, then figures, then tables, the rest folded; nothing is fetched.

Every text of a user's is escaped. Figures are vectors in the page; their data and those of tables can be saved from it.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final

from opsicm.analysis.result import Result
from opsicm.figures.draw import draw, png, svg
from opsicm.figures.view import CurvePanel, View, to_csv
from opsicm.results.number_text import result_text
from opsicm.results.tables import Table

_MOST_FIGURES: Final = 8  # beside the first one; more are folded
_MOST_ROWS: Final = 20  # of a table; more are folded
_BROAD: Final = 1.5  # width over height of the answer's figure: broader than this it stands below the sentences
_MOST_MARKS: Final = 1500  # of a figure in vectors
_DPI: Final = 200  # of the others
_WIDE: Final = 5  # columns: a table with more takes the whole width
_U_NOTE: Final = "± is one standard uncertainty of repeating this very measurement"
_U_ALONE: Final = "; the calibration of the instrument, which all numbers share, is not in it."
_U_BESIDE: Final = (
    "; (±) that of the calibration of z, currents, potential and thickness, which all numbers share. Less than a tenth "
    "of the other is not shown; without (±) the calibration cancels."
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a page says. `setup` and the pairs of `folded` are (name, text); `source` are whole texts, as files.

    `answer` are sentences, `key` the figure that shows them; `doubts` say which of two numbers to believe.
    """

    title: str
    subtitle: str
    answer: Sequence[str]
    key: View | None
    views: Sequence[View]
    tables: Sequence[Table]
    setup: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    doubts: Sequence[str] = ()
    results: Sequence[Result] = ()
    methods: Sequence[tuple[str, str]] = ()
    folded: Sequence[tuple[str, Sequence[tuple[str, ...]]]] = ()
    source: Sequence[tuple[str, str]] = ()


def page(content: Content) -> str:
    """The whole page."""
    css, js = (files("opsicm.reporting").joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    setup = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in content.setup)
    warnings = "".join(f"<p class='warn'>{escape(text)}</p>" for text in content.warnings)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='generator' content='opsicm'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(content.title)}</title><style>{css}</style></head><body>"
        f"<h1>{escape(content.title)}</h1><p class='sub'>{escape(content.subtitle)}</p>{warnings}"
        f"{f'<dl class=setup>{setup}</dl>' if setup else ''}"
        f"{_answer(content)}{_doubts(content.doubts)}{_figures(content.views)}{_tables(content.tables)}{_details(content)}"
        f"<div id='zoom'><p>wheel: zoom, drag: move, click or Esc: close</p><img alt=''></div>"
        f"<script>{js}</script></body></html>"
    )


def _answer(content: Content) -> str:
    sentences = "".join(f"<li>{escape(text)}</li>" for text in content.answer)
    figure, aspect = ("", 0.0) if content.key is None else _figure(content.key)
    alone = " alone" if content.key is None or aspect > _BROAD else ""
    note = f"<p class='note'>{escape(said)}</p>" if (said := u_note(content.answer)) else ""
    return f"<div class='answer{alone}'><div><ul>{sentences}</ul>{note}</div>{figure}</div>"


def u_note(answer: Sequence[str]) -> str:
    """What the ± in the sentences of an answer mean; empty where there is none."""
    said = " ".join(answer)
    return _U_NOTE + (_U_BESIDE if "(±" in said else _U_ALONE) if "±" in said else ""


def _doubts(doubts: Sequence[str]) -> str:
    if not doubts:
        return ""
    return f"<h3>Which number to believe</h3><ul class='doubts'>{''.join(f'<li>{escape(d)}</li>' for d in doubts)}</ul>"


def _figures(views: Sequence[View]) -> str:
    if not views:
        return ""
    first, more = (
        "".join(figure_html(view) for view in some) for some in (views[:_MOST_FIGURES], views[_MOST_FIGURES:])
    )
    count = len(views) - _MOST_FIGURES
    named = f"{count} more figure{'s' if count > 1 else ''}"
    folded = f"<details><summary>{named}</summary><div class='figures'>{more}</div></details>"
    return f"<h2>Figures</h2><div class='figures'>{first}</div>{folded if more else ''}"


def figure_html(view: View) -> str:
    """A view as a picture in the page, with its caption and its data."""
    return _figure(view)[0]


def _figure(view: View) -> tuple[str, float]:
    """(figure, its width over its height). Vectors, but for many points: every mark would be a line of text."""
    figure = draw(view)
    width, height = figure.get_size_inches()
    marks = sum(
        series.x.size
        for panel in view.panels
        if isinstance(panel, CurvePanel)
        for series in panel.series
        if series.style == "points"
    )
    kind, data = ("svg+xml", svg(figure)) if marks <= _MOST_MARKS else ("png", png(figure, _DPI))
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    caption = escape(view.caption) + " " if view.caption else ""
    html = (
        f"<figure><img alt='{escape(view.title)}' src='{source}'>"
        f"<figcaption>{caption}{_data(view.name, to_csv(view))}</figcaption></figure>"
    )
    return html, float(width / height)


def _data(name: str, text: str) -> str:
    packed = base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode()
    return f"<button class='csv' data-name='{escape(name)}.csv' data-gz='{packed}'>data (csv)</button>"


def _tables(tables: Sequence[Table]) -> str:
    if not tables:
        return ""
    return f"<h2>Tables</h2><div class='tables'>{''.join(_table_section(table) for table in tables)}</div>"


def _table_section(table: Table) -> str:
    notes = "".join(f"<p class='note'>{escape(note)}</p>" for note in table.notes)
    body = f"{table_html(table)}{notes}{_data(table.name, table.csv())}"
    if table.view is not None:
        body = f"<div class='with-plot'><div>{body}</div>{figure_html(table.view)}</div>"
    wide = " class='wide'" if table.view is not None or len(table.columns) > _WIDE else ""
    return f"<section{wide}><h3>{escape(table.title)}</h3>{body}</section>"


def numeric_columns(table: Table) -> list[bool]:
    """Which columns hold numbers, which stand to the right; the first one names the row."""
    return [k > 0 and any(isinstance(value, float) for value in c.values) for k, c in enumerate(table.columns)]


def table_html(table: Table) -> str:
    """A table; the rows beyond the first twenty are folded."""
    sides = [" class='n'" if n else "" for n in numeric_columns(table)]
    head = "".join(f"<th{side}>{escape(c.heading)}</th>" for c, side in zip(table.columns, sides, strict=True))
    rows = [
        "<tr>"
        + "".join(f"<td{s}>{escape(c.text(k))}</td>" for c, s in zip(table.columns, sides, strict=True))
        + "</tr>"
        for k in range(table.rows)
    ]

    def of(some: Sequence[str]) -> str:
        return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(some)}</tbody></table></div>"

    if len(rows) <= _MOST_ROWS + 4:
        return of(rows)
    more = f"<details><summary>{len(rows) - _MOST_ROWS} more rows</summary>{of(rows[_MOST_ROWS:])}</details>"
    return of(rows[:_MOST_ROWS]) + more


RESULT_HEADINGS: Final = ("quantity", "value ± u (± calibration)", "unit", "remark, or why not")


def result_rows(results: Sequence[Result]) -> list[tuple[str, str, str, str, str]]:
    """(name, value ± u, unit, outcome where it is not ok, remark or the reason of a failure) of every result."""
    rows = []
    for result in results:
        flags = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.flags.items() if count)
        outcome, remark = ("", flags) if result.outcome == "ok" else (result.outcome, result.reason)
        unit = {"1": "", "MOhm": "MΩ"}.get(result.unit, result.unit)
        rows.append((result.label.replace("_", " "), result_text(result), unit, outcome, remark))
    return rows


def results_table(results: Sequence[Result]) -> str:
    """Every result: name, value ± u, unit, and the remark or the reason of a failure."""
    rows = []
    for name, value, unit, outcome, remark in result_rows(results):
        said = f"<b>{escape(outcome)}</b>: {escape(remark)}" if outcome else escape(remark)
        rows.append(f"<tr><td>{escape(name)}</td><td class='n'>{value}</td><td>{escape(unit)}</td><td>{said}</td></tr>")
    quantity, shown, unit, why = RESULT_HEADINGS
    head = f"<tr><th>{quantity}</th><th class='n'>{shown}</th><th>{unit}</th><th>{why}</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _pairs(rows: Sequence[tuple[str, ...]]) -> str:
    body = "".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(text)}</td>' for text in row[1:])}</tr>" for row in rows
    )
    return f"<div class='scroll'><table><tbody>{body}</tbody></table></div>"


def _details(content: Content) -> str:
    blocks = []
    if content.methods:
        blocks.append(("Methods: how each quantity was made", _pairs([*content.methods])))
    if content.results:
        blocks.append((f"Every result ({len(content.results)})", results_table(content.results)))
    blocks += [(name, _pairs(rows)) for name, rows in content.folded if rows]
    blocks += [(name, f"<pre>{escape(text)}</pre>") for name, text in content.source]
    folded = "".join(f"<details><summary>{escape(name)}</summary>{body}</details>" for name, body in blocks)
    return f"<h2 class='details'>Details</h2>{folded}" if folded else ""
