"""The ring of samples: indices for ever, holes, what stands still."""

from __future__ import annotations

import numpy as np
import pytest

from opsicm.core.facts import Quality
from opsicm.drivers.sample_ring import SampleRing

NOISE = np.random.default_rng(1)


def ring(rate: float = 100.0) -> SampleRing:
    return SampleRing(rate, [(-10.0, 10.0), (-1.0, 1.0)], [True, False])


def noise(n: int) -> np.ndarray:
    return NOISE.normal(0.0, 1e-3, (2, n))


def test_samples_are_found_by_their_index_also_across_the_end_of_the_ring() -> None:
    r = ring()
    assert r.capacity == 400
    sent = noise(1000)
    for first in range(0, 1000, 30):
        r.append(first, sent[:, first : first + 30])
    assert r.end == 1000
    volts, quality = r.between(700, 1000)
    assert np.array_equal(volts, sent.T[700:])
    assert quality.tolist() == [Quality.GOOD, Quality.GOOD]


def test_samples_that_are_no_longer_kept_are_missing_not_wrong() -> None:
    r = ring()
    sent = noise(1000)
    r.append(0, sent[:, :500])
    r.append(500, sent[:, 500:])
    volts, quality = r.between(590, 610)
    assert np.isnan(volts[:10]).all()
    assert np.array_equal(volts[10:], sent.T[600:610])
    assert quality.tolist() == [Quality.MISSING, Quality.MISSING]


def test_a_gap_is_a_hole_of_its_length() -> None:
    r = ring()
    r.append(0, noise(10))
    r.append(25, noise(10))
    assert (r.end, r.lost) == (35, 15)
    volts, quality = r.between(0, 35)
    assert np.isnan(volts[10:25]).all()
    assert np.isfinite(volts[25:]).all()
    assert quality.tolist() == [Quality.MISSING] * 2
    assert r.between(25, 35)[1].tolist() == [Quality.GOOD] * 2
    r.append(5000, noise(10))
    assert r.between(5000, 5010)[1].tolist() == [Quality.GOOD] * 2
    assert np.isnan(r.between(4990, 5000)[0]).all()


@pytest.mark.parametrize(("column", "quality"), [(0, Quality.STALE), (1, Quality.GOOD)])
def test_an_input_with_noise_that_repeats_itself_is_stale(column: int, quality: Quality) -> None:
    r = ring()
    volts = noise(10)
    volts[column] = 0.5
    for k in range(3):
        assert r.quality[column] == Quality.GOOD or k == 0
        r.append(10 * k, volts)
    assert r.quality[column] == quality
    r.append(30, noise(10))
    assert r.quality[column] == Quality.GOOD


def test_ends_of_the_range_and_no_numbers_are_flagged() -> None:
    r = ring()
    volts = noise(10)
    volts[0, 3], volts[1, 4] = 10.0, np.nan
    r.append(0, volts)
    assert r.between(0, 10)[1].tolist() == [Quality.SATURATED, Quality.SUSPECT]
    assert r.between(0, 3)[1].tolist() == [Quality.GOOD, Quality.GOOD]
