"""Flakes of a coating: how they share the electrode's swelling, and how they are stacked on a periodic square."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.core.compiled import compiled
from opsicm.core.errors import OutsideDomain, Problem

Floats = NDArray[np.float64]


@compiled
def _follow(
    flake_change: Floats,
    closing: Floats,
    volume_change: Floats,
    irreversible: Floats,
    gain: Floats,
    share: Floats,
    displacement: Floats,
) -> None:
    # Row by row: each flake closes its share of what it lags behind, and moves by its gain of the whole.
    for row in range(volume_change.size):
        for k in range(flake_change.size):
            flake_change[k] += (volume_change[row] - flake_change[k]) * closing[k]
            displacement[row, k] = gain[k] * flake_change[k] + share[k] * irreversible[row]


@dataclass(frozen=True, slots=True)
class Binder:
    """What ties the columns under neighbouring plates together, so that none rises without those around it.

    A column's share is the mean of its neighbours' own with weight area × exp(−d²/2r²), d the distance of the plates'
    centres `x`, `y` [m] on a periodic square of side `size` [m], r the `reach` [m]. Over many columns alike, two at a
    distance d then correlate as exp(−d²/4r²), and the variance is that of one alone times its area over 4πr². What has
    no centre, the ground between plates, shows in many places and takes the mean of all. Assumed: a linear binder, in
    which a column's excess spreads alike in all directions and at once. Fails where r is not small against the square.
    """

    x: Floats
    y: Floats
    size: float
    reach: float

    def tie(self, own: Floats, area: Floats) -> Floats:
        """Means [m × n] over columns of `area` [n] of what each would have alone, `own` [m × n]."""
        tied = np.repeat((own @ area / area.sum())[:, None], own.shape[1], axis=1)
        placed = self.x.size
        (shown,) = np.nonzero(area[:placed])
        of_shown, area_shown = own[:, shown], area[shown]
        for k in range(placed):
            exponent = -0.5 * self._squared_distance(shown, k) / self.reach**2
            # From the nearest: a plate under all others has no weight of its own, and theirs may be too small to write.
            weight = area_shown * np.exp(exponent - exponent.max())
            tied[:, k] = of_shown @ weight / weight.sum()
        return tied

    def _squared_distance(self, others: NDArray[np.intp], k: int) -> Floats:
        apart = np.array([self.x[others] - self.x[k], self.y[others] - self.y[k]])
        apart -= self.size * np.round(apart / self.size)
        squared: Floats = (apart**2).sum(axis=0)
        return squared


class FlakeSwelling:
    """How the electrode's swelling displaces each of its flakes.

    A flake's own volume change obeys dv_k/dt = (v − v_k)/τ_k, solved exactly for v held over a step. Its displacement
    over that at x = 0 is thickness × factor × s_k × v_k plus s'_k × the irreversible part. Shares are lognormal, hence
    positive: `share_spread` is that of a column from the foil to the flake alone, before the `binder` lets neighbours
    share. Their area-weighted mean is 1 exactly, so that the mean is the electrode's own expansion once all have caught
    up. A tied flake's τ is the mean of its neighbours' own, weighted as their shares are: while v changes steadily, its
    displacement is then the mean of what theirs would be alone. Assumed: the two spreads; one τ where such a mean has
    many, which fails while v turns within one. A real coating's flakes also tilt and slide.
    """

    def __init__(
        self,
        area: Floats,
        random: np.random.Generator,
        *,
        thickness: float,
        swelling_factor: float,
        volume_change: float,
        share_spread: float = 0.4,
        binder: Binder | None = None,
        lag: float = 20.0,
        lag_spread: float = 1.0,
    ) -> None:
        """`area` [n] fractions of the plane; `thickness` [m]; spreads are of logarithms; `lag` median [s]."""
        n = area.size
        self.area_fraction = area
        self._amplitude = thickness * swelling_factor
        shares = np.exp(share_spread * random.standard_normal((2, n)))
        lags: Floats = lag * np.exp(lag_spread * random.standard_normal(n))
        if binder is not None:
            # Not the mean of displacements itself: that is plates × plates at every step, and this plates.
            tied = binder.tie(np.vstack([shares, shares[0] * lags]), area)
            shares, lags = tied[:2], tied[2] / tied[0]
        self.share: Floats = shares[0] / (shares[0] @ area)
        self.irreversible_share: Floats = shares[1] / (shares[1] @ area)
        self.lag = lags
        self.volume_change = np.full(n, volume_change)
        self.irreversible = 0.0
        self._closing = (0.0, np.zeros(n))  # share of its lag that each flake makes up in a step, and which step

    def advance(self, dt: float, volume_change: Floats, irreversible: Floats) -> Floats:
        """Let every flake follow the electrode through steps of `dt` [s]; `displacement` [m, steps × n] after each.

        `volume_change` [1, steps] holds over each step, `irreversible` [m, steps] is that at its end.
        """
        if dt != self._closing[0]:
            self._closing = (dt, -np.expm1(-dt / self.lag))
        displacement = np.empty((volume_change.size, self.share.size))
        gain, share = self._amplitude * self.share, self.irreversible_share
        _follow(self.volume_change, self._closing[1], volume_change, irreversible, gain, share, displacement)
        self.irreversible = float(irreversible[-1])
        return displacement

    def displacement(self) -> Floats:
        """Displacement [m, n] of each flake over the bare, empty electrode, now."""
        reversible: Floats = self._amplitude * self.share * self.volume_change
        return reversible + self.irreversible_share * self.irreversible


_COVERAGE: Final = 4.0  # plate areas per area: 2 % of the ground shows
_NOWHERE: Final[Mapping[int, tuple[float, float]]] = {}


@dataclass(frozen=True, slots=True)
class Plate:
    """A convex polygon whose upper face is a plane.

    `x`, `y` [m] its centre, `directions` [n] of its sides' normals [rad], `reach` [m, n] of each side from the centre,
    `z` [m] of the face at the centre, `slope` [1] of the face along x and y.
    """

    x: float
    y: float
    directions: Floats
    reach: Floats
    z: float
    slope: tuple[float, float]


@dataclass(frozen=True, slots=True)
class FlakeStack:
    """Plates on a ground at `ground` [m], on a periodic square of side `size` [m] drawn with `pixels`."""

    plates: tuple[Plate, ...]
    ground: float
    size: float
    pixels: int

    def binder(self, reach: float) -> Binder | None:
        """What ties these plates over `reach` [m]; None, every plate for itself, for 0."""
        if reach == 0.0:
            return None
        x, y = np.array([(plate.x, plate.y) for plate in self.plates]).T
        return Binder(x, y, self.size, reach)

    def render(
        self, moved: Mapping[int, tuple[float, float]] = _NOWHERE, without: Collection[int] = ()
    ) -> tuple[Floats, NDArray[np.int32]]:
        """(heights [m], number of the plate on top), both [y, x]; the ground's number is the number of plates.

        `moved` [m] slides plates sideways, `without` takes plates away: what they covered shows.
        """
        heights = np.full((self.pixels, self.pixels), self.ground)
        plate_map = np.full(heights.shape, len(self.plates), np.int32)
        for number in range(len(self.plates)):
            if number in without:
                continue
            self._place(heights, plate_map, number, moved.get(number, (0.0, 0.0)))
        return heights, plate_map

    def render_on(
        self, rendered: tuple[Floats, NDArray[np.int32]], number: int, moved: tuple[float, float]
    ) -> tuple[Floats, NDArray[np.int32]]:
        """`rendered` with the plate `number` placed on it, slid sideways by `moved` [m]."""
        heights, plate_map = rendered[0].copy(), rendered[1].copy()
        self._place(heights, plate_map, number, moved)
        return heights, plate_map

    def _place(self, heights: Floats, plate_map: NDArray[np.int32], number: int, moved: tuple[float, float]) -> None:
        plate = self.plates[number]
        rows, columns, face = _face(replace(plate, x=plate.x + moved[0], y=plate.y + moved[1]), self.size, self.pixels)
        here = np.ix_(rows, columns)
        higher = face > heights[here]
        heights[here] = np.where(higher, face, heights[here])
        plate_map[here] = np.where(higher, number, plate_map[here])


def _face(plate: Plate, size: float, pixels: int) -> tuple[NDArray[np.intp], NDArray[np.intp], Floats]:
    """(rows, columns, height of the face there [m]; -inf outside the polygon)."""
    pixel = size / pixels
    span = math.ceil(float(plate.reach.max()) * 1.6 / pixel)
    around = np.arange(-span, span + 1)
    column, row = round(plate.x / pixel), round(plate.y / pixel)
    x, y = (column + around) * pixel - plate.x, (row + around) * pixel - plate.y
    inside = np.ones((y.size, x.size), bool)
    for direction, reach in zip(plate.directions, plate.reach, strict=True):
        inside &= math.cos(direction) * x[None, :] + math.sin(direction) * y[:, None] <= reach
    face = plate.z + plate.slope[0] * x[None, :] + plate.slope[1] * y[:, None]
    return (row + around) % pixels, (column + around) % pixels, np.where(inside, face, -np.inf)


def stacked_flakes(rq: float, flake: float, size: float, pixels: int, seed: int) -> FlakeStack:
    """A stack of plates `flake` [m] across with root mean square height exactly `rq` [m] on a square of `size` [m].

    Plates fall one after another, each on what lies under it: its face stands a thickness of 0.1–0.3 of the flake over
    the mean height there, tilted by 4° (standard deviation) before all heights are scaled to `rq`. Assumed: number of
    sides (5–7), thickness, tilt; the look of a coating, not its packing. Fails for flakes not well below the size.
    Shape and size as described with the images of JACS Au 2023, 3, 1089 (Fig. 4): stacked polyhedral plates, 3–4 µm.
    """
    if not 4.0 * size / pixels < flake < size / 3.0:
        limit = f"must lie between 4 pixels ({4e9 * size / pixels:g} nm) and a third of the size ({size / 3e-9:g} nm)"
        raise OutsideDomain(Problem("flake size", f"{flake * 1e9:g} nm", limit, "change it, the size or the pixels"))
    random = np.random.default_rng(seed)
    heights = np.zeros((pixels, pixels))
    plates: list[Plate] = []
    for _ in range(round(_COVERAGE * (size / flake) ** 2)):
        sides = int(random.integers(5, 8))
        turn = random.uniform(0.0, 2.0 * np.pi) + (np.arange(sides) + random.uniform(-0.25, 0.25, sides)) * (
            2.0 * np.pi / sides
        )
        across = flake * random.uniform(0.85, 1.15)
        x, y = random.uniform(0.0, size, 2)
        slope = random.normal(0.0, math.radians(4.0), 2)
        flat = Plate(x, y, turn, 0.5 * across * random.uniform(0.85, 1.1, sides), 0.0, (slope[0], slope[1]))
        rows, columns, face = _face(flat, size, pixels)
        part = heights[np.ix_(rows, columns)]
        inside = np.isfinite(face)
        rest = float(part[inside].mean()) + flake * random.uniform(0.1, 0.3)
        heights[np.ix_(rows, columns)] = np.where(inside, np.maximum(part, rest + np.where(inside, face, 0.0)), part)
        plates.append(replace(flat, z=rest))
    mean, scale = float(heights.mean()), rq / float(heights.std())
    scaled = [replace(p, z=(p.z - mean) * scale, slope=(p.slope[0] * scale, p.slope[1] * scale)) for p in plates]
    return FlakeStack(tuple(scaled), -mean * scale, size, pixels)
