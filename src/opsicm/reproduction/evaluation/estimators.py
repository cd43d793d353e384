"""How a reader takes a number from a curve of the paper's kind: onset, knee, reach, change of sign, irreversible area.

Pure functions of arrays. Each gives a value, or says why the arrays do not determine one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from opsicm.analysis.cell.transitions import transitions_from_height
from opsicm.analysis.pipette.towers import Profile
from opsicm.core.statistics import linear_fit, noise_from_differences, straight_line, u_of_rectangle

F64 = NDArray[np.float64]

_CERTAIN: Final = 3.0  # u from which on something is there at all
_SEARCHED: Final = 5.0  # the same where its place or length was searched for: noise alone then reaches 3 to 4
_FEWEST_BINS: Final = 20
_FEWEST_HEIGHTS: Final = 4
_LENGTHS: Final = 200


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and its standard uncertainty; without a value, the `reason`."""

    value: float | None
    u: float = 0.0
    reason: str = ""

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit."""
        return self if self.value is None else Estimate(factor * self.value, abs(factor) * self.u)


def undetermined(reason: str) -> Estimate:
    """No value, with the reason."""
    return Estimate(None, 0.0, reason)


def onset(potential: F64, height: F64, share: float) -> Estimate:
    """Where the height has risen by `share` of its whole change: potential [V] of the first bin that has.

    `potential` [V] in the order of the sweep, evenly spaced, and `height` [m] of the bins, (n,). The height before is
    the median of the first three bins. u: a bin's width as a rectangle. Undetermined with fewer than 20 bins, where
    `share` of the change is within 3 times the noise of a bin (from differences of neighbours in the first quarter), or
    where the height is above it within the first three bins.
    """
    if height.size < _FEWEST_BINS:
        return undetermined(f"{height.size} bins of potential hold a height; {_FEWEST_BINS} are needed")
    risen = height - np.median(height[:3])
    whole = float(risen[-1])
    noise = noise_from_differences(height[: max(10, height.size // 4)], 2, np.std)
    if share * whole <= _CERTAIN * noise:
        return undetermined(
            f"{100.0 * share:g} % of the change of {1e9 * whole:.3g} nm is within 3 times the noise of a bin, "
            f"{1e9 * noise:.2g} nm"
        )
    first = int(np.flatnonzero(risen > share * whole)[0])
    if first < 3:
        return undetermined("the height rises from the first bins on: begin the sweep at a higher potential")
    return Estimate(float(potential[first]), u_of_rectangle(_bin_width(potential)))


def last_break(potential: F64, height: F64, breaks: int) -> Estimate:
    """Where the height grows faster: potential [V] of the last of `breaks` breaks of a continuous broken line.

    `potential` [V], falling, and `height` [m] of the bins, (n,). u: of the fit, and a bin as a rectangle; a stage in
    which the height curves moves the break, which is not in it. Undetermined with too few bins, or where the slope does
    not grow at that break by 5 times its u.
    """
    found = sorted(transitions_from_height(-potential, height, breaks), key=lambda one: one.charge)
    if not found:
        return undetermined(f"{height.size} bins hold a height; {breaks} breaks need {10 * (breaks + 1)}")
    kinks = [np.maximum(-potential - one.charge, 0.0) for one in found]
    fit = linear_fit(np.column_stack([np.ones_like(potential), -potential, *kinks]), height)
    growth, u_growth = float(fit.coefficients[-1]), float(fit.u[-1])
    if growth <= _SEARCHED * u_growth:
        return undetermined(
            f"the slope does not grow at the last break: it changes by {1e6 * growth:.2g} ± {1e6 * u_growth:.1g} µm/V"
        )
    return Estimate(-found[-1].charge, float(np.hypot(found[-1].u, u_of_rectangle(_bin_width(potential)))))


def _bin_width(potential: F64) -> float:
    return float(np.median(np.abs(np.diff(potential))))


def length_beyond_line(profile: Profile, above: float, with_tail: bool = True) -> Estimate:
    """Length [m] of the exponential by which a `profile` departs, below the height `above` [m], from its line beyond.

    Equation: i(z) = a + b z + A exp(-z/L). The line is that of the heights beyond `above`, weighted by 1/u². The
    exponential's own tail is in it, so that what is fitted below is A (exp(-z/L) - its line beyond `above`), L by
    search, A by least squares; without that (`with_tail` False) L comes out a fifth shorter. The layer of a diffusing
    salt is no exponential: of its ierfc(z/2√(Dt)) L is √(Dt) within 12 %. u where chi² has risen by its value per
    degree of freedom. Assumes that the far gradient is straight: the ohmic drop of a bath of constant cross-section.
    Undetermined with fewer than four bins on either side, where A is within 5 u of nothing, where L is longer than
    `above`, so that it is part of the line, where it is shorter than the spacing of the heights, or where its u is more
    than half of it.
    """
    filled = profile.number > 1
    z, i, u = profile.height[filled], profile.current[filled], profile.u[filled]
    far = z > above
    fewest = min(int(far.sum()), int((~far).sum()))
    if fewest < _FEWEST_HEIGHTS:
        return undetermined(f"{fewest} heights on one side of {1e3 * above:g} mm; {_FEWEST_HEIGHTS} are needed")
    u = np.maximum(u, 0.3 * float(np.median(u)))  # the scatter of a few rows may be small by chance

    def beyond(values: F64) -> F64:
        """What of `values` the line through those at great height leaves at small height."""
        line = straight_line(z[far], values[far], u[far])
        return np.asarray(values[~far] - line.level - line.slope * (z[~far] - line.centre), dtype=np.float64)

    weight = 1.0 / u[~far] ** 2
    rest = beyond(i)
    lengths = np.geomspace(0.03 * above, 4.0 * above, _LENGTHS)
    chi, amplitude, u_amplitude = (np.empty(_LENGTHS) for _ in range(3))
    for k, length in enumerate(lengths):
        shape = beyond(np.exp(-z / length)) if with_tail else np.exp(-z[~far] / length)
        size = float(weight @ shape**2)
        amplitude[k], u_amplitude[k] = float(weight @ (shape * rest)) / size, size**-0.5
        chi[k] = float(weight @ (rest - amplitude[k] * shape) ** 2)
    best = int(np.argmin(chi))
    unit = max(1.0, float(chi[best]) / max(rest.size - 2, 1))
    if abs(amplitude[best]) < _SEARCHED * u_amplitude[best] * unit**0.5:
        visible = 1e12 * float(np.abs(rest).max())
        return undetermined(
            f"nothing departs from the line beyond {1e3 * above:g} mm by more than noise, {visible:.2g} pA"
        )
    inside = lengths[chi <= chi[best] + unit]
    length = float(lengths[best])
    u_length = max(0.5 * float(np.ptp(inside)), length * float(np.log(lengths[1] / lengths[0])))
    if length > above or inside[-1] == lengths[-1]:
        return undetermined(f"the gradient is longer than {1e3 * above:g} mm and cannot be told from the line beyond")
    spacing = float(np.median(np.diff(z)))
    if length < spacing:
        return undetermined(f"the gradient is shorter than {1e3 * spacing:.2g} mm, the spacing of the heights")
    if u_length > 0.5 * length:
        return undetermined(f"any length from {1e3 * inside[0]:.2g} to {1e3 * inside[-1]:.2g} mm fits within the noise")
    return Estimate(length, u_length)


def sign_change(potential: F64, difference: F64, u: F64, which: Literal["first", "last"]) -> Estimate:
    """Potential [V] at which a `difference` ± `u` changes sign for the first or the last time, in the order given.

    All (n,). Only values beyond 3 u count, so that noise about zero is no change; between two of opposite sign the
    potential is interpolated, and u is that stretch as a rectangle. Undetermined where no two signs are seen.
    """
    seen = np.flatnonzero(np.abs(difference) > _CERTAIN * u)
    signs = np.sign(difference[seen])
    turns = np.flatnonzero(np.diff(signs) != 0.0)
    if not turns.size:
        which_sign = "within its noise" if not seen.size else "positive" if signs[0] > 0 else "negative"
        return undetermined(f"the difference never changes sign: it is {which_sign} throughout")
    k = turns[0 if which == "first" else -1]
    a, b = int(seen[k]), int(seen[k + 1])
    share = difference[a] / (difference[a] - difference[b])
    place = float(potential[a] + share * (potential[b] - potential[a]))
    return Estimate(place, u_of_rectangle(float(abs(potential[b] - potential[a]))))


def irreversible_share(before: F64, swollen: F64, after: F64, share: float, noise: float) -> Estimate:
    """Share of pixels that end more than `share` of their own swelling from where they began; u binomial.

    Images of heights [m], (row, column), NaN where a pixel has none; `noise` [m] of a height. Pixels that did not swell
    by 4 times the noise of a difference do not count: of them no share can be told. Undetermined where fewer than half
    of the pixels did.
    """
    left, swelling = np.abs(after - before), np.abs(swollen - before)
    counted = np.isfinite(left) & (swelling > 4.0 * 2.0**0.5 * noise)
    known = int(counted.sum())
    if 2 * known < before.size:
        return undetermined(f"{known} of {before.size} pixels have swollen beyond their noise; half of them are needed")
    part = float((left[counted] > share * swelling[counted]).mean())
    return Estimate(part, (part * (1.0 - part) / known) ** 0.5)
