"""A View: the content of a figure before it is drawn. Tests compare Views; the console sends them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.figures.colours import Role, Shows


@dataclass(frozen=True, slots=True)
class Axis:
    """A quantity and the unit it is shown in; the numbers of a panel are in that unit."""

    quantity: str
    unit: str

    @property
    def label(self) -> str:
        """`quantity (unit)`, or the quantity alone when it has no unit."""
        return f"{self.quantity} ({self.unit})" if self.unit else self.quantity


MINUTES: Final = Axis("time", "min")
PIPETTE_SIGN: Final = "positive pipette current flows out of the pipette"
CELL_SIGN: Final = "negative cell current lithiates"


@dataclass(frozen=True, slots=True)
class Series:
    """A curve; `role` decides its colour, so that a quantity has the same colour in every figure.

    In a family of curves `shade` (0–1, its rank in the family) decides instead. `named` points carry their
    label beside them. `bars` lie between pairs of points, with NaN after each pair.
    """

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    role: Role = "neutral"
    style: Literal["line", "points", "dashed", "marks", "named", "bars"] = "line"
    band: NDArray[np.float64] | None = None
    shade: float | None = None


@dataclass(frozen=True, slots=True)
class CurvePanel:
    """A panel of curves over one x axis. `note` states the sign convention where one matters.

    `row_names` stand beside y = 0, −1, −2 … instead of numbers, where a panel has rows of bars.
    """

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    note: str = ""
    y_limits: tuple[float, float] | None = None
    row_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImagePanel:
    """A panel that shows `values` [row, column]; `extent` (left, right, bottom, top) is in the axes' units.

    What it `shows` decides its colour map; the colour limits of a diverging one are symmetric about zero. `scale_bar`
    is its length in the unit of x: it then stands in the image instead of the axes' numbers.
    """

    x: Axis
    y: Axis
    value: Axis
    values: NDArray[np.float64]
    extent: tuple[float, float, float, float]
    shows: Shows = "height"
    limits: tuple[float, float] | None = None
    note: str = ""
    scale_bar: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A figure: panels from top to bottom, or row by row in `columns`.

    Panels with equal x axes share it when `share_x` is set, and with it the image's extent if there is one; in a series
    of images with one set of limits, the colour bar is drawn once.
    """

    name: str
    title: str
    panels: tuple[CurvePanel | ImagePanel, ...]
    caption: str = ""
    share_x: bool = False
    columns: int = 1
