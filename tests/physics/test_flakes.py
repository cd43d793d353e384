"""Flakes: how they share the electrode's swelling, how they lag behind it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.physics.specimen.flakes import Binder, FlakeSwelling, stacked_flakes


def coating(seed: int = 3) -> FlakeSwelling:
    """Flakes of unequal area in a 28 µm coating, empty."""
    area = np.random.default_rng(1).dirichlet(np.ones(300))
    return FlakeSwelling(area, np.random.default_rng(seed), thickness=28e-6, swelling_factor=0.676, volume_change=0.001)


def test_flakes_share_the_electrode_expansion() -> None:
    """Caught up, the mean displacement is thickness × factor × v(x), to rounding; each flake has its own."""
    flakes = coating()
    (displacement,) = flakes.advance(1e5, np.array([0.0558]), np.array([50e-9]))
    expected = 28e-6 * 0.676 * 0.0558 + 50e-9
    assert flakes.area_fraction @ displacement == pytest.approx(expected, rel=1e-9)
    assert displacement.std() > 0.2 * expected
    assert flakes.displacement() == pytest.approx(displacement, rel=1e-12)


def lattice(reach: float, columns: int = 30, size: float = 20e-6) -> Binder:
    """As many columns alike, each a square, on the periodic square."""
    at = (np.arange(columns) + 0.5) * size / columns
    x, y = (axis.ravel() for axis in np.meshgrid(at, at))
    return Binder(x, y, size, reach)


def test_tied_columns_correlate_over_their_distance_as_a_gaussian_of_twice_the_variance() -> None:
    """Draws of 900 columns against the integrals of the kernel, which know of no columns: e^(−d²/4r²) and A/4πr²."""
    reach, size, columns = 1.2e-6, 20e-6, 30
    binder = lattice(reach, columns, size)
    own = np.exp(0.4 * np.random.default_rng(8).standard_normal((300, columns**2)))
    area = np.full(columns**2, columns**-2.0)
    tied = binder.tie(own, area).reshape(-1, columns, columns)
    departure = tied - np.exp(0.08)
    alone = (np.exp(0.16) - 1.0) * np.exp(0.16)
    variance = alone * (size / columns) ** 2 / (4.0 * np.pi * reach**2)
    assert (departure**2).mean() == pytest.approx(variance, rel=0.04)  # four sigma of 300 draws of 22 patches
    for apart in (1, 2, 3, 5):
        distance = apart * size / columns
        for shifted in (np.roll(departure, apart, axis=1), np.roll(departure, -apart, axis=2)):  # across the edge too
            correlation = (departure * shifted).mean() / (departure**2).mean()
            assert correlation == pytest.approx(np.exp(-(distance**2) / (4.0 * reach**2)), abs=0.03)
    alone_again = lattice(1e-8, columns, size).tie(own, area)
    assert np.abs(alone_again / own - 1.0).max() < 1e-12


def test_tied_plates_rise_by_the_electrodes_mean_exactly_and_none_falls() -> None:
    stack = stacked_flakes(1.3e-6, 3.5e-6, 20e-6, 128, 5)
    _, plate_map = stack.render()
    area = np.bincount(plate_map.ravel(), minlength=len(stack.plates) + 1) / plate_map.size
    assert np.count_nonzero(area == 0.0) > 10  # plates under others, which may yet come to light
    spreads = []
    for reach in (0.0, 0.01e-6, 1e-6, 3.5e-6, 50e-6):

        def plates(seed: int, reach: float = reach) -> FlakeSwelling:
            random = np.random.default_rng(seed)
            return FlakeSwelling(
                area,
                random,
                thickness=28e-6,
                swelling_factor=0.676,
                volume_change=0.0,
                share_spread=2.0,
                binder=stack.binder(reach),
            )

        swelling = plates(1)
        for share in (swelling.share, swelling.irreversible_share):
            assert area @ share == pytest.approx(1.0, rel=1e-14)
            assert share.min() > 0.0
        assert np.array_equal(swelling.share, plates(1).share)
        assert np.all(swelling.share != plates(2).share)
        (displacement,) = swelling.advance(1e6, np.array([0.05]), np.array([30e-9]))
        assert area @ displacement == pytest.approx(28e-6 * 0.676 * 0.05 + 30e-9, rel=1e-12)
        spreads.append(float(np.sqrt(area @ (swelling.share - 1.0) ** 2)))
        if reach == 0.0:
            independent = swelling.share
        elif reach < 0.1e-6:  # no plate within reach of another
            ratio = (swelling.share / independent)[:-1][area[:-1] > 0.0]  # but for the ground, which takes the mean
            assert np.ptp(ratio) < 1e-9 * ratio[0]
    assert np.all(np.diff(spreads[1:]) < 0.0)
    assert spreads[-1] < 1e-2


def test_while_swelling_steadily_a_tied_plate_rises_by_the_mean_of_what_its_neighbours_would_alone() -> None:
    """A ramp, followed by every plate alone with its own share and lag, averaged here with weights of another code."""
    size, reach = 20e-6, 2e-6
    stack = stacked_flakes(1.3e-6, 3.5e-6, size, 128, 5)
    _, plate_map = stack.render()
    area = np.bincount(plate_map.ravel(), minlength=len(stack.plates) + 1) / plate_map.size
    dt = 0.25  # held over a step, a ramp is followed by τ − dt/2 + dt²/12τ: not quite a mean of means
    ramp = 1e-5 * np.arange(dt, 6000.0 + dt, dt)
    rises = []  # after 6000 s, of which the slowest plate lags by less than 300
    for binder in (None, stack.binder(reach)):
        random = np.random.default_rng(2)
        plates = FlakeSwelling(
            area, random, thickness=28e-6, swelling_factor=0.7, volume_change=0.0, binder=binder, lag=10.0
        )
        rises.append(plates.advance(dt, ramp, np.zeros(ramp.size))[-1])
    alone, tied = rises
    centres = np.array([complex(plate.x, plate.y) for plate in stack.plates])
    images = [complex(i, j) * size for i in (-1, 0, 1) for j in (-1, 0, 1)]
    apart = np.min([np.abs(centres[:, None] - centres[None, :] + image) for image in images], axis=0)
    weight = area[:-1] * np.exp(-((apart / reach) ** 2) / 2.0)
    # The ground shows in many places and goes with the mean of all.
    expected = np.append(weight @ alone[:-1] / weight.sum(axis=1), area @ alone)
    ratio = tied / expected
    assert np.ptp(ratio) < 1e-6 * ratio[0]
    assert abs(ratio[0] - 1.0) < 0.1  # one factor for all: shares are scaled to the electrode's own mean
    assert np.ptp(plates.lag) > 2.0  # of 6000 s: lags left untied, or tied without shares, would be seen


def test_flakes_lag_and_repeat() -> None:
    """A step is followed as 1 − e^(−t/τ) by each flake, in one stride or many; the same seed is the same coating."""
    one, many = coating(), coating()
    (at_once,) = one.advance(30.0, np.array([0.04]), np.zeros(1))
    in_steps = many.advance(1.0, np.full(30, 0.04), np.zeros(30))
    assert one.volume_change == pytest.approx(many.volume_change, abs=1e-12)
    assert one.volume_change == pytest.approx(0.04 + (0.001 - 0.04) * np.exp(-30.0 / one.lag))
    assert at_once == pytest.approx(in_steps[-1], rel=1e-9)


@pytest.mark.parametrize("flake", [10e-6, 0.5e-6])
def test_a_flake_as_large_as_the_square_or_as_small_as_a_pixel_is_refused(flake: float) -> None:
    with pytest.raises(OutsideDomain, match="flake size"):
        stacked_flakes(1e-6, flake, 20e-6, 128, 1)
