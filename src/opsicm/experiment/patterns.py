"""Patterns of hops: the points of a step in the order in which they are visited, pass after pass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from opsicm.experiment.probe_steps import HoppingStep, Landmark, LineScan, PointStep, Raster, Tilt

Floats = NDArray[np.float64]
Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Points:
    """`x`, `y` [m], `line`, `pixel`: one per hop. `amplitude` [m] where it differs from point to point."""

    x: Floats
    y: Floats
    line: Ints
    pixel: Ints
    amplitude: Floats | None = None

    @staticmethod
    def none() -> Points:
        """No points, for a plan that only dwells."""
        empty = np.zeros(0, np.int32)
        return Points(np.zeros(0), np.zeros(0), empty, empty)


@dataclass(frozen=True, slots=True)
class Pattern:
    """The `points` of one pass, visited `passes` times (None: without end); each pass adds `rows` to `line`."""

    points: Points
    rows: int
    passes: int | None

    @property
    def total(self) -> int | None:
        """Hops in all passes."""
        return None if self.passes is None else self.passes * self.points.x.size

    def some(self, first: int, count: int) -> Points:
        """`count` points from the `first` on, fewer where the passes end."""
        total = self.total
        count = count if total is None else max(0, min(count, total - first))
        number = first + np.arange(count)
        turn, index = np.divmod(number, self.points.x.size)
        p = self.points
        line = (turn * self.rows + p.line[index]).astype(np.int32)
        amplitude = None if p.amplitude is None else p.amplitude[index]
        return Points(p.x[index], p.y[index], line, p.pixel[index], amplitude)


def at_one_point(at: tuple[float, float], hops: int | None) -> Pattern:
    """Hop repeatedly `at` (x, y) [m]."""
    zero = np.zeros(1, np.int32)
    return Pattern(Points(np.array(at[:1]), np.array(at[1:]), zero, zero), 0, hops)


def along_a_line(start: tuple[float, float], end: tuple[float, float], pixels: int, passes: int | None) -> Pattern:
    """From `start` to `end` (x, y) [m], always in that direction; `line` counts passes."""
    pixel = np.arange(pixels, dtype=np.int32)
    along = pixel / (pixels - 1)
    x, y = (a + along * (b - a) for a, b in zip(start, end, strict=True))
    return Pattern(Points(x, y, np.zeros(pixels, np.int32), pixel), 1, passes)


def over_a_rectangle(
    centre: tuple[float, float],
    size: tuple[float, float],
    pixels: tuple[int, int],
    rotation: float = 0.0,
    serpentine: bool = True,
    passes: int | None = 1,
    amplitude: Floats | None = None,
) -> Pattern:
    """Rows of a rectangle, turned by `rotation` [rad] about its `centre` (x, y) [m], `size` [m] between the outermost
    pixels, `pixels` (columns, rows).

    A serpentine visits every second row backwards; `pixel` is the column whatever the order of visits, `line` the row
    plus rows of the passes before. `amplitude` [rows, columns] in [m].
    """
    columns, rows = pixels
    row, column = np.divmod(np.arange(columns * rows), columns)
    if serpentine:
        column = np.where(row % 2 == 1, columns - 1 - column, column)
    u = size[0] * (column / max(1, columns - 1) - 0.5)
    v = size[1] * (row / max(1, rows - 1) - 0.5)
    cosine, sine = np.cos(rotation), np.sin(rotation)
    x, y = centre[0] + cosine * u - sine * v, centre[1] + sine * u + cosine * v
    heights = None if amplitude is None else amplitude[row, column]
    return Pattern(Points(x, y, row.astype(np.int32), column.astype(np.int32), heights), rows, passes)


def pattern_of(step: HoppingStep, amplitudes: Floats | None = None) -> Pattern:
    """The pattern of a step that hops, with the `amplitudes` [m] of a raster's map."""
    match step:
        case Raster():
            passes = None if step.count is None else step.count // step.per_pass
            serpentine = step.order == "serpentine"
            return over_a_rectangle(step.center, step.size, step.pixels, step.rotation, serpentine, passes, amplitudes)
        case LineScan():
            return along_a_line(step.start, step.end, step.pixels, step.passes)
        case PointStep():  # hop and modulate
            return at_one_point(step.point, step.hops)
        case Tilt():
            return over_a_rectangle(step.center, step.size, (step.points, step.points))
        case Landmark():
            return over_a_rectangle(step.center, step.size, step.pixels)
        case _:
            raise AssertionError(step)
