"""From samples of a line or a point to its section: depletion near the surface, against geometry alone.

Each approach is first fitted with the pipette's template (`fit_image`; `fit_image_shared` with a common stretch of the
shape), so that heights count from its own surface.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from opsicm.analysis.approach.template import Template, fit_falls, template
from opsicm.analysis.result import Result, failed
from opsicm.analysis.sections.raw_samples import Falls, RawSamples
from opsicm.analysis.sections.sections import drift_free, null_section, sections
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import mean_with_u

F64 = NDArray[np.float64]
_GOOD_CHI2: Final = 1.5  # the model explains the curve to half its noise variance more than noise alone
_GOOD_U: Final = 2e-9  # [m]


@dataclass(frozen=True, slots=True)
class ImageFit:
    """Fits of all falls, [hop] each: `bulk` [A], `z0` [m] and their standard uncertainties; `sigma` [A] residual.

    `ok` False where the fit did not converge: values there are the starts and mean nothing. `rating` 2 good (u(z0)
    within 2 nm and residual within 1.22 of the image's median), 1 doubtful, 0 none. `samples` used. `scale` is the
    shape's stretch with `u_scale` (0 where it was fixed), shared by all.
    """

    bulk: F64
    z0: F64
    u_bulk: F64
    u_z0: F64
    sigma: F64
    samples: NDArray[np.int64]
    ok: NDArray[np.bool_]
    rating: NDArray[np.uint8]
    iterations: NDArray[np.int64]
    scale: float
    u_scale: float


def fit_image(
    samples: RawSamples, falls: Falls, shape: Template, near: float | None = None, distance: float | None = None
) -> ImageFit:
    """Least squares of I = bulk·T(z - z0) to every fall, T the template: distance and resistance of each hop.

    `near` [m]: only samples within this height of the fall's lowest (None: all). `distance` [m]: where T equals
    1 - setpoint, for the start (found from T when None). u from the inverse information times the residual variance:
    white noise in the current and none in z; a noise of z counts as current noise where the curve is steep, and a
    filter's delay shifts z0 by rate times delay, which no residual shows. Fails per hop (`ok` False).
    Within 10 % of the Cramér-Rao bound for white noise (tested).
    """
    if falls.size == 0:
        raise OutsideDomain(Problem("falls", "0", "a fit needs at least one", "find the hops first"))
    lowest = samples.si_height(samples.counts[np.maximum(falls.end - 1, 0), samples.height])
    if distance is None:
        grid = np.geomspace(2e-9, 2e-6, 2000)
        distance = float(np.interp(1.0 - float(np.median(falls.setpoint)), shape.over(grid), grid))
    start = np.column_stack((falls.reference, lowest - distance))
    highest = np.full(falls.size, np.inf) if near is None else lowest + near
    scales = np.array([samples.current_scale, samples.current_offset, samples.height_scale, samples.height_offset])
    out = np.empty((falls.size, 8))
    fit_falls(samples.words, falls.begin, falls.end, scales, highest, start, shape.table, shape.step, out)
    return _image_fit(out, 1.0, 0.0)


def fit_image_shared(
    samples: RawSamples, falls: Falls, curve: Template, near: float | None = None, hops: int = 64
) -> ImageFit:
    """As `fit_image`, with the shape's stretch s shared: T((z - z0)/s), s between 1/3 and 3.

    s minimises the sum of squares over up to `hops` falls spread over the record (each with its own bulk and z0),
    weighted by 1/sigma²; u(s) from the curvature of chi-squared about the minimum. u(z0) does not contain u(s): a
    stretched shape moves all z0 together, which cancels in every difference of heights.
    Fails as s at the edge of its range: then the curve does not have this shape.
    """
    chosen = np.unique(np.linspace(0, falls.size - 1, min(hops, falls.size)).astype(int))
    few = Falls(falls.begin[chosen], falls.end[chosen], falls.reference[chosen], falls.setpoint[chosen])

    def stretched(log_s: float) -> Template:
        s = float(np.exp(log_s))
        return template(curve.over, curve.name, curve.step, scale=s)

    first = fit_image(samples, few, curve, near)
    sigma2 = float(np.median(first.sigma[first.ok] ** 2)) if first.ok.any() else 1.0

    def cost(log_s: float) -> float:
        fit = fit_image(samples, few, stretched(log_s), near)
        return float(np.sum(fit.sigma**2 * (fit.samples - 2))) / sigma2

    edge = float(np.log(3.0))
    best = minimize_scalar(cost, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-5})
    log_s = float(best.x)
    step = 0.02
    curvature = (cost(log_s + step) - 2.0 * cost(log_s) + cost(log_s - step)) / step**2
    scale = float(np.exp(log_s))
    u_scale = scale * (2.0 / curvature) ** 0.5 if curvature > 0.0 else float("inf")
    whole = fit_image(samples, falls, stretched(log_s), near)
    return ImageFit(
        whole.bulk,
        whole.z0,
        whole.u_bulk,
        whole.u_z0,
        whole.sigma,
        whole.samples,
        whole.ok,
        whole.rating,
        whole.iterations,
        scale,
        u_scale,
    )


def _image_fit(out: F64, scale: float, u_scale: float) -> ImageFit:
    used, iterations = out[:, 6], out[:, 7]
    variance = out[:, 5] / np.maximum(used - 2.0, 1.0)
    ok = (iterations > 0) & np.isfinite(out[:, :2]).all(axis=1)
    sigma = np.sqrt(variance)
    u_bulk, u_z0 = np.sqrt(np.maximum(out[:, 2], 0.0)) * sigma, np.sqrt(np.maximum(out[:, 4], 0.0)) * sigma
    typical = float(np.median(sigma[ok])) if ok.any() else 0.0
    good = ok & (u_z0 <= _GOOD_U) & (variance <= _GOOD_CHI2 * typical**2)
    rating = np.where(good, 2, np.where(ok, 1, 0)).astype(np.uint8)
    return ImageFit(
        out[:, 0],
        out[:, 1],
        u_bulk,
        u_z0,
        sigma,
        used.astype(np.int64),
        ok,
        rating,
        iterations.astype(np.int64),
        scale,
        u_scale,
    )


_BINS: Final = 200
_NEAR: Final = (60e-9, 270e-9)  # [m] above the sample: beyond the approach curve's steep part, within the paper's band
_METHOD: Final = (
    "mean over {low:.0f}–{high:.0f} nm of each approach less its drift and its own mode, less the same of the "
    "{template} on the same bins; u from the scatter over approaches"
)


def section_results(samples: RawSamples, falls: Falls, shape: Template, x: F64) -> list[Result]:
    """Current near the surface against the approach's own mode and against geometry alone [pA], with the section.

    `falls` of one line (or of one point), `shape` the pipette's template, `x` [hop] [m] where each was. The trace is a
    Dataset: `difference`, `null`, `net` (hop, height), `number`. Bins run over the distance from each approach's own
    fitted surface. Fails with a named outcome where fewer than three approaches could be fitted.
    """
    name = "near_surface_difference"
    method = _METHOD.format(low=_NEAR[0] * 1e9, high=_NEAR[1] * 1e9, template=shape.name)
    if falls.size < 3:
        return [failed(name, "pA", method, "too few hops", f"{falls.size} approaches; three are needed")]
    fit = fit_image(samples, falls, shape)
    if int(fit.ok.sum()) < 3:
        return [failed(name, "pA", method, "no fit", f"{int(fit.ok.sum())} approaches fitted: look at them")]
    ok = fit.ok
    chosen = Falls(falls.begin[ok], falls.end[ok], falls.reference[ok], falls.setpoint[ok])
    top = float(np.median(samples.si_height(samples.counts[chosen.begin, samples.height]) - fit.z0[ok]))
    width = top / _BINS
    section = sections(samples, chosen, fit.z0[ok], width, _BINS)
    noise = float(np.median(fit.sigma[ok]))
    difference = drift_free(section, chosen, noise)
    null = null_section(section, shape, fit.bulk[ok], fit.z0[ok], noise)
    net = difference - null
    near = (section.centres >= _NEAR[0]) & (section.centres <= _NEAR[1])
    flags = {"not_fitted": int((~ok).sum()), "samples_outside": int(section.outside.sum())}
    trace = xr.Dataset(
        {
            "difference": (("hop", "height"), difference),
            "null": (("hop", "height"), null),
            "net": (("hop", "height"), net),
            "number": (("hop", "height"), section.number),
        },
        coords={"x": ("hop", x[ok]), "distance": ("height", section.centres)},
        attrs={"template": shape.name, "units": "A"},
    )
    each = np.array([np.nanmean(row[near]) if np.isfinite(row[near]).any() else np.nan for row in net])
    geometry = np.array([np.nanmean(row[near]) if np.isfinite(row[near]).any() else np.nan for row in null])
    each, geometry = each[np.isfinite(each)], geometry[np.isfinite(geometry)]
    if each.size < 3:
        return [failed(name, "pA", method, "no samples", "no samples near the surface: approach closer")]
    (mean, u), (alone, u_alone) = mean_with_u(each), mean_with_u(geometry)
    return [
        Result(name, mean * 1e12, u * 1e12, "pA", method, flags=flags, trace=trace),
        Result(
            "near_surface_geometry_alone",
            alone * 1e12,
            u_alone * 1e12,
            "pA",
            f"the same band of the {shape.name}: seen without any change of concentration",
            flags=flags,
        ),
    ]
