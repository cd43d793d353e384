"""The statistics of every result: one definition each of a scatter, a noise, and the u of a median, a mean, a line.

All take and give floats of the caller's unit; u is a standard uncertainty (k = 1), a sigma the standard deviation of
one value. Compiled kernels import the constants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

F64 = NDArray[np.float64]

# Four figures, as the methods of the results print them: 1.5e-6 of a sigma is no uncertainty.
MAD_TO_SIGMA: Final = 1.4826  # 1/Phi^-1(3/4): from a Gaussian's median absolute deviation to its standard deviation
_MEDIAN_OVER_MEAN: Final = 1.2533  # sqrt(pi/2): u of a Gaussian sample's median over that of its mean
_MAD_SPREAD: Final = 1.17  # u of a robust sigma is this times sigma/sqrt(n)
_JUMP: Final = 6.0  # robust sigmas beyond which a difference is a jump: 2 of 10^9 differences of white noise
_FEWEST: Final = 5  # values, whose second differences still have a median
_MOST_CORRELATED: Final = 0.99
_ROUND_OFF: Final = 1e-9  # of a value: no instrument here resolves it, arithmetic does
_LEVELS: Final = 5
_EPSILON: Final = float(np.finfo(np.float64).eps)


# -- Middle and scatter of values


def robust_sigma(values: F64, about: float | None = None) -> float:
    """Standard deviation of one value, from the median absolute deviation: sigma = 1.4826 median |x - median x|.

    `values` [any unit], any shape, finite, at least one; `about` [the same] instead of the median where the middle is
    known (0 for residuals). Assumes a Gaussian core; nearly half of the values may be anything. Fails as 0 where more
    than half are equal (converter counts coarser than the noise), and reads low of few: by 17 % of five values.
    Source: Rousseeuw and Croux, J. Am. Stat. Assoc. 1993, 88, 1273, section 1.
    """
    middle = float(np.median(values)) if about is None else about
    return MAD_TO_SIGMA * float(np.median(np.abs(values - middle)))


def u_of_robust_sigma(sigma: float, n: int) -> float:
    """u of `robust_sigma` of `n` values: 1.17 sigma/sqrt(n), where a standard deviation's is 0.71 sigma/sqrt(n).

    `sigma` and u in one unit. Assumes independent Gaussian values; asymptotic, good to 10 % from ten values on. Fails
    for values that are not Gaussian at their quartiles. Source: the efficiency of 36.74 % in Rousseeuw and Croux,
    section 1: (2 · 0.3674)^(-1/2) = 1.17.
    """
    return _MAD_SPREAD * sigma / math.sqrt(n)


def u_of_median(sigma: float, n: int) -> float:
    """u of the median of `n` values of standard deviation `sigma`: sqrt(pi/2) sigma/sqrt(n), in the unit of sigma.

    Assumes independent Gaussian values and many: of one or two, where the median is the mean, it is 25 % too large.
    Fails on a lattice that is coarse against sigma: then `median_with_u` with its `resolution`.
    Source: Cramér, Mathematical Methods of Statistics, 28.5: 1/(2 f sqrt(n)), with the density f at the median.
    """
    return _MEDIAN_OVER_MEAN * sigma / math.sqrt(n)


def median_with_u(values: F64, u_each: float = 0.0, resolution: float = 0.0) -> tuple[float, float]:
    """Median of `values` (n,) and its u: `u_of_median` of max(robust sigma, u_each), and resolution/sqrt(12) beside it.

    `u_each` is what one value is known to: where the scatter is less, few values agree by chance. `resolution` is the
    step of the lattice on which the values lie (a sample interval, a count): their median lies on it as well, however
    many they are. All in one unit. Assumes independent values with a Gaussian core. Fails with none (NaN).
    """
    u = u_of_median(max(robust_sigma(values), u_each), values.size)
    return float(np.median(values)), math.hypot(u, u_of_rectangle(resolution)) if resolution else u


def mean_with_u(values: F64) -> tuple[float, float]:
    """Mean of `values` (n,) and its u, s/sqrt(n), with s of n - 1 degrees of freedom; in the unit of the values.

    Assumes independent values of one distribution; neighbours of a filtered record are not (`independent_share`).
    Fails with a single value (u NaN). Source: JCGM 100:2008 (GUM), (3) to (5).
    """
    return float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(values.size)


def weighted_mean(values: F64, u: F64) -> tuple[float, float]:
    """Mean of `values` (n,) with weights 1/u², and its u, (sum 1/u²)^(-1/2), from their own `u` (n,), all above 0.

    Assumes independent values and takes each u at its word: their scatter has no say. Fails where they scatter by more.
    Source: Bevington and Robinson, Data Reduction and Error Analysis, 3rd ed., (4.17) and (4.19).
    """
    weight = u**-2.0
    total = float(weight.sum())
    return float(weight @ values) / total, 1.0 / math.sqrt(total)


def u_of_rectangle(width: float) -> float:
    """u of what lies anywhere within `width`, all of it alike: width/sqrt(12), in its unit. Source: GUM, (7)."""
    return abs(width) / math.sqrt(12.0)


# -- Noise of a record, whatever its trend


def trimmed_rms(differences: F64) -> float:
    """Root mean square about the median without jumps, which lie beyond six robust sigmas; NaN of fewer than three.

    Not the median absolute deviation itself: of converter counts it sits on the converter's lattice.
    """
    if differences.size < _FEWEST - 2:
        return math.nan
    away = differences - np.median(differences)
    usual = away[np.abs(away) <= _JUMP * robust_sigma(away, 0.0)]
    return rms(usual if np.any(usual) else away)


def rms(differences: F64) -> float:
    """Root mean square about zero, jumps and all; 0 of none."""
    return math.sqrt(np.mean(differences**2)) if differences.size else 0.0


def noise_from_differences(
    values: F64, order: int = 2, spread: Callable[[F64], float] = trimmed_rms, keep: NDArray[np.bool_] | None = None
) -> float:
    """Standard deviation of one of `values` [any unit], (…, n), from the differences of neighbours in the last axis.

    For white noise, first differences x[k] - x[k-1] have the variance 2 sigma², second ones x[k-1] - 2 x[k] + x[k+1]
    6 sigma², and of a straight trend nothing is left in these; in general the central binomial coefficient. `spread` is
    by what their standard deviation is judged; `keep` (…, n - order) says which of them to use. Those that are not
    finite never are. Assumes noise that is white from value to value: a filter's memory lowers it, roughness along the
    values is in it. Fails below five values (NaN); within 5 % on average from ten on, at five it reads 26 % low.
    Source: von Neumann et al., Ann. Math. Stat. 1941, 12, 153, for order 1.
    """
    differences = np.diff(values, order)
    known = np.isfinite(differences)
    return spread(differences[known if keep is None else known & keep]) / math.sqrt(math.comb(2 * order, order))


def u_of_noise(sigma: float, differences: int, order: int = 2) -> float:
    """u of a noise from so many `differences` of `order` m: sigma sqrt(C(4m, 2m)/C(2m, m)² / (2 (differences - 1))).

    Neighbouring differences are correlated, by -2/3 and 1/6 where m = 2, so that their mean square scatters by
    1 + 2 sum rho² = C(4m, 2m)/C(2m, m)² times the variance that as many independent ones would have: 35/18 for m = 2,
    2.31 for m = 3. The median takes one of them. Assumes white Gaussian noise of one size and many differences: of four
    in a row u is 8 % too large, for want of neighbours. Fails below two (as of two).
    """
    paired = math.comb(4 * order, 2 * order) / math.comb(2 * order, order) ** 2
    return sigma * math.sqrt(paired / (2.0 * max(differences - 1, 1)))


def scatter_with_u(values: F64, order: int = 2, keep: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """Standard deviation of one value under a trend, and its u: of `values` (n,), or of all series of (series, n).

    The noise from differences of `order`, as `noise_from_differences` has it with `keep`: 2 where three values in a row
    are short against a turn of the trend, 3 where only a parabola follows it. Of three or four values, whose second
    differences say nothing, the plain standard deviation. Assumes noise that is white along each series. Fails below
    three values (NaN).
    """
    if values.size < _FEWEST:
        sigma = float(np.std(values, ddof=1))
        return sigma, sigma / math.sqrt(2.0 * (values.size - 1))
    sigma = noise_from_differences(values, order, keep=keep)
    each = values.shape[-1] - order if keep is None else int(keep.sum())
    return sigma, u_of_noise(sigma, each * (values.size // values.shape[-1]), order)


# -- Lines and other models that are linear in their parameters


@dataclass(frozen=True, slots=True)
class LinearFit:
    """Least squares of y = basis @ coefficients: `coefficients` (p,), `residual` (n,), `sigma` of one y.

    `inverse` (p, p) is that of the information, basis' basis; the coefficients' covariance is `inverse` sigma².
    """

    coefficients: F64
    inverse: F64
    residual: F64
    sigma: float

    @property
    def u(self) -> F64:
        """Standard uncertainty of each coefficient, (p,)."""
        return np.asarray(self.sigma * np.sqrt(self.inverse.diagonal()), dtype=np.float64)


def linear_fit(basis: F64, y: F64) -> LinearFit:
    """Least squares of `y` (n,) on the columns of `basis` (n, p); sigma² is the residual's over n - p.

    Assumes white noise of one size in `y` and none in `basis`; weights are the caller's (rows over their u). Fails
    where columns depend on one another: the smallest coefficients then stand for all that fit as well, and their u is
    too small. Without spare points sigma is 0. Source: Draper and Smith, Applied Regression Analysis, 3rd ed., ch. 5.
    """
    # By singular values, not by normal equations, whose condition is the square of the basis'.
    left, singular, right = np.linalg.svd(basis, full_matrices=False)
    smallest = singular[0] * max(basis.shape) * _EPSILON
    root = right.T * np.array([1.0 / s if s > smallest else 0.0 for s in singular])
    coefficients = root @ (y @ left)
    residual = y - basis @ coefficients
    freedom = max(y.size - basis.shape[1], 1)
    return LinearFit(coefficients, root @ root.T, residual, math.sqrt(residual @ residual / freedom))


@dataclass(frozen=True, slots=True)
class Line:
    """y = level + slope (x - centre). About `centre`, the (weighted) mean of x, level and slope are independent.

    `u_level`, `u_slope` are standard uncertainties; `residual` (n,); `sigma` of one y about the line.
    """

    centre: float
    level: float
    slope: float
    u_level: float
    u_slope: float
    residual: F64
    sigma: float

    def at(self, x: float) -> tuple[float, float]:
        """(y, u) of the line itself at `x`, not of a reading there."""
        away = x - self.centre
        return self.level + self.slope * away, math.hypot(self.u_level, away * self.u_slope)

    def zero(self) -> tuple[float, float]:
        """(x, u) where the line is 0, u to first order; the slope must not be 0."""
        away = self.level / self.slope
        return self.centre - away, math.hypot(self.u_level, away * self.u_slope) / abs(self.slope)


def straight_line(x: F64, y: F64, u: F64 | None = None) -> Line:
    """Least-squares line of `y` on `x`, both (n,), any units.

    slope = sum w (x - X)(y - Y) / sum w (x - X)², level Y at the centre X, both means weighted by w. Without `u`
    w = 1, and the scatter about the line, sigma² = sum residual²/(n - 2), is that of each y. With `u` (n,) of each y
    w = 1/u², taken at its word. u of level and slope: sigma (sum w)^(-1/2) and sigma (sum w (x - X)²)^(-1/2), with
    sigma = 1 where u is given. Assumes white noise in y and none in x. Fails as slope 0 of infinite u where all x are
    alike; with two points sigma is 0. Source: Draper and Smith, Applied Regression Analysis, 3rd ed., chapter 1, and
    section 9.2 for weights.
    """
    each = np.ones(y.size) if u is None else u
    (centre, u_level), (level, _) = weighted_mean(x, each), weighted_mean(y, each)
    away = x - centre
    weighted = away / each**2
    size = float(weighted @ away)
    slope = float(weighted @ (y - level)) / size if size > 0.0 else 0.0
    residual = y - level - slope * away
    sigma = math.sqrt(residual @ residual / max(y.size - 2, 1))
    scale = sigma if u is None else 1.0
    u_slope = scale / math.sqrt(size) if size > 0.0 else math.inf
    return Line(centre, level, slope, scale * u_level, u_slope, residual, sigma)


def independent_share(residual: F64) -> float:
    """Share of `residual` (n,), about its own model, that counts as independent: (1 - r)/(1 + r).

    r is the correlation of neighbours; u of a mean or slope is that of independent values over the root of the share.
    Assumes a correlation that falls off geometrically (a one-pole filter, a slow drift); a negative r counts as 0, none
    above 0.99. Fails for periodic residuals. Source: Bayley and Hammersley, J. R. Statist. Soc. Suppl. 1946, 8, 184.
    """
    size = float(residual @ residual)
    return share_of_correlated(float(residual[1:] @ residual[:-1]) / size if size > 0.0 else 0.0)


def share_of_correlated(r: float) -> float:
    """`independent_share` of values whose neighbours are correlated by `r`."""
    r = min(max(r, 0.0), _MOST_CORRELATED)
    return (1.0 - r) / (1.0 + r)


# -- From u to an interval


def student_factor(freedom: F64 | float, confidence: float = 0.95) -> F64:
    """Half-width of the interval of `confidence` in units of u: Student's t of `freedom` degrees, the normal of inf.

    `freedom` of any shape, above 0. Assumes a Gaussian estimate whose u has that many degrees of freedom.
    Source: GUM, G.3 and table G.2.
    """
    known = np.asarray(freedom, dtype=np.float64)
    finite, share = np.isfinite(known), 0.5 + 0.5 * confidence
    return np.where(finite, stdtrit(np.where(finite, known, 1.0), share), ndtri(share))


def effective_freedom(parts: Sequence[tuple[F64, float]]) -> F64:
    """Degrees of freedom of a sum of independent parts, each (u, its degrees of freedom), by Welch and Satterthwaite.

    A part known for sure has infinitely many. Source: GUM, (G.2b).
    """
    total = np.sum([u**2 for u, _ in parts], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        lost = np.sum([np.where(u > 0.0, u**4 / freedom, 0.0) for u, freedom in parts], axis=0)
        return np.where(lost > 0.0, total**2 / lost, np.inf)


# -- What a record's own numbers say of its resolution, and when they say nothing


def resolution_of(values: F64) -> float:
    """The smallest step between different values, as of a converter or of a printed table; 0 where it is round-off.

    `values` [any unit], (n,). A step below 1e-9 of the largest value is arithmetic, not resolution, and fewer than five
    different values are set-points, whose distance says nothing of it.
    """
    different = np.unique(values[np.isfinite(values)])
    if different.size < _LEVELS:
        return 0.0
    steps = np.diff(different)
    real = steps[steps > _ROUND_OFF * float(np.max(np.abs(different)))]
    # Steps of both kinds mean that the numbers were computed: then the smallest real one is no count.
    return float(real.min()) if real.size == steps.size else 0.0


def resolved_u(value: float, u: float) -> float | None:
    """`u`, or None where it is below 1e-9 of `value`: the record neither scatters nor steps, and says nothing of u."""
    return u if u > _ROUND_OFF * abs(value) else None
