"""The figures of the paper, drawn from an experiment's runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.pipette.towers import profile_at
from opsicm.analysis.topography.image_series import LEVELLING, levelled_for_view
from opsicm.core.errors import OutsideDomain
from opsicm.figures import hops as hop_figures
from opsicm.figures import images as image_figures
from opsicm.figures import pipette as pipette_figures
from opsicm.figures import towers as tower_figures
from opsicm.figures.draw import draw, save
from opsicm.figures.movie import line_frames, write_movie
from opsicm.figures.view import View
from opsicm.reproduction.evaluation import heights as height_evaluation
from opsicm.reproduction.evaluation import images as image_evaluation
from opsicm.reproduction.evaluation import pipettes as pipette_evaluation
from opsicm.reproduction.evaluation import towers as tower_evaluation
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.reproduction.variants import AS_DECLARED, STRIP, SWITCHED_OFF

_TRIP_s: Final = 11.0  # up and down 2.5 mm at 0.5 mm/s, and the turns, so that every column has rows
NamedViews = Iterator[tuple[str, View]]


class PaperFigures:
    """Draws the figures of experiments into `folder`, as SVG and PNG; keeps the paths in `drawn`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.drawn: list[Path] = []

    def draw(self, experiment: str, runs: ExperimentRuns) -> None:
        """All figures of one experiment."""
        for name, view in _VIEWS[experiment](runs):
            self.drawn += save(draw(view), self.folder / name)
        if experiment == "E10":
            change = runs.of()[0].result("kymograph_largest_change")
            if isinstance(change.trace, xr.DataArray):
                self.drawn.append(write_movie(line_frames(change.trace), self.folder / "figure_5_movie.gif"))


def parked_record(run: AnalysedRun, label: str) -> pipette_figures.ParkedPipette:
    """The slow rows of a run; with the program's potential in rows where one was controlled."""
    cell = run.run.cell
    t_ns = cell["t_ns"].values
    swept = cell["control"].values == "potential"
    potential = np.where(swept, cell["set_point"].values, cell["potential"].values)
    pipette = run.run.slow["pipette_current"].values
    # The first row precedes the first cell current.
    return pipette_figures.ParkedPipette(
        label, t_ns * 1e-9, potential, pipette, cell["current"].values, float(pipette[0])
    )


def _controlled_rows(one: pipette_figures.ParkedPipette, run: AnalysedRun) -> pipette_figures.ParkedPipette:
    kept = run.run.cell["control"].values == "potential"
    rows = (one.t[kept], one.potential[kept], one.pipette[kept], one.cell[kept])
    return pipette_figures.ParkedPipette(one.label, *rows, one.rest)


def _swept_record(run: AnalysedRun, label: str) -> pipette_figures.ParkedPipette:
    return _controlled_rows(parked_record(run, label), run)


def _contributions(
    runs: ExperimentRuns, title: str, record_of: Callable[[AnalysedRun, str], pipette_figures.ParkedPipette]
) -> NamedViews:
    parts = [(AS_DECLARED, runs.of()[:1]), *((term, runs.of(term)[:1]) for term in SWITCHED_OFF)]
    chosen = [
        record_of(run, "all terms" if name == AS_DECLARED else name) for name, variant in parts for run in variant
    ]
    if len(chosen) > 1:
        yield (
            f"made_of_{title.rpartition('(')[2].rstrip(')')}",
            pipette_figures.contributions_view(chosen, title, against_potential=record_of is _swept_record),
        )


def _e1(runs: ExperimentRuns) -> NamedViews:
    chosen = runs.of()
    first = chosen[0].run.parameters["pipette"]["radius_m"]
    same = [run for run in chosen if run.run.parameters["pipette"]["radius_m"] == first]
    curves = [(f"{run.value('salt_M'):g} M", *_thinned(run)) for run in same]
    whole = pipette_evaluation.line_of(chosen)
    points = [(f"{np.unique(whole.c).size} concentrations", whole.c, whole.current)]
    lines = []
    for low, high in pipette_evaluation.RANGES.values():
        line = pipette_evaluation.line_of([run for run in chosen if low <= float(run.value("salt_M")) <= high])
        c = np.linspace(line.c.min(), line.c.max(), 60)
        lines.append((f"R² {line.r_squared:.3f}, {low:g}–{high:g} M", c, line.at(c), line.band(c)))
    yield "figure_2", pipette_figures.calibration_view(curves, points, lines, pipette_evaluation.BIAS)


def _e2(runs: ExperimentRuns) -> NamedViews:
    chosen = [_swept_record(run, f"{float(run.value('height_um')):g} µm") for run in runs.of()]
    yield (
        "figure_3ab",
        pipette_figures.parked_voltammograms_view(chosen, "Voltammograms with the pipette at four distances (E2)"),
    )
    yield from _contributions(runs, "Contributions to the signal: voltammogram (E2)", _swept_record)


def _e3(runs: ExperimentRuns) -> NamedViews:
    chosen = [_swept_record(run, f"{float(run.value('rate_mV_s')):g} mV/s") for run in runs.of()]
    yield "figure_s4", pipette_figures.parked_voltammograms_view(chosen, "Voltammograms at several scan rates (E3)")


def _e4(runs: ExperimentRuns) -> NamedViews:
    yield "figure_3cd", pipette_figures.parked_time_view(parked_record(runs.of()[0], ""), "Constant current (E4)")
    yield from _contributions(runs, "Contributions to the signal: constant current (E4)", parked_record)


def _e5(runs: ExperimentRuns) -> NamedViews:
    yield "figure_3e", pipette_figures.parked_time_view(parked_record(runs.of()[0], ""), "Pulses and rests (E5)")
    yield from _contributions(runs, "Contributions to the signal: pulses (E5)", parked_record)


def _image_series_view(
    runs: ExperimentRuns, title: str, labels: Callable[[int, float], str], columns: int
) -> View | None:
    frames, potential = image_evaluation.frames_of(runs.of()[0])
    if not frames:
        return None
    stack = levelled_for_view(np.array([frame.values for frame in frames]), "first-plane")
    named = [
        (labels(k, float(e)), frame.copy(data=image))
        for k, (e, frame, image) in enumerate(zip(potential, frames, stack, strict=True))
    ]
    return image_figures.image_series_view(named, title, LEVELLING["first-plane"], columns)


def _e6(runs: ExperimentRuns) -> NamedViews:
    view = _image_series_view(runs, "Images at held potentials (E6)", lambda _, e: f"{e:.1f} V", 5)
    if view is not None:
        yield "figure_4a", view
    yield from _sections(
        runs.with_variant_as_declared(STRIP), "figure_4b", "Current above the surface at a held potential (E6)"
    )


def _e7(runs: ExperimentRuns) -> NamedViews:
    names = ("SOC 0 %", "SOC 100 %", "SOC 0 % again")
    view = _image_series_view(
        runs, "Images at open circuit (E7)", lambda k, _: names[k] if k < len(names) else str(k), 3
    )
    if view is not None:
        yield "figure_4c", view
    yield from _sections(runs, "figure_4d", "Current above the surface at open circuit (E7)")


def _e8(runs: ExperimentRuns) -> NamedViews:
    frames, _ = image_evaluation.frames_of(runs.of()[0])
    if not frames:
        return
    frame = frames[-1]
    try:
        edge = image_evaluation.edge_of(frame)
    except OutsideDomain:
        return
    x = frame["x"].values - frame["x"].values[int(np.argmax(edge.profile))]
    view = image_figures.step_view(frame.copy(data=edge.levelled), x, edge.profile, edge.levels, "Step edge (E8)")
    yield "figure_s6", view


def _e9(runs: ExperimentRuns) -> NamedViews:
    run = runs.of()[0].run
    one = parked_record(runs.of()[0], "")
    good = run.hops.isel(hop=np.flatnonzero(run.hops["outcome"].values == 0))
    yield (
        "figure_5b",
        hop_figures.point_view(
            good["t_ns"].values * 1e-9,
            good["z_stop"].values,
            good["i_ref"].values,
            one.t,
            one.potential,
            height_evaluation.share_of_lithiation(run.cell, float(good["t_ns"].values[0]) * 1e-9),
            one.cell,
            "One point during a voltammogram (E9)",
        ),
    )
    change = runs.of()[0].result("ten_hop_bulk_change")
    if isinstance(change.trace, xr.DataArray):
        yield "figure_5b_ten_hops", hop_figures.ten_hop_view(change.trace, float(good["setpoint"].values[0]))


def _e10(runs: ExperimentRuns) -> NamedViews:
    first = runs.of()[0]
    change = first.result("kymograph_largest_change")
    if isinstance(change.trace, xr.DataArray):
        yield "figure_5d", hop_figures.line_view(change.trace, "One line during a voltammogram (E10)")
    yield from _sections(runs, "figure_5e", "Current above the line, difference from each approach's mode (E10)")


def _sections(runs: ExperimentRuns, name: str, title: str) -> NamedViews:
    section = runs.of()[0].result("near_surface_difference") if runs.of() else None
    if section is not None and isinstance(section.trace, xr.Dataset):
        yield name, image_figures.section_view(section.trace, title)


def _e11(runs: ExperimentRuns) -> NamedViews:
    run = runs.of()[0].run
    begin = _travels_from(runs.of()[0])
    t, z, i = run.slow["t_ns"].values * 1e-9 - begin, run.slow["coarse_z"].values, run.slow["pipette_current"].values
    cell_t = run.cell["t_ns"].values * 1e-9 - begin
    potential = tower_evaluation.program(run.cell["set_point"].values)
    cell = run.cell["current"].values
    moment_times = tower_evaluation.moments(t, np.interp(t, cell_t, potential), np.interp(t, cell_t, cell)).times
    travels, during = np.flatnonzero(t >= 0.0), cell_t >= 0.0
    t, z, i = t[travels], z[travels], i[travels]
    heights = (0.1e-3, 1.35e-3, 2.6e-3)
    shown = cell_t[during], potential[during], cell[during]
    yield "figure_6ab", tower_figures.tower_time_view(t, z, i, *shown, heights, moment_times, _TRIP_s)
    edges = np.linspace(0.05e-3, 2.65e-3, 27)
    profiles = {}
    for name, moment in moment_times.items():
        profile = profile_at(t, z, i, moment, 6.0, edges)
        seen = profile.number > 0
        if seen.any():
            profiles[name] = profile.height[seen], profile.current[seen]
    if profiles:
        yield "figure_6c", tower_figures.tower_profiles_view(profiles)
    yield from _contributions(runs, "Contributions to the signal: 0.1 mm above the specimen (E11)", _near_record)


def _travels_from(run: AnalysedRun) -> float:
    """When the coarse stage starts to travel [s]: one trip before its first row away from the specimen."""
    t, z = run.run.slow["t_ns"].values * 1e-9, run.run.slow["coarse_z"].values
    away = np.flatnonzero(z > tower_evaluation.NEAR + 0.05e-3)
    return max(float(t[0]), float(t[away[0]]) - _TRIP_s) if away.size else float(t[0])


def _near_record(run: AnalysedRun, label: str) -> pipette_figures.ParkedPipette:
    """The rows with the travelling pipette near the specimen, from its first trip on."""
    one = parked_record(run, label)
    begin = _travels_from(run)
    kept = (one.t >= begin) & (np.abs(run.run.slow["coarse_z"].values - tower_evaluation.NEAR) < 0.05e-3)
    rows = (one.t[kept] - begin, one.potential[kept], one.pipette[kept], one.cell[kept])
    return pipette_figures.ParkedPipette(label, *rows, one.rest)


def _thinned(run: AnalysedRun) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(bias, current) of a pipette voltammogram in about two hundred points."""
    bias, current = pipette_evaluation.bias_sweep(run)
    step = max(1, bias.size // 200)
    return bias[::step], current[::step]


def _e12(runs: ExperimentRuns) -> NamedViews:
    chosen = runs.of()
    radius = np.array([float(run.run.parameters["pipette"]["radius_m"]) for run in chosen])
    order = np.argsort(radius)
    curves = [(f"{1e9 * radius[k]:.3g} nm", *_thinned(chosen[k])) for k in order]
    alike = np.flatnonzero(np.abs(radius - np.median(radius)) < 0.1 * np.median(radius))
    resistances = np.array([1.0 / pipette_evaluation.slope_of(chosen[k]) for k in alike])
    middle = chosen[int(np.argmin(np.abs(radius - np.median(radius))))]
    yield "figures_s2_s3", pipette_figures.pipettes_view(curves, resistances, *pipette_evaluation.at_final_bias(middle))


_VIEWS: Final[dict[str, Callable[[ExperimentRuns], NamedViews]]] = {
    "E1": _e1,
    "E2": _e2,
    "E3": _e3,
    "E4": _e4,
    "E5": _e5,
    "E6": _e6,
    "E7": _e7,
    "E8": _e8,
    "E9": _e9,
    "E10": _e10,
    "E11": _e11,
    "E12": _e12,
}
