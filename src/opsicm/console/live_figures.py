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
from opsicm.analysis.topography.image_series import LEVELLING, levelled_for_view
from opsicm.analysis.topography.raster import image_so_far
from opsicm.console.snapshot import Snapshot
from opsicm.core.errors import OpsicmError, OutsideDomain
from opsicm.experiment.file import experiment_from_text
from opsicm.experiment.probe_steps import Landmark, LineScan, Raster, SingleProbeStep
from opsicm.experiment.program import written_steps
from opsicm.figures.cell import voltammogram_view
from opsicm.figures.hops import hop_view, line_view, program_potential, run_time_view
from opsicm.figures.images import image_series_view
from opsicm.figures.view import View, time_text

Levelling = Literal["none", "plane"]
_FEWEST_ROWS: Final = 2  # of the cell, for a curve
_NO_CURRENT: Final = 1e-12  # [A] of a cell


def views_of(seen: Snapshot, levelling: Levelling) -> dict[str, View]:
    """The figures that can be drawn, by their place on the page: `map`, `time`, `cell`, `hop`."""
    passes = step_passes(seen.hops, seen.slow)
    views = {"time": run_time_view(seen.hops, seen.cell, seen.slow, passes)}
    if (current := _current_against_potential(seen.cell)) is not None:
        views["cell"] = current
    if (where := _map(seen, passes, levelling)) is not None:
        views["map"] = where
    if {"pipette_current", "z"} <= set(seen.samples):
        last = seen.hops.isel(hop=-1)
        record = {name: float(last[name].values) for name in ("i_ref", "z_stop", "t_ns", "setpoint")}
        views["hop"] = hop_view(seen.samples, {**record, "hop": float(last["number"].values)})
    return views


def _current_against_potential(cell: xr.Dataset) -> View | None:
    """Cell current against potential of all slow rows so far; None without a current."""
    current = cell["current"].values
    if current.size < _FEWEST_ROWS or float(np.max(np.abs(current))) < _NO_CURRENT:
        return None
    potential, name = program_potential(cell, cell["t_ns"].values)
    rows = xr.Dataset(
        {"potential": ("row", potential), "current": ("row", current), "sweep": ("row", np.zeros(current.size, int))},
        attrs={"potential": f"{name} vs Li/Li+"},
    )
    view = voltammogram_view(rows, {}, "Cell current against potential")
    return replace(view, name="current_potential", caption="All slow rows so far.")


def _map(seen: Snapshot, passes: list[StepPasses], levelling: Levelling) -> View | None:
    """What the probe sees where: an image that grows, a line over time, or the height of a point over time."""
    if not seen.hops.sizes["hop"]:
        return None
    path = str(seen.hops["step"].values[-1])
    hops = seen.hops.isel(hop=np.flatnonzero(seen.hops["step"].values == path))
    step = _steps(seen.experiment_text).get(path)
    if isinstance(step, Raster | Landmark):
        return _image(hops, seen.slow, path, step, levelling)
    if isinstance(step, LineScan):
        # Heights of two segments stand on two coarse heights: the line is that of the last segment.
        hops = hops.isel(hop=np.flatnonzero(hops["segment"].values == hops["segment"].values[-1]))
        lines = kymograph(hops)
        return line_view(height_changes(lines), f"{path} line") if lines.complete.size else None
    of_step = [one for one in passes if path in one.step.split(", ")]
    if not any(one.returned for one in of_step):
        return None
    view = run_time_view(hops, seen.cell, seen.slow, of_step)
    return replace(view, name="point", title=f"{path} height at the point", panels=view.panels[:1])


def _image(hops: xr.Dataset, slow: xr.Dataset, path: str, step: Raster | Landmark, levelling: Levelling) -> View | None:
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
        heights, how = levelled_for_view(stack, "none"), "Too few pixels yet for a plane."
    seconds = float(hops["t_ns"].values[-1]) * 1e-9
    number = int(hops["line"].values[-1]) // rows + 1
    reached = int(np.isfinite(made[1].values).sum())
    labels = [f"image {number - 1}, the one before", f"image {number}: {reached} of {columns * rows} pixels"]
    shown = [
        (label, image.copy(data=values))
        for label, image, values in zip(labels[-len(images) :], images, heights, strict=True)
    ]
    return image_series_view(shown, f"{path} {step.word} at {time_text(seconds, seconds)}", how, columns=1)


@lru_cache(maxsize=4)
def _steps(experiment_text: str) -> Mapping[str, SingleProbeStep]:
    """The probe's steps by path; none where the experiment cannot be read."""
    try:
        program = experiment_from_text(experiment_text, "experiment of the run").experiment.probe
    except OpsicmError:
        return {}
    return {placed.path: placed.step for placed in written_steps("probe", program)}
