"""The Gaussian generator against the normal distribution, and the noise formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import signal, stats

from opsicm.core.errors import OutsideDomain
from opsicm.physics.noise import (
    AmplifierNoise,
    adc_noise,
    bessel_sections,
    gaussian,
    gaussian_block,
    noise_bandwidth,
    predicted_rms,
    thermal_current_density,
)


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


def test_predicted_rms_is_what_a_filtered_record_shows() -> None:
    """White noise only: the density times the Bessel filter's bandwidth, against samples through the digital one."""
    R, cutoff, rate, n = 200e6, 5e3, 200e3, 2_000_000
    quiet = AmplifierNoise(flicker=0.0, capacitance=0.0)
    white = np.empty(n, np.float32)
    gaussian_block(9, 0, 0, white)
    sigma = thermal_current_density(R, 298.15) * np.sqrt(rate / 2.0)
    filtered = signal.sosfilt(bessel_sections(cutoff, rate), sigma * white.astype(np.float64))[1000:]
    # Independent values: about 2 B T = 1e5, so 0.3 % of standard deviation; the bilinear transform adds 0.2 %.
    assert predicted_rms(quiet, R, 0.0, cutoff) == pytest.approx(filtered.std(), rel=0.01)


def test_each_source_has_its_own_law() -> None:
    thermal = predicted_rms(AmplifierNoise(flicker=0.0, capacitance=0.0), 200e6, 0.0, 1e4)
    assert thermal == pytest.approx(thermal_current_density(200e6, 298.15) * np.sqrt(noise_bandwidth(1e4)), rel=1e-6)
    silent = {"flicker": 0.0, "capacitance": 0.0, "temperature": 1e-9}
    shot = predicted_rms(AmplifierNoise(fano=1.0, **silent), 200e6, 1e-9, 1e4)
    assert shot == pytest.approx(np.sqrt(2 * 1.602176634e-19 * 1e-9 * noise_bandwidth(1e4)), rel=1e-4)
    capacitive = [predicted_rms(AmplifierNoise(flicker=0.0, temperature=1e-9), 200e6, 0.0, f) for f in (1e4, 2e4)]
    assert capacitive[1] / capacitive[0] == pytest.approx(2.0**1.5, rel=1e-3)
    flicker = predicted_rms(AmplifierNoise(capacitance=0.0, temperature=1e-9), 200e6, 1e-9, 1e4, slowest=1.0)
    assert flicker == pytest.approx(1e-9 * np.sqrt(1e-9 * np.log(1e4)), rel=0.03)
    assert predicted_rms(AmplifierNoise(flicker=0.0), 200e6, 0.0, 1e4, adc=1e-12) > 1e-12
    assert adc_noise(10e-9, 16) / 88.1e-15 == pytest.approx(1.0, abs=1e-3)


def test_a_first_order_filter_has_half_pi_of_bandwidth() -> None:
    assert noise_bandwidth(1e3, poles=1) == pytest.approx(0.5 * np.pi * 1e3, rel=1e-3)


def test_bad_noise_is_refused_with_a_remedy() -> None:
    with pytest.raises(OutsideDomain, match=r"noise fano is -1.*0 or more"):
        AmplifierNoise(fano=-1.0)
    with pytest.raises(OutsideDomain, match="sample faster"):
        bessel_sections(50e3, 100e3)
