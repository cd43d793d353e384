"""The results and figures of a run: hands the arrays of a run file to the analysis and the figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.approach.template import Template, tabulate
from opsicm.analysis.calibrated import calibrated
from opsicm.analysis.cell.steps import programmed_voltammogram
from opsicm.analysis.hops.height_change import step_passes
from opsicm.analysis.hops.results import RunParameters, images_of, operando_results
from opsicm.analysis.result import Result, failed
from opsicm.analysis.sections.raw_samples import Approaches, RawSamples
from opsicm.analysis.sections.results import section_results
from opsicm.core.calibration import stored_calibration
from opsicm.core.facts import Channel
from opsicm.core.statistics import noise_from_differences
from opsicm.core.units import factor
from opsicm.figures import hops as figures
from opsicm.figures.cell import voltammogram_view
from opsicm.figures.movie import line_frames
from opsicm.figures.view import View
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import approach_curve
from opsicm.record.reader import Run
from opsicm.results.image_figures import ImageChoice, image_movie, image_views
from opsicm.results.pipette_steps import pipette_results
from opsicm.results.trace_figures import peak_marks, views_of_traces

_SECTION_HOPS: Final = 20  # of a section at a point
_FLOWS: Final = 6.0  # times the noise of the cell current: the largest of 10^9 readings of none is less
_STANDS: Final = 5e-6  # [m] of the coarse stage
_MOST_SAMPLES: Final = 20_000_000  # of a section: 80 MB of counts


def run_parameters(run: Run) -> RunParameters:
    """The constants that the analysis needs, as the run file states them.

    Of a run that was joined of two files some may be unknown: their place is taken by what gives no wrong result but
    those that `results_of` then leaves out. The capacity, which decides what charge is negligible, is the record's own.
    """
    parameters = run.parameters
    charge = run.cell["charge"].values
    passed = float(np.nanmax(charge) - np.nanmin(charge)) if charge.size else 0.0
    return RunParameters(
        thickness=float(parameters["specimen"].get("thickness_m", 1.0)),
        curve=approach_curve(pipette_of(parameters["pipette"])),
        capacity=float(parameters["specimen"].get("capacity_C", passed)),
        tip_potential=float(parameters["pipette"].get("bias_V", 0.0)),
        sample_period=run.dt_ns * 1e-9,
        particle_radius=_titrated_radius(parameters),
    )


def _titrated_radius(parameters: Mapping[str, Any]) -> float | None:
    """Radius [m] of the spheres of one size that have the specimen's surface per volume, which a titration sees."""
    radius, spread = _leaf(parameters, "particle_radius"), _leaf(parameters, "particle_radius_spread")
    return radius * float(np.exp(-0.5 * spread**2)) if radius and spread else radius


def _leaf(parameters: Mapping[str, Any], name: str) -> float | None:
    """A leaf of the parameter set in SI, None where it is not stated."""
    leaf = parameters.get("set", {}).get("leaves", {}).get(name)
    return float(leaf["value"]) * factor(str(leaf["unit"])) if leaf else None


def results_of(run: Run) -> list[Result]:
    """All results that apply to a run, with what its calibrations give them; an older run has the usual ones."""
    if not run.parameters:
        reason = "it was interrupted before its header was written: nothing was measured"
        return [failed("run", "1", "", "interrupted before it began", reason)]
    calibration, unknown = stored_calibration(run.parameters.get("calibration")), _unknown(run)
    # A run of two measured files has no experiment that would say which steps the pipette made.
    families = [family for family in FAMILIES if family is not pipette_results or not is_of_files(run)]
    found = (_without_unknown(result, unknown) for family in families for result in family(run))
    return calibrated(found, calibration)


def is_of_files(run: Run) -> bool:
    """Whether the run was joined of two measured files (`opsicm join`)."""
    return "clock_offset_s" in run.provenance


# What a run of measured files may lack, by its place in the run's parameters; the results that are made of it; and the
# option of `opsicm join` that states it.
_NEEDED: Final = (
    ("specimen", "thickness_m", "thickness of the specimen", ("expansion",), "--thickness-um"),
    ("pipette", "radius_m", "radius of the pipette", ("height_cross_talk", "near_surface"), "--radius-nm"),
)


def _unknown(run: Run) -> list[tuple[str, tuple[str, ...], str]]:
    parameters = run.parameters
    return [
        (what, names, option) for group, key, what, names, option in _NEEDED if key not in parameters.get(group, {})
    ]


def _without_unknown(result: Result, unknown: list[tuple[str, tuple[str, ...], str]]) -> Result:
    """The result, without its value where it is made of what nobody has stated."""
    for what, names, option in unknown:
        if result.value is not None and result.name.startswith(names):
            reason = f"the {what} is not known: join the files again with {option}"
            return failed(result.name, result.unit, result.method, "not stated", reason, result.of, result.index)
    return result


def thickness_of(run: Run) -> float:
    """The specimen's thickness [m]; NaN where it is not stated."""
    return float(run.parameters["specimen"].get("thickness_m", float("nan")))


def _operando_results(run: Run) -> list[Result]:
    return operando_results(run.hops, run.cell, run.slow, run_parameters(run))


def _section_of(run: Run) -> list[Result]:
    """The section of the line, or of the hops at a point, at the largest cell current; without one, in the middle."""
    hops = run.hops
    good = np.flatnonzero(hops["outcome"].values == 0)
    if good.size < _SECTION_HOPS:
        return []
    cell_current = hops["cell_current"].values[good]
    flows = float(np.max(np.abs(cell_current))) > _FLOWS * noise_from_differences(cell_current)
    worst = good[int(np.argmax(np.abs(cell_current))) if flows else good.size // 2]
    return section_at(hops, int(worst), run.counts, template_of(run))


Counts = Callable[
    [int, tuple[str, ...], int, int], tuple[NDArray[np.int16], tuple[Channel, ...], NDArray[np.int64]] | None
]
"""Reads raw samples as `Run.counts` does: of a stored run, or of one in progress."""


def section_at(hops: xr.Dataset, at: int, counts: Counts, template: Template) -> list[Result]:
    """The section of the line of hop `at`, or of the hops nearest to it where they are all at one point.

    [] where fewer than three made contact, or where their samples are too many or were not kept in full.
    """
    chosen = hops_of_section(hops, at)
    fall, stop = (hops[name].values[chosen] for name in ("sample_fall", "sample_stop"))
    if chosen.size < 3 or int(stop.max()) + 1 - int(fall.min()) > _MOST_SAMPLES:
        return []
    sampled = sampled_approaches(hops, chosen, counts)
    if sampled is None:
        return []
    samples, approaches, chosen = sampled
    x, y = (hops[name].values[chosen] for name in ("x", "y"))
    return section_results(samples, approaches, template, np.hypot(x - x[:1], y - y[:1]), chosen)


def hops_of_section(hops: xr.Dataset, at: int) -> NDArray[np.int64]:
    """The hops in contact of the line of hop `at`, or the twenty nearest to it at one point, in order of time."""
    good = np.flatnonzero(hops["outcome"].values == 0)
    line, segment = int(hops["line"].values[at]), int(hops["segment"].values[at])
    chosen: NDArray[np.int64] = good[hops["segment"].values[good] == segment]
    if np.unique(hops["pixel"].values[chosen]).size > 1:
        of_line: NDArray[np.int64] = chosen[hops["line"].values[chosen] == line]
        return of_line
    return np.sort(chosen[np.argsort(np.abs(chosen - at), kind="stable")[:_SECTION_HOPS]])


def sampled_approaches(
    hops: xr.Dataset, chosen: NDArray[np.int64], counts: Counts
) -> tuple[RawSamples, Approaches, NDArray[np.int64]] | None:
    """The approaches of the hops `chosen`, all of one segment, as raw samples that rise with height and current.

    With them those of `chosen` whose samples are whole. None where pipette current or z were not kept in full.
    """
    fall, stop = (hops[name].values[chosen] for name in ("sample_fall", "sample_stop"))
    first, last = int(fall.min()), int(stop.max()) + 1
    kept = counts(int(hops["segment"].values[chosen[0]]), ("pipette_current", "z"), first, last)
    if kept is None:
        return None
    words, (current, z), lost = kept
    intact = np.array([not np.any((lost[:, 0] <= b) & (lost[:, 1] > a)) for a, b in zip(fall, stop, strict=True)])
    chosen, fall, stop = chosen[intact], fall[intact], stop[intact]
    if not chosen.size:
        return RawSamples(words, 0, 1, current.scale, current.offset, z.scale, z.offset), _NO_APPROACHES, chosen
    # The kernels search for decreasing currents: take the sign of the reference out.
    sign = -1.0 if float(np.median(hops["i_ref"].values[chosen])) < 0.0 else 1.0
    reference, setpoint = sign * hops["i_ref"].values[chosen], hops["setpoint"].values[chosen]
    samples = RawSamples(words, 0, 1, current.scale, current.offset, z.scale, z.offset).rising(sign)
    return samples, Approaches(fall - first, stop - first + 1, reference, setpoint), chosen


_NONE: Final = np.empty(0, np.int64)
_NO_APPROACHES: Final = Approaches(_NONE, _NONE, np.empty(0), np.empty(0))


# Families of results, in the order in which they are listed. A new family needs a line here.
FAMILIES: Final[tuple[Callable[[Run], list[Result]], ...]] = (_operando_results, pipette_results, _section_of)


def template_of(run: Run) -> Template:
    """The finite-element curve of the run's pipette."""
    return template_for(pipette_of(run.parameters["pipette"]))


def template_for(pipette: Pipette) -> Template:
    """The finite-element curve of a pipette: what an approach is predicted to be."""
    return tabulate(approach_curve(pipette).relative_current, "finite-element curve")


def pipette_of(p: Mapping[str, float]) -> Pipette:
    """The pipette as far as it is stated, else of the usual shape."""
    keys = {"radius": "radius_m", "wall": "wall", "cone_angle": "cone_angle_rad", "length": "length_m"}
    return Pipette(**{name: float(p[key]) for name, key in keys.items() if key in p})


def views_of(run: Run, results: list[Result], choice: ImageChoice | None = None) -> list[View]:
    """The figures that apply to a run; `choice` how its images are looked at."""
    hops, cell, slow = run.hops, run.cell, run.slow
    passes = step_passes(hops, slow)
    views = [figures.run_time_view(hops, cell, slow, passes)]
    good = np.flatnonzero(hops["outcome"].values == 0)
    frames = images_of(hops, slow) if good.size else []
    swept = programmed_voltammogram(cell, slow)
    # Images have their own figure against potential.
    if not frames and any(one.returned for one in passes):
        thickness = thickness_of(run)
        views.append(figures.potential_view(hops, cell, passes, thickness))
        against_charge = figures.charge_view(cell, passes, thickness)
        views += [against_charge] if against_charge is not None else []
    if good.size:
        views += image_views(frames, cell, results, choice or ImageChoice()) if frames else []
        # Only of a run with one hopping step: many segments would have as many of these figures.
        checks = [r.trace for r in results if r.name == "ten_hop_bulk_change" and not r.of.step]
        setpoint = float(hops["setpoint"].values[good[0]])
        views += [figures.ten_hop_view(trace, setpoint) for trace in checks if isinstance(trace, xr.DataArray)]
        middle = int(good[good.size // 2])
        samples = run.trace(middle)
        if {"pipette_current", "z"} <= set(samples):  # kept in full
            columns = ("i_ref", "z_stop", "t_ns", "setpoint", "outcome")
            record = {name: float(hops[name].values[middle]) for name in columns}
            views.append(figures.hop_view(samples, {**record, "hop": middle}))
    if swept is not None:
        # The pipette current belongs beside the cell's only where the pipette stood still.
        if good.size or float(np.ptp(slow["coarse_z"].values)) > _STANDS:
            swept = swept.drop_vars("pipette")
        swept.attrs["potential"] = "potential of the program vs Li/Li+"
        views.append(voltammogram_view(swept, peak_marks(results)))
    return views + [view for view in views_of_traces(results) if swept is None or view.name != "voltammogram"]


def movie_of(run: Run, results: list[Result], choice: ImageChoice | None = None) -> list[View]:
    """The frames of a run's movie: of its images, or of its line; [] where it has neither."""
    frames = images_of(run.hops, run.slow)
    if frames:
        return image_movie(frames, run.cell, choice or ImageChoice())
    lines = [r.trace for r in results if r.name == "kymograph_largest_change" and isinstance(r.trace, xr.DataArray)]
    return line_frames(lines[0]) if lines else []
