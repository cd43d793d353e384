"""The figures of a run's images: heights, changes since the first, their course, profiles along a line; a movie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result
from opsicm.analysis.topography.image_series import LEVELLING, Levelling, levelled_for_view, profile_along
from opsicm.analysis.topography.raster import Frame, areas
from opsicm.core.errors import BadInput, OutsideDomain, Problem
from opsicm.figures.hops import program_potential
from opsicm.figures.images import (
    image_changes_view,
    image_profiles_view,
    image_series_view,
    image_summary_view,
    step_view,
)
from opsicm.figures.movie import image_frames
from opsicm.figures.view import Axis, View, time_axis, time_text

F64 = NDArray[np.float64]
Line = tuple[float, float, float, float]
_FEWEST: Final = 4  # images of a course
_CHARGED: Final = 5.0  # [%] of the state of charge between images
_MOVED: Final = 0.05  # [V] between images: a smaller span is no axis to draw them against


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """How images are looked at: their `levelling`, and the `line` of their profiles, x and y of start and end [m].

    Without a line it is the row of pixels with the largest change, or the middle one of a single image.
    """

    levelling: Levelling = "first-plane"
    line: Line | None = None


def image_choice(levelling: str | None, profile: str | None) -> ImageChoice:
    """The choice as a user writes it: a name of `LEVELLING`, and "x0,y0,x1,y1" in µm.

    Raises `BadInput` with what may be written.
    """
    problems = []
    if levelling is not None and levelling not in LEVELLING:
        limit = f"images are levelled by one of {', '.join(LEVELLING)}"
        problems.append(Problem("the levelling", levelling, limit, "write one of them, as plane"))
    line: Line | None = None
    if profile is not None:
        try:
            x0, y0, x1, y1 = (1e-6 * float(part) for part in profile.split(","))
            line = x0, y0, x1, y1
        except ValueError:
            line = None
        if line is None or not np.isfinite(line).all() or line[:2] == line[2:]:
            limit = "a profile runs between two points, x0,y0,x1,y1 in µm, as the experiment file has them"
            problems.append(Problem("the profile", profile, limit, "write four numbers, as -10,0,10,0"))
    if problems:
        raise BadInput(problems)
    return ImageChoice(levelling or "first-plane", line)  # type: ignore[arg-type]  # checked above


@dataclass(frozen=True, slots=True)
class _Series:
    """Images of one area in order of time, levelled, with their numbers in the run, their labels and the cell then."""

    numbers: list[int]
    images: list[xr.DataArray]
    names: list[str]  # potential and state of charge
    labels: list[str]  # those and the time
    t: F64
    potential: F64
    controlled: bool  # whether the potential was, at every image
    soc: F64  # [%]
    lithiates: NDArray[np.bool_]


def image_views(
    frames: Sequence[Frame], cell: xr.Dataset, results: Sequence[Result], choice: ImageChoice
) -> list[View]:
    """The figures of all images of a run, those of one area together; `cell` [row] as the run file holds it."""
    views: list[View] = []
    for series in _areas(frames, cell, choice):
        if len(series.images) > 1:
            labelled = list(zip(series.labels, series.images, strict=True))
            views.append(image_series_view(labelled, "Images", LEVELLING[choice.levelling]))
            views += _change_views(series, results)
        views.append(_profile_view(series, results, choice))
        if len(frames) == 1:
            views += _step_views(series.images[0], results)
    return views


def image_movie(frames: Sequence[Frame], cell: xr.Dataset, choice: ImageChoice) -> list[View]:
    """The frames of a movie of the run's images: of the area with most of them."""
    series = max(_areas(frames, cell, choice), key=lambda one: len(one.images))
    labelled = list(zip(series.labels, series.images, strict=True))
    potential, _ = program_potential(cell, cell["t_ns"].values)
    return image_frames(labelled, series.t, cell["t_ns"].values * 1e-9, potential)


def _areas(frames: Sequence[Frame], cell: xr.Dataset, choice: ImageChoice) -> list[_Series]:
    return [_series([frames[k] for k in members], members, cell, choice) for members in areas(frames)]


def _series(frames: list[Frame], members: list[int], cell: xr.Dataset, choice: ImageChoice) -> _Series:
    stack = np.stack([frame.heights for frame in frames])
    try:
        stack = levelled_for_view(stack, choice.levelling)
    except OutsideDomain:  # too few pixels for a surface
        stack = levelled_for_view(stack, "none")
    t = np.array([frame.time for frame in frames])
    potential, _ = program_potential(cell, 1e9 * t)
    at = cell["t_ns"].values * 1e-9
    row = np.minimum(np.searchsorted(at, t), at.size - 1)
    soc = 100.0 * cell["soc"].values[row] if "soc" in cell else np.full(t.size, np.nan)
    controlled = bool(np.all(cell["control"].values[row] == "potential"))
    span = float(at[-1] - at[0])
    names = [
        f"{e:.2f} V" + (f", SOC {s:.0f} %" if np.isfinite(s) else "") for e, s in zip(potential, soc + 0.0, strict=True)
    ]
    labels = [f"{name}, {time_text(when, span)}" for name, when in zip(names, t.tolist(), strict=True)]
    passed = np.diff(cell["charge"].values[row])
    lithiates = np.append(True, passed <= 0.0)
    images = []
    for frame, heights in zip(frames, stack, strict=True):
        image = frame.array(heights)
        image.attrs["level"] = LEVELLING[choice.levelling].rstrip(".").lower()
        images.append(image)
    return _Series([k + 1 for k in members], images, names, labels, t, potential, controlled, soc, lithiates)


def _of_images(results: Sequence[Result], name: str, part: str = "") -> dict[int, Result]:
    return {
        r.of.image: r
        for r in results
        if r.name == name and r.of.image is not None and r.of.part == part and r.value is not None
    }


def _change_views(series: _Series, results: Sequence[Result]) -> list[View]:
    """Difference maps, and mean change and roughness of each image; nothing where the images were not comparable."""
    changes, roughness = _of_images(results, "height_change"), _of_images(results, "Sq", "after plane")
    maps = [
        (f"{name}: {_signed(changes[k])}", changes[k].trace)
        for k, name in zip(series.numbers, series.names, strict=True)
        if k in changes
    ]
    shown = [(label, trace) for label, trace in maps if isinstance(trace, xr.DataArray)]
    if not shown:
        return []
    views = [image_changes_view(shown)]
    if len(series.images) >= _FEWEST:
        change, u_change = _in_metres(series.numbers, changes)
        change[0] = u_change[0] = 0.0  # the first image itself
        rough, _ = _in_metres(series.numbers, roughness)
        if np.isfinite(series.soc).all() and np.ptp(series.soc) > _CHARGED and not series.controlled:
            at, axis = series.soc, Axis("SOC", "%")
        elif np.ptp(series.potential) > _MOVED:
            at, axis = series.potential, Axis("potential vs Li/Li+", "V")
        else:
            axis, factor = time_axis(float(np.ptp(series.t)))
            at = factor * series.t
        views.append(image_summary_view(at, axis, change, u_change, rough, series.lithiates))
    return views


def _in_metres(numbers: Sequence[int], results: Mapping[int, Result]) -> tuple[F64, F64]:
    """(value, u) of each image's result [nm], NaN where it has none."""
    rows = [(results[k].value, results[k].u) if k in results else (None, None) for k in numbers]
    value, u = np.array([[np.nan if one is None else 1e-9 * one for one in row] for row in rows]).T
    return value.copy(), u.copy()


def _signed(change: Result) -> str:
    """A change as a label: +512 nm."""
    assert change.value is not None
    return f"{change.value:+.3g} nm" if abs(change.value) < 1000.0 else f"{1e-3 * change.value:+.3g} µm"


def _profile_view(series: _Series, results: Sequence[Result], choice: ImageChoice) -> View:
    line = choice.line or _default_line(series, results)
    profiles = []
    for label, image in zip(series.labels, series.images, strict=True):
        distance, height = profile_along(image.values, image["x"].values, image["y"].values, line)
        profiles.append((label, distance, height))
    if not any(np.isfinite(height).any() for _, _, height in profiles):
        raise BadInput(_line_outside(series.images[0], line))
    view = image_profiles_view(list(zip(series.labels, series.images, strict=True)), profiles, line)
    return replace(view, name="image", title="Image and profile") if len(series.images) == 1 else view


def _step_views(image: xr.DataArray, results: Sequence[Result]) -> list[View]:
    """The step edge of a single image, where a straight one was found."""
    traces = [r.trace for r in results if r.name == "step_height" and isinstance(r.trace, xr.Dataset)]
    pitch = abs(float(image["x"].values[1] - image["x"].values[0]))
    return [
        step_view(
            image.copy(data=trace["levelled"].values),
            pitch * trace["distance"].values,
            trace["profile"].values,
            (0.0, float(trace.attrs["height"])),
        )
        for trace in traces
    ]


def _line_outside(image: xr.DataArray, line: Line) -> Problem:
    left, right, low, high = (
        round(1e6 * float(value), 4) + 0.0  # 0.1 nm, and never -0
        for axis in ("x", "y")
        for value in (image[axis].values.min(), image[axis].values.max())
    )
    limit = f"the images have x from {left:.4g} to {right:.4g} and y from {low:.4g} to {high:.4g} µm"
    value = ", ".join(f"{1e6 * one:.4g}" for one in line) + " µm"
    return Problem(
        "the line of profiles", value, limit, f"name a line in them, as {left:.4g},{low:.4g},{right:.4g},{high:.4g}"
    )


def _default_line(series: _Series, results: Sequence[Result]) -> Line:
    """Along the rows, through the pixel whose height changed most, or through the middle."""
    first = series.images[0]
    x, y = first["x"].values, first["y"].values
    row = y.size // 2
    changes = [r.trace for r in _of_images(results, "height_change").values() if isinstance(r.trace, xr.DataArray)]
    largest = [
        np.nanmax(np.abs(np.where(np.isfinite(one.values), one.values, 0.0)), axis=1)
        for one in changes
        if one.shape == first.shape
    ]
    if largest:
        row = int(np.argmax(np.max(largest, axis=0)))
    return float(x[0]), float(y[row]), float(x[-1]), float(y[row])
