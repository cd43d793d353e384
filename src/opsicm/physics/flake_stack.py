"""Graphite as stacked polyhedral plates: heights and which plate is on top, anywhere on a periodic square."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from opsicm.errors import OutsideDomain, Problem

Floats = NDArray[np.float64]
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

    def drawn(
        self, moved: Mapping[int, tuple[float, float]] = _NOWHERE, without: Collection[int] = ()
    ) -> tuple[Floats, NDArray[np.int32]]:
        """(heights [m], number of the plate on top), both [y, x]; the ground's number is the number of plates.

        `moved` [m] slides plates sideways, `without` takes plates away: what they covered shows.
        """
        heights = np.full((self.pixels, self.pixels), self.ground)
        owners = np.full(heights.shape, len(self.plates), np.int32)
        for number in range(len(self.plates)):
            if number in without:
                continue
            self._lay(heights, owners, number, moved.get(number, (0.0, 0.0)))
        return heights, owners

    def laid_on(
        self, drawn: tuple[Floats, NDArray[np.int32]], number: int, moved: tuple[float, float]
    ) -> tuple[Floats, NDArray[np.int32]]:
        """What `drawn` would be with the plate `number`, slid sideways by `moved` [m], from what it is without it."""
        heights, owners = drawn[0].copy(), drawn[1].copy()
        self._lay(heights, owners, number, moved)
        return heights, owners

    def _lay(self, heights: Floats, owners: NDArray[np.int32], number: int, moved: tuple[float, float]) -> None:
        plate = self.plates[number]
        rows, columns, face = _face(replace(plate, x=plate.x + moved[0], y=plate.y + moved[1]), self.size, self.pixels)
        here = np.ix_(rows, columns)
        higher = face > heights[here]
        heights[here] = np.where(higher, face, heights[here])
        owners[here] = np.where(higher, number, owners[here])


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
    scaled = [
        replace(p, z=(p.z - mean) * scale, slope=(p.slope[0] * scale, p.slope[1] * scale)) for p in plates
    ]  # fmt: skip
    return FlakeStack(tuple(scaled), -mean * scale, size, pixels)
