"""Tornado figures: how far a number follows each of those that it was computed from, one at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from opsicm.figures.colours import Role
from opsicm.figures.view import Axis, CurvePanel, Series, View

_MOST: Final = 5  # bars in a panel: the others are shorter
_MARGIN: Final = 0.08  # of the span, to either side of the longest bar


@dataclass(frozen=True, slots=True)
class Bar:
    """One assumption: its name and ends, and the number at its lower and at its upper end, where there is one."""

    name: str
    low: float | None
    high: float | None

    def span(self, base: float) -> float:
        """The larger departure from `base`."""
        return max((abs(value - base) for value in (self.low, self.high) if value is not None), default=0.0)


@dataclass(frozen=True, slots=True)
class Tornado:
    """One number, its bars, and what it is compared with (None: nothing is printed)."""

    name: str
    what: str
    unit: str
    base: float
    compared: float | None
    bars: tuple[Bar, ...]


def tornado_view(tornados: Sequence[Tornado], title: str) -> View:
    """A panel for each number with its longest bars; blue to the lower end of an assumption, orange to the upper."""
    return View("sensitivity", title, tuple(_panel(one) for one in tornados))


def _panel(one: Tornado) -> CurvePanel:
    longest = sorted((bar for bar in one.bars if bar.span(one.base) > 0.0), key=lambda bar: -bar.span(one.base))[:_MOST]
    rows = len(longest)
    edge = np.array([0.5, 0.5 - max(rows, 1)])
    series = [Series("as the set has it", np.full(2, one.base), edge, "neutral")]
    if one.compared is not None:
        series.append(Series("paper", np.full(2, one.compared), edge, "cell", "dashed"))
    ends: tuple[tuple[str, Role, list[float | None]], ...] = (
        ("lower end", "near", [bar.low for bar in longest]),
        ("upper end", "delithiation", [bar.high for bar in longest]),
    )
    for label, role, values in ends:
        x = [point for value in values for point in (one.base, one.base if value is None else value, np.nan)]
        y = [point for k in range(rows) for point in (-float(k), -float(k), np.nan)]
        series.append(Series(label, np.array(x), np.array(y), role, "bars"))
    known = [value for s in series for value in s.x if np.isfinite(value)]
    margin = _MARGIN * (max(known) - min(known)) or 0.1 * abs(one.base) or 1.0
    return CurvePanel(
        Axis(one.name, one.unit if one.unit != "1" else ""),
        Axis("", ""),
        tuple(series),
        one.what,
        x_limits=(min(known) - margin, max(known) + margin),
        row_names=tuple(bar.name for bar in longest) or ("nothing moves it",),
    )
