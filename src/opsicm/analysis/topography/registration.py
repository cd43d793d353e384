"""Registration of two images by the magnitude of their gradients: swelling changes heights, but edges do not move.

The compiled functions evaluate a bicubic spline at all pixels, moved by one fraction of a pixel, and the sums of the
fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import binary_dilation, gaussian_filter, spline_filter, spline_filter1d, uniform_filter

from opsicm.core.compiled import compiled
from opsicm.core.statistics import MAD_TO_SIGMA, robust_sigma

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


@compiled
def spline_and_slopes(coefficients: F64, rows: I64, by_row: F64, columns: I64, by_column: F64) -> tuple[F64, F64, F64]:
    """Value and slopes along rows and columns, (ny, nx), of the B-spline `coefficients` (any unit).

    `rows` (4, ny), `columns` (4, nx) are the coefficients under each pixel; `by_row`, `by_column` (2, 4) their weights
    for value and slope. One pass along the columns, one along the rows, instead of sixteen products per pixel.
    """
    ny, nx = rows.shape[1], columns.shape[1]
    high = coefficients.shape[0]
    along, sloped = np.empty((high, nx)), np.empty((high, nx))
    for i in range(high):
        for j in range(nx):
            value, slope = 0.0, 0.0
            for k in range(4):
                c = coefficients[i, columns[k, j]]
                value += by_column[0, k] * c
                slope += by_column[1, k] * c
            along[i, j] = value
            sloped[i, j] = slope
    value_of, down, across = np.empty((ny, nx)), np.empty((ny, nx)), np.empty((ny, nx))
    for i in range(ny):
        r0, r1, r2, r3 = rows[0, i], rows[1, i], rows[2, i], rows[3, i]
        for j in range(nx):
            a0, a1, a2, a3 = along[r0, j], along[r1, j], along[r2, j], along[r3, j]
            value_of[i, j] = by_row[0, 0] * a0 + by_row[0, 1] * a1 + by_row[0, 2] * a2 + by_row[0, 3] * a3
            down[i, j] = by_row[1, 0] * a0 + by_row[1, 1] * a1 + by_row[1, 2] * a2 + by_row[1, 3] * a3
            across[i, j] = (
                by_row[0, 0] * sloped[r0, j]
                + by_row[0, 1] * sloped[r1, j]
                + by_row[0, 2] * sloped[r2, j]
                + by_row[0, 3] * sloped[r3, j]
            )
    return value_of, down, across


@compiled
def line_residual(moved: F64, target: F64, w: F64) -> F64:
    """moved - c·target - b for the c, b of least squares with weights `w`, all (ny, nx)."""
    total, sum_t, sum_m = 1e-300, 0.0, 0.0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            total += w[i, j]
            sum_t += w[i, j] * target[i, j]
            sum_m += w[i, j] * moved[i, j]
    mean_t, mean_m = sum_t / total, sum_m / total
    spread, both = 0.0, 0.0
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            away = target[i, j] - mean_t
            spread += w[i, j] * away * away
            both += w[i, j] * away * (moved[i, j] - mean_m)
    c = both / spread if spread > 0.0 else 1.0
    residual = np.empty(moved.shape)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            residual[i, j] = moved[i, j] - mean_m - c * (target[i, j] - mean_t)
    return residual


@compiled
def scale_of(residual: F64, weight: F64) -> float:
    """`robust_sigma` about 0 of `residual` over every second pixel each way that has a weight; 0 without any.

    A quarter of the pixels gives the median as well, because the smoothing has correlated neighbours.
    """
    values = np.empty(((residual.shape[0] + 1) // 2) * ((residual.shape[1] + 1) // 2))
    n = 0
    for i in range(0, residual.shape[0], 2):
        for j in range(0, residual.shape[1], 2):
            if weight[i, j] > 0.0:
                values[n] = abs(residual[i, j])
                n += 1
    return MAD_TO_SIGMA * np.partition(values[:n], n // 2)[n // 2] if n > 0 else 0.0


@compiled
def biweight(residual: F64, weight: F64, limit: float) -> F64:
    """`weight`·(1 - (rest/limit)²)², 0 beyond `limit`: Tukey's weights, (ny, nx)."""
    w = np.empty(residual.shape)
    for i in range(residual.shape[0]):
        for j in range(residual.shape[1]):
            inside = 1.0 - (residual[i, j] / limit) ** 2
            w[i, j] = weight[i, j] * inside * inside if inside > 0.0 else 0.0
    return w


@compiled
def bounded_loss(residual: F64, weight: F64, limit: float) -> float:
    """Sum of weight·(1 - (1 - (rest/limit)²)³), 1 beyond `limit`: Tukey's loss."""
    total = 0.0
    for i in range(residual.shape[0]):
        for j in range(residual.shape[1]):
            inside = 1.0 - (residual[i, j] / limit) ** 2
            total += weight[i, j] * (1.0 - inside**3) if inside > 0.0 else weight[i, j]
    return total


@compiled
def normal_equations(down: F64, across: F64, target: F64, residual: F64, w: F64) -> tuple[F64, F64]:
    """Normal matrix (4, 4) and right side (4,) of a step in (dy, dx, c, b)."""
    normal, right = np.zeros((4, 4)), np.zeros(4)
    row = np.empty(4)
    for i in range(w.shape[0]):
        for j in range(w.shape[1]):
            one = w[i, j]
            if one == 0.0:
                continue
            row[0], row[1], row[2], row[3] = down[i, j], across[i, j], -target[i, j], -1.0
            for p in range(4):
                right[p] -= one * row[p] * residual[i, j]
                for q in range(p + 1):
                    normal[p, q] += one * row[p] * row[q]
    for p in range(4):
        for q in range(p):
            normal[q, p] = normal[p, q]
    return normal, right


_IN_COMMON: Final = 0.5
_NOTHING: Final = 0.1  # of a correlation: where a search of a few shifts has no scatter of its own
_SMOOTH: Final = 1.0  # [px] of the Gaussian before the gradient
_CLIP: Final = 90.0  # [%] percentile at which magnitudes are clipped
_CANDIDATES: Final = 12  # peaks of the correlation
_LIKELY: Final = 3  # candidates that are refined
_APART: Final = 1  # [px] between two candidates
_FIRST_ROUNDS: Final = 2
_LEAST_POWER: Final = 1e-3  # of the mean
_ROUNDS: Final = 30
_WEIGHT_ROUNDS: Final = 3  # rounds of weights before the first step
_TUKEY: Final = 4.685
_PATCH: Final = 9  # [px] side of the patches in which disagreement may be dense
_DENSE: Final = 4.0  # times the spread of the density over the image
_SQUARE: Final = 16  # [px] side of the clusters for u
_MOST_CHANGED: Final = 0.5  # of the image


@dataclass(frozen=True, slots=True)
class Shift:
    """`dy`, `dx` [px]: where the second image's pattern lies relative to the first's; `peak` correlation [1].

    `u` [px] from the disagreement of squares of 16² pixels, inf where nothing could be refined; `rounds` of refinement.
    `chance` [1] is the correlation that two images without anything in common would reach somewhere in the search.
    """

    dy: float
    dx: float
    peak: float
    u: float
    rounds: int
    chance: float = 0.0

    @property
    def is_found(self) -> bool:
        """Whether the images have something in common: a correlation beyond chance."""
        return self.peak > max(_NOTHING, self.chance)


def gradient_magnitude(heights: F64) -> F64:
    """|grad h| after a Gaussian of one pixel, per pixel; missing pixels take the median of the image first."""
    filled = np.where(np.isfinite(heights), heights, np.nanmedian(heights))
    smooth = gaussian_filter(filled, _SMOOTH, mode="nearest")
    down, along = np.gradient(smooth)
    return np.asarray(np.hypot(down, along), dtype=np.float64)


def register(first: F64, second: F64, largest: float | None = None) -> Shift:
    """Shift of `second` against `first` [px], to a few hundredths of a pixel.

    Both are turned into gradient magnitudes g, which a uniform swelling scales and a local irreversible change disturbs
    only locally. Whole pixels from the peaks of the windowed cross-correlation (FFT): of the highest the one for which
    most pixels agree (Tukey's bounded loss); then Gauss-Newton on sum w (g2(x + s) - c g1(x) - b)^2 over s, the scale c
    and the offset b, with Tukey weights w from the residual's median absolute deviation. Then patches in which the
    disagreement is dense are excluded (single pixels of a changed patch agree by chance and would bias it), and the
    shift is refined once more. g2 is moved by its cubic spline with mirrored edges. `largest` [px] limits the search
    (default a quarter of the image). Assumes a shift without rotation or stretch. Fails (peak near 0) on images without
    structure. Correlating heights instead would take swelling of a slope for a shift. Source: Guizar-Sicairos et al.,
    Opt. Lett. 2008, 33, 156, for the two-stage search; Beaton and Tukey, Technometrics 1974, 16, 147, for the weights.
    """
    a, b = gradient_magnitude(first), gradient_magnitude(second)
    # The whole-pixel search: clipped, so that no single particle or changed patch dominates.
    ca, cb = (np.minimum(g, np.percentile(g, _CLIP)) for g in (a, b))
    rows, columns = a.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    fa, fb = fft.rfft2((ca - ca.mean()) * window), fft.rfft2((cb - cb.mean()) * window)
    cross = fb * np.conj(fa)
    # Half whitened: a few tall features would dominate a plain correlation, noise a fully whitened one.
    size = np.abs(cross)
    correlation = fft.irfft2(cross / np.sqrt(size + _LEAST_POWER * float(size.mean())), a.shape)
    reach = int(largest if largest is not None else min(rows, columns) // 4)
    ky, kx = (fft.fftfreq(n, 1.0 / n) for n in a.shape)
    near = (np.abs(ky)[:, None] <= reach) & (np.abs(kx)[None, :] <= reach)
    norm = float(np.sqrt(np.sum(((ca - ca.mean()) * window) ** 2) * np.sum(((cb - cb.mean()) * window) ** 2)))
    maxima = _peaks(np.where(near, correlation, -np.inf))
    shifts = [(float(ky[i]), float(kx[j])) for i, j in maxima]
    # From here on without the window, which gives most of the weight to the middle, changed or not.
    level = np.ones(a.shape)
    pair = _ImagePair(a, np.asarray(spline_filter(b, order=3), dtype=np.float64), level)
    likely = _most_alike(a, b, level, shifts)
    coarse = _best([_refined(pair, _ShiftFit(dy, dx), _FIRST_ROUNDS) for dy, dx in likely])
    # Scan lines cause local minima half a pixel apart: start from beside them too.
    half = [_ShiftFit(coarse.dy + up, coarse.dx + right) for up in (-0.5, 0.5) for right in (-0.5, 0.5)]
    near_by = _best([coarse, *(_refined(pair, one, _FIRST_ROUNDS) for one in half)])
    fit = _refined(pair, near_by, _ROUNDS)
    changed = _changed(fit, a.shape)
    if changed.any():
        pair = _ImagePair(a, pair.coefficients, np.where(changed, 0.0, level))
        fit = _refined(pair, _ShiftFit(fit.dy, fit.dx), _ROUNDS)
    plain = fft.irfft2(cross, a.shape)
    peak = float(plain[round(fit.dy) % rows, round(fit.dx) % columns]) / norm if norm > 0.0 else 0.0
    return Shift(fit.dy, fit.dx, peak, _u(pair, fit), fit.rounds, _chance(plain[near] / norm) if norm > 0.0 else 0.0)


def _chance(correlation: F64) -> float:
    """What the largest of so many correlations of unrelated images may be: sigma (sqrt(2 ln n) + 1).

    The first term is the expected largest of n independent Gaussian values, an upper bound where neighbours are alike;
    its scatter is a fraction of sigma. Sigma by the median absolute deviation: the peak itself has no part in it. Of a
    few features sigma is that of the features themselves, so it ends at half a correlation, a quarter of the variance.
    """
    sigma = robust_sigma(correlation, 0.0)
    return float(min(sigma * (np.sqrt(2.0 * np.log(correlation.size)) + 1.0), _IN_COMMON))


def _peaks(correlation: F64) -> list[tuple[int, int]]:
    """The highest maxima, no two adjacent; several, because a changed patch may produce the highest."""
    left = correlation.copy()
    rows, columns = left.shape
    maxima: list[tuple[int, int]] = []
    for _ in range(_CANDIDATES):
        i, j = (int(k) for k in np.unravel_index(int(np.argmax(left)), left.shape))
        if maxima and not left[i, j] > 0.0:
            break
        maxima.append((i, j))
        around = np.arange(-_APART, _APART + 1)
        left[np.ix_((i + around) % rows, (j + around) % columns)] = -np.inf
    return maxima


@dataclass(frozen=True, slots=True)
class _ImagePair:
    """Gradient magnitude of the first image, spline coefficients of the second's, and the weight of each pixel."""

    a: F64
    coefficients: F64
    window: F64


@dataclass(frozen=True, slots=True, eq=False)
class _ShiftFit:
    """A shift, the residual there in the pixels `inner`, and the residual's scale."""

    dy: float
    dx: float
    rounds: int = 0
    residual: F64 | None = None
    moved: F64 | None = None
    weight: F64 | None = None
    sigma: float = float("inf")
    inner: tuple[slice, slice] = (slice(0), slice(0))


def _most_alike(a: F64, b: F64, window: F64, shifts: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The whole-pixel `shifts` for which most pixels agree, the best first; without refinement."""
    tried = []
    for dy, dx in shifts:
        rows, columns = (
            (slice(max(-s, 0), n - max(s, 0), 2), slice(max(s, 0), n + min(s, 0), 2))
            for s, n in zip((int(dy), int(dx)), a.shape, strict=True)
        )
        target, weight = (np.ascontiguousarray(one[rows[0], columns[0]]) for one in (a, window))
        moved = np.ascontiguousarray(b[rows[1], columns[1]])
        residual, _, sigma = _robust(moved, target, weight, weight, _WEIGHT_ROUNDS)
        tried.append(_ShiftFit(dy, dx, residual=residual, moved=moved, weight=weight, sigma=sigma))
    return [(fit.dy, fit.dx) for fit in _ranked(tried)[:_LIKELY]]


def _best(fits: list[_ShiftFit]) -> _ShiftFit:
    """The first of `_ranked`."""
    return _ranked(fits)[0]


def _ranked(fits: list[_ShiftFit]) -> list[_ShiftFit]:
    """The fits in order, first what explains the second image best: Tukey's loss of the rest over the image's."""
    sigma = min(fit.sigma for fit in fits)
    if not 0.0 < sigma < float("inf"):
        return sorted(fits, key=lambda fit: fit.sigma)

    def unexplained(fit: _ShiftFit) -> float:
        if fit.residual is None or fit.moved is None or fit.weight is None:
            return float("inf")
        residual, moved, weight = fit.residual[::2, ::2], fit.moved[::2, ::2], fit.weight[::2, ::2]
        limit = _TUKEY * sigma
        # Relative to the structure of the image there: two flat parts agree whatever the shift.
        alone = bounded_loss(moved - float(np.median(moved)), weight, limit)
        return bounded_loss(residual, weight, limit) / max(alone, 1e-300)

    return sorted(fits, key=unexplained)


def _refined(pair: _ImagePair, start: _ShiftFit, most: int) -> _ShiftFit:
    """The fit after at most `most` rounds of Gauss-Newton from `start`."""
    a = pair.a
    dy, dx = start.dy, start.dx
    margin_y, margin_x = (min(int(abs(s)) + 3, n // 4) for s, n in zip((dy, dx), a.shape, strict=True))
    inner = (slice(margin_y, a.shape[0] - margin_y), slice(margin_x, a.shape[1] - margin_x))
    target, weight = (np.ascontiguousarray(all_[inner]) for all_ in (a, pair.window))
    fit = start
    w = weight
    for attempt in range(1, most + 1):
        moved, gy, gx = _moved(pair.coefficients, dy, dx, inner)
        # Scale and offset for the present shift first, robustly; then a step in all four parameters.
        residual, w, sigma = _robust(moved, target, weight, w, _WEIGHT_ROUNDS if attempt == 1 else 1)
        normal, right = normal_equations(gy, gx, target, residual, w)
        try:
            inverse = np.linalg.inv(normal)
        except np.linalg.LinAlgError:
            return _ShiftFit(dy, dx, attempt)
        step = inverse @ right
        dy, dx = dy + float(np.clip(step[0], -1.0, 1.0)), dx + float(np.clip(step[1], -1.0, 1.0))
        fit = _ShiftFit(dy, dx, attempt, residual, moved, weight, sigma, inner)
        if max(abs(step[0]), abs(step[1])) < 1e-3:
            break
    return fit


def _u(pair: _ImagePair, fit: _ShiftFit) -> float:
    """The larger u [px] of the two shifts, by the clustered sandwich estimator over squares of 16² pixels.

    Neighbours share the noise of the smoothing, and what the model does not follow (aliasing, a moved edge) is
    correlated over more than a pixel: so the scores are summed over a square before they are squared.
    """
    if fit.residual is None or fit.weight is None or not fit.sigma > 0.0:
        return float("inf")
    moved, gy, gx = _moved(pair.coefficients, fit.dy, fit.dx, fit.inner)
    target = np.ascontiguousarray(pair.a[fit.inner])
    residual, w, sigma = _robust(moved, target, fit.weight, fit.weight, _WEIGHT_ROUNDS)
    # The derivative of Tukey's score is (1 - v²)(1 - 5 v²), with v the residual over the limit.
    v2 = np.minimum((residual / (_TUKEY * sigma)) ** 2, 1.0)
    normal, _ = normal_equations(gy, gx, target, residual, fit.weight * (1.0 - v2) * (1.0 - 5.0 * v2))
    score = w * residual * np.stack((gy, gx, -target, np.full(target.shape, -1.0)))
    edges = (np.arange(0, n, _SQUARE) for n in target.shape)
    scores = np.add.reduceat(np.add.reduceat(score, next(edges), axis=1), next(edges), axis=2).reshape(4, -1)
    try:
        inverse = np.linalg.inv(normal)
    except np.linalg.LinAlgError:
        return float("inf")
    covariance = inverse @ (scores @ scores.T) @ inverse
    return float(np.sqrt(max(covariance[0, 0], covariance[1, 1])))


def _robust(moved: F64, target: F64, weight: F64, w: F64, rounds: int) -> tuple[F64, F64, float]:
    """Residual of moved = c·target + b, the weights and the residual's scale after `rounds` of Tukey's biweight."""
    residual, sigma = moved, 0.0
    for _ in range(rounds):
        residual = line_residual(moved, target, w)
        sigma = scale_of(residual, weight)
        if sigma <= 0.0:
            break
        w = biweight(residual, weight, _TUKEY * sigma)
    return residual, w, sigma


def _changed(fit: _ShiftFit, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of patches in which the disagreement is dense, with a rim; none if that were half of the image."""
    none = np.zeros(shape, dtype=bool)
    if fit.residual is None or not fit.sigma > 0.0:
        return none
    bounded = np.minimum((fit.residual / (_TUKEY * fit.sigma)) ** 2, 1.0)
    dense = uniform_filter(bounded, _PATCH, mode="nearest")
    usual = float(np.median(dense))
    spread = robust_sigma(dense)
    changed = none.copy()
    changed[fit.inner] = binary_dilation(dense > usual + _DENSE * spread, iterations=_PATCH // 2)
    return changed if changed.mean() < _MOST_CHANGED else none


def _moved(coefficients: F64, dy: float, dx: float, inner: tuple[slice, slice]) -> tuple[F64, F64, F64]:
    """The cubic spline of `coefficients` at (row + dy, column + dx) over `inner`, and its slopes."""
    rows, by_row = _taps(inner[0], dy, coefficients.shape[0])
    columns, by_column = _taps(inner[1], dx, coefficients.shape[1])
    value, down, across = spline_and_slopes(coefficients, rows, by_row, columns, by_column)
    return value, down, across


def _taps(inner: slice, shift: float, size: int) -> tuple[NDArray[np.int64], F64]:
    """(4, n) coefficients under each pixel and (2, 4) weights of value and slope, for one fractional shift."""
    whole = int(np.floor(shift))
    t = shift - whole
    base = np.arange(inner.start, inner.stop) + whole
    # Mirrored about the end pixels, as spline_filter assumes.
    at = np.abs((base + np.arange(-1, 3)[:, None]) % (2 * size - 2))
    at = np.where(at >= size, 2 * size - 2 - at, at)
    weights = np.array([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    slopes = np.array([-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]) / 2.0
    return at, np.stack((weights, slopes))


def shifted(heights: F64, dy: float, dx: float) -> F64:
    """`heights` moved back by (dy, dx) [px] so that it lies on the first image; NaN where it has no pixel.

    Cubic splines with mirrored ends. NaN in the input spreads over its row and column: fill first.
    """
    coefficients = spline_filter1d(spline_filter1d(heights, 3, axis=0), 3, axis=1)
    rows, columns = heights.shape
    value, _, _ = _moved(np.asarray(coefficients, dtype=np.float64), dy, dx, (slice(0, rows), slice(0, columns)))
    y, x = np.arange(rows)[:, None] + dy, np.arange(columns)[None, :] + dx
    return np.where((y >= 0) & (y <= rows - 1) & (x >= 0) & (x <= columns - 1), value, np.nan)
