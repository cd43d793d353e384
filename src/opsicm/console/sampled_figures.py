"""What the samples of the last hops show: the last hop, its approach against the predicted one, the section of a line.

The fits are those of the analysis. Their kernels compile for half a minute when a machine fits for the first time:
`Sampled.prepare` does that in a thread of its own, and until then the figures say so.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach.template import Template
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import fit_approaches, section_results
from opsicm.console.snapshot import Snapshot
from opsicm.console.wire import PageFigure
from opsicm.figures.hops import approach_view, hop_view, line_profile_view
from opsicm.figures.images import section_view
from opsicm.figures.view import CurvePanel, View, thinned
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.physics.pipette.geometry import Pipette
from opsicm.results.run_results import pipette_of, sampled_approaches, section_at, template_for

F64 = NDArray[np.float64]
_SHARE: Final = 10.0  # times as long as a section took to make none is made: a tenth of a core
_MOST: Final = 2000  # points of a curve of samples
_REACH: Final = 15.0  # radii of the pipette: beyond, the current falls by less than a thousandth
_APPROACH: Final = "Last approach against its prediction"
_NOT_KEPT: Final = (
    "pipette_current and z are not kept in full in this run; record: {pipette_current: full, z: full} keeps them"
)
_PREPARING: Final = "The fit compiles, which it does once on a machine."


@lru_cache(maxsize=2)
def _template(pipette: Pipette) -> Template:
    return template_for(pipette)


class Sampled:
    """Makes these figures in one thread; the section of a line only once, as it takes longer than a frame."""

    def __init__(self) -> None:
        self._ready = False
        self._section: tuple[tuple[int, int, int], int, PageFigure] | None = None  # what it is of, its last hop
        self._due_ns = 0

    def prepare(self) -> None:
        """Compile the fits, on samples of a curve that is known."""
        template = _template(Pipette())
        height = np.linspace(400e-9, 30e-9, 400)
        counts = np.column_stack((template.relative_current(height) * 2e4, height * 1e11)).astype(np.int16)
        counts = np.ascontiguousarray(np.tile(counts, (3, 1)))
        samples = RawSamples(counts, 0, 1, 5e-14, 0.0, 1e-11, 0.0)
        begin = 400 * np.arange(3)
        approaches = Approaches(begin, begin + 400, np.full(3, 1e-9), np.full(3, 0.02))
        section_results(samples, approaches, template, begin.astype(np.float64))
        self._ready = True

    def figures(self, seen: Snapshot, in_motion: bool = False) -> dict[str, PageFigure]:
        """`hop` where its samples are kept, `approach`, and `section`; the last two say why where there is nothing.

        `in_motion`: more is soon to come, so that the section may be that of an earlier line, which its title says.
        """
        hops = seen.hops
        if not hops.sizes["hop"]:
            return {}
        figures = {"approach": PageFigure(self._approach(seen)), "section": self._section_of(seen, in_motion)}
        if {"pipette_current", "z"} <= set(seen.samples):
            last = hops.isel(hop=-1)
            record = {name: float(last[name].values) for name in ("i_ref", "z_stop", "t_ns", "setpoint", "outcome")}
            view = hop_view(seen.samples, {**record, "hop": float(last["number"].values)})
            figures["hop"] = PageFigure(_decimated(view))
        return figures

    def _approach(self, seen: Snapshot) -> View:
        hops, last = seen.hops, seen.hops.sizes["hop"] - 1
        if not {"pipette_current", "z"} <= set(seen.samples):
            return _without(_APPROACH, f"No samples to compare: {_NOT_KEPT}.")
        stated = seen.parameters.get("pipette", {})
        if "radius_m" not in stated:
            return _without(_APPROACH, "No prediction: the radius of the pipette is not stated.")
        if int(hops["outcome"].values[last]) != 0:
            return _without(_APPROACH, f"Hop {last} ended without contact: there is no approach to fit.")
        if not self._ready:
            return _without(_APPROACH, _PREPARING)
        sampled = sampled_approaches(hops, np.array([last]), seen.counts)
        if sampled is None or not sampled[2].size:
            return _without(_APPROACH, f"Samples of hop {last} are missing.")
        sign = -1.0 if float(hops["i_ref"].values[last]) < 0.0 else 1.0
        number = int(hops["number"].values[last])
        return _approach_of(sampled[0], sampled[1], pipette_of(stated), sign, number)

    # -- sections ---------------------------------------------------------------------------------------------------

    def _section_of(self, seen: Snapshot, in_motion: bool) -> PageFigure:
        """The current over x and z of the last whole line, or the heights along it; at a point over the last hops."""
        hops = seen.hops
        pixels = np.unique(hops["pixel"].values[hops["segment"].values == hops["segment"].values[-1]]).size
        at = _last_of_whole_line(hops) if pixels > 1 else hops.sizes["hop"] - 1
        if at is None:
            return PageFigure(_without("Section", "The first line is not whole yet."))
        key = int(hops["segment"].values[at]), int(hops["line"].values[at]) if pixels > 1 else at, int(self._ready)
        if self._section is not None:
            of, last, figure = self._section
            # Of a replay that was set back an earlier section would be of the future.
            if of == key or (in_motion and last <= at and monotonic_ns() < self._due_ns):
                return figure
        elapsed = stopwatch()
        self._section = key, at, self._make_section(seen, at, pixels > 1)
        self._due_ns = monotonic_ns() + round(_SHARE * elapsed() * 1e9)
        return self._section[2]

    def _make_section(self, seen: Snapshot, at: int, is_line: bool) -> PageFigure:
        hops, stated = seen.hops, seen.parameters.get("pipette", {})
        kept = seen.counts(int(hops["segment"].values[at]), ("pipette_current", "z"), 0, 0) is not None
        if kept and "radius_m" in stated and not self._ready:
            return PageFigure(_without("Section", _PREPARING))
        title = f"Section x, z of line {int(hops['line'].values[at])}" if is_line else "Section of the last approaches"
        why = _NOT_KEPT if not kept else "the radius of the pipette is not stated"
        if kept and "radius_m" in stated:
            results = section_at(hops, at, seen.counts, _template(pipette_of(stated)))
            trace = results[0].trace if results else None
            if isinstance(trace, xr.Dataset):
                return _section_figure(hops, trace, title)
            why = results[0].reason if results else "fewer than three approaches of it are sampled"
        if not is_line:
            return PageFigure(_without(title, f"No section: {why}."))
        return _profile_of_line(hops, at, f"No section of current over x and z: {why}.")


def _without(title: str, why: str) -> View:
    return View("none", title, (), why)


def _decimated(view: View) -> View:
    panels = []
    for panel in view.panels:
        assert isinstance(panel, CurvePanel)
        series = tuple(replace(one, x=x, y=y) for one in panel.series for x, y in (thinned(one.x, one.y, _MOST),))
        panels.append(replace(panel, series=series))
    return replace(view, panels=tuple(panels))


def _approach_of(samples: RawSamples, approaches: Approaches, pipette: Pipette, sign: float, number: int) -> View:
    template = _template(pipette)
    fit = fit_approaches(samples, approaches, template)
    title = f"Approach of hop {number} against its prediction"
    if not bool(fit.ok[0]):
        return _without(title, "The predicted curve does not fit this approach.")
    begin, end = int(approaches.begin[0]), int(approaches.end[0])
    height = samples.si_height(samples.counts[begin:end, samples.height])
    current = sign * samples.si_current(samples.counts[begin:end, samples.current])
    bulk = sign * float(fit.bulk[0])
    distance = (height - fit.z0[0])[::-1]
    d, i = thinned(distance, current[::-1], _MOST)
    rising = np.argsort(d, kind="stable")
    reach = min(_REACH * pipette.radius, float(distance.max()))
    grid: F64 = np.geomspace(0.2 * pipette.radius, reach, 300)
    setpoint = float(approaches.setpoint[0])
    predicted_stop = float(np.interp(1.0 - setpoint, template.relative_current(grid), grid))
    stop = float(height[-1] - fit.z0[0])
    caption = (
        f"Fitted: the surface, {1e9 * stop:.1f} ± {1e9 * fit.u_z0[0]:.1f} nm below the stop (u of noise alone), and "
        f"the current far away, {1e9 * bulk:.4g} nA; the shape is the {template.name} of this pipette, radius "
        f"{1e9 * pipette.radius:.3g} nm and length {1e6 * pipette.length:.3g} µm. For a drop of {100 * setpoint:.3g} % "
        f"it predicts {1e9 * predicted_stop:.1f} nm."
    )
    predicted = grid, bulk * template.relative_current(grid)
    view = approach_view((d[rising], i[rising]), predicted, stop, predicted_stop, reach, caption)
    return replace(view, title=title)


def _last_of_whole_line(hops: xr.Dataset) -> int | None:
    """The last hop of the last line that another line has followed; None before there is one."""
    segments, line = hops["segment"].values, hops["line"].values
    before = np.flatnonzero((segments != segments[-1]) | (line != line[-1]))
    return int(before[-1]) if before.size else None


def _section_figure(hops: xr.Dataset, trace: xr.Dataset, title: str) -> PageFigure:
    view = section_view(trace, title)
    # As measured and what is left: two panels are enough beside the others.
    view = replace(view, panels=(view.panels[0], view.panels[2]), columns=1)
    t = 1e-9 * hops["t_ns"].values[trace["hop"].values]
    across = trace["x"].values if np.ptp(trace["x"].values) > 0.0 else np.arange(t.size)
    return PageFigure(view, pixels=(t[np.argsort(across, kind="stable")],) * 2)


def _profile_of_line(hops: xr.Dataset, at: int, why: str) -> PageFigure:
    chosen = np.flatnonzero(
        (hops["segment"].values == hops["segment"].values[at])
        & (hops["line"].values == hops["line"].values[at])
        & (hops["outcome"].values == 0)
    )
    x, y, z = (hops[name].values[chosen] for name in ("x", "y", "z_stop"))
    along = np.hypot(x - x[:1], y - y[:1])
    order = np.argsort(along, kind="stable")
    title = f"Height along line {int(hops['line'].values[at])}, the last whole one"
    view = line_profile_view(along[order], z[order], title, why)
    return PageFigure(view, points=1e-9 * hops["t_ns"].values[chosen][order])
