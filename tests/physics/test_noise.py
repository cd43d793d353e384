"""The Gaussian generator against the normal distribution, and the thermal noise of a resistance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from opsicm.core.errors import OutsideDomain
from opsicm.physics.noise import gaussian, gaussian_block, thermal_current_density


def test_scalar_and_block_give_the_same_bits() -> None:
    out = np.empty(300, np.float32)
    first = 3 * 65536 - 150  # across a block's edge
    gaussian_block(5, 2, first, out)
    np.testing.assert_array_equal(out, np.array([gaussian(5, 2, first + k) for k in range(300)], np.float32))


def test_moments_and_tails_are_normal() -> None:
    out = np.empty(8_000_000, np.float32)
    gaussian_block(1, 0, 0, out)
    n = out.size
    x = out.astype(np.float64)
    assert abs(x.mean()) < 4.0 / np.sqrt(n)
    assert abs(x.var() - 1.0) < 4.0 * np.sqrt(2.0 / n)
    assert abs(stats.kurtosis(x)) < 4.0 * np.sqrt(24.0 / n)
    for z in (3.0, 4.0):
        expected = 2.0 * stats.norm.sf(z) * n
        # 5 % is the goal; at 4 sigma 507 counts have a standard deviation of 4.4 %, so both are asked.
        assert abs(np.count_nonzero(np.abs(x) > z) - expected) < max(0.05 * expected, 3.0 * np.sqrt(expected))
    assert stats.kstest(x[::80], "norm").pvalue > 1e-3


def test_thermal_noise_of_a_pipette() -> None:
    assert thermal_current_density(210e6, 298.15) / 8.85e-15 == pytest.approx(1.0, abs=2e-3)


def test_neighbours_channels_and_seeds_do_not_correlate() -> None:
    n = 1_000_000
    draws = {}
    for key in [(1, 0), (1, 1), (2, 0)]:
        out = np.empty(n, np.float32)
        gaussian_block(*key, 0, out)
        draws[key] = out.astype(np.float64)
    x = draws[(1, 0)]
    limit = 4.5 / np.sqrt(n)
    for lag in (1, 2, 3, 16, 255, 65536):
        assert abs(np.mean(x[:-lag] * x[lag:])) < limit
        assert abs(np.mean((x[:-lag] ** 2 - 1.0) * (x[lag:] ** 2 - 1.0))) < 2.0 * limit
    assert abs(np.mean(x * draws[(1, 1)])) < limit
    assert abs(np.mean(x * draws[(2, 0)])) < limit
    power = np.abs(np.fft.rfft(x)) ** 2 / n
    # Mean of m exponential variables per band: standard deviation 1/sqrt(m).
    bands = power[1:-1][:499_000].reshape(100, -1)
    assert np.max(np.abs(bands.mean(axis=1) - 1.0)) < 4.5 / np.sqrt(bands.shape[1])


@pytest.mark.parametrize(("R", "T"), [(0.0, 298.15), (-1.0, 298.15), (200e6, 0.0)])
def test_a_resistance_or_a_temperature_that_is_none_is_refused(R: float, T: float) -> None:
    with pytest.raises(OutsideDomain, match="use Ohm and kelvin"):
        thermal_current_density(R, T)
