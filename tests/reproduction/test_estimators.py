"""Estimators of the reproduction against curves drawn with pencil and ruler: each answer is put in, none is fitted."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from opsicm.analysis.pipette.towers import Profile
from opsicm.core.statistics import straight_line
from opsicm.reproduction.evaluation.currents import constancy
from opsicm.reproduction.evaluation.estimators import (
    irreversible_share,
    last_break,
    length_beyond_line,
    onset,
    sign_change,
)

F64 = NDArray[np.float64]
SWEEP = np.linspace(1.7, 0.0, 120)  # V, bins of 14 mV
BIN = 1.7 / 119


def _drawn(*corners: tuple[float, float], noise: float = 1e-9, seed: int = 1) -> F64:
    """Heights [m] at `SWEEP` along straight lines between corners (potential [V], height [m])."""
    x, y = zip(*sorted(corners), strict=True)
    scatter = np.random.default_rng(seed).normal(0.0, noise, SWEEP.size)
    return np.asarray(np.interp(SWEEP, x, y) + scatter, dtype=np.float64)


def test_onset_is_where_a_line_has_risen_by_two_percent() -> None:
    # 1 µm in all, from 0.8 V to 0 V: 2 % of it is reached 16 mV below 0.8 V, 50 % at 0.4 V.
    height = _drawn((1.7, 0.0), (0.8, 0.0), (0.0, 1e-6))
    for share, volts in ((0.02, 0.784), (0.5, 0.4)):
        found = onset(SWEEP, height, share)
        assert found.value == pytest.approx(volts, abs=1.5 * BIN)
        assert found.u == pytest.approx(BIN / math.sqrt(12.0))


def test_onset_is_not_determined_without_a_foot_a_rise_or_enough_bins() -> None:
    line = _drawn((1.7, 0.0), (0.0, 1e-6))
    assert "rises from the first bins on" in onset(SWEEP, line, 0.005).reason
    noise = _drawn((1.7, 0.0), (0.0, 2e-8), noise=1e-8)
    assert "within 3 times the noise of a bin" in onset(SWEEP, noise, 0.02).reason
    falls = _drawn((1.7, 0.0), (0.8, 0.0), (0.0, -1e-6))
    assert onset(SWEEP, falls, 0.02).value is None
    assert "12 bins of potential hold a height; 20 are needed" in onset(SWEEP[:12], line[:12], 0.02).reason


def test_the_knee_is_the_last_corner() -> None:
    height = _drawn((1.7, 0.0), (0.8, 0.0), (0.2, 2e-7), (0.0, 1.2e-6))
    found = last_break(SWEEP, height, 2)
    assert found.value == pytest.approx(0.2, abs=3.0 * found.u)
    assert found.u < 0.01
    # One break alone has no choice but to lie between the two corners' pull, near the sharper.
    assert last_break(SWEEP, height, 1).value == pytest.approx(0.22, abs=0.03)


def test_the_knee_is_not_determined_on_a_line_on_a_slowing_rise_and_with_few_bins() -> None:
    assert "does not grow" in last_break(SWEEP, _drawn((1.7, 0.0), (0.0, 1e-6)), 2).reason
    slows = _drawn((1.7, 0.0), (0.8, 0.0), (0.2, 1e-6), (0.0, 1.05e-6))
    assert "does not grow at the last break: it changes by -" in last_break(SWEEP, slows, 2).reason
    few = np.linspace(1.7, 0.0, 25)
    assert "25 bins hold a height; 2 breaks need 30" in last_break(few, few, 2).reason


HEIGHTS = np.arange(0.1e-3, 2.65e-3, 0.1e-3)


def _profile(current: F64, noise: float = 0.2e-12) -> Profile:
    scatter = np.random.default_rng(4).normal(0.0, noise, HEIGHTS.size)
    full = np.full(HEIGHTS.size, 5, dtype=np.int64)
    return Profile(HEIGHTS, current + scatter, np.full(HEIGHTS.size, noise), full)


@pytest.mark.parametrize("length", [0.25e-3, 0.4e-3, 0.6e-3])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_length_of_an_exponential_on_a_line_comes_back_and_the_line_does_not_matter(
    length: float, sign: float
) -> None:
    for tilt in (0.0, 50e-12, -200e-12):  # A/mm of ohmic drop
        current = 4.7e-9 + tilt * 1e3 * HEIGHTS + sign * 40e-12 * np.exp(-HEIGHTS / length)
        found = length_beyond_line(_profile(current), 1.0e-3)
        assert found.value == pytest.approx(length, abs=max(3.0 * found.u, 1e-6))
        assert found.u < 0.15 * length


@pytest.mark.parametrize("seconds", [400.0, 700.0, 1000.0])
def test_the_length_of_a_diffusion_layer_is_that_of_diffusion(seconds: float) -> None:
    width = math.sqrt(2.6e-10 * seconds)
    x = HEIGHTS / (2.0 * width)
    layer = np.exp(-x * x) - math.sqrt(math.pi) * x * np.array([math.erfc(one) for one in x])  # ierfc over ierfc(0)
    profile = _profile(4.7e-9 + 0.2e-9 * 1e3 * HEIGHTS + 100e-12 * layer)
    found = length_beyond_line(profile, 1.0e-3)
    assert found.value == pytest.approx(width, rel=0.12)
    naive = length_beyond_line(profile, 1.0e-3, with_tail=False)
    assert 0.7 * width < (naive.value or 0.0) < 0.9 * width


def test_a_length_is_not_determined_on_a_line_a_long_gradient_or_half_a_profile() -> None:
    line = 4.7e-9 - 100e-9 * HEIGHTS
    assert "nothing departs from the line" in length_beyond_line(_profile(line), 1.0e-3).reason
    long = line + 200e-12 * np.exp(-HEIGHTS / 2.5e-3)
    assert "longer than 1 mm and cannot be told from the line" in length_beyond_line(_profile(long), 1.0e-3).reason
    short = line + 2e-9 * np.exp(-HEIGHTS / 0.03e-3)
    assert "shorter than 0.1 mm, the spacing" in length_beyond_line(_profile(short), 1.0e-3).reason
    assert "0 heights on one side of 3 mm; 4 are needed" in length_beyond_line(_profile(line), 3.0e-3).reason


def test_the_first_and_the_last_change_of_sign_are_told_apart_and_noise_is_none() -> None:
    potential = np.linspace(0.0, 1.7, 171)
    difference = (
        np.interp(potential, [0.0, 0.15, 0.3, 0.5, 0.7, 1.2, 1.7], [3.0, 0.0, -3.0, 0.0, 1.0, 0.0, 0.0]) * 1e-10
    )
    difference = difference + np.random.default_rng(2).normal(0.0, 1e-12, potential.size)
    u = np.full(potential.size, 1e-12)
    first, last = (sign_change(potential, difference, u, which) for which in ("first", "last"))
    assert first.value == pytest.approx(0.15, abs=0.01)
    assert last.value == pytest.approx(0.5, abs=0.01)
    assert 0.0 < first.u < 0.02


def test_a_difference_of_one_sign_or_of_noise_has_no_change_of_sign() -> None:
    potential = np.linspace(0.0, 1.7, 60)
    u = np.full(60, 1e-12)
    assert "negative throughout" in sign_change(potential, np.full(60, -1e-10), u, "first").reason
    noise = np.random.default_rng(3).normal(0.0, 0.7e-12, 60)
    assert "within its noise" in sign_change(potential, noise, u, "last").reason


def test_a_quarter_of_an_image_that_did_not_come_back_is_a_quarter() -> None:
    before = np.random.default_rng(5).normal(0.0, 1e-6, (20, 20))
    after = before + 3e-8  # all lifted by 3 % of their swelling: this is no irreversible part
    after[:5] = before[:5] + 2e-7
    found = irreversible_share(before, before + 1e-6, after, 0.10, 1e-9)
    assert found.value == pytest.approx(0.25)
    assert found.u == pytest.approx(math.sqrt(0.25 * 0.75 / 400))
    assert irreversible_share(before, before + 1e-6, after, 0.02, 1e-9).value == pytest.approx(1.0)
    assert irreversible_share(before, before + 1e-6, after, 0.25, 1e-9).value == pytest.approx(0.0)


def test_an_image_that_has_not_swollen_has_no_irreversible_part() -> None:
    before = np.zeros((20, 20))
    swollen = before.copy()
    swollen[:5] = 1e-6
    found = irreversible_share(before, swollen, before, 0.10, 1e-9)
    assert found.value is None
    assert "100 of 400 pixels have swollen beyond their noise" in found.reason


def test_two_slopes_are_compared_where_they_are_slopes() -> None:
    t = np.linspace(0.0, 100.0, 101)
    noise = np.random.default_rng(6).normal(0.0, 1e-13, 101)
    steep, half, flat = (straight_line(t, a * t + noise) for a in (2e-13, 1e-13, 0.0))
    found = constancy(steep, half)
    assert found.value == pytest.approx(0.5, abs=3.0 * found.u)
    for pair, name in (((flat, steep), "middle"), ((steep, flat), "last")):
        assert f"the slope of the {name} third" in constancy(*pair).reason
        assert "noise over noise" in constancy(*pair).reason
