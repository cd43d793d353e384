"""Registration of two images by their gradients' magnitude: swelling changes heights, edges stay where they are."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, spline_filter, spline_filter1d

F64 = NDArray[np.float64]
_SMOOTH: Final = 1.0  # [px] of the Gaussian before the gradient
_CLIP: Final = 90.0  # [%] of the magnitudes
_CANDIDATES: Final = 5
_APART: Final = 1  # [px]
_FIRST_ROUNDS: Final = 3
_FLOOR: Final = 1e-3  # of the mean power
_ROUNDS: Final = 30


@dataclass(frozen=True, slots=True)
class Shift:
    """`dy`, `dx` [px]: where the second image's pattern lies relative to the first's; `peak` correlation [1].

    `u` [px] from the curvature of the peak and what is left of the correlation; `rounds` of refinement.
    """

    dy: float
    dx: float
    peak: float
    u: float
    rounds: int


def gradient_magnitude(heights: F64) -> F64:
    """|grad h| after a Gaussian of one pixel, per pixel; missing pixels take their image's median first."""
    filled = np.where(np.isfinite(heights), heights, np.nanmedian(heights))
    smooth = gaussian_filter(filled, _SMOOTH, mode="nearest")
    down, along = np.gradient(smooth)
    return np.asarray(np.hypot(down, along), dtype=np.float64)


def register(first: F64, second: F64, largest: float | None = None) -> Shift:
    """Shift of `second` against `first` [px], to a few hundredths of a pixel.

    Both are turned into gradient magnitudes g, which a uniform swelling scales and a local irreversible change spoils
    only where it is. Whole pixels from the peaks of the windowed cross-correlation (FFT): of the five highest
    the one after which half of the pixels agree best; then Gauss-Newton on
    sum w (g2(x + s) - c g1(x) - b)^2 over s, the scale c and the offset b, with Tukey weights w from the residual's
    median absolute deviation, so that a patch that changed has no vote; g2 is moved by its cubic spline with
    mirrored edges. `largest` [px] limits the search (default a quarter of the image).
    Assumes a shift without rotation or stretch. Fails (peak near 0) on images without structure. Correlating heights
    instead takes swelling of a slope for shift. Source: Guizar-Sicairos et al., Opt. Lett. 2008, 33, 156, for the
    two-stage search; Beaton and Tukey, Technometrics 1974, 16, 147, for the weights.
    """
    a, b = gradient_magnitude(first), gradient_magnitude(second)
    # The whole-pixel search: no single particle or changed patch may outvote the rest.
    ca, cb = (np.minimum(g, np.percentile(g, _CLIP)) for g in (a, b))
    rows, columns = a.shape
    window = np.outer(np.hanning(rows + 2)[1:-1], np.hanning(columns + 2)[1:-1])
    fa, fb = fft.rfft2((ca - ca.mean()) * window), fft.rfft2((cb - cb.mean()) * window)
    cross = fb * np.conj(fa)
    # Half whitened: a few tall features would decide a plain correlation, noise a wholly whitened one.
    size = np.abs(cross)
    correlation = fft.irfft2(cross / np.sqrt(size + _FLOOR * float(size.mean())), a.shape)
    reach = int(largest if largest is not None else min(rows, columns) // 4)
    ky, kx = (fft.fftfreq(n, 1.0 / n) for n in a.shape)
    near = (np.abs(ky)[:, None] <= reach) & (np.abs(kx)[None, :] <= reach)
    norm = float(np.sqrt(np.sum(((ca - ca.mean()) * window) ** 2) * np.sum(((cb - cb.mean()) * window) ** 2)))
    places = _peaks(np.where(near, correlation, -np.inf))
    shifts = [(float(ky[i]), float(kx[j])) for i, j in places]
    coefficients = np.asarray(spline_filter(b, order=3), dtype=np.float64)

    def best_of(starts: list[tuple[float, float]]) -> Shift:
        tried = [_refined(a, coefficients, dy, dx, window, _FIRST_ROUNDS) for dy, dx in starts]
        return min(tried, key=lambda one: one[1])[0]

    coarse = best_of(shifts)
    # Lines of the scan make a ladder of lesser minima half a pixel apart: it is left by starting beside it.
    half = [(coarse.dy + up, coarse.dx + right) for up in (-0.5, 0.5) for right in (-0.5, 0.5)]
    near_by = best_of([(coarse.dy, coarse.dx), *half])
    found, _ = _refined(a, coefficients, near_by.dy, near_by.dx, window, _ROUNDS)
    plain = fft.irfft2(cross, a.shape)
    peak = float(plain[round(found.dy) % rows, round(found.dx) % columns]) / norm if norm > 0.0 else 0.0
    return replace(found, peak=peak)


def _peaks(correlation: F64) -> list[tuple[int, int]]:
    """The highest places, no two of them neighbours: a changed patch may outvote the rest in one of them."""
    left = correlation.copy()
    rows, columns = left.shape
    found: list[tuple[int, int]] = []
    for _ in range(_CANDIDATES):
        i, j = (int(k) for k in np.unravel_index(int(np.argmax(left)), left.shape))
        if found and not left[i, j] > 0.0:
            break
        found.append((i, j))
        around = np.arange(-_APART, _APART + 1)
        left[np.ix_((i + around) % rows, (j + around) % columns)] = -np.inf
    return found


def _refined(a: F64, coefficients: F64, dy: float, dx: float, window: F64, most: int) -> tuple[Shift, float]:
    """The shift after at most `most` rounds, and how much half of the pixels still disagree, over their mean."""
    margin_y, margin_x = (min(int(abs(s)) + 3, n // 4) for s, n in zip((dy, dx), a.shape, strict=True))
    inner = (slice(margin_y, a.shape[0] - margin_y), slice(margin_x, a.shape[1] - margin_x))
    target, weight = a[inner], window[inner]
    u, rounds = float("inf"), 0
    disagreement = float("inf")
    for attempt in range(1, most + 1):
        moved, gy, gx = _moved(coefficients, dy, dx, inner)
        basis = np.stack([gy, gx, -target, -np.ones_like(target)])
        # First the scale and offset for the present shift, robustly; then all four together.
        rest, w = _robust(moved, target, weight)
        disagreement = float(np.median(np.abs(rest))) / max(float(np.mean(moved)), 1e-300)
        normal = np.einsum("iyx,jyx,yx->ij", basis, basis, w)
        right = -np.einsum("iyx,yx,yx->i", basis, rest, w)
        try:
            inverse = np.linalg.inv(normal)
        except np.linalg.LinAlgError:
            return Shift(dy, dx, 0.0, u, attempt), float("inf")
        step = inverse @ right
        dy, dx = dy + float(np.clip(step[0], -1.0, 1.0)), dx + float(np.clip(step[1], -1.0, 1.0))
        rounds = attempt
        freedom = max(float(w.sum()) / max(float(w.max()), 1e-300) - 4.0, 1.0)
        variance = float(np.sum(w * rest**2)) / freedom / max(float(w.max()), 1e-300)
        u = float(np.sqrt(max(inverse[0, 0], inverse[1, 1]) * variance * max(float(w.max()), 1e-300)))
        if max(abs(step[0]), abs(step[1])) < 1e-3:
            break
    return Shift(dy, dx, 1.0, u, rounds), disagreement


def _robust(moved: F64, target: F64, weight: F64) -> tuple[F64, F64]:
    """Residual of moved = c·target + b and the weights, three rounds of Tukey's biweight."""
    w = weight
    rest = moved
    for _ in range(3):
        total = float(w.sum())
        mt, mm = float((w * target).sum()) / total, float((w * moved).sum()) / total
        spread = float((w * (target - mt) ** 2).sum())
        c = float((w * (target - mt) * (moved - mm)).sum()) / spread if spread > 0.0 else 1.0
        rest = moved - c * target - (mm - c * mt)
        sigma = 1.4826 * float(np.median(np.abs(rest)))
        if sigma <= 0.0:
            break
        w = weight * np.maximum(0.0, 1.0 - (rest / (4.685 * sigma)) ** 2) ** 2
    return rest, w


def _moved(coefficients: F64, dy: float, dx: float, inner: tuple[slice, slice]) -> tuple[F64, F64, F64]:
    """The cubic spline of `coefficients` at (row + dy, column + dx) over `inner`, and its slopes."""
    ry, wy, sy = _taps(inner[0], dy, coefficients.shape[0])
    rx, wx, sx = _taps(inner[1], dx, coefficients.shape[1])
    along = sum(wx[k] * coefficients[:, rx[k]] for k in range(4))
    sloped = sum(sx[k] * coefficients[:, rx[k]] for k in range(4))
    value = sum(wy[k] * along[ry[k]] for k in range(4))
    down = sum(sy[k] * along[ry[k]] for k in range(4))
    across = sum(wy[k] * sloped[ry[k]] for k in range(4))
    return value, down, across


def _taps(inner: slice, shift: float, size: int) -> tuple[list[NDArray[np.int64]], F64, F64]:
    """Rows of the four B-spline coefficients, their weights and the weights of the slope, for one fractional shift."""
    whole = int(np.floor(shift))
    t = shift - whole
    base = np.arange(inner.start, inner.stop) + whole
    # Mirrored about the end pixels, as spline_filter assumes.
    rows = [np.abs((base + k) % (2 * size - 2)) for k in (-1, 0, 1, 2)]
    rows = [np.where(r >= size, 2 * size - 2 - r, r) for r in rows]
    weights = np.array([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6.0
    slopes = np.array([-((1 - t) ** 2), 3 * t**2 - 4 * t, -3 * t**2 + 2 * t + 1, t**2]) / 2.0
    return rows, weights, slopes


def shifted(heights: F64, dy: float, dx: float) -> F64:
    """`heights` moved back by (dy, dx) [px] so that it lies on the first image; NaN where it has no pixel.

    Cubic splines with mirrored ends. NaN in the input spreads over its row and column: fill or mask first.
    """
    coefficients = spline_filter1d(spline_filter1d(heights, 3, axis=0), 3, axis=1)
    rows, columns = heights.shape
    value, _, _ = _moved(np.asarray(coefficients, dtype=np.float64), dy, dx, (slice(0, rows), slice(0, columns)))
    y, x = np.arange(rows)[:, None] + dy, np.arange(columns)[None, :] + dx
    return np.where((y >= 0) & (y <= rows - 1) & (x >= 0) & (x <= columns - 1), value, np.nan)
