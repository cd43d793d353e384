"""Steps on a tilted surface: tilt and terraces fitted together (apart, each would absorb part of the other).

Terraces of any outline (`find_terraces`, `fit_terraces`), and a straight edge with a rim (`find_step_edge`).
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.polynomial import legendre
from numpy.typing import NDArray
from scipy import ndimage

from opsicm.analysis.topography.levelling import independent_pixels, pixel_grid, total_degree
from opsicm.core.errors import OutsideDomain, Problem
from opsicm.core.statistics import mean_with_u, noise_from_differences, robust_sigma, share_of_correlated

F64 = NDArray[np.float64]
_CROSSING: Final = 20  # pixels of terraces in a line: with fewer its offset is not fitted
_ROUNDS: Final = 50


@dataclass(frozen=True, slots=True)
class TerraceFit:
    """Tilt and terraces: `offsets` [terrace] about the first, `u` of each, `tilt` (per row, per column), `labels`.

    `labels` [row, column] int, -1 where a pixel took no part. `residual` [row, column], NaN there, and its `sigma`;
    `independent` the share of pixels that are independent by the residual's correlation along a row.
    """

    offsets: F64
    u: F64
    tilt: tuple[float, float]
    labels: NDArray[np.int64]
    sigma: float
    independent: float
    residual: F64

    @property
    def height(self) -> float:
        """Last terrace above the first, in the unit of the heights."""
        return float(self.offsets[-1])

    @property
    def u_height(self) -> float:
        """Standard uncertainty of `height`."""
        return float(self.u[-1])


def fit_terraces(heights: F64, labels: NDArray[np.int64]) -> TerraceFit:
    """Least squares of one tilt and one offset per terrace, in one go.

    Equation: h(x, y) = a x + b y + sum_k c_k [label = k]; offsets are c_k - c_0. `heights` [any length], shape (rows,
    columns), NaN for missing; `labels` int of the same shape, 0 … n-1, -1 for pixels to leave out (the step's own
    slope, about three tip radii wide). u from the inverse information times the residual variance over the share of
    independent pixels, (1 - r)/(1 + r) with r the correlation of neighbours in a row, so that a drift along the fast
    axis counts; offsets of whole lines count as far as a line has more of one terrace than of the other. Levelling
    first and subtracting afterwards is biased, because the plane absorbs part of the step (a 10 nm step in the middle
    of an image comes out as 2.5 nm). Assumes parallel terraces and one tilt. Fails (`OutsideDomain`) when a terrace has
    no pixels or tilt and step cannot be distinguished, as when each terrace is a single line of pixels. Source: ISO
    5436-1:2000, 4.1, fits two lines of one slope; this is its form for an area.
    """
    finite = np.isfinite(heights) & (labels >= 0)
    count = int(labels.max()) + 1
    rows, columns = pixel_grid(heights.shape)
    y, x, which, h = rows[finite], columns[finite], labels[finite], heights[finite]
    members = np.bincount(which, minlength=count)
    if count < 2 or members.min() < 3:
        limit = "each of at least two terraces needs three pixels"
        raise OutsideDomain(Problem("terraces", f"{members.tolist()} pixels", limit, "mark the terraces again"))
    basis = np.zeros((h.size, count + 2))
    basis[np.arange(h.size), which] = 1.0
    spans = max(heights.shape[0] - 1, 1), max(heights.shape[1] - 1, 1)
    basis[:, count], basis[:, count + 1] = y / spans[0] - 0.5, x / spans[1] - 0.5
    information = basis.T @ basis
    if np.linalg.cond(information) > 1e12:
        raise OutsideDomain(
            Problem(
                "terraces", f"{count}", "tilt and step cannot be distinguished", "use a larger area of each terrace"
            )
        )
    middle = float(np.mean(h))
    inverse = np.linalg.inv(information)
    solution = inverse @ (basis.T @ (h - middle))
    residual = np.full(heights.shape, np.nan)
    residual[finite] = h - middle - basis @ solution
    sigma = float(np.sqrt(np.sum(residual[finite] ** 2) / max(h.size - count - 2, 1)))
    used_labels = np.where(finite, labels, -1)
    about_lines, offsets = _without_offsets(residual, used_labels)
    share = _independent_share(about_lines)
    # The degrees of freedom of the offsets are taken from the residual, not from the step.
    scatter = float(np.sqrt(np.mean(about_lines[finite] ** 2) * h.size / max(h.size - count - 2, 1)))
    difference = inverse[:count, :count].diagonal() + inverse[0, 0] - 2.0 * inverse[0, :count]
    u = np.hypot(scatter * np.sqrt(np.maximum(difference, 0.0) / share), _by_offsets(offsets, used_labels, members))
    tilt = (float(solution[count]) / spans[0], float(solution[count + 1]) / spans[1])
    return TerraceFit(solution[:count] - solution[0], u, tilt, np.where(finite, labels, -1), sigma, share, residual)


def find_terraces(heights: F64, guard: int = 2, terraces: int = 2) -> NDArray[np.int64]:
    """Labels of `terraces` level parts of an image with a tilt, -1 within `guard` pixels of a change of label.

    Alternates between the tilt that the pixels share given their labels and the labels (nearest terrace) given the
    tilt, from the tilt that most neighbouring pixels have (the median difference along each axis, which a step does not
    move); it stops when no label changes. Assumes that most of the image is terrace. Fails (`OutsideDomain`) when a
    terrace becomes empty, as without a step.
    """
    finite = np.isfinite(heights)
    rows, columns = pixel_grid(heights.shape)
    lags = [max(1, size // 16) for size in heights.shape]
    differences = heights[lags[0] :] - heights[: -lags[0]], heights[:, lags[1] :] - heights[:, : -lags[1]]
    if not all(np.isfinite(one).any() for one in differences):
        limit = "no two neighbours along one of the axes have heights"
        raise OutsideDomain(Problem("terraces", f"{int(finite.sum())} pixels", limit, "record more of the surface"))
    down, along = (float(np.nanmedian(one)) / lag for one, lag in zip(differences, lags, strict=True))
    labels = np.full(heights.shape, -1, dtype=np.int64)
    level = heights - down * rows - along * columns
    for _ in range(_ROUNDS):
        centres = _centres(level[finite], terraces)
        new = np.where(finite, np.argmin(np.abs(level[..., None] - centres), axis=-1), -1)
        if np.array_equal(new, labels):
            break
        labels = new
        fit = fit_terraces(heights, labels)
        level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    return _guarded(labels, guard)


def _centres(values: F64, count: int) -> F64:
    """Lloyd's algorithm in one dimension, from evenly spaced quantiles, in ascending order."""
    centres = np.quantile(values, (np.arange(count) + 0.5) / count)
    low, high = np.quantile(values, (0.02, 0.98))
    if np.ptp(centres) <= 0.1 * (high - low):
        centres = np.linspace(low, high, count)
    for _ in range(_ROUNDS):
        nearest = np.argmin(np.abs(values[:, None] - centres), axis=1)
        new = np.array([values[nearest == k].mean() if (nearest == k).any() else centres[k] for k in range(count)])
        if np.array_equal(new, centres):
            break
        centres = new
    return np.sort(centres)


def _guarded(labels: NDArray[np.int64], guard: int) -> NDArray[np.int64]:
    edge = np.zeros(labels.shape, dtype=bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:-1] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    edge[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    for _ in range(guard - 1):
        wider = edge.copy()
        wider[1:] |= edge[:-1]
        wider[:-1] |= edge[1:]
        wider[:, 1:] |= edge[:, :-1]
        wider[:, :-1] |= edge[:, 1:]
        edge = wider
    return np.where(edge, -1, labels) if guard > 0 else labels


def _without_offsets(residual: F64, labels: NDArray[np.int64]) -> tuple[F64, F64]:
    """`residual` less the mean of each line that crosses from terrace to terrace, and those means [line].

    A shift of a whole line, by drift from line to line, shifts both terraces equally: it is no scatter of pixels.
    """
    first = np.where(labels >= 0, labels, labels.max())
    crosses = (first.min(axis=1) < labels.max(axis=1)) & (np.isfinite(residual).sum(axis=1) >= _CROSSING)
    offsets = np.zeros(residual.shape[0])
    offsets[crosses] = np.nanmean(residual[crosses], axis=1)
    return residual - offsets[:, None], offsets


def _by_offsets(offsets: F64, labels: NDArray[np.int64], members: NDArray[np.intp]) -> F64:
    """u [terrace] of the step above the first by the lines' offsets; 0 where every line has equal shares of both."""
    shares = np.array([(labels == k).sum(axis=1) / members[k] for k in range(members.size)])
    return np.asarray(np.sqrt(((shares - shares[0]) ** 2 * np.mean(offsets**2)).sum(axis=1)))


def _independent_share(residual: F64) -> float:
    a, b = residual[:, :-1], residual[:, 1:]
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 10:
        return 1.0
    r = float(np.sum(a[both] * b[both]) / np.sqrt(np.sum(a[both] ** 2) * np.sum(b[both] ** 2) + 1e-300))
    return share_of_correlated(r)


def _criteria(shape: tuple[int, ...], use: NDArray[np.bool_], models: list[tuple[F64, int]]) -> list[float]:
    """Schwarz's criterion of models of the pixels `use`, each (residual [pixel], number of terms); lower is better.

    M ln(mean of residual²) + terms ln M, with residuals beyond four robust sigmas of the best model counted as four
    (what is left of dust has no vote), and M the effective number of pixels by that model's residual's correlation.
    """
    sigma, best = min(((robust_sigma(r, 0.0), r) for r, _ in models), key=lambda one: one[0])
    limit = _MOST_SIGMAS * sigma if sigma > 0.0 else np.inf
    image = np.zeros(shape)
    image[use] = np.clip(best, -limit, limit)
    independent = max(independent_pixels(image, use, 2), 4.0) if image.any() else float(use.sum())
    return [
        independent * float(np.log(np.mean(np.minimum(np.abs(r), limit) ** 2) + 1e-300))
        + terms * float(np.log(independent))
        for r, terms in models
    ]


def terraces_are_smooth(heights: F64, labels: NDArray[np.int64], residual: F64) -> bool:
    """Whether a smooth surface describes the pixels of terraces as well as these do: then there is no step.

    Schwarz's criterion of one tilt with an offset for each terrace (`residual` of `fit_terraces`) against polynomials
    of total degree 2 to 5, over the same pixels, as many of which count as the residual's correlation leaves. Terms
    that the pixels do not tell apart, as the fourth power across a strip of four lines, count once.
    """
    use = np.isfinite(residual)
    y, x = (2.0 * g / max(n - 1, 1) - 1.0 for g, n in zip(pixel_grid(heights.shape), heights.shape, strict=True))
    h = heights[use] - heights[use].mean()
    basis, degrees = _polynomials(x[use], y[use], 5)
    models = [(residual[use], int(labels.max()) + 3)]
    for degree in (2, 3, 4, 5):
        columns = basis[:, degrees <= degree]
        solution, _, terms, _ = np.linalg.lstsq(columns.T @ columns, columns.T @ h, 1.0 / _WORST_CONDITION)
        models.append((h - columns @ solution, int(terms)))
    criteria = _criteria(heights.shape, use, models)
    return bool(criteria[0] > min(criteria[1:]) - _BETTER)


def without_walls(heights: F64, fit: TerraceFit, share: float) -> NDArray[np.bool_]:
    """Pixels on a wall: the surface less its tilt, averaged over 3², changes by `share` of the step within five pixels.

    Four sigmas of the averages' noise (from second differences along the rows) are added to that.
    """
    rows, columns = pixel_grid(heights.shape)
    level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    known = np.isfinite(level)
    smooth = ndimage.uniform_filter(np.where(known, level, np.nanmedian(level)), 3)
    noise = noise_from_differences(heights, spread=robust_sigma) / 3.0
    limit = share * abs(fit.height) + 4.0 * 2.0**0.5 * noise
    ahead = [-1.0, 0.0, 0.0, 0.0, 1.0]
    change = [np.abs(ndimage.correlate1d(smooth, ahead, axis=axis, mode="nearest")) for axis in (0, 1)]
    return np.asarray(np.maximum(*change) > limit)


# A straight step edge with its rim.

_COARSE: Final = np.radians(np.arange(0.0, 180.0, 2.0))
_FINE: Final = np.radians(np.arange(-6.0, 6.01, 0.25))
_ARM: Final = 3  # [px] either side of a line, over which its contrast is averaged
_FEWEST_BINS: Final = 5
_BANDS: Final = (2, 4, 8)  # half-widths tried, as parts of the image
_STRIPS: Final = 8
_FEWEST_STRIPS: Final = 5
_LENGTH: Final = 0.5  # of the image's shorter side: the shortest edge
_CERTAIN: Final = 6.0  # height over u: a search over angles and positions finds four in noise
_CLEAR: Final = 0.4  # residual of the profile with the edge over that without
_OUTLIER: Final = 4.0  # sigmas of a line that belongs to the rim
_EDGE_ROUNDS: Final = 20
_WIDER: Final = 2  # [px] on either side
_SHOWN: Final = 0.4  # of the foot that is left: 1 - exp(-2/4), of one that decays within four pixels
_DUST: Final = 6.0  # robust sigmas
_MOST_DUST: Final = 0.35  # of the image: with more, six robust sigmas are no longer those of the surface
_RIM: Final = 0.25  # of the pixels of a line
_WORST_CONDITION: Final = 1e10
_REWEIGHTINGS: Final = 4
_MOST_SIGMAS: Final = 4.0
_BETTER: Final = 10.0  # of Schwarz's criterion: "very strong" evidence (Kass and Raftery, JASA 1995, 90, 773)


@dataclass(frozen=True, slots=True)
class StepEdge:
    """A straight edge: `height` of the terrace beyond it (towards larger `offset`) with u, in the heights' unit.

    `rise` of the rim's highest (or lowest) line above the mean of both terraces there, with u; `angle` [rad] of the
    edge's normal from the rows' direction, `offset` [px] along it from the image's middle; `labels` [row, column]: 0
    before, 1 beyond, -1 took no part; `strips` along the edge that u comes from; `rim` [px], how wide the edge is.
    """

    height: float
    u_height: float
    rise: float
    u_rise: float
    angle: float
    offset: float
    labels: NDArray[np.int64]
    strips: int
    rim: int


def find_step_edge(heights: F64) -> StepEdge:
    """The strongest straight edge of `heights` [any length], (rows, columns), NaN for missing.

    1. Position: the angle and the line at which the mean of three lines of pixels beyond less that of three before is
    most significant (weighted by pixels per line), after subtraction of total degree 2, of heights within six robust
    sigmas; `dust` is left out from here on. A smooth surface that describes a band about the line as well as a step
    does (`_against_smooth`) ends the search: a bow has no edge; a bow under a step is subtracted. 2. Rim: along the
    profile across the edge, lines next to the edge that depart by four sigma from a common slope with two levels belong
    to no terrace. 3. Fit: one tilt and two terraces (`fit_terraces`) in a band about the edge, so that a bow or a
    second step farther away has no influence; of three bands the one whose strips agree best, with half of what the
    others differ by in u. `rise` is the profile's farthest line
    of the rim from the mean of the two terraces. u is from the scatter over up to eight strips along the edge, or the
    joint fit's own, whichever is larger, so that variation along the edge is included, and the change that a rim two
    pixels wider on each side makes, as of an edge that is not sharp. Assumes an edge that is straight
    and crosses half of the image. Fails (`OutsideDomain`) where neither height nor rise exceeds six u, or where the
    profile fits as well without an edge: rough surfaces, bows, noise.
    """
    if min(heights.shape) < 4 * _FEWEST_BINS:
        limit = f"{4 * _FEWEST_BINS} pixels along each side are needed to look for a straight edge"
        raise OutsideDomain(Problem("step edge", f"{heights.shape}", limit, "record more pixels"))
    angle, edge_line = _strongest(_limited(_robustly_flat(heights)))
    heights = np.where(dust(heights, angle, edge_line), np.nan, heights)
    candidates: list[tuple[StepEdge, float, bool]] = []
    smooth = ""
    flat: F64 | None = None
    for part in _BANDS:
        half_width = max(heights.shape) // part
        try:
            level, better = _against_smooth(heights, angle, edge_line, half_width)
        except OutsideDomain:
            continue
        if not better:
            smooth = f"; a smooth surface describes the {2 * half_width} lines about it as well"
            continue
        # The bow of the widest band only: in a narrow one a cubic follows an edge that is not sharp. A second step in
        # that band bends it too: what the band says without it counts as well, and their difference is in u.
        flat = level if flat is None else flat
        for surface in (heights,) if flat is heights else (heights, flat):
            with contextlib.suppress(OutsideDomain):  # no terrace beside the edge in this band: others may have one
                edge, ratio = _in_band(surface, angle, edge_line, half_width)
                candidates.append((edge, ratio, surface is not heights))
    if not candidates:
        limit = f"no line has enough pixels on either side and along it, and a step{smooth}"
        raise OutsideDomain(Problem("step edge", "strongest line", limit, "put the edge in the middle of the image"))
    clear = [(edge, flattened) for edge, ratio, flattened in candidates if ratio <= _CLEAR and _certain(edge)]
    if not clear:
        edge, ratio, _ = min(candidates, key=lambda one: one[1])
        value = f"{edge.height:.3g} ± {edge.u_height:.2g} with a rim of {edge.rise:.3g} ± {edge.u_rise:.2g}"
        limit = f"six u of either are needed, and a residual below {_CLEAR} of that without an edge (it is {ratio:.2f})"
        raise OutsideDomain(Problem("strongest line", value, limit, "image a single edge, or average more lines"))
    # As measured where it is clear so: a bow that is fitted takes the variation along the edge with it, and its u.
    best = min((edge for edge, flattened in clear if not flattened), key=lambda edge: edge.u_height, default=None)
    best = best or min((edge for edge, _ in clear), key=lambda edge: edge.u_height)
    # What bands of another width say: a particle or a second step that is left in one of them.
    apart = max(_beyond(edge.height - best.height, edge.u_height, best.u_height) for edge, _ in clear)
    return replace(best, u_height=float(np.hypot(best.u_height, 0.5 * apart)))


def _beyond(difference: float, u: float, u_other: float) -> float:
    """What of a difference of two fits is beyond their noise.

    Where one is to part of the other's pixels it has the variance by which theirs differ (Hausman, Econometrica 1978,
    46, 1251).
    """
    return float(max(difference**2 - abs(u**2 - u_other**2), 0.0) ** 0.5)


def _robustly_flat(heights: F64) -> F64:
    """`heights` less the polynomial of total degree 2 that most pixels have (Tukey's weights): dust has none."""
    flat = total_degree(heights, 2).heights
    for _ in range(_REWEIGHTINGS):
        away = flat - np.nanmedian(flat)
        sigma = robust_sigma(away[np.isfinite(away)])
        if sigma <= 0.0:
            break
        try:
            flat = total_degree(heights, 2, np.abs(away) < _DUST * sigma).heights
        except OutsideDomain:
            break
    return flat


def _limited(flat: F64) -> F64:
    """`flat` within six robust sigmas of its median: so much counts of a particle, however high it is.

    With a step in the middle sigma is most of its height; a step that leaves less than a quarter of the image on one
    side keeps six sigmas of the roughness, along its whole length.
    """
    middle = float(np.nanmedian(flat))
    sigma = robust_sigma(flat[np.isfinite(flat)])
    return np.clip(flat, middle - _DUST * sigma, middle + _DUST * sigma) if sigma > 0.0 else flat


def dust(heights: F64, angle: float, edge_line: int) -> NDArray[np.bool_]:
    """Particles and holes: pixels beyond six robust sigmas of a surface with one straight edge, in compact patches.

    The surface is a polynomial of total degree 2 with a step at the line; patches that reach over half of the image are
    none (the rim of an edge), nor is anything where such patches are more than a third of the image.
    Each grows by two pixels, its foot.
    """
    known, away, across, along = _band(heights, angle, edge_line, np.inf)
    columns = np.hstack((_polynomials(across, along, 2)[0], (away > 0.5).astype(np.float64)[:, None]))
    h = heights[known] - heights[known].mean()
    use, residual, sigma = np.ones(h.size, bool), h, 0.0
    for _ in range(_REWEIGHTINGS):
        try:
            residual = h - columns @ _least_squares(columns[use], h[use])
        except OutsideDomain:
            return np.zeros(heights.shape, bool)
        sigma = robust_sigma(residual, 0.0)
        use = np.abs(residual) < _DUST * sigma
    # Beside the line a pixel may belong to either terrace; a line with many of them belongs to the rim.
    line = _line_of(away)
    line -= line.min()
    rim = (np.bincount(line, ~use) > _RIM * np.bincount(line))[line]
    beyond = np.zeros(heights.shape, bool)
    beyond[known] = ~use & ~rim & (np.abs(away) > _WIDER)
    labels, _ = ndimage.label(beyond, structure=np.ones((3, 3)))
    longest = _LENGTH * min(heights.shape)
    compact = np.zeros(heights.shape, bool)
    for k, box in enumerate(ndimage.find_objects(labels), start=1):
        if np.hypot(*(side.stop - side.start for side in box)) < longest:
            compact[box] |= labels[box] == k
    if compact.sum() > _MOST_DUST * h.size:
        return np.zeros(heights.shape, bool)
    return np.asarray(ndimage.binary_dilation(compact, iterations=2) if compact.any() else compact)


def _polynomials(across: F64, along: F64, degree: int) -> tuple[F64, NDArray[np.int64]]:
    """(columns [pixel, term], total degree of each) of Legendre polynomials in two coordinates [pixel] of -1 to 1."""
    powers = sorted(((i, j) for i in range(degree + 1) for j in range(degree + 1 - i)), key=sum)
    pu, pv = (legendre.legvander(np.clip(axis, -1.0, 1.0), degree) for axis in (across, along))
    return np.stack([pu[:, i] * pv[:, j] for i, j in powers], axis=-1), np.array([sum(power) for power in powers])


def _least_squares(basis: F64, values: F64) -> F64:
    """Coefficients by the normal equations: Legendre polynomials over their own range are nearly orthogonal."""
    information = basis.T @ basis
    if values.size < 2 * basis.shape[1] or np.linalg.cond(information) > _WORST_CONDITION:
        limit = "they do not determine a surface with a step"
        raise OutsideDomain(Problem("step edge", f"{values.size} pixels", limit, "record more of the surface"))
    return np.asarray(np.linalg.solve(information, basis.T @ values))


def _band(heights: F64, angle: float, edge_line: int, half_width: float) -> tuple[NDArray[np.bool_], F64, F64, F64]:
    """(pixels within `half_width` of the line; of these distance [px], distance and place along it from -1 to 1)."""
    u, v = _across(heights.shape, angle)
    use = np.isfinite(heights) & (np.abs(u - edge_line) <= half_width)
    if not use.any():
        raise OutsideDomain(Problem("step edge", "0 pixels", "no pixel near the line has a height", "record more"))
    away, along = u[use] - edge_line, v[use]
    middle, reach = 0.5 * (along.max() + along.min()), 0.5 * max(float(np.ptp(along)), 1.0)
    return use, away, away / max(float(np.abs(away).max()), 1.0), (along - middle) / reach


def _against_smooth(heights: F64, angle: float, edge_line: int, half_width: int) -> tuple[F64, bool]:
    """(heights less the bow that goes with the step, whether step and bow beat every smooth surface) near a line.

    Schwarz's criterion of polynomials of total degree 1 to 3 with a step at the line, the lines of its rim (`_rim`)
    each with a height of its own, against those of degree 2 to 5 without one, over the pixels within `half_width`. As
    many of them count as the residual's correlation with its neighbours leaves. A bow, an arc or a wave of a scanner is
    smooth; no polynomial of degree 5 has an edge.
    """
    use, away, across, along = _band(heights, angle, edge_line, half_width)
    h = heights[use] - heights[use].mean()
    basis, degrees = _polynomials(across, along, 5)
    tilt = basis[:, degrees <= 1]
    level = np.full(heights.shape, np.nan)
    level[use] = h - tilt @ _least_squares(tilt, h)
    lines, mean, number = _profile(level, _across(heights.shape, angle)[0] - edge_line)
    kept = number > 0
    rim, _ = _rim(lines[kept].astype(np.float64), mean[kept], number[kept])
    first, last = _extent(lines[kept][rim])
    line = _line_of(away)
    inside_rim = (line >= first) & (line <= last)
    at = line[inside_rim] - first
    side = (line > last).astype(np.float64)[:, None]
    models = []
    for degree in (1, 2, 3):
        columns = np.hstack((basis[:, degrees <= degree], side))
        fit = _least_squares(columns[~inside_rim], h[~inside_rim])
        residual = h - columns @ fit
        of_line = np.bincount(at, residual[inside_rim]) / np.maximum(np.bincount(at), 1)
        residual[inside_rim] -= of_line[at]
        bow = basis[:, (degrees > 1) & (degrees <= degree)] @ fit[:-1][degrees[degrees <= degree] > 1]
        models.append((residual, fit.size + np.unique(at).size, bow))
    for degree in (2, 3, 4, 5):
        columns = basis[:, degrees <= degree]
        fit = _least_squares(columns, h)
        models.append((h - columns @ fit, fit.size, np.zeros(h.size)))
    criteria = _criteria(heights.shape, use, [(residual, terms) for residual, terms, _ in models])
    chosen = int(np.argmin(criteria[:3]))
    flat = heights
    if chosen > 0:
        flat = heights.copy()
        flat[use] -= models[chosen][2]
    return flat, bool(criteria[chosen] < min(criteria[3:]) - _BETTER)


def _extent(rim: NDArray[np.int64]) -> tuple[int, int]:
    """First and last line of the edge: at least those beside it, though no pixel of them may be known."""
    return min(int(rim.min(initial=-1)), -1), max(int(rim.max(initial=1)), 1)


def across_step_edge(heights: F64, edge: StepEdge) -> tuple[F64, F64, F64]:
    """(image less the terraces' common tilt about the lower one, distance [px] across the edge, mean along it).

    Distance counts along the edge's normal from the edge; lines of fewer than half the pixels of most are left out.
    """
    fit = fit_terraces(heights, edge.labels)
    rows, columns = pixel_grid(heights.shape)
    levelled = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    lower = 0 if fit.height >= 0.0 else 1
    levelled = levelled - np.nanmean(levelled[edge.labels == lower])
    line, mean, number = _profile(levelled, _across(heights.shape, edge.angle)[0] - edge.offset)
    whole = number >= 0.5 * np.median(number)
    return levelled, line[whole].astype(np.float64), mean[whole]


def _certain(edge: StepEdge) -> bool:
    return abs(edge.height) > _CERTAIN * edge.u_height or abs(edge.rise) > _CERTAIN * edge.u_rise


def _across(shape: tuple[int, ...], angle: float) -> tuple[F64, F64]:
    """Distance [px] of each pixel along the normal at `angle`, and along the edge, from the image's middle."""
    rows, columns = pixel_grid(shape)
    y, x = rows - 0.5 * (shape[0] - 1), columns - 0.5 * (shape[1] - 1)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def _line_of(u: F64) -> NDArray[np.int64]:
    """Number of the one-pixel line; halves always round up: rounding to even would empty every second line."""
    return np.floor(u + 0.5).astype(np.int64)


def _profile(values: F64, u: F64) -> tuple[NDArray[np.int64], F64, F64]:
    """Line numbers, mean and number of pixels of each line of one pixel's width."""
    known = np.isfinite(values)
    line = _line_of(u[known])
    low = int(line.min())
    number = np.bincount(line - low).astype(np.float64)
    total = np.bincount(line - low, values[known])
    return np.arange(number.size, dtype=np.int64) + low, total / np.maximum(number, 1.0), number


def _strongest(flat: F64) -> tuple[float, int]:
    """Angle [rad] and line with the most significant contrast between its sides."""
    shortest = _LENGTH * min(flat.shape)

    def contrast(angle: float) -> tuple[float, int]:
        line, mean, number = _profile(flat, _across(flat.shape, angle)[0])
        weighted, total = np.cumsum(np.append(0.0, mean * number)), np.cumsum(np.append(0.0, number))
        k = np.arange(_FEWEST_BINS, line.size - _FEWEST_BINS)
        before, beyond = (np.maximum(total[k + a] - total[k + b], 1.0) for a, b in ((0, -_ARM), (_ARM + 1, 1)))
        low = (weighted[k] - weighted[k - _ARM]) / before
        high = (weighted[k + _ARM + 1] - weighted[k + 1]) / beyond
        size = np.abs(high - low) / np.sqrt(1.0 / before + 1.0 / beyond)
        size = np.where(np.minimum(before, beyond) >= _ARM * shortest, size, 0.0)
        best = int(np.argmax(size))
        return float(size[best]), int(line[k[best]])

    contrasts = [(*contrast(angle), angle) for angle in _COARSE]
    near = max(contrasts)[2]
    # The contrast of three lines varies slowly with the angle; the scatter within the lines does not.
    angle = min((_within(flat, near + turn, contrast(near + turn)[1]), near + turn) for turn in _FINE)[1]
    return float(angle), contrast(angle)[1]


def _within(flat: F64, angle: float, edge_line: int) -> float:
    """Mean square of the pixels near a line about the means of their lines."""
    away = _across(flat.shape, angle)[0] - edge_line
    band = np.where(np.abs(away) <= max(max(flat.shape) // _BANDS[-1], 2 * _FEWEST_BINS), flat, np.nan)
    _, mean, number = _profile(band, away)
    known = np.isfinite(band)
    return float(np.mean(band[known] ** 2) - np.sum(number * mean**2) / number.sum())


def _in_band(heights: F64, angle: float, edge_line: int, half_width: int) -> tuple[StepEdge, float]:
    """The edge fitted to the pixels within `half_width`, and the profile's residual over that without an edge."""
    u, along = _across(heights.shape, angle)
    away = u - edge_line
    band = np.isfinite(heights) & (np.abs(away) <= half_width)
    tilt = total_degree(np.where(band, heights, np.nan), 1).surface
    line, mean, number = _profile(np.where(band, heights - tilt, np.nan), away)
    keep = number > 0
    line, mean, number = line[keep], mean[keep], number[keep]
    rim, ratio = _rim(line.astype(np.float64), mean, number)
    first, last = _extent(line[rim])
    rounded = _line_of(away)
    labels = np.where(band & (rounded < first), 0, np.where(band & (rounded > last), 1, -1)).astype(np.int64)
    whole = fit_terraces(heights, labels)
    rise, top = _rise(heights, whole, rounded, labels, None)
    edges = np.quantile(along[labels >= 0], np.linspace(0.0, 1.0, _STRIPS + 1))
    heights_of, rises = [], []
    for low, high in pairwise(edges):
        inside = (along >= low) & (along < high)
        try:
            part = fit_terraces(heights, np.where(inside, labels, -1))
        except OutsideDomain:
            continue
        heights_of.append(part.height)
        rises.append(_rise(np.where(inside, heights, np.nan), part, rounded, np.where(inside, labels, -1), top)[0])
    rises = [r for r in rises if np.isfinite(r)]
    if min(len(heights_of), len(rises)) < _FEWEST_STRIPS:
        limit = f"{_FEWEST_STRIPS} strips along the edge are needed for its uncertainty"
        raise OutsideDomain(Problem("step edge", f"{len(heights_of)} strips", limit, "record more lines"))
    u_height, u_rise = (mean_with_u(np.array(v))[1] for v in (heights_of, rises))
    u_height, u_rise = max(u_height, whole.u_height), max(u_rise, 0.5 * whole.u_height)
    # What the model does not follow: the foot of an edge that is not sharp is left out by a wider rim.
    wider = np.where((rounded >= first - _WIDER) & (rounded <= last + _WIDER), -1, labels)
    with contextlib.suppress(OutsideDomain):  # too few lines are left beside it: the band says nothing of it
        sharper = fit_terraces(heights, wider)
        left = _beyond(sharper.height - whole.height, sharper.u_height, whole.u_height)
        u_height = float(np.hypot(u_height, left / _SHOWN))
    edge = StepEdge(
        whole.height, u_height, rise, u_rise, angle, float(edge_line), labels, len(heights_of), last - first + 1
    )
    return edge, ratio


def _rim(line: F64, mean: F64, number: F64) -> tuple[NDArray[np.bool_], float]:
    """Lines next to the edge at 0 that belong to neither terrace, and the residual with the edge over that without."""
    basis = np.column_stack((np.ones_like(line), line, (line > 0).astype(np.float64)))
    free = np.abs(line) > 1.0
    if min((free & (line < 0)).sum(), (free & (line > 0)).sum()) < _FEWEST_BINS:
        raise OutsideDomain(Problem("step edge", "at the rim of the image", "no terrace beside it", "move the image"))
    weight = number * free
    residual = mean
    sigma = 0.0
    for _ in range(_EDGE_ROUNDS):
        root = np.sqrt(weight)
        c, *_ = np.linalg.lstsq(basis * root[:, None], mean * root, rcond=None)
        residual = mean - basis @ c
        sigma = robust_sigma(residual[free], 0.0)
        if sigma <= 0.0:
            break
        weight = number * free * np.maximum(0.0, 1.0 - (residual / (4.685 * sigma)) ** 2) ** 2
    outside = np.abs(residual) > _OUTLIER * sigma
    rim = np.abs(line) <= 1.0
    for side in (line < 0, line > 0):
        order = np.flatnonzero(side)[np.argsort(np.abs(line[side]))]
        for k in order:
            if outside[k] or rim[k]:
                rim[k] = True
            else:
                break
    both = [(~rim & (line < 0)).sum(), (~rim & (line > 0)).sum()]
    if min(both) < _FEWEST_BINS:
        raise OutsideDomain(Problem("step edge", f"{both} lines of terrace", "five are needed", "take a larger image"))
    smooth = np.column_stack((np.ones_like(line), line, line**2))
    plain, *_ = np.linalg.lstsq(smooth * np.sqrt(number)[:, None], mean * np.sqrt(number), rcond=None)
    without = float(np.sum(number * (mean - smooth @ plain) ** 2) / number.sum())
    kept = number * ~rim
    with_edge = float(np.sum(kept * residual**2) / kept.sum())
    return rim, (with_edge / without) ** 0.5 if without > 0.0 else 1.0


def _rise(
    heights: F64, fit: TerraceFit, rounded: NDArray[np.int64], labels: NDArray[np.int64], top: int | None
) -> tuple[float, int]:
    """The rim's line `top` (the farthest where None) above the mean of both terraces; NaN where a terrace is empty."""
    rows, columns = pixel_grid(heights.shape)
    level = heights - fit.tilt[0] * rows - fit.tilt[1] * columns
    middle = float(np.nanmean(level[labels == 0])) + 0.5 * fit.height
    inside = rounded[labels == 0].max(), rounded[labels == 1].min()
    between = (rounded > inside[0]) & (rounded < inside[1]) & np.isfinite(level)
    if not between.any():
        return (0.0, 0) if top is None else (0.0, top)
    if top is not None:
        rim_line = level[between & (rounded == top)]
        return (float(rim_line.mean()) - middle if rim_line.size else float("nan")), top
    line, mean, number = _profile(np.where(between, level, np.nan), rounded.astype(np.float64))
    away = np.where(number > 0.5 * number.max(), mean - middle, 0.0)
    k = int(np.argmax(np.abs(away)))
    return float(away[k]), int(line[k])
