"""A self-contained HTML document: tables, figures as embedded pictures, no script, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from math import floor, isfinite, log10
from typing import Final

from opsicm.analysis.result import Result
from opsicm.figures.draw import draw, png
from opsicm.figures.view import View

_STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;color:#1b1b1b;max-width:62rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;width:100%;font-size:.88rem}th,td{text-align:left;padding:.3rem .6rem .3rem 0;
border-bottom:1px solid #e5e5e5;vertical-align:top}td.n{font-variant-numeric:tabular-nums;white-space:nowrap}
figure{margin:1.2rem 0}img{max-width:100%;height:auto}figcaption{color:#555;font-size:.85rem}
pre{background:#f6f6f6;padding:.8rem;overflow:auto;font-size:.8rem}.warn{background:#fff3cd;padding:.5rem .8rem}
.sub{color:#555}summary{cursor:pointer}
"""


def number(value: float | None, u: float | None) -> str:
    """`value ± u` with the uncertainty at two significant digits, or a dash."""
    if value is None:
        return "–"
    if not u or not isfinite(u):
        return f"{value:.6g}"
    digits = 1 - floor(log10(abs(u)))
    return f"{value:.{max(0, digits)}f} ± {u:.{max(0, digits)}f}"


def results_table(results: Sequence[Result]) -> str:
    """The table of results: name, value ± u, unit, and the method or the reason of a failure."""
    rows = []
    for result in results:
        flags = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.flags.items() if count)
        method = escape(result.method)
        if result.outcome != "ok":
            method = f"<b>{escape(result.outcome)}</b>: {escape(result.reason)}"
        rows.append(
            f"<tr><td>{escape(result.label.replace('_', ' '))}</td>"
            f"<td class='n'>{number(result.value, result.u)}</td><td class='n'>{escape(result.unit)}</td>"
            f"<td>{method}{f' <i>({escape(flags)})</i>' if flags else ''}</td></tr>"
        )
    head = "<tr><th>quantity</th><th>value ± u (k = 1)</th><th>unit</th><th>how, or why not</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def pairs_table(pairs: Sequence[tuple[str, str]]) -> str:
    """A two-column table of names and texts."""
    rows = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in pairs)
    return f"<table><tbody>{rows}</tbody></table>"


def figure(view: View) -> str:
    """A view as an embedded PNG with its caption."""
    data = base64.b64encode(png(draw(view))).decode()
    caption = f"<figcaption>{escape(view.caption)}</figcaption>" if view.caption else ""
    return f"<figure><img alt='{escape(view.title)}' src='data:image/png;base64,{data}'>{caption}</figure>"


def document(
    title: str,
    subtitle: str,
    warnings: Sequence[str],
    results: Sequence[Result],
    views: Sequence[View],
    facts: Sequence[tuple[str, Sequence[tuple[str, str]]]],
    texts: Sequence[tuple[str, str]],
) -> str:
    """The whole page: headline, warnings, results, figures, tables of facts, folded source texts."""
    warn = "".join(f"<p class='warn'>{escape(text)}</p>" for text in warnings)
    figures = "".join(figure(view) for view in views)
    tables = "".join(f"<h2>{escape(name)}</h2>{pairs_table(pairs)}" for name, pairs in facts)
    folded = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text)}</pre></details>" for name, text in texts
    )
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'><meta name='generator' content='opsicm'>"
        "<meta name='viewport' content='width=device-width'>"
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1><p class='sub'>{escape(subtitle)}</p>{warn}"
        f"<h2>Results</h2>{results_table(results)}<h2>Figures</h2>{figures}{tables}"
        f"<h2>Source</h2>{folded}</body></html>"
    )
