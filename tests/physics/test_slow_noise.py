"""Slow noise against the definitions of its spectrum: periodogram, Allan deviation, growth of a random walk."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.signal import welch

from opsicm.physics.slow_noise import SlowNoise, random_walk_level

LEVEL = 300e-6


def allan_deviation(values: np.ndarray, together: int) -> float:
    means = values[: values.size // together * together].reshape(-1, together).mean(axis=1)
    return float(np.sqrt(0.5 * np.mean(np.diff(means) ** 2)))


@pytest.mark.parametrize("slope", [1, 2])
def test_the_periodogram_falls_as_the_power_law(slope: int) -> None:
    """Two decades of Welch's periodogram of three records of 1.8 h: the level within 7 %, the slope within 0.05."""
    dt, power = 0.1, []
    for seed in range(3):
        noise = SlowNoise(*((LEVEL, 0.0) if slope == 1 else (0.0, LEVEL)), seed, 0)
        f, one = welch(noise.at(dt * np.arange(65_536)), 1.0 / dt, "hann", 8192)
        power.append(one)
    inside = (f > 0.01) & (f < 1.0)
    # Averaged in 20 bands: neighbours of a periodogram scatter by as much as they are high.
    bands = np.array_split(np.flatnonzero(inside), 20)
    scaled = np.mean(power, axis=0) * f**slope / LEVEL**2
    level = np.array([scaled[band].mean() for band in bands])
    assert np.exp(np.mean(np.log(level))) == pytest.approx(1.0, abs=0.07)
    middle = np.array([f[band].mean() for band in bands])
    assert np.polyfit(np.log(middle), np.log(level), 1)[0] == pytest.approx(0.0, abs=0.05)


def test_the_allan_deviation_of_flicker_is_flat_at_its_level() -> None:
    """sigma_A² = 2 ln 2 h for S = h/f (Barnes et al., IEEE Trans. Instrum. Meas. 1971, 20, 105), whatever the time."""
    values = SlowNoise(LEVEL, 0.0, 1, 3).at(0.1 * np.arange(200_000))
    found = [allan_deviation(values, n) for n in (10, 40, 160)]
    np.testing.assert_allclose(found, LEVEL * math.sqrt(2.0 * math.log(2.0)), rtol=0.12)


def test_a_random_walk_has_gone_so_far_after_a_minute() -> None:
    level = random_walk_level(5e-9, 60.0)
    starts = 300.0 * np.arange(2000)
    walk = SlowNoise(0.0, level, 1, 1)
    gone = [np.std(walk.at(starts + later) - walk.at(starts)) for later in (15.0, 60.0, 240.0)]
    np.testing.assert_allclose(gone, [2.5e-9, 5e-9, 10e-9], rtol=0.06)
    assert walk.at(0.0)[0] == 0.0


def test_a_value_depends_on_its_time_alone() -> None:
    noise = SlowNoise(LEVEL, 0.0, 7, 2)
    times = np.array([3.21, 0.4, 5000.0, 5000.01])
    np.testing.assert_array_equal(noise.at(times), [noise.at(t)[0] for t in times])
    np.testing.assert_array_equal(noise.at(times), [noise.once(t) for t in times])
    assert not np.array_equal(noise.at(times), SlowNoise(LEVEL, 0.0, 8, 2).at(times))
    assert not np.array_equal(noise.at(times), SlowNoise(LEVEL, 0.0, 7, 3).at(times))
