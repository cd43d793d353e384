"""The figures of the page, made of a snapshot by the functions that make the report's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import xarray as xr

from opsicm.analysis.hops.expansion import height_changes, kymograph
from opsicm.analysis.hops.height_change import StepPasses, step_passes
from opsicm.analysis.hops.series import coarse_heights
from opsicm.analysis.pipette.towers import tower_image
from opsicm.analysis.topography.image_series import LEVELLING, levelled_for_view
from opsicm.analysis.topography.raster import image_so_far
from opsicm.console.sampled_figures import Sampled
from opsicm.console.snapshot import Snapshot
from opsicm.console.wire import PageFigure
from opsicm.core.errors import OpsicmError, OutsideDomain
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.probe_steps import Landmark, LineScan, Raster, SingleProbeStep, Tower
from opsicm.experiment.program import written_steps
from opsicm.figures.cell import voltammogram_view
from opsicm.figures.hops import line_view, program_potential, run_time_view
from opsicm.figures.images import image_series_view
from opsicm.figures.towers import tower_profiles_view, traverses_view
from opsicm.figures.view import ImagePanel, thinned, time_text
from opsicm.instruments.clock import monotonic_ns, stopwatch
from opsicm.results.pipette_steps import tower_rows
from opsicm.results.probe_intervals import ProbeInterval, intervals_of

Levelling = Literal["none", "plane", "parabola"]
_FEWEST_ROWS: Final = 2  # of the cell, for a curve
_NO_CURRENT: Final = 1e-12  # [A] of a cell
_MOST_ROWS: Final = 3000  # of the cell's current against potential
_OVER_TIME: Final = 3.0  # times as long as the figure against time took to make none is made


class OverTime:
    """The figure of the whole run against time, and the passes over its points that it is made of.

    They take longer with every hop, half a second for those of a night: while a run goes on they are made again for a
    quarter of the time at most, so that the figures of the present keep their pace.
    """

    def __init__(self) -> None:
        self._made: tuple[list[StepPasses], PageFigure] | None = None
        self._due_ns = 0
        self._behind = False

    @property
    def overdue(self) -> bool:
        """Whether the last one that was given was an earlier one, and a new one may be made by now."""
        return self._behind and monotonic_ns() >= self._due_ns

    def of(self, seen: Snapshot, in_motion: bool) -> tuple[list[StepPasses], PageFigure]:
        """(passes, figure) of the snapshot; `in_motion`: of an earlier one where it is too early for another."""
        self._behind = in_motion and self._made is not None and monotonic_ns() < self._due_ns
        if self._made is None or not self._behind:
            elapsed = stopwatch()
            passes = step_passes(seen.hops, seen.slow)
            view = run_time_view(seen.hops, seen.cell, seen.slow, passes)
            self._made = passes, PageFigure(view, _begin(seen))
            self._due_ns = monotonic_ns() + round(_OVER_TIME * elapsed() * 1e9)
        return self._made


def _begin(seen: Snapshot) -> float:
    """Where an axis of the run's time has its zero [s]."""
    return float(seen.cell["t_ns"].values[0]) * 1e-9 if seen.cell.sizes["row"] else 0.0


def views_of(
    seen: Snapshot,
    levelling: Levelling,
    sampled: Sampled | None = None,
    in_motion: bool = False,
    over_time: OverTime | None = None,
) -> dict[str, PageFigure]:
    """The figures by their place on the page: `map`, `time`, `cell`, and of the samples `hop`, `approach`, `section`.

    A place that has nothing to show yet has no figure; `sampled` makes those of the samples (None: they are left out)
    and `over_time` that of the whole run, for which see what `in_motion` does.
    """
    passes, time = (over_time or OverTime()).of(seen, in_motion)
    begin = _begin(seen)
    figures = {"time": time}
    if (current := _current_against_potential(seen.cell)) is not None:
        figures["cell"] = current
    if (tower := _present_tower(seen)) is not None:
        return figures | _tower(seen, tower)
    if (where := _map(seen, passes, levelling, begin)) is not None:
        figures["map"] = where
    return figures if sampled is None else figures | sampled.figures(seen, in_motion)


def _current_against_potential(cell: xr.Dataset) -> PageFigure | None:
    """Cell current against potential of all slow rows so far; None without a current."""
    current = cell["current"].values
    if current.size < _FEWEST_ROWS or float(np.max(np.abs(current))) < _NO_CURRENT:
        return None
    rows = thinned(np.arange(current.size, dtype=np.float64), current, _MOST_ROWS)[0].astype(np.int64)
    rows = np.union1d(rows, current.size - 1)  # the last one is where the cell is now
    cell, current = cell.isel(row=rows), current[rows]
    potential, name = program_potential(cell, cell["t_ns"].values)
    table = xr.Dataset(
        {"potential": ("row", potential), "current": ("row", current), "sweep": ("row", np.zeros(current.size, int))},
        attrs={"potential": f"{name} vs Li/Li+"},
    )
    view = voltammogram_view(table, {}, "Cell current against potential")
    view = replace(view, name="current_potential", caption="All slow rows so far.")
    return PageFigure(view, points=1e-9 * cell["t_ns"].values)


# -- what the probe sees where -------------------------------------------------------------------------------------


def _present_tower(seen: Snapshot) -> ProbeInterval | None:
    """The tower that the probe is in, or was in last; None where it has hopped since."""
    steps = {path: step for path, step in _steps(seen.experiment_text).items() if isinstance(step, Tower)}
    towers = intervals_of(steps, seen.facts, round(seen.t * 1e9)) if steps else []
    hopped = int(seen.hops["t_ns"].values[-1]) if seen.hops.sizes["hop"] else -1
    return towers[-1] if towers and towers[-1].start_ns > hopped else None


def _tower(seen: Snapshot, tower: ProbeInterval) -> dict[str, PageFigure]:
    """The current over height and time, and its profiles against height."""
    t, height, pipette, cell_current, potential = tower_rows(seen.slow, seen.cell, tower)
    trace = tower_image(t, height, pipette, cell_current, potential)
    if trace is None:
        return {}
    view = traverses_view(trace)
    image = next(panel for panel in view.panels if isinstance(panel, ImagePanel))
    others = tuple(panel for panel in view.panels if not isinstance(panel, ImagePanel))
    growing = "The last column is the traverse under way; it stands where its middle will be."
    words = growing if trace.attrs["under_way"] else ""
    view = replace(view, title=f"{tower.path} tower", panels=(image, *others), caption=words)
    # From the last traverses to the first: whole ones are all but perhaps the last.
    named = {"first": 0, "the one before": trace.sizes["time"] - 2, "last": trace.sizes["time"] - 1}
    chosen = {name: k for name, k in named.items() if k > 0 or name == "first"}
    profiles = {name: (trace["height"].values, trace.values[k]) for name, k in chosen.items()}
    section = tower_profiles_view(profiles, "Profiles of the tower: current against height")
    section = replace(section, caption="A tower stands at one place: it has no section over x and z.")
    return {"map": PageFigure(view, 0.0), "section": PageFigure(section)}


def _map(seen: Snapshot, passes: list[StepPasses], levelling: Levelling, begin: float) -> PageFigure | None:
    """What the hops see where: an image that grows, a line over time, or the height of a point over time."""
    if not seen.hops.sizes["hop"]:
        return None
    path = str(seen.hops["step"].values[-1])
    of_step = np.flatnonzero(seen.hops["step"].values == path)
    together = of_step.size == of_step[-1] - of_step[0] + 1  # as nearly always: then they need no copy
    hops = seen.hops.isel(hop=slice(int(of_step[0]), int(of_step[-1]) + 1) if together else of_step)
    step = _steps(seen.experiment_text).get(path)
    if isinstance(step, Raster | Landmark):
        return _image(hops, seen.slow, path, step, levelling)
    if isinstance(step, LineScan):
        # Heights of two segments stand on two coarse heights: the line is that of the last segment.
        hops = hops.isel(hop=np.flatnonzero(hops["segment"].values == hops["segment"].values[-1]))
        lines = kymograph(hops)
        if not lines.complete.size:
            return None
        changes = height_changes(lines)
        return PageFigure(line_view(changes, f"{path} line"), float(changes["t"].values[0]))
    known = [one for one in passes if path in one.step.split(", ")]
    if not any(one.returned for one in known):
        return None
    view = run_time_view(hops, seen.cell, seen.slow, known)
    return PageFigure(replace(view, name="point", title=f"{path} height at the point", panels=view.panels[:1]), begin)


def _image(
    hops: xr.Dataset, slow: xr.Dataset, path: str, step: Raster | Landmark, levelling: Levelling
) -> PageFigure | None:
    columns, rows = step.pixels
    # Along and across the rows about the centre, as a frame of the report has them.
    x, y = (
        middle + size * (np.arange(count) / (count - 1) - 0.5) if count > 1 else np.array([middle])
        for middle, size, count in zip(step.center, step.size, step.pixels, strict=True)
    )
    rotation = step.rotation if isinstance(step, Raster) else 0.0
    coarse = coarse_heights(hops, slow)
    made = [image_so_far(hops, coarse, x, y, rotation, back) for back in (1, 0)]
    images = [one for one in made if one is not None]
    if made[1] is None:
        return None
    stack, how = np.stack([one.values for one in images]), LEVELLING[levelling]
    try:
        heights = levelled_for_view(stack, levelling)
    except OutsideDomain:
        heights, how = levelled_for_view(stack, "none"), f"Not levelled: too few pixels yet for a {levelling}."
    seconds = float(hops["t_ns"].values[-1]) * 1e-9
    number = int(hops["line"].values[-1]) // rows + 1
    reached = int(np.isfinite(made[1].values).sum())
    labels = [f"image {number - 1}, the one before", f"image {number}: {reached} of {columns * rows} pixels"]
    shown = [
        (label, image.copy(data=values))
        for label, image, values in zip(labels[-len(images) :], images, heights, strict=True)
    ]
    view = image_series_view(shown, f"{path} {step.word} at {time_text(seconds, seconds)}", how, columns=1)
    t = 1e-9 * hops["t_ns"].values
    pixels = tuple(np.where(image["hop"].values >= 0, t[image["hop"].values], np.nan) for image in images)
    numbers = hops["line"].values // rows
    begins = t[np.flatnonzero(np.diff(numbers, prepend=-1) > 0)]
    return PageFigure(view, pixels=pixels, images=begins)


@lru_cache(maxsize=4)
def _steps(experiment_text: str) -> Mapping[str, SingleProbeStep]:
    """The probe's steps by path; none where the experiment cannot be read."""
    try:
        program = experiment_from_text(experiment_text, "experiment of the run").experiment.probe
    except OpsicmError:
        return {}
    return {placed.path: placed.step for placed in written_steps("probe", program)}
