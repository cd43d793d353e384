"""From samples of a line or a point to its section: depletion near the surface, compared with geometry alone.

Each approach is first fitted with the pipette's template (`fit_approaches`; `fit_approaches_with_scale` with a common
stretch of the shape), so that heights are distances from its fitted surface.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from opsicm.analysis.approach.template import Template, fit_each_approach, tabulate
from opsicm.analysis.result import Result, failed
from opsicm.analysis.sections.binning import bin_sections, drift_free, null_section
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import mean_with_u

F64 = NDArray[np.float64]
_GOOD_CHI2: Final = 1.5  # residual variance of a good fit over the median of all
_GOOD_U: Final = 2e-9  # [m]


@dataclass(frozen=True, slots=True)
class ApproachFits:
    """Template fits of all approaches [hop]: `bulk` [A], `z0` [m] with u; `sigma` [A] residual.

    `ok` False where the fit did not converge; the values there are meaningless. `rating` 2 good (u(z0)
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
    scale: float = 1.0
    u_scale: float = 0.0


def fit_approaches(
    samples: RawSamples,
    approaches: Approaches,
    template: Template,
    near: float | None = None,
    distance: float | None = None,
) -> ApproachFits:
    """Least squares of I = bulk·T(z - z0) to every approach, T the template: distance and resistance of each hop.

    `near` [m]: only samples within this height above the lowest of the approach (None: all). `distance` [m]: where T
    equals 1 - setpoint, for the start (from T when None). u from the inverse information times the residual variance:
    white noise in the current and none in z; noise of z acts as current noise where the curve is steep, and the delay
    of a filter shifts z0 by rate times delay, which no residual shows. Fails per hop (`ok` False). Within 10 % of the
    Cramér-Rao bound for white noise (tested).
    """
    if approaches.size == 0:
        raise OutsideDomain(Problem("approaches", "0", "a fit needs at least one", "detect the hops first"))
    lowest = samples.si_height(samples.counts[np.maximum(approaches.end - 1, 0), samples.height])
    if distance is None:
        grid = np.geomspace(2e-9, 2e-6, 2000)
        distance = float(np.interp(1.0 - float(np.median(approaches.setpoint)), template.relative_current(grid), grid))
    start = np.column_stack((approaches.reference, lowest - distance))
    highest = np.full(approaches.size, np.inf) if near is None else lowest + near
    scales = np.array([samples.current_scale, samples.current_offset, samples.height_scale, samples.height_offset])
    out = np.empty((approaches.size, 8))
    fit_each_approach(
        samples.words, approaches.begin, approaches.end, scales, highest, start, template.table, template.step, out
    )
    return _approach_fits(out)


def fit_approaches_with_scale(
    samples: RawSamples, approaches: Approaches, curve: Template, near: float | None = None, hops: int = 64
) -> ApproachFits:
    """As `fit_approaches`, with one stretch s of the template for all: T((z - z0)/s), s between 1/3 and 3.

    s minimises the sum of squares over up to `hops` approaches spread over the record (each with its own bulk and z0),
    weighted by 1/sigma²; u(s) from the curvature of chi-squared about the minimum. u(z0) does not contain u(s): a
    stretched shape moves all z0 together, which cancels in differences of heights.
    Fails as s at the edge of its range: then the curve does not have this shape.
    """
    chosen = np.unique(np.linspace(0, approaches.size - 1, min(hops, approaches.size)).astype(int))
    few = Approaches(
        approaches.begin[chosen], approaches.end[chosen], approaches.reference[chosen], approaches.setpoint[chosen]
    )

    def stretched(log_s: float) -> Template:
        s = float(np.exp(log_s))
        return tabulate(curve.relative_current, curve.name, curve.step, scale=s)

    first = fit_approaches(samples, few, curve, near)
    sigma2 = float(np.median(first.sigma[first.ok] ** 2)) if first.ok.any() else 1.0

    def cost(log_s: float) -> float:
        fit = fit_approaches(samples, few, stretched(log_s), near)
        return float(np.sum(fit.sigma**2 * (fit.samples - 2))) / sigma2

    edge = float(np.log(3.0))
    best = minimize_scalar(cost, bounds=(-edge, edge), method="bounded", options={"xatol": 1e-5})
    log_s = float(best.x)
    step = 0.02
    curvature = (cost(log_s + step) - 2.0 * cost(log_s) + cost(log_s - step)) / step**2
    scale = float(np.exp(log_s))
    u_scale = scale * (2.0 / curvature) ** 0.5 if curvature > 0.0 else float("inf")
    return replace(fit_approaches(samples, approaches, stretched(log_s), near), scale=scale, u_scale=u_scale)


def _approach_fits(out: F64) -> ApproachFits:
    used, iterations = out[:, 6], out[:, 7]
    variance = out[:, 5] / np.maximum(used - 2.0, 1.0)
    ok = (iterations > 0) & np.isfinite(out[:, :2]).all(axis=1)
    sigma = np.sqrt(variance)
    u_bulk, u_z0 = np.sqrt(np.maximum(out[:, 2], 0.0)) * sigma, np.sqrt(np.maximum(out[:, 4], 0.0)) * sigma
    typical = float(np.median(sigma[ok])) if ok.any() else 0.0
    good = ok & (u_z0 <= _GOOD_U) & (variance <= _GOOD_CHI2 * typical**2)
    rating = np.where(good, 2, np.where(ok, 1, 0)).astype(np.uint8)
    return ApproachFits(
        out[:, 0], out[:, 1], u_bulk, u_z0, sigma, used.astype(np.int64), ok, rating, iterations.astype(np.int64)
    )


_BINS: Final = 200
_NEAR: Final = (60e-9, 270e-9)  # [m] above the sample: beyond the approach curve's steep part, within the paper's band
_METHOD: Final = (
    "mean over {low:.0f}–{high:.0f} nm of each approach less its drift and its mode, less the same of the "
    "{template} in the same bins; u from the scatter over approaches"
)


def section_results(
    samples: RawSamples, approaches: Approaches, template: Template, x: F64, hop: NDArray[np.int64] | None = None
) -> list[Result]:
    """Current near the surface [pA] less the approach's mode and less what geometry alone gives, with the section.

    `approaches` of one line (or of one point), `template` the pipette's template, `x` [hop] [m] the position of each
    and `hop` its number among others (None: counted from 0), which the trace hands on.
    The trace is a Dataset: `difference`, `null`, `net` (hop, height), `number`.
    Bins run over the distance from each approach's own fitted surface. Fails with a named outcome where fewer than
    three approaches could be fitted.
    """
    name = "near_surface_difference"
    method = _METHOD.format(low=_NEAR[0] * 1e9, high=_NEAR[1] * 1e9, template=template.name)
    if approaches.size < 3:
        return [failed(name, "pA", method, "too few hops", f"{approaches.size} approaches; three are needed")]
    fit = fit_approaches(samples, approaches, template)
    if int(fit.ok.sum()) < 3:
        return [failed(name, "pA", method, "no fit", f"{int(fit.ok.sum())} approaches fitted: check the curves")]
    ok = fit.ok
    chosen = Approaches(approaches.begin[ok], approaches.end[ok], approaches.reference[ok], approaches.setpoint[ok])
    top = float(np.median(samples.si_height(samples.counts[chosen.begin, samples.height]) - fit.z0[ok]))
    width = top / _BINS
    section = bin_sections(samples, chosen, fit.z0[ok], width, _BINS)
    noise = float(np.median(fit.sigma[ok]))
    difference = drift_free(section, chosen, noise)
    null = null_section(section, template, fit.bulk[ok], fit.z0[ok], noise)
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
        coords={
            "x": ("hop", x[ok]),
            "hop": np.flatnonzero(ok) if hop is None else hop[ok],
            "distance": ("height", section.centres),
        },
        attrs={"template": template.name, "units": "A"},
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
            f"the same band of the {template.name}: expected without any change of concentration",
            flags=flags,
        ),
    ]
