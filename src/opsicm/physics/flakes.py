"""How the swelling of an electrode is shared among its flakes: a height field over x, y and time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from opsicm.compiled import compiled
from opsicm.errors import OutsideDomain, Problem

Floats = NDArray[np.float64]


@compiled
def _follow(
    own: Floats, closing: Floats, volume_change: Floats, irreversible: Floats, gain: Floats, share: Floats,
    rises: Floats,
) -> None:  # fmt: skip
    # Row by row: each flake closes its share of what it lags behind, and rises by its gain of the whole.
    for row in range(volume_change.size):
        for k in range(own.size):
            own[k] += (volume_change[row] - own[k]) * closing[k]
            rises[row, k] = gain[k] * own[k] + share[k] * irreversible[row]


class FlakeSwelling:
    """What each of some flakes makes of the electrode's swelling.

    A flake's own volume change obeys dv_k/dt = (v − v_k)/τ_k, solved exactly for v held over a step. Its rise over
    that at x = 0 is thickness × factor × s_k × v_k plus s'_k × the irreversible part. Shares are lognormal with
    area-weighted mean 1, so that the mean is the electrode's own expansion once all have caught up. Assumed:
    the two spreads and the independence of lag and share; a real coating's flakes also tilt and slide.
    """

    def __init__(
        self, area: Floats, random: np.random.Generator, *, thickness: float, swelling_factor: float,
        volume_change: float, share_spread: float = 0.4, lag: float = 20.0, lag_spread: float = 1.0,
    ) -> None:  # fmt: skip
        """`area` [n] fractions of the plane; `thickness` [m]; spreads are of logarithms; `lag` median [s]."""
        n = area.size
        self.area_fraction = area
        self._amplitude = thickness * swelling_factor
        self.share = np.exp(share_spread * random.standard_normal(n))
        self.share /= area @ self.share
        self.irreversible_share = np.exp(share_spread * random.standard_normal(n))
        self.irreversible_share /= area @ self.irreversible_share
        self.lag = lag * np.exp(lag_spread * random.standard_normal(n))
        self.volume_change = np.full(n, volume_change)
        self.irreversible = 0.0
        self._closing = (0.0, np.zeros(n))  # share of its lag that each flake makes up in a step, and which step

    def make_typical(self, flake: int) -> None:
        """Let `flake` follow the electrode exactly and at once; the others share what is left."""
        others = np.arange(self.share.size) != flake
        for share in (self.share, self.irreversible_share):
            left = 1.0 - self.area_fraction[flake]
            share[others] *= left / (self.area_fraction[others] @ share[others])
            share[flake] = 1.0
        self.lag[flake] = 1e-6
        self._closing = (0.0, self._closing[1])

    def advance(self, dt: float, volume_change: float, irreversible: float = 0.0) -> None:
        """Let every flake follow the electrode's `volume_change` [1] for `dt` [s]; `irreversible` [m] at the end."""
        self.course(dt, np.array([volume_change]), np.array([irreversible]))

    def course(self, dt: float, volume_change: Floats, irreversible: Floats) -> Floats:
        """`advance` by `dt` [s] for every entry of both; the `rise` [m, steps × n] after each."""
        if dt != self._closing[0]:
            self._closing = (dt, -np.expm1(-dt / self.lag))
        rises = np.empty((volume_change.size, self.share.size))
        gain = self._amplitude * self.share
        _follow(self.volume_change, self._closing[1], volume_change, irreversible, gain, self.irreversible_share, rises)
        self.irreversible = float(irreversible[-1])
        return rises

    def rise(self) -> Floats:
        """Rise [m, n] of each flake over the bare, empty electrode, now."""
        rise: Floats = self._amplitude * self.share * self.volume_change
        return rise + self.irreversible_share * self.irreversible


class FlakeField(FlakeSwelling):
    """Flakes tile the plane (nearest seed, periodic in a square) and swell as `FlakeSwelling` says."""

    def __init__(
        self, *, seed: int, thickness: float, swelling_factor: float, volume_change: float, flake_size: float = 3.5e-6,
        tile: float = 100e-6, share_spread: float = 0.4, lag: float = 20.0, lag_spread: float = 1.0,
    ) -> None:  # fmt: skip
        """`thickness`, `flake_size`, `tile` [m]; spreads are standard deviations of logarithms; `lag` median [s]."""
        if not 0.0 < flake_size < tile / 3:
            limit = f"it is positive and well below the tile of {tile * 1e6:g} µm"
            raise OutsideDomain(Problem("flake size", f"{flake_size * 1e6:g} µm", limit, "change one of them"))
        random = np.random.default_rng(seed)
        n = max(1, round((tile / flake_size) ** 2))
        self.tile = tile
        self._tree = cKDTree(random.uniform(0.0, tile, (n, 2)), boxsize=np.array([tile, tile]))
        probe = (np.arange(512) + 0.5) * tile / 512
        area = np.bincount(self.flake_at(probe[:, None], probe[None, :]).ravel(), minlength=n) / 512**2
        super().__init__(
            area, random, thickness=thickness, swelling_factor=swelling_factor, volume_change=volume_change,
            share_spread=share_spread, lag=lag, lag_spread=lag_spread,
        )  # fmt: skip

    def flake_at(self, x: ArrayLike, y: ArrayLike) -> NDArray[np.intp]:
        """Index of the flake at each point [m]; x and y broadcast together."""
        points = np.stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)), axis=-1) % self.tile
        points[points >= self.tile] = 0.0  # what the remainder of a tiny negative number rounds to
        return np.asarray(self._tree.query(points)[1], dtype=np.intp)

    def height(self, x: ArrayLike, y: ArrayLike) -> Floats:
        """Height over the bare, empty electrode [m] at points [m] of any shape, now."""
        return np.asarray(self.rise()[self.flake_at(x, y)])
