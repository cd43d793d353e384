"""How results, problems and figures show themselves: as text in a terminal, as HTML in a notebook."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import fields
from difflib import get_close_matches
from html import escape
from typing import Any, SupportsIndex, overload

from matplotlib.figure import Figure

from opsicm.analysis.result import Result, Subject
from opsicm.core.errors import BadInput, Problem
from opsicm.figures.draw import png
from opsicm.results.number_text import result_text

_HEAD = ("quantity", "value ± u (± calibration)", "unit", "remark")
_LONGEST_REMARK = 60  # in a terminal
_MOST_LABELS = 40  # in a message


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as aligned columns, two spaces apart."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)).rstrip() for row in rows)


def html_table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> str:
    """Rows as an HTML table, every text escaped; left-aligned, since notebooks align to the right."""
    cell = "<{0} style='text-align:left;vertical-align:top'>{1}</{0}>"

    def line(row: Sequence[str], tag: str) -> str:
        return f"<tr>{''.join(cell.format(tag, escape(text)) for text in row)}</tr>"

    top = f"<thead>{line(head, 'th')}</thead>" if head else ""
    return f"<table>{top}<tbody>{''.join(line(row, 'td') for row in rows)}</tbody></table>"


class ResultList(list[Result]):
    """Results of a run or file: a list, whose members are also found by label and by what they are of.

    `results["expansion_lithiation"].value` takes one by its label, `results.select("expansion", part="lithiation")`
    those of a quantity; `results.records()` gives plain dictionaries, as for `pandas.DataFrame`.
    """

    @overload
    def __getitem__(self, key: SupportsIndex) -> Result: ...
    @overload
    def __getitem__(self, key: slice) -> ResultList: ...
    @overload
    def __getitem__(self, key: str) -> Result: ...
    def __getitem__(self, key: SupportsIndex | slice | str) -> Result | ResultList:
        """The result at a position or with a label; part of the list."""
        if isinstance(key, slice):
            return ResultList(super().__getitem__(key))
        if not isinstance(key, str):
            return super().__getitem__(key)
        matching = [result for result in self if result.label == key]
        if not matching:
            labels = list(dict.fromkeys(result.label for result in self))
            near = get_close_matches(key, labels, _MOST_LABELS, 0.5) if len(labels) > _MOST_LABELS else labels
            limit = f"the results are {', '.join(near) or 'none'}"
            if len(near) < len(labels):
                limit = f"the nearest of {len(labels)} results are {', '.join(near) or 'none'}"
            raise BadInput(
                Problem("result", repr(key), limit, "write one of these, or look at all: [r.label for r in …]")
            )
        return matching[0]

    def select(self, quantity: str | None = None, **of: str | int) -> ResultList:
        """The results of a quantity, with these fields of `of`: `select("expansion", part="lithiation", step=…)`.

        Raises `BadInput` with the values there are where none matches.
        """
        known = [field.name for field in fields(Subject)]
        for name in of:
            if name not in known:
                raise BadInput(Problem("field of `of`", repr(name), f"the fields are {', '.join(known)}", "write one"))
        chosen = self
        criteria: dict[str, Any] = {**({} if quantity is None else {"quantity": quantity}), **of}
        for name, value in criteria.items():
            values = [result.name if name == "quantity" else getattr(result.of, name) for result in chosen]
            matching = ResultList(r for r, v in zip(chosen, values, strict=True) if v == value)
            if not matching:
                there = ", ".join(str(v) for v in dict.fromkeys(values) if v not in ("", None)) or "none"
                raise BadInput(Problem(name, repr(value), f"no result has it; there are {there}", "write one of these"))
            chosen = matching
        return ResultList(chosen)

    def records(self) -> list[dict[str, Any]]:
        """Every result as a dictionary: the keys of `opsicm analyse --json`."""
        return [result.record() for result in self]

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [(r.label, result_text(r), r.unit, _remark(r)) for r in self]

    def __repr__(self) -> str:
        if not self:
            return "no results"
        return text_table([_HEAD, *((*row[:3], _shortened(row[3])) for row in self._rows())])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html_table(self._rows(), _HEAD) if self else "no results"


def _remark(result: Result) -> str:
    if result.outcome != "ok":
        return f"{result.outcome}: {result.reason}"
    return ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in result.flags.items() if count)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_REMARK else f"{text[: _LONGEST_REMARK - 1]}…"


class NotebookFigure(Figure):
    """A matplotlib figure that a notebook shows as a picture, although pyplot made nothing of it."""

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return png(self)


def shown_in_notebooks(figure: Figure) -> Figure:
    """The same figure, which a notebook then shows; it has the axes, lines and methods that it had.

    IPython shows figures of pyplot only. These are drawn without it, since pyplot keeps every figure in memory until it
    is closed.
    """
    figure.__class__ = NotebookFigure
    return figure


class FigureDict(dict[str, Figure]):
    """Figures by name; a notebook shows them one below the other."""

    def __missing__(self, name: str) -> Figure:
        raise BadInput(Problem("figure", repr(name), f"the figures are {', '.join(self) or 'none'}", "write one"))

    def __repr__(self) -> str:
        return f"<figures: {', '.join(self) or 'none'}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        pictures = ((name, base64.b64encode(png(figure)).decode()) for name, figure in self.items())
        return "".join(f"<p>{escape(name)}</p><img src='data:image/png;base64,{data}'>" for name, data in pictures)
