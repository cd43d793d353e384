"""From an image of heights to its results: Sq raw, after a plane, after total degree 2, always together."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.levelling import total_degree
from opsicm.analysis.result import Result, failed
from opsicm.analysis.roughness import Parameter, Roughness, roughness
from opsicm.errors import OutsideDomain

LEVELS: Final = (("raw", None), ("after plane", 1), ("after total degree 2", 2))
_NM: Final = 1e9
_SPREAD: Final = (
    "u: another area of this size on the same surface, from {independent:.0f} effectively independent of {pixels} "
    "pixels (spatial correlation); scanner calibration and height noise are not included"
)


def image_results(heights: xr.DataArray) -> list[Result]:
    """Sq and profile Rq at all three levels, then Sa, Sz, Ssk, Sku after total degree 2.

    `heights` [m], dims (y, x), NaN where a pixel has no height (counted in `flags`); coordinates x, y [m] only when
    the lateral scale is known. The trace of each Sq is the image at that level. Sq "raw" is about the mean.
    """
    values = np.asarray(heights.values, dtype=np.float64)
    results: list[Result] = []
    missing = {"missing_pixels": int((~np.isfinite(values)).sum())}
    level_of = {
        None: "about the mean, not levelled",
        1: "after least-squares plane",
        2: "after least-squares total degree 2",
    }
    last: Roughness | None = None
    for level, degree in LEVELS:
        name = f"Sq {level}"
        method = f"ISO 25178-2 Sq, {level_of[degree]}"
        if not np.isfinite(values).any():
            results.append(failed(name, "nm", method, "all NaN", "no pixel has a height; look at the file's channel"))
            continue
        try:
            levelled = values - np.nanmean(values) if degree is None else total_degree(values, degree).heights
        except OutsideDomain as error:
            results.append(failed(name, "nm", method, "too few pixels", str(error)))
            continue
        last = roughness(levelled)
        trace = heights.copy(data=levelled)
        trace.attrs["level"] = level
        results.append(_result(name, last.Sq, "nm", method, last, missing, trace))
        results.append(_profile(f"Rq {level}", levelled, level_of[degree], last, missing))
        if degree != 2:
            last = None
    if last is None:
        return results
    where = level_of[2]
    for name, parameter, unit in (
        ("Sa", last.Sa, "nm"),
        ("Sz", last.Sz, "nm"),
        ("Ssk", last.Ssk, "1"),
        ("Sku", last.Sku, "1"),
    ):
        method = f"ISO 25178-2 {name}, {where}"
        results.append(_result(f"{name} after total degree 2", parameter, unit, method, last, missing, None))
    return results


def _profile(name: str, levelled: NDArray[np.float64], where: str, rough: Roughness, missing: dict[str, int]) -> Result:
    """Rq of the rows (fast axis): root mean square of each about its own mean, averaged over the rows."""
    method = f"ISO 4287 Rq along the rows, mean over the rows, each about its own mean, {where}"
    rows = [row[np.isfinite(row)] for row in levelled]
    each = np.array([float(np.std(row)) for row in rows if row.size > 2])
    if each.size < 2 or not each.any():
        return failed(name, "nm", method, "flat", "fewer than two rows have height differences")
    # Neighbouring rows show the same hills: as many count as the image's correlation leaves along one axis.
    count = max(1.0, each.size * (rough.independent / rough.pixels) ** 0.5)
    u = float(np.std(each, ddof=1)) / count**0.5
    method += f"; u: scatter of the rows, {count:.3g} of them independent"
    return Result(name, _NM * float(np.mean(each)), _NM * u, "nm", method, flags=missing)


def _result(
    name: str,
    parameter: Parameter,
    unit: str,
    method: str,
    rough: Roughness,
    missing: dict[str, int],
    trace: xr.DataArray | None,
) -> Result:
    if not np.isfinite(parameter.value):
        return failed(name, unit, method, "flat", "the surface has no height differences, so this ratio does not exist")
    scale = _NM if unit == "nm" else 1.0
    method = f"{method}; {_SPREAD.format(independent=rough.independent, pixels=rough.pixels)}"
    return Result(name, scale * parameter.value, scale * parameter.u, unit, method, flags=missing, trace=trace)
