"""E6, E7 and E8: images of heights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from opsicm.analysis.hops.series import coarse_heights
from opsicm.analysis.result import Result
from opsicm.analysis.topography.flakes import segment_flakes
from opsicm.analysis.topography.image_series import height_change, irreversible_change, levelled_series
from opsicm.analysis.topography.levelling import pixel_grid, plane
from opsicm.analysis.topography.results import image_results
from opsicm.analysis.topography.steps import fit_terraces
from opsicm.cli.rigs import load_rig
from opsicm.core.errors import OutsideDomain
from opsicm.core.facts import Outcome
from opsicm.core.statistics import u_of_median, u_of_rectangle
from opsicm.reproduction.evaluation.estimators import F64, irreversible_share
from opsicm.reproduction.evaluation.rig_drift import height_walk, with_walk
from opsicm.reproduction.evaluation.row_value import alternative, as_row, estimated, missing, row_value
from opsicm.reproduction.open_runs import AnalysedRun, ExperimentRuns
from opsicm.twin.settings import surface as twin_surface

_CLEAR = 0.5e-6, 1.4e-6  # [m] before and behind an edge's rim, where less than a tenth of it remains
_SMALLEST, _FLAKES = 30, 5  # pixels of the smallest flake, and how many make a median
_HEIGHT_NOISE = 1e-9  # [m] of one height, assumed where a run has no repeats


def frames_of(run: AnalysedRun) -> tuple[list[xr.DataArray], F64]:
    """The images of a run in order of time, heights [m], NaN where no contact was; and the potential of each [V].

    Attribute `t` [s] is when the middle of an image was hopped.

    Heights are the scanner's plus the coarse stage's, which stands still within a segment and moves between two.
    """
    hops = run.run.hops
    good = hops["outcome"].values == Outcome.CONTACT
    steps, segments = hops["step"].values, hops["segment"].values
    line, pixel = hops["line"].values.astype(int), hops["pixel"].values.astype(int)
    coarse = coarse_heights(hops, run.run.slow)
    assert coarse is not None, "every run of the twin records its coarse height"
    height = hops["z_stop"].values + coarse
    frames, potentials = [], []
    for segment in np.unique(segments):
        rows = np.flatnonzero(segments == segment)
        if np.unique(line[rows]).size < 3:
            continue
        nx = int(pixel[rows].max()) + 1
        ny = _rows_per_pass(line[rows], hops["y"].values[rows])
        for k in np.unique(line[rows] // ny):
            hopped = rows[(line[rows] // ny == k) & good[rows]]
            image = np.full((ny, nx), np.nan)
            image[line[hopped] % ny, pixel[hopped]] = height[hopped]
            x, y = np.zeros(nx), np.zeros(ny)
            x[pixel[hopped]], y[line[hopped] % ny] = hops["x"].values[hopped], hops["y"].values[hopped]
            middle = 1e-9 * float(np.median(hops["t_ns"].values[hopped]))
            attrs = {"units": "m", "step": str(steps[rows[0]]), "t": middle}
            frames.append(xr.DataArray(image, dims=("y", "x"), coords={"x": x, "y": y}, attrs=attrs))
            potentials.append(float(np.median(hops["cell_potential"].values[hopped])))
    return frames, np.array(potentials)


def _rows_per_pass(line: F64, y: F64) -> int:
    """Rows per pass: up to the line at the y of the first."""
    first = float(y[line == line.min()].mean())
    again = [k for k in np.unique(line)[1:] if abs(float(y[line == k].mean()) - first) < 1e-12]
    return int(again[0] - line.min()) if again else int(line.max() - line.min()) + 1


_ROUGHNESS: Final = {  # the declared reading of Rq, then the others
    "": ("Sq", "raw"),
    "rows, ISO 4287": ("Rq", "raw"),
    "after a plane": ("Sq", "after plane"),
    "after total degree 2": ("Sq", "after total degree 2"),
}


def _Rq_rows(row: str, frame: xr.DataArray) -> list[Result]:
    """Rq of the image's area, and by the other readings."""
    by_name = {(result.name, result.of.part): result for result in image_results(frame)}
    return [alternative(label, as_row(row, by_name[name])) for label, name in _ROUGHNESS.items()]


def _Rq_change(row: str, first: xr.DataArray, second: xr.DataArray) -> list[Result]:
    """Change of Rq between two images of one area, by each reading: what the place adds to both cancels."""
    before, after = ({one.of.part: one for one in _Rq_rows(row, frame)} for frame in (first, second))
    method = "Rq of the second image less that of the first, of the same area; u of the height noise is below 1 nm"
    rows = []
    for label in _ROUGHNESS:
        a, b = before[label].value, after[label].value
        without = before[label] if a is None else after[label]
        rows.append(
            without if a is None or b is None else alternative(label, row_value(row, b - a, None, "µm", method))
        )
    return rows


def _flakes(frame: xr.DataArray) -> Result:
    """Median diameter of the flakes, as circles of equal area."""
    pixel = float(np.ptp(frame["x"].values)) / max(frame.sizes["x"] - 1, 1)
    number = np.bincount(segment_flakes(frame.values, _SMALLEST).ravel())[1:]
    across = 2.0 * pixel * np.sqrt(number / np.pi)
    least = 2.0 * pixel * float(np.sqrt(_SMALLEST / np.pi))
    if across.size < _FLAKES or float(np.median(across)) < 1.5 * least:
        reason = (
            f"{across.size} flakes, and none below {1e6 * least:.2g} µm can be resolved: pixels of {1e6 * pixel:.2g} µm"
        )
        return missing("E6.flakes", f"{reason}; take more pixels")
    u = u_of_median(float(np.std(across)), across.size)
    method = f"watershed of the gradient over {across.size} flakes of {_SMALLEST} pixels and more; u: of a median"
    return row_value("E6.flakes", float(np.median(across)), u, "m", method)


def held_potentials(runs: ExperimentRuns) -> list[Result]:
    """E6: Rq of the printed potentials, mean heights between the stated ones, and where the structure changes."""
    frames, potential = frames_of(runs.of()[0])
    if len(frames) < 3:
        return [missing("E6.Rq_0.7", f"{len(frames)} images in the run")]
    bottom = int(np.argmin(potential))
    down, back = np.arange(len(frames)) <= bottom, np.arange(len(frames)) > bottom
    rows: list[Result] = []

    def frame_at(volts: float, mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> int | None:
        k = int(np.argmin(np.where(mask, np.abs(potential - volts), np.inf)))
        return k if mask[k] and abs(potential[k] - volts) < 0.1 else None

    for row, volts, mask in (
        ("E6.Rq_0.7", 0.7, down),
        ("E6.Rq_0.5", 0.5, down),
        ("E6.Rq_0.3", 0.3, down),
        ("E6.Rq_0.1", 0.1, down),
        ("E6.Rq_back_0.2", 0.2, back),
        ("E6.Rq_back_0.4", 0.4, back),
    ):
        k = frame_at(volts, mask)
        rows += [missing(row, f"no image at {volts:g} V")] if k is None else _Rq_rows(row, frames[k])
    first, second = (frame_at(volts, back) for volts in (0.2, 0.4))
    if first is None or second is None:
        rows.append(missing("E6.Rq_back_change", "no images at 0.2 and 0.4 V on the way back"))
    else:
        rows += _Rq_change("E6.Rq_back_change", frames[first], frames[second])
    rows.append(_flakes(frames[0]))
    stack = levelled_series(np.array([frame.values for frame in frames]))
    ends = [frame_at(1.7, down), frame_at(0.9, down), frame_at(0.1, down), frame_at(0.2, back), frame_at(1.6, back)]
    if any(k is None for k in ends):
        return rows
    a, b, c, d, e = (int(k) for k in ends if k is not None)
    quiet, swell, back_change = (height_change(stack[p], stack[q], _HEIGHT_NOISE) for p, q in ((a, b), (b, c), (d, e)))
    how = f"mean over {swell.pixels} pixels after the first image's plane"
    still = row_value("E6.no_change", 100.0 * quiet.mean / swell.mean, 100.0 * quiet.u / abs(swell.mean), "%", how)
    rows.append(with_walk(still, 100.0 * _walk(runs.of()[0], frames[a], frames[b]) / abs(swell.mean)))
    expansion = row_value("E6.expansion", swell.mean, swell.u, "m", how)
    rows.append(with_walk(expansion, 1e9 * _walk(runs.of()[0], frames[b], frames[c])))
    shrinkage = row_value("E6.shrinkage", back_change.mean, back_change.u, "m", how)
    rows.append(with_walk(shrinkage, 1e9 * _walk(runs.of()[0], frames[d], frames[e])))
    rows.append(_event(stack, potential))
    return rows


def _walk(run: AnalysedRun, before: xr.DataArray, after: xr.DataArray) -> float:
    """By how much [m rms] what holds the pipette wanders from one image to another."""
    return height_walk(run, float(after.attrs["t"]) - float(before.attrs["t"]))


def _event(stack: F64, potential: F64) -> Result:
    """The image whose change from the one before has the largest spread over pixels, counted from the turn."""
    change = np.diff(stack, axis=0)
    uneven = np.nanstd(change, axis=(1, 2))
    k = int(np.argmax(uneven))
    method = (
        f"image with the largest spread over pixels of its change from the image before ({1e9 * uneven[k]:.3g} nm; the "
        f"median of the others {1e9 * float(np.median(np.delete(uneven, k))):.3g} nm): that at "
        f"{potential[k + 1]:.1f} V; 0 is the "
        "image at the lowest potential, 1 the next one on the way back; u: half an image as a rectangle"
    )
    return row_value("E6.event", float(k + 1 - int(np.argmin(potential))), u_of_rectangle(1.0), "1", method)


def charged_and_discharged(runs: ExperimentRuns) -> list[Result]:
    """E7: Rq of three images at open circuit, height changes and irreversible area."""
    run = runs.of()[0]
    frames, _ = frames_of(run)
    if len(frames) < 3:
        return [missing("E7.Rq_before", f"{len(frames)} images in the run; three are needed")]
    names = ("E7.Rq_before", "E7.Rq_charged", "E7.Rq_after")
    rows = [row for name, frame in zip(names, frames, strict=False) for row in _Rq_rows(name, frame)]
    stack = levelled_series(np.array([frame.values for frame in frames[:3]]))
    for name, p, q in (("E7.expansion", 0, 1), ("E7.reversible", 1, 2)):
        change = height_change(stack[p], stack[q], _HEIGHT_NOISE)
        how = f"mean over {change.pixels} pixels, all after the first image's plane"
        rows.append(with_walk(row_value(name, change.mean, change.u, "m", how), 1e9 * _walk(run, frames[p], frames[q])))
    for row, a, b in (("E7.Rq_charge", 0, 1), ("E7.Rq_discharge", 1, 2)):
        rows += _Rq_change(row, frames[a], frames[b])
    rows += _irreversible(stack)
    section = run.result("near_surface_difference")
    if section.value is None:
        rows.append(as_row("E7.section", section))
    else:
        bulk = 1e12 * float(np.median(np.abs(run.run.hops["i_ref"].values)))
        u = 100.0 * (section.u or 0.0) / bulk
        rows.append(
            row_value("E7.section", 100.0 * section.value / bulk, u, "%", f"over the far current; {section.method}")
        )
    return rows


def _irreversible(stack: F64) -> list[Result]:
    """Area that did not come back, at 10 % of a pixel's own swelling, and by other readings."""
    before, swollen, after = stack[:3]
    lifted = after - np.nanmedian(after - before)
    rows = []
    for label, last, share in (
        ("", after, 0.10),
        ("5 % of its own swelling", after, 0.05),
        ("20 % of its own swelling", after, 0.20),
        ("10 %, less what the whole image was lifted by", lifted, 0.10),
    ):
        part = irreversible_share(before, swollen, last, share, _HEIGHT_NOISE)
        method = f"share of pixels that end more than {100.0 * share:g} % of their own swelling from where they began"
        rows.append(alternative(label, estimated("E7.irreversible", part.scaled(100.0), "%", f"{method}; u: binomial")))
    beyond = irreversible_change(before, swollen, after, _HEIGHT_NOISE)
    label = f"{1e9 * beyond.threshold:.1f} nm, 4 u of a change"
    rows.append(alternative(label, row_value("E7.irreversible", 100.0 * beyond.area_fraction, None, "%", label)))
    return rows


@dataclass(frozen=True, slots=True)
class Edge:
    """A swollen edge that runs along y: `rise` [m] with `u`, the `levelled` image [m], its `profile` [m] over columns,
    and the `levels` [m] of the terraces either side.
    """

    rise: float
    u: float
    levelled: F64
    profile: F64
    levels: tuple[float, float]


def edge_of(frame: xr.DataArray) -> Edge:
    """The rim of a step: its height above the mean of the two terraces, averaged along it.

    One tilt and one offset a terrace are fitted to the columns clear of the rim; the rim is the largest column of the
    mean over the rows. u from the scatter over the rows there. Fails (`OutsideDomain`) where a terrace is not in view.
    """
    z, x = frame.values, frame["x"].values
    flat = z - plane(z).surface
    k = int(np.nanargmax(np.nanmean(flat, axis=0)))
    labels = np.full(z.shape, -1, dtype=np.int64)
    labels[:, x < x[k] - _CLEAR[0]] = 0
    labels[:, x > x[k] + _CLEAR[1]] = 1
    fit = fit_terraces(z, labels)
    rows, columns = pixel_grid(z.shape)
    level = z - fit.tilt[0] * rows - fit.tilt[1] * columns
    level = level - np.nanmean(level[labels == 0])
    middle = 0.5 * fit.height
    u = float(np.nanstd(level[:, k], ddof=1)) / z.shape[0] ** 0.5
    profile = np.nanmean(level, axis=0)
    return Edge(float(profile[k]) - middle, float(np.hypot(u, 0.5 * fit.u_height)), level, profile, (0.0, fit.height))


def step_edge(runs: ExperimentRuns) -> list[Result]:
    """E8: the step edge, averaged along it."""
    frames, _ = frames_of(runs.of()[0])
    if not frames:
        return [missing("E8.step", "no image in the run")]
    try:
        edge = edge_of(frames[-1])
    except OutsideDomain as error:
        return [missing("E8.step", str(error))]
    count = frames[-1].sizes["y"]
    method = f"largest column of the mean over {count} rows above the mean of both terraces, which share one tilt"
    method += "; u: scatter over the rows"
    step = abs(edge.levels[1] - edge.levels[0])
    rows = [row_value("E8.step", edge.rise, edge.u, "m", method)]
    for label, higher in (("above the upper terrace", -0.5), ("above the lower terrace", 0.5)):
        rows.append(alternative(label, row_value("E8.step", edge.rise + higher * step, edge.u, "m", label)))
    given = given_rim(runs.of()[0])
    if given is None:
        return [*rows, missing("E8.recovered", "this rig's surface is no step with a swollen edge")]
    method = f"the row above over {1e9 * given:.3g} nm, what the twin was given above the same mean; the rest is blur"
    return [*rows, row_value("E8.recovered", edge.rise / given, edge.u / given, "1", method)]


def given_rim(run: AnalysedRun) -> float | None:
    """Height [m] of the twin's swollen rim above the mean of its two terraces; None where its surface has no such.

    The rim stands on the upper terrace: half a step above the mean of both.
    """
    kind, surface, _ = twin_surface(load_rig(run.case.loaded, None))
    return surface["swollen"] + 0.5 * surface["step"] if kind == "steps" else None
