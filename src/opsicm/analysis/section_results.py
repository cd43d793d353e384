"""From samples of a line or a point to its section: depletion near the surface, against geometry alone."""

from __future__ import annotations

from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach_template import Template
from opsicm.analysis.image_fit import fit_image
from opsicm.analysis.raw_samples import Falls, RawSamples
from opsicm.analysis.result import Result, failed
from opsicm.analysis.sections import drift_free, null_section, sections

F64 = NDArray[np.float64]
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
    u = float(np.std(each, ddof=1)) / each.size**0.5
    return [
        Result(name, float(np.mean(each)) * 1e12, u * 1e12, "pA", method, flags=flags, trace=trace),
        Result("near_surface_geometry_alone", float(np.mean(geometry)) * 1e12,
               float(np.std(geometry, ddof=1)) / geometry.size**0.5 * 1e12, "pA",
               f"the same band of the {shape.name}: seen without any change of concentration", flags=flags),
    ]  # fmt: skip
