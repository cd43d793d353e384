"""Several images of other instruments as a time lapse: in the order in which they are named, against the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result
from opsicm.analysis.topography.image_series import LEVELLING, levelled_for_view
from opsicm.analysis.topography.missing import measured
from opsicm.analysis.topography.raster import Frame
from opsicm.analysis.topography.results import image_series_results
from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.figures.images import image_changes_view, image_series_view
from opsicm.figures.view import View
from opsicm.formats.identify import read
from opsicm.formats.image_file import ImageChannel, ImageFile
from opsicm.formats.matrix import ImageScale
from opsicm.formats.sicm_archive import SicmScan
from opsicm.results.image_figures import ImageChoice

_SAME_SIZE = 0.01  # of the size: sizes that differ by more are of another area or magnification


def heights_of(path: Path, columns: str | None, scale: ImageScale | None) -> ImageChannel | None:
    """The topography of an image file (the first height channel), None for a file of another kind."""
    content = read(path, columns, scale)
    if isinstance(content, SicmScan):
        values = np.where(content.saturated, np.nan, content.heights)
        return ImageChannel("height", measured(values), "m", content.x_size, content.y_size)
    if isinstance(content, ImageFile) and content.heights:
        first = content.heights[0]
        return replace(first, values=measured(first.values))  # lines that were never scanned are no heights
    return None


def lapse_of(
    paths: Sequence[Path],
    columns: str | None = None,
    scale: ImageScale | None = None,
    choice: ImageChoice | None = None,
) -> tuple[list[Result], list[View]]:
    """Height change of each image against the first, registered, and the figures of the series.

    Equation: that of `image_series_results`. Assumes images of one area with the same number of pixels, and no known
    thickness of the specimen: swelling in percent, and what the pipette's current adds to a height, are not given.
    Raises `BadInput` where a file is no image, or images differ in pixels, size or unit, or state no size.
    """
    images = [heights_of(path, columns, scale) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image is None:
            limit = "only images of one area are put together as a time lapse, and this is none"
            raise BadInput(Problem("file", path.name, limit, "name it alone", str(path)))
    known = [image for image in images if image is not None]
    first = known[0]
    for path, image in zip(paths, known, strict=True):
        _refuse_unlike(path, image, first)
    frames = [_frame(image, float(k)) for k, image in enumerate(known)]
    numbers = list(range(1, len(frames) + 1))
    of_series = image_series_results(frames, 1.0, 0.0, numbers)
    results = [r for r in of_series if r.name != "expansion"]  # of a thickness that no image file states
    return results, _views(paths, frames, results, choice or ImageChoice())


def _refuse_unlike(path: Path, image: ImageChannel, first: ImageChannel) -> None:
    if image.unit != "m":
        remedy = "give its unit: --unit nm"
        raise BadInput(
            Problem("the unit of the heights", image.unit or "not stated", "a length is needed", remedy, path.name)
        )
    if image.x_size is None or image.y_size is None:
        limit = "a size in micrometres is needed to say by how much images are shifted"
        raise BadInput(Problem("the size of the image", "not stated", limit, "give it: --size-um 20,20", path.name))
    if image.values.shape != first.values.shape:
        shapes = " x ".join(map(str, image.values.shape[::-1])), " x ".join(map(str, first.values.shape[::-1]))
        limit = f"the first image has {shapes[1]}"
        raise BadInput(Problem("pixels", shapes[0], limit, "name images of one area, scanned alike", path.name))
    stated = first.x_size, first.y_size
    for size, one in zip((image.x_size, image.y_size), stated, strict=True):
        if one is not None and abs(size / one - 1.0) > _SAME_SIZE:
            limit = f"the first image has {1e6 * one:.4g} µm"
            value = f"{1e6 * size:.4g} µm"
            raise BadInput(Problem("the size of the image", value, limit, "name images of one area", path.name))


def _frame(image: ImageChannel, time: float) -> Frame:
    heights: NDArray[np.float64] = image.values[::-1]  # files have the top first; y points up
    rows, columns = heights.shape
    x = (np.arange(columns) + 0.5) * ((image.x_size or 0.0) / columns)
    y = (np.arange(rows) + 0.5) * ((image.y_size or 0.0) / rows)
    bad = int(np.count_nonzero(~np.isfinite(heights)))
    index = np.where(np.isfinite(heights), np.arange(heights.size).reshape(heights.shape), -1)
    return Frame(heights, x, y, time, np.nan, np.nan, bad, heights.size, index)


def _views(
    paths: Sequence[Path], frames: Sequence[Frame], results: Sequence[Result], choice: ImageChoice
) -> list[View]:
    stack = np.stack([frame.heights for frame in frames])
    try:
        stack = levelled_for_view(stack, choice.levelling)
    except OutsideDomain:  # too few pixels for a surface
        stack = levelled_for_view(stack, "none")
    labelled = [(path.name, frame.array(heights)) for path, frame, heights in zip(paths, frames, stack, strict=True)]
    views = [image_series_view(labelled, "Images", LEVELLING[choice.levelling])]
    maps = [
        (paths[(r.of.image or 1) - 1].name, r.trace)
        for r in results
        if r.name == "height_change" and isinstance(r.trace, xr.DataArray)
    ]
    return views + ([image_changes_view(maps)] if maps else [])
