"""Flakes: how they share the electrode's swelling, how they lag behind it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.physics.specimen.flakes import FlakeSwelling, stacked_flakes


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
