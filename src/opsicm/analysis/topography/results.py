"""Results of images: roughness at three levellings and steps of each; over a series, registered height changes."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.result import Result, Subject, failed
from opsicm.analysis.topography.flakes import flake_height_changes, segment_flakes
from opsicm.analysis.topography.image_series import (
    expansion_percent,
    height_change,
    irreversible_change,
    levelled_series,
    reference_plane,
)
from opsicm.analysis.topography.levelling import Parameter, Roughness, roughness, total_degree
from opsicm.analysis.topography.missing import scars
from opsicm.analysis.topography.raster import Frame, areas
from opsicm.analysis.topography.registration import Shift, register, shifted
from opsicm.analysis.topography.steps import (
    across_step_edge,
    find_step_edge,
    find_terraces,
    fit_terraces,
    terraces_are_smooth,
    without_walls,
)
from opsicm.core.errors import OutsideDomain
from opsicm.core.statistics import median_with_u, noise_from_differences, robust_sigma, u_of_robust_sigma

LEVELS: Final = (("raw", None), ("after plane", 1), ("after total degree 2", 2))
_OUTLIER: Final = 6.0  # robust sigmas
_SPREAD: Final = (
    "u: another area of this size on the same surface, from {independent:.0f} effectively independent of {pixels} "
    "pixels (spatial correlation); scanner calibration and height noise are not included"
)


_LEVEL_OF: Final = {
    None: "about the mean, not levelled",
    1: "after least-squares plane",
    2: "after least-squares total degree 2",
}


@dataclass(frozen=True, slots=True)
class _Unit:
    """The unit of the results, and the factor from the image's values to it."""

    unit: str
    factor: float


def image_results(heights: xr.DataArray) -> list[Result]:
    """Sq, Sa, Sz, Ssk, Sku and profile Rq at all three levels.

    `heights` [m], or in the unit of `attrs["units"]` ("" where a file states none), dims (y, x), NaN where a pixel has
    no height (counted in `flags`, with those beyond six sigma of the levelled surface); coordinates x, y [m] only when
    the lateral scale is known. The trace of each Sq is the image at that level. "raw" is about the mean.
    """
    values = np.asarray(heights.values, dtype=np.float64)
    stated = str(heights.attrs.get("units", "m"))
    scale = _Unit("nm", 1e9) if stated == "m" else _Unit(stated or "unit not stated", 1.0)
    results: list[Result] = []
    flags = {"missing_pixels": int((~np.isfinite(values)).sum())}
    for level, degree in LEVELS:
        method = f"ISO 25178-2 Sq, {_LEVEL_OF[degree]}"
        if not np.isfinite(values).any():
            reason = "no pixel has a height; check the file's channel"
            results.append(failed("Sq", scale.unit, method, "all NaN", reason, Subject(part=level)))
            continue
        try:
            levelled = values - np.nanmean(values) if degree is None else total_degree(values, degree).heights
        except OutsideDomain as error:
            results.append(failed("Sq", scale.unit, method, "too few pixels", str(error), Subject(part=level)))
            continue
        results += _level_results(heights.copy(data=levelled), level, _LEVEL_OF[degree], scale, flags)
    return results


def _level_results(levelled: xr.DataArray, level: str, where: str, scale: _Unit, flags: dict[str, int]) -> list[Result]:
    levelled.attrs["level"] = level
    rough = roughness(levelled.values)
    flags = {**flags, "outlier_pixels": _outliers(levelled.values)}
    results = [_roughness_result("Sq", rough.Sq, scale, f"ISO 25178-2 Sq, {where}", rough, flags, levelled)]
    results.append(_profile_result("Rq", levelled.values, where, scale, rough, flags))
    one = _Unit("1", 1.0)
    for name, parameter, unit in (
        ("Sa", rough.Sa, scale),
        ("Sz", rough.Sz, scale),
        ("Ssk", rough.Ssk, one),
        ("Sku", rough.Sku, one),
    ):
        results.append(_roughness_result(name, parameter, unit, f"ISO 25178-2 {name}, {where}", rough, flags, None))
    return [result.within(part=level) for result in results]


def _outliers(heights: NDArray[np.float64]) -> int:
    """Pixels farther from the median than six robust sigmas."""
    known = heights[np.isfinite(heights)]
    away = np.abs(known - np.median(known))
    return int(np.count_nonzero(away > _OUTLIER * robust_sigma(away, 0.0))) if away.any() else 0


def _profile_result(
    name: str, levelled: NDArray[np.float64], where: str, scale: _Unit, rough: Roughness, flags: dict[str, int]
) -> Result:
    """Rq of the rows (fast axis): root mean square of each about its own mean, averaged over the rows."""
    method = f"ISO 4287 Rq along the rows, mean over the rows, each about its own mean, {where}"
    rows = [row[np.isfinite(row)] for row in levelled]
    each = np.array([float(np.std(row)) for row in rows if row.size > 2])
    if each.size < 2 or not each.any():
        return failed(name, scale.unit, method, "flat", "fewer than two rows have height differences")
    # Neighbouring rows are correlated: their effective number is what the image's correlation leaves along one axis.
    count = max(1.0, each.size * (rough.independent / rough.pixels) ** 0.5)
    u = float(np.std(each, ddof=1)) / count**0.5
    method += f"; u: scatter of the rows, {count:.3g} of them independent"
    return Result(name, scale.factor * float(np.mean(each)), scale.factor * u, scale.unit, method, flags=flags)


def _roughness_result(
    name: str,
    parameter: Parameter,
    scale: _Unit,
    method: str,
    rough: Roughness,
    flags: dict[str, int],
    trace: xr.DataArray | None,
) -> Result:
    if not np.isfinite(parameter.value):
        reason = "the surface has no height differences, so this ratio does not exist"
        return failed(name, scale.unit, method, "flat", reason)
    method = f"{method}; {_SPREAD.format(independent=rough.independent, pixels=rough.pixels)}"
    value, u = scale.factor * parameter.value, scale.factor * parameter.u
    return Result(name, value, u, scale.unit, method, flags=flags, trace=trace)


F64 = NDArray[np.float64]
_SMALLEST: Final = 16  # pixels along an edge: a smaller image is not registered
_NARROWEST: Final = 3  # pixels along an edge: a narrower image has no second differences, which say what is noise
# Residual with two terraces over that of a plane: less means a step. Without a step, two levels leave 0.60 of Gaussian
# heights and 0.50 of uniform ones.
_CLEAR: Final = 0.4
_STEP: Final = "step_height"
_GUARD: Final = 2  # [px] beside the border of terraces
_STEEP: Final = 0.1  # of the step over five pixels: a wall
_UNEVEN: Final = 3.0  # times: a particle is no plateau
_CERTAIN: Final = 6.0  # height of a rim beyond its terraces over its u


def raster_results(frames: Sequence[Frame], thickness: float, cross_talk: float = 0.0) -> list[Result]:
    """Roughness of every frame at all levels, a step where there is one, and for a series its changes.

    `thickness` [m] of the specimen for swelling in per cent; `cross_talk` [m] of a frame's heights as a whole. Frames
    of a series are levelled by the plane of the first and registered to it. `of.image` numbers several frames.
    """
    results: list[Result] = []
    for k, frame in enumerate(frames, start=1):
        frame_results = [*image_results(frame.array()), *step_results(frame.heights)]
        frame_results = [replace(r, flags={**r.flags, "bad_hops": frame.bad}) for r in frame_results]
        if len(frames) > 1:
            where = f"image {k}, {frame.time:.0f} s, {frame.potential:.3f} V"
            frame_results = [replace(r.within(image=k), method=f"{r.method}; {where}") for r in frame_results]
        results += frame_results
    series = [numbers for numbers in areas(frames) if len(numbers) > 1]
    for members in series:
        found = image_series_results([frames[k] for k in members], thickness, cross_talk, [k + 1 for k in members])
        # Two areas would give two results of one name for each series as a whole.
        last = members[-1] + 1
        results += [r.within(image=last) if len(series) > 1 and r.of.image is None else r for r in found]
    if len(frames) > 1 and not series:
        reason = "no two images show the same pixels: image one area twice"
        results.append(failed("height_change", "nm", "", "not comparable", reason))
    return results


def step_results(heights: F64) -> list[Result]:
    """A step in `heights` [m], (rows, columns): between two terraces, and the rim of its edge where there is one.

    A straight edge first, anywhere in the image; else two terraces of any outline. "no step" where neither fits the
    image much better than a smooth surface. The trace of a straight edge is the image less the terraces' tilt
    (`levelled`, about the lower terrace) and its mean along the edge (`profile`) over the `distance` [px] across it.
    """
    method = "one tilt and two terraces in one least-squares fit (ISO 5436-1, as an area)"
    if np.isfinite(heights).mean() < 0.5:
        return [failed(_STEP, "nm", method, "no step", "fewer than half of the pixels have a height")]
    if min(heights.shape) < _NARROWEST:
        reason = f"{heights.shape[0]} lines of {heights.shape[1]} pixels; {_NARROWEST} along each side are needed"
        return [failed(_STEP, "nm", method, "no step", reason)]
    bad = scars(heights)
    flags = {"scar_lines": int(bad.any(axis=1).sum())}
    heights = np.where(bad, np.nan, heights)
    try:
        edge = find_step_edge(heights)
    except OutsideDomain as error:
        return [replace(_terrace_result(heights, method, str(error)), flags=flags)]
    description = (
        f"straight edge at {np.degrees(edge.angle):.1f}° to the columns, {edge.rim} pixels wide; u: scatter of "
        f"{edge.strips} strips along it"
    )
    edge_method = f"{method}; {description}; terrace towards larger columns (rows) less the other"
    levelled, distance, profile = across_step_edge(heights, edge)
    trace = xr.Dataset(
        {"levelled": (("row", "column"), levelled), "profile": ("line", profile)},
        coords={"distance": ("line", distance)},
        attrs={"units": "m", "angle": edge.angle, "height": abs(edge.height)},
    )
    # The normal of the edge may point either way: the sign is that of the larger columns, or rows where it lies flat.
    normal = np.cos(edge.angle), np.sin(edge.angle)
    towards = 1.0 if (normal[0] if abs(normal[0]) >= abs(normal[1]) else normal[1]) >= 0.0 else -1.0
    results = [
        Result(_STEP, 1e9 * towards * edge.height, 1e9 * edge.u_height, "nm", edge_method, flags=flags, trace=trace)
    ]
    beyond = abs(edge.rise) - 0.5 * abs(edge.height)
    # Without a rim the edge lies between its terraces: only heights beyond them are a rise.
    if beyond > _CERTAIN * float(np.hypot(edge.u_rise, 0.5 * edge.u_height)):
        edge_method = f"farthest line of the rim less the mean of both terraces there; {description}"
        results.append(Result("step_edge_rise", 1e9 * edge.rise, 1e9 * edge.u_rise, "nm", edge_method, flags=flags))
    return results


def _terrace_result(heights: F64, method: str, no_edge: str) -> Result:
    """Two terraces whose border is not straight; "no step" with both reasons where a plane fits as well."""
    try:
        labels = find_terraces(heights, guard=_GUARD)
        fit = fit_terraces(heights, labels)
        flat = float(np.nanstd(total_degree(heights, 1).heights))
    except (OutsideDomain, ValueError) as error:
        reason = f"no straight edge ({no_edge}); no two terraces can be distinguished: {error}"
        return failed(_STEP, "nm", method, "no step", reason)
    if fit.sigma > _CLEAR * flat:
        reason = (
            f"two terraces leave {1e9 * fit.sigma:.3g} nm, a plane {1e9 * flat:.3g} nm: there is no single step, nor a "
            f"straight edge ({no_edge})"
        )
        return failed(_STEP, "nm", method, "no step", reason)
    scatters = [robust_sigma(fit.residual[fit.labels == k], 0.0) for k in (0, 1)]
    if max(scatters) > _UNEVEN * min(scatters):
        reason = (
            f"one of two levels scatters by {1e9 * max(scatters):.3g} nm, the other by {1e9 * min(scatters):.3g} nm: "
            f"particles or holes, no terrace; nor is there a straight edge ({no_edge})"
        )
        return failed(_STEP, "nm", method, "no step", reason)
    if terraces_are_smooth(heights, fit.labels, fit.residual):
        reason = f"a smooth surface of total degree 2 to 5 describes it as well: a bow; no straight edge ({no_edge})"
        return failed(_STEP, "nm", method, "no step", reason)
    # What the model does not follow are walls that slope: they are left out, and what other limits change is in u.
    fits = [fit]
    for guard, share in ((_GUARD, _STEEP), (_GUARD, 0.5 * _STEEP), (2 * _GUARD, _STEEP)):
        level = np.where(without_walls(heights, fit, share), -1, find_terraces(heights, guard=guard))
        with contextlib.suppress(OutsideDomain):  # too little of a terrace is left: its limit says nothing
            fits.append(fit_terraces(heights, level))
    best = fits[min(1, len(fits) - 1)]
    others = fits[2:] or fits[:1]
    u = float(np.hypot(best.u_height, max(abs(one.height - best.height) for one in others)))
    method += (
        f"; rims and walls that slope left out; border of any outline; residual {1e9 * fit.sigma:.3g} nm; u: and what "
        "wider ones change"
    )
    return Result(_STEP, 1e9 * best.height, 1e9 * u, "nm", method)


def image_series_results(
    frames: Sequence[Frame], thickness: float, cross_talk: float, numbers: Sequence[int]
) -> list[Result]:
    """Shift and height change of each frame of one area against its first, swelling, irreversible change, flakes.

    `numbers` are those of the frames among all images of the run.
    """
    shape = frames[0].heights.shape
    if min(shape) < _SMALLEST:
        reason = f"images of {_SMALLEST} pixels and more are needed"
        return [failed("height_change", "nm", "", "not comparable", reason)]
    stack = levelled_series(np.stack([frame.heights for frame in frames]))
    _, down, along = reference_plane(frames[0].heights)
    pitch = (float(frames[0].y[1] - frames[0].y[0]), float(frames[0].x[1] - frames[0].x[0]))
    results: list[Result] = []
    shifts = [register(stack[0], frame) for frame in stack[1:]]
    aligned = [stack[0]]
    for frame, shift in zip(stack[1:], shifts, strict=True):
        moved = _moved_back(frame, shift) if shift.is_found else np.full(shape, np.nan)
        aligned.append(moved + down * shift.dy + along * shift.dx)
    noise, changes = _noise(aligned), [0.0]
    for k, image, shift in zip(numbers[1:], aligned[1:], shifts, strict=True):
        if not shift.is_found:
            reason = (
                f"correlation {shift.peak:.2f}, of images without anything in common up to {shift.chance:.2f}: another "
                "place, or a shift by more than a quarter of the image"
            )
            results.append(failed("height_change", "nm", "", "not registered", reason, Subject(image=k)))
            changes.append(0.0)
            continue
        results += _shift_results(shift, pitch, k)
        change = height_change(stack[0], image, noise, cross_talk)
        changes.append(change.mean)
        u = float(np.hypot(change.u, np.hypot(down, along) * shift.u))
        trace = frames[0].array(image - stack[0])
        results += _change_results(stack[0], image, trace, change.mean, u, thickness, k)
    extreme = int(np.argmax(np.abs(changes)))
    if 0 < extreme < len(aligned) - 1:
        error = _error_of_a_pixel(aligned[0], aligned[-1], noise)
        results += _irreversible(aligned[0], aligned[extreme], aligned[-1], error, numbers[extreme])
    if extreme > 0:
        results += flake_results(aligned[0], aligned[extreme], numbers[extreme])
    return results


def _noise(aligned: Sequence[F64]) -> float:
    """[m] of one pixel: the least that the first image and differences of two, over sqrt(2), show along their rows.

    Second differences of an image contain its roughness, all of it where the pixels are coarse; those of the difference
    of two images only what has moved between them. So each is an upper bound, and the least of them the best. The two
    follow one another, or one of them is the first, to which a specimen that has been cycled returns.
    """
    pairs = {*pairwise(range(len(aligned))), *((0, k) for k in range(1, len(aligned)))}
    differences = [(aligned[b] - aligned[a]) / 2.0**0.5 for a, b in sorted(pairs)]
    kept = [each for each in (aligned[0], *differences) if np.isfinite(np.diff(each, 2)).any()]
    return min((noise_from_differences(each, spread=robust_sigma) for each in kept), default=0.0)


def _error_of_a_pixel(first: F64, last: F64, noise: float) -> float:
    """[m] of a height in a registered image: its noise, or what the two images differ by in most pixels, over sqrt(2).

    What they differ by is the robust scatter about the median of last - first: it contains the error of the
    registration on slopes. Where more than half of the pixels have changed, each by another amount, so does it.
    """
    change = last - first
    known = change[np.isfinite(change)]
    return max(noise, robust_sigma(known) / 2.0**0.5) if known.size else noise


def _moved_back(frame: F64, shift: Shift) -> F64:
    known = np.isfinite(frame)
    moved = shifted(np.where(known, frame, np.nanmedian(frame)), shift.dy, shift.dx)
    # A pixel interpolated from a missing one is missing too.
    return np.where(shifted(known.astype(np.float64), shift.dy, shift.dx) > 0.99, moved, np.nan)


def _shift_results(shift: Shift, pitch: tuple[float, float], k: int) -> list[Result]:
    method = "registration of gradient magnitudes against the first image (insensitive to swelling and changed patches)"
    return [
        Result(name, value * 1e9 * one, shift.u * 1e9 * one, "nm", f"{method}; {value:.3f} pixels", of=Subject(image=k))
        for name, value, one in (("shift_x", shift.dx, pitch[1]), ("shift_y", shift.dy, pitch[0]))
    ]


def _change_results(
    before: F64, after: F64, change: xr.DataArray, mean: float, u: float, thickness: float, k: int
) -> list[Result]:
    method = (
        "mean over the pixels of image less first image, registered, after the first image's plane, which moves "
        "with the specimen"
    )
    change.attrs["quantity"] = "height change"
    flags = {"missing_pixels": int((~np.isfinite(change.values)).sum())}
    percent = expansion_percent(before, after, thickness)
    known = percent[np.isfinite(percent)]
    return [
        Result(
            "height_change",
            1e9 * mean,
            1e9 * u,
            "nm",
            f"{method}; u: height noise of a pixel averaged; cross-talk, tilt times the shift's u",
            flags=flags,
            trace=change,
            of=Subject(image=k),
        ),
        Result(
            "expansion",
            float(np.mean(known)),
            100.0 * u / thickness,
            "%",
            f"{method}, of the local thickness ({1e6 * thickness:.3g} µm at the mean height); thickness as stated",
            flags=flags,
            of=Subject(image=k),
        ),
    ]


def _irreversible(initial: F64, extreme: F64, final: F64, noise: float, k: int) -> list[Result]:
    change = irreversible_change(initial, extreme, final, noise)
    if not np.isfinite(change.area_fraction):
        return [failed("irreversible_area", "%", "", "no pixels", "no pixel is in the first and the last image")]
    method = (
        f"share of the pixels whose last height differs from the first by more than {1e9 * change.threshold:.3g} nm "
        f"(4 sqrt(2) times the error of a height in most pixels); u: pixels as independent"
    )
    n = int(np.isfinite(change.map).sum())
    u = 100.0 * float(np.sqrt(change.area_fraction * (1.0 - change.area_fraction) / n))
    trace = xr.DataArray(change.map, dims=("y", "x"), attrs={"units": "m", "quantity": "height change left"})
    results = [Result("irreversible_area", 100.0 * change.area_fraction, u, "%", method, trace=trace)]
    share = change.fraction_of_change[np.isfinite(change.fraction_of_change)]
    name, method = "irreversible_share", f"median of (last - first)/(image {k} - first) where the change is above noise"
    if share.size < 10:
        reason = f"{share.size} pixels changed by more than the noise"
        return [*results, failed(name, "%", method, "no change", reason)]
    middle, u = median_with_u(share)
    return [*results, Result(name, 100.0 * middle, 100.0 * u, "%", method)]


def flake_results(first: F64, other: F64, k: int) -> list[Result]:
    """Flakes of the first image by watershed, and their height changes: number, median and spread."""
    labels = segment_flakes(np.where(np.isfinite(first), first, np.nanmedian(first)))
    table = flake_height_changes(labels, other - first)
    name, method = "flakes", "watershed of the first image's gradient, plates of 30 pixels and more"
    if table.label.size < 3:
        reason = f"{table.label.size} plates found; three are needed"
        return [failed(name, "1", method, "no flakes", reason)]
    (middle, u), spread = median_with_u(table.change), robust_sigma(table.change)
    trace = xr.Dataset(
        {"change": ("flake", table.change), "u": ("flake", table.u), "pixels": ("flake", table.pixels)},
        coords={"label": ("flake", table.label)},
        attrs={"units": "m"},
    )
    n = table.label.size
    of = f"median of each plate's median change, image {k} less the first, rims left out"
    return [
        Result(name, float(n), 0.0, "1", method, trace=trace),
        Result("flake_height_change", 1e9 * middle, 1e9 * u, "nm", of),
        Result(
            "flake_height_change_spread",
            1e9 * spread,
            1e9 * u_of_robust_sigma(spread, n),
            "nm",
            f"MAD-sigma over {n} plates, {of}",
        ),
    ]
