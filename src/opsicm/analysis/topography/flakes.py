"""Flakes: plates with steep rims, segmented by a watershed of the gradient's magnitude; the height change of each."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from opsicm.analysis.topography.registration import gradient_magnitude
from opsicm.core.compiled import compiled
from opsicm.core.statistics import median_with_u

F64 = NDArray[np.float64]
_NEIGHBOURS: Final = np.ones((3, 3), dtype=bool)


def segment_flakes(heights: F64, smallest: int = 30, depth: float | None = None) -> NDArray[np.int64]:
    """Flakes as labels 1 … n, 0 where none: basins of the gradient's magnitude, whose rims are the flakes' edges.

    Watershed by flooding: markers are the connected regions where |grad h| lies below `depth` [height per pixel] (its
    median by default) with at least `smallest` pixels; every other pixel joins the marker whose flood reaches it
    first, lowest gradient first. Assumes plates with steep edges, as graphite's. Flakes that overlap without an edge
    are one flake. All 0 on a surface without a plate. `heights` [any length], NaN for missing (label 0).
    Source: Meyer, Signal Process. 1994, 38, 113 (flooding by a priority queue).
    """
    g = gradient_magnitude(heights)
    level = float(np.median(g)) if depth is None else depth
    markers, count = ndimage.label(g < level, structure=_NEIGHBOURS)
    sizes = np.bincount(markers.ravel(), minlength=count + 1)
    keep = np.flatnonzero(sizes[1:] >= smallest) + 1
    if keep.size == 0:
        return np.zeros(heights.shape, dtype=np.int64)
    renumber = np.zeros(count + 1, dtype=np.int64)
    renumber[keep] = np.arange(1, keep.size + 1)
    labels = np.ascontiguousarray(renumber[markers])
    _flood(g, labels)
    return np.where(np.isfinite(heights), labels, 0)


@compiled
def _flood(terrain: F64, labels: NDArray[np.int64]) -> None:
    rows, columns = terrain.shape
    queue = [(0.0, 0, 0)]
    queue.pop()
    order = 0
    for k in range(rows * columns):
        if labels[k // columns, k % columns] > 0:
            heapq.heappush(queue, (terrain[k // columns, k % columns], order, k))
            order += 1
    while len(queue) > 0:
        height, _, k = heapq.heappop(queue)
        y, x = k // columns, k % columns
        for step in range(4):
            dy, dx = (step == 0) - (step == 1), (step == 2) - (step == 3)
            v, u = y + dy, x + dx
            if 0 <= v < rows and 0 <= u < columns and labels[v, u] == 0:
                labels[v, u] = labels[y, x]
                # The flood level never falls: a basin behind a crest is filled at the level of the crest.
                heapq.heappush(queue, (max(height, terrain[v, u]), order, v * columns + u))
                order += 1


@dataclass(frozen=True, slots=True)
class FlakeHeightChanges:
    """Per flake: label, number of pixels, median height change and its u (pixels independent), in the heights' unit."""

    label: NDArray[np.int64]
    pixels: NDArray[np.int64]
    change: F64
    u: F64


def flake_height_changes(labels: NDArray[np.int64], change: F64) -> FlakeHeightChanges:
    """Median of the map `change` over every flake, without rim pixels (which change with any shift) and NaN."""
    inner = np.where(ndimage.minimum_filter(labels, 3) == ndimage.maximum_filter(labels, 3), labels, 0)
    rows = []
    for label in range(1, int(labels.max(initial=0)) + 1):
        values = change[(inner == label) & np.isfinite(change)]
        if values.size >= 4:
            rows.append((label, values.size, *median_with_u(values)))
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    return FlakeHeightChanges(table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2], table[:, 3])
