"""The Gaussian generator against the normal distribution, and the noise formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from opsicm.physics.noise import gaussian, gaussian_block, thermal_current_density


def test_scalar_and_block_give_the_same_bits() -> None:
    out = np.empty(300, np.float32)
    first = 3 * 65536 - 150  # across a block's edge
    gaussian_block(5, 2, first, out)
    np.testing.assert_array_equal(out, np.float32([gaussian(5, 2, first + k) for k in range(300)]))


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
        # 5 % is the figure; at 4 sigma 507 counts have a standard deviation of 4.4 %, so both are asked.
        assert abs(np.count_nonzero(np.abs(x) > z) - expected) < max(0.05 * expected, 3.0 * np.sqrt(expected))
    assert stats.kstest(x[::80], "norm").pvalue > 1e-3


def test_thermal_noise_of_a_pipette() -> None:
    assert thermal_current_density(210e6, 298.15) == pytest.approx(8.85e-15, rel=2e-3)
