"""Fit of one approach curve with the hyperbola I_inf/(1 + C/d): the usual closed form for the surface position.

How far that closed form is from a pipette's curve is told by a second fit, with the finite-element curve.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from opsicm.core.statistics import noise_from_differences, robust_sigma, straight_line
from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.tip_field import ApproachCurve, approach_curve

F64 = NDArray[np.float64]

METHOD: Final = (
    "least squares of I = I_inf/(1 + C/d), d = z - z0, i.e. R = R_inf (1 + C/d), to the points before contact; weights "
    "from the scatter of the far half, noise taken as white; u from the Jacobian, times sqrt(chi2/nu) where it "
    "exceeds 1. The hyperbola's distance is biased (about 12 nm for a 50 nm pipette against the finite-element curve)"
)
FEWEST_POINTS: Final = 8
# [points] A brief touch lasts one or two in a step-by-step approach; the bulk current does not drift over so few.
_LOOK_AHEAD: Final = 10
# Two points of white noise differ by sqrt(2) sigma; 5 of those happen once in two million pairs.
_RECOVERY_SIGMAS: Final = 5.0 * 2.0**0.5
_JUMP: Final = 0.05
_TOP: Final = 0.02  # of the range of z: the approach begins where z comes within this of its highest
_WHOLE: Final = 0.2  # of the range of z: a shorter way down at the beginning is no approach, the rows are in reverse
_CHANCE: Final = 1e-3  # that a run of equal points at the largest current is noise


@dataclass(frozen=True, slots=True)
class ApproachFit:
    """The hyperbola of one approach, in SI; `covariance` is of (I_inf, C, z0) and already scaled for chi2/nu > 1.

    `used` marks the points of the fit; `disturbed` those left out before contact because the current recovered
    after them; `from_contact` all points from contact on; `aside` those before and after the way down. `z_lowest` is
    where the approach ended, `z_stop` the last good point before contact.
    """

    I_inf: float
    C: float
    z0: float
    covariance: F64
    sigma: float
    chi2_per_dof: float
    z_stop: float
    used: NDArray[np.bool_]
    disturbed: NDArray[np.bool_]
    from_contact: NDArray[np.bool_]
    aside: NDArray[np.bool_]
    z_lowest: float

    @property
    def distance(self) -> float:
        """Distance between tip and sample at the last good point before contact [m]."""
        return self.z_stop - self.z0

    @property
    def u(self) -> tuple[float, float, float]:
        """Standard uncertainties of (I_inf, C, z0)."""
        variances = np.diag(self.covariance)
        return float(variances[0] ** 0.5), float(variances[1] ** 0.5), float(variances[2] ** 0.5)


@dataclass(frozen=True, slots=True)
class NoFit:
    """Why a curve has no fit: `outcome` is the name, `reason` a sentence with what to do."""

    outcome: str
    reason: str


def hyperbola(z: F64, I_inf: float, C: float, z0: float) -> F64:
    """Current of a pipette above a flat sample, I = I_inf / (1 + C / (z - z0)).

    Equation: R(d) = R_inf (1 + C/d), d = z - z0, at constant bias. Parameters: `z` [m], shape (n,), up is positive;
    `I_inf` [A] far from the sample; `C` [m], about a few per cent of the opening radius, set by radius and cone;
    `z0` [m], position of the sample under this model.
    Assumes a flat, insulating sample, steady state, and an access resistance that grows as 1/d.
    Fails near the sample and for wide glass rims: the true curve falls faster than 1/d, so the distance from this
    fit is too large or too small by about 12 nm at 2 % for a 50 nm pipette (finite elements), whatever its u says.
    Source: Nitz, Kamp and Fuchs, Probe Microsc. 1998, 1, 187, for the 1/d term.
    """
    return np.asarray(I_inf / (1.0 + C / (z - z0)), dtype=np.float64)


def fit_approach(z: F64, current: F64, threshold: float | None = None) -> ApproachFit | NoFit:
    """Fit one approach, given in the order it was measured: `z` [m] falling, `current` [A] (or any multiple of it).

    `threshold` is the instrument's own stop criterion as a relative drop (0.0244 for R = 102.5 %); None when unknown.
    The approach ends at the lowest z, whatever backstep or withdrawal was recorded after it (`way_down`).

    What counts as contact: the first undisturbed point whose drop exceeds `threshold`, or a step that takes more
    than 5 % of the bulk current and more than the whole curve before it; everything from there on is left out,
    because a tip that touches no longer follows any static curve. What counts as a disturbance: a static approach
    falls monotonically, so a point after which the current *recovers* by more than 5 sqrt(2) sigma within ten
    points was a vibration or a brief touch, not the sample; it is left out and counted. Neither rule uses the
    model, and white noise alone triggers the second about once in 10^5 points.
    """
    refusal = _unusable(z, current)
    if refusal is not None:
        return refusal
    down = way_down(z)
    finite = np.zeros(z.size, bool)
    finite[down] = np.isfinite(z[down]) & np.isfinite(current[down])
    index = np.flatnonzero(finite)
    zf, If = z[finite], current[finite]
    sign = 1.0 if np.median(If) > 0 else -1.0
    If = sign * If
    far = _far_half(zf)
    sigma = _scatter(zf[far], If[far])
    bulk = float(np.median(If[far]))
    if sigma <= 0.0:
        # Noiseless or coarsely digitised: the weights are then equal and only their ratio matters.
        sigma = max(float(np.ptp(If)), abs(bulk)) * 1e-12
    disturbed = _disturbed(If, sigma)
    stop = _contact(If, bulk, disturbed, threshold)
    keep = np.zeros(zf.size, dtype=bool)
    keep[:stop] = True
    keep &= ~disturbed
    if int(keep.sum()) < FEWEST_POINTS:
        return NoFit(
            "too few points", f"{int(keep.sum())} points remain before contact; record at least {FEWEST_POINTS}"
        )
    # Of five points the mean has sigma/sqrt(5): a flat noisy current passes this once in 30 000 curves.
    drop = bulk - float(np.mean(If[keep][-5:]))
    if drop < 4.0 * sigma / 5.0**0.5:
        return NoFit(
            "no approach: current does not fall",
            f"the current falls by {100 * drop / bulk:.2g} % where its noise is {100 * sigma / bulk:.2g} %; "
            "approach closer or average longer",
        )
    solved = _solve(zf[keep], If[keep], sigma, bulk)
    if isinstance(solved, NoFit):
        return solved
    parameters, covariance, chi2 = solved
    parameters[0] *= sign
    covariance[0, :] *= sign
    covariance[:, 0] *= sign

    def over_all_points(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        whole = np.zeros(z.size, dtype=bool)
        whole[index[mask]] = True
        return whole

    after = np.arange(zf.size) >= stop
    return ApproachFit(
        I_inf=float(parameters[0]),
        C=float(parameters[1]),
        z0=float(parameters[2]),
        covariance=covariance,
        sigma=sigma,
        chi2_per_dof=chi2,
        z_stop=float(zf[keep][-1]),
        used=over_all_points(keep),
        disturbed=over_all_points(disturbed & ~after),
        from_contact=over_all_points(after),
        aside=~finite & np.isfinite(z) & np.isfinite(current),
        z_lowest=float(zf.min()),
    )


def way_down(z: F64) -> slice:
    """The rows from the highest `z` [any length] to the lowest after it: the approach, without what came after.

    The first row at the height of the start (within 2 % of the range, so that a plateau is kept) to the first at the
    lowest (within 4 sigma of z's own noise). All rows where z is lowest at the beginning: these are in reverse.
    """
    known = np.flatnonzero(np.isfinite(z))
    if known.size < FEWEST_POINTS:
        return slice(0, z.size)
    values = z[known]
    lowest = float(values.min())
    low = int(np.flatnonzero(values <= lowest + 4.0 * noise_from_differences(values, spread=robust_sigma))[0])
    before = values[: low + 1]
    if np.ptp(before) < _WHOLE * np.ptp(values):
        return slice(0, z.size)
    high = int(np.flatnonzero(before >= before.max() - _TOP * np.ptp(before))[0])
    return slice(int(known[high]), int(known[low]) + 1)


@cache
def _reference_curve() -> ApproachCurve:
    """The finite-element curve of the default pipette (wall 1.5, 3°, 400 radii long): its shape at any radius."""
    return approach_curve(Pipette())


def shift_of_model(z: F64, current: F64, fit: ApproachFit) -> float:
    """How far the surface lies from `fit.z0` [m] when the same points are fitted with the finite-element curve.

    I = I_inf T((z - z0)/s), with the relative current T of the default pipette and its size s as the third parameter:
    as many as the hyperbola has, and the two disagree only by their shape. Which of them is the pipette's is not known
    from the curve, so the difference belongs to u. Where that fit does not converge, the difference is that of the two
    curves at the stop (a quarter of the distance), as between 12 nm and the 46 nm of the hyperbola at 98 %.
    """
    curve = _reference_curve()
    x, y = z[fit.used], current[fit.used] / fit.I_inf
    relative = 1.0 / (1.0 + fit.C / fit.distance)
    size = fit.distance / float(curve.distance(np.array(relative)))
    noise = abs(fit.sigma / fit.I_inf)
    usual = 0.25 * fit.distance

    def residual(p: F64) -> F64:
        d = (x - fit.z_stop + p[2] * fit.distance) / (p[1] * size)
        return np.asarray((p[0] * curve.relative_current(np.maximum(d, 1e-15)) - y) / noise)

    bounds = ([0.5, 1e-3, 1e-3], [2.0, 1e3, 1e2])
    found = least_squares(residual, [1.0, 1.0, 1.0], bounds=bounds, x_scale="jac")
    converged = found.status > 0 and not np.any(found.active_mask)
    return fit.distance * (1.0 - float(found.x[2])) if converged else usual


def longest_by_chance(values: F64, elsewhere: NDArray[np.bool_]) -> float:
    """How many equal `values` (n,) in a row noise may give, from how often neighbours are alike `elsewhere` (n - 1,).

    Of a quiet current, digitised coarsely, many are. A longer run at the largest value is the end of the range.
    """
    share = float(np.mean(np.diff(values)[elsewhere] == 0.0)) if elsewhere.any() else 1.0
    share = min(max(share, 1.0 / values.size), 1.0 - 1.0 / values.size)
    return float(2.0 + np.log(_CHANCE / values.size) / np.log(share))


def _unusable(z: F64, current: F64) -> NoFit | None:
    finite = np.isfinite(z) & np.isfinite(current)
    if z.size and not finite.any():
        return NoFit("all NaN", "no point has both a height and a current; read other columns")
    if int(finite.sum()) < FEWEST_POINTS:
        return NoFit("too few points", f"{int(finite.sum())} points; an approach needs at least {FEWEST_POINTS}")
    zf, If = z[finite], current[finite]
    if np.ptp(If) <= 1e-12 * np.max(np.abs(If)):
        return NoFit("constant current", "every current is the same; look at the channel and its wiring")
    if np.ptp(zf) == 0.0:
        return NoFit("constant height", "z does not move; look at the z channel")
    largest = np.abs(If) >= np.max(np.abs(If)) * (1.0 - 1e-12)
    if _longest_run(largest) > longest_by_chance(If, ~(largest[1:] & largest[:-1])):
        return NoFit(
            "saturated",
            f"{int(largest.sum())} of {zf.size} points sit at the largest current, so the bulk current is unknown; "
            "lower the gain",
        )
    down = way_down(z)
    inside = finite.copy()
    inside[: down.start], inside[down.stop :] = False, False
    zf, If = z[inside], current[inside]
    if zf.size < FEWEST_POINTS:
        reason = f"{zf.size} points on the way down; an approach needs at least {FEWEST_POINTS}"
        return NoFit("too few points", reason)
    quarter = max(3, zf.size // 4)
    magnitude = np.abs(If)
    noise = _scatter(zf[:quarter], magnitude[:quarter]) + _scatter(zf[-quarter:], magnitude[-quarter:])
    ends = float(np.mean(magnitude[:3]) - np.mean(magnitude[-3:]))
    start, end = float(np.mean(zf[:3])), float(np.mean(zf[-3:]))
    if end > start and abs(ends) > 3.0 * noise:
        what = "z rises while the current falls" if ends > 0 else "the rows are in the order of a withdrawal"
        return NoFit("reversed axis", f"{what}; give z up positive and rows in the order of the approach")
    return None


def _longest_run(mask: NDArray[np.bool_]) -> int:
    edges = np.flatnonzero(np.diff(np.concatenate(([False], mask, [False])).astype(np.int8)))
    return int(np.max(edges[1::2] - edges[::2])) if edges.size else 0


def _far_half(z: F64) -> NDArray[np.bool_]:
    return np.asarray(z >= 0.5 * (float(np.max(z)) + float(np.min(z))), dtype=bool)


def _scatter(z: F64, current: F64) -> float:
    """Robust standard deviation about a straight line: a spike cannot inflate it."""
    if z.size < 3 or np.ptp(z) == 0.0:
        return float(np.std(current))
    return robust_sigma(straight_line(z, current).residual)


def _disturbed(current: F64, sigma: float) -> NDArray[np.bool_]:
    padded = np.concatenate((current[1:], np.full(_LOOK_AHEAD, -np.inf)))
    ahead = np.lib.stride_tricks.sliding_window_view(padded, _LOOK_AHEAD)[: current.size].max(axis=1)
    return np.asarray(current < ahead - _RECOVERY_SIGMAS * sigma, dtype=bool)


def _contact(current: F64, bulk: float, disturbed: NDArray[np.bool_], threshold: float | None) -> int:
    """Index of the first point of contact, or the number of points when there is none."""
    calm = np.flatnonzero(~disturbed)
    drop = 1.0 - current[calm] / bulk
    step = np.diff(drop, prepend=drop[0])
    before = np.maximum(drop - step, 0.0)
    touching = (step > _JUMP) & (step > before)
    if threshold is not None:
        touching |= drop > threshold
    first = np.flatnonzero(touching)
    return int(calm[first[0]]) if first.size else int(current.size)


def _solve(z: F64, current: F64, sigma: float, bulk: float) -> tuple[F64, F64, float] | NoFit:
    """Least squares with lengths in units of the range of z and currents of the bulk current: all are about 1."""
    length, lowest = float(np.ptp(z)), float(np.min(z))
    x, y, noise = (z - lowest) / length, current / bulk, sigma / bulk

    def residual(p: F64) -> F64:
        d = x + p[2]
        return np.asarray((p[0] * d / (d + p[1]) - y) / noise)

    def jacobian(p: F64) -> F64:
        d = x + p[2]
        f = d / (d + p[1])
        return np.column_stack((f, -p[0] * f / (d + p[1]), p[0] * p[1] / (d + p[1]) ** 2)) / noise

    bounds = ([0.0, 1e-9, 1e-7], [np.inf, 10.0, 10.0])
    best = None
    for start in _starts(x, y):
        fit = least_squares(
            residual, start, jac=jacobian, bounds=bounds, x_scale="jac", xtol=1e-14, ftol=1e-14, gtol=1e-14
        )
        if best is None or fit.cost < best.cost:
            best = fit
    if best is None:
        return NoFit("no fit", "no hyperbola decreases as this current does; look at the curve")
    p = np.asarray(best.x, dtype=np.float64)
    if p[2] <= 2e-7 or p[2] >= 9.9 or p[1] >= 9.9:
        return NoFit(
            "not identifiable",
            "the fitted surface position reaches the limit of its range: the curve is too shallow or ends in a jump; "
            "approach closer or in smaller steps",
        )
    dof = max(1, x.size - 3)
    chi2 = 2.0 * float(best.cost) / dof
    information = jacobian(p)
    information = information.T @ information
    if np.linalg.cond(information) > 1e14:
        return NoFit(
            "not identifiable", "this curve does not determine distance and coefficient separately; approach closer"
        )
    covariance: F64 = np.asarray(np.linalg.inv(information) * max(1.0, chi2), dtype=np.float64)
    # From (y_inf, C, d_last) in scaled units to (I_inf, C, z0) in SI: z0 = lowest - d_last*length.
    scale = np.array([bulk, length, -length])
    return (
        np.array([p[0] * bulk, p[1] * length, lowest - p[2] * length], dtype=np.float64),
        np.asarray(covariance * np.outer(scale, scale), dtype=np.float64),
        chi2,
    )


def _starts(x: F64, y: F64) -> list[F64]:
    """Starting points by variable projection: for a given distance the model is linear in 1/I_inf and C/I_inf."""
    candidates: list[tuple[float, F64]] = []
    for d_last in np.geomspace(1e-3, 1.0, 13):
        basis = np.column_stack((np.ones_like(x), 1.0 / (x + d_last)))
        # 1/y has the variance sigma^2/y^4, hence the weight y^2.
        weighted = basis * (y**2)[:, None]
        (a, b), *_ = np.linalg.lstsq(weighted, y, rcond=None)
        if a > 0.0 and b > 0.0:
            cost = float(np.sum((weighted @ np.array([a, b]) - y) ** 2))
            candidates.append((cost, np.array([1.0 / a, min(max(b / a, 1e-8), 9.0), d_last])))
    candidates.sort(key=lambda pair: pair[0])
    return [start for _, start in candidates[:2]]
