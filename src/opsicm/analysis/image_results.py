"""From an image of heights to its results: Sq raw, after a plane, after total degree 2, always together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.levelling import total_degree
from opsicm.analysis.result import Result, failed
from opsicm.analysis.roughness import Parameter, Roughness, roughness
from opsicm.errors import OutsideDomain

LEVELS: Final = (("raw", None), ("after plane", 1), ("after total degree 2", 2))
_OUTLIER: Final = 6.0
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
class _Scale:
    """The unit that results are in, and the factor that takes the image's values to it."""

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
    scale = _Scale("nm", 1e9) if stated == "m" else _Scale(stated or "unit not stated", 1.0)
    results: list[Result] = []
    flags = {"missing_pixels": int((~np.isfinite(values)).sum())}
    for level, degree in LEVELS:
        method = f"ISO 25178-2 Sq, {_LEVEL_OF[degree]}"
        if not np.isfinite(values).any():
            reason = "no pixel has a height; look at the file's channel"
            results.append(failed(f"Sq {level}", scale.unit, method, "all NaN", reason))
            continue
        try:
            levelled = values - np.nanmean(values) if degree is None else total_degree(values, degree).heights
        except OutsideDomain as error:
            results.append(failed(f"Sq {level}", scale.unit, method, "too few pixels", str(error)))
            continue
        results += _level(heights.copy(data=levelled), level, _LEVEL_OF[degree], scale, flags)
    return results


def _level(levelled: xr.DataArray, level: str, where: str, scale: _Scale, flags: dict[str, int]) -> list[Result]:
    levelled.attrs["level"] = level
    rough = roughness(levelled.values)
    flags = {**flags, "outlier_pixels": _outliers(levelled.values)}
    results = [_result(f"Sq {level}", rough.Sq, scale, f"ISO 25178-2 Sq, {where}", rough, flags, levelled)]
    results.append(_profile(f"Rq {level}", levelled.values, where, scale, rough, flags))
    one = _Scale("1", 1.0)
    for name, parameter, unit in (
        ("Sa", rough.Sa, scale), ("Sz", rough.Sz, scale), ("Ssk", rough.Ssk, one), ("Sku", rough.Sku, one),
    ):  # fmt: skip
        results.append(_result(f"{name} {level}", parameter, unit, f"ISO 25178-2 {name}, {where}", rough, flags, None))
    return results


def _outliers(heights: NDArray[np.float64]) -> int:
    """Pixels farther from the median than six times what the median absolute deviation stands for."""
    known = heights[np.isfinite(heights)]
    away = np.abs(known - np.median(known))
    return int(np.count_nonzero(away > _OUTLIER * 1.4826 * float(np.median(away)))) if away.any() else 0


def _profile(
    name: str, levelled: NDArray[np.float64], where: str, scale: _Scale, rough: Roughness, flags: dict[str, int]
) -> Result:
    """Rq of the rows (fast axis): root mean square of each about its own mean, averaged over the rows."""
    method = f"ISO 4287 Rq along the rows, mean over the rows, each about its own mean, {where}"
    rows = [row[np.isfinite(row)] for row in levelled]
    each = np.array([float(np.std(row)) for row in rows if row.size > 2])
    if each.size < 2 or not each.any():
        return failed(name, scale.unit, method, "flat", "fewer than two rows have height differences")
    # Neighbouring rows show the same hills: as many count as the image's correlation leaves along one axis.
    count = max(1.0, each.size * (rough.independent / rough.pixels) ** 0.5)
    u = float(np.std(each, ddof=1)) / count**0.5
    method += f"; u: scatter of the rows, {count:.3g} of them independent"
    return Result(name, scale.factor * float(np.mean(each)), scale.factor * u, scale.unit, method, flags=flags)


def _result(
    name: str, parameter: Parameter, scale: _Scale, method: str, rough: Roughness, flags: dict[str, int],
    trace: xr.DataArray | None,
) -> Result:  # fmt: skip
    if not np.isfinite(parameter.value):
        reason = "the surface has no height differences, so this ratio does not exist"
        return failed(name, scale.unit, method, "flat", reason)
    method = f"{method}; {_SPREAD.format(independent=rough.independent, pixels=rough.pixels)}"
    value, u = scale.factor * parameter.value, scale.factor * parameter.u
    return Result(name, value, u, scale.unit, method, flags=flags, trace=trace)
