"""Roughness: closed forms, scale rules, and an uncertainty that a simulation confirms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from opsicm.analysis.topography.levelling import independent_pixels, roughness

Array = NDArray[np.float64]


def test_a_sine_has_its_textbook_parameters() -> None:
    x = 2 * np.pi * 8 * np.arange(512) / 512
    h = np.tile(3.0 * np.sin(x), (16, 1))
    r = roughness(h)
    assert r.Sq.value == pytest.approx(3 / math.sqrt(2), rel=1e-12)
    assert r.Sa.value == pytest.approx(6 / math.pi, rel=1e-3)  # 64 samples a period
    assert r.Sz.value == pytest.approx(6.0, rel=1e-12)
    assert r.Ssk.value == pytest.approx(0.0, abs=1e-12)
    assert r.Sku.value == pytest.approx(1.5, rel=1e-12)


def test_pits_have_negative_skewness_and_peaks_positive() -> None:
    h = np.zeros((20, 20))
    h[4, 4] = -1.0
    assert roughness(h).Ssk.value < -10
    assert roughness(-h).Ssk.value > 10


def test_scaling_and_offset_do_what_they_must() -> None:
    h = np.random.default_rng(1).standard_normal((40, 30))
    a, b = roughness(h), roughness(1e-9 * h + 1e-5)
    for name in ("Sq", "Sa", "Sz"):
        assert getattr(b, name).value == pytest.approx(1e-9 * getattr(a, name).value, rel=1e-9)
        assert getattr(b, name).u == pytest.approx(1e-9 * getattr(a, name).u, rel=1e-6)
    assert b.Sku.value == pytest.approx(a.Sku.value, rel=1e-9)


def test_missing_pixels_are_left_out_and_counted() -> None:
    h = np.random.default_rng(2).standard_normal((30, 30))
    hole = h.copy()
    hole[:3] = np.nan
    r = roughness(hole)
    assert (r.pixels, r.missing) == (810, 90)
    assert r.Sq.value == pytest.approx(float(np.std(h[3:])), rel=1e-12)


def test_independent_pixels_of_white_and_of_smooth_surfaces() -> None:
    rng = np.random.default_rng(3)
    white = rng.standard_normal((80, 80))
    everywhere = np.ones((80, 80), dtype=bool)
    assert independent_pixels(white - white.mean(), everywhere) == pytest.approx(6400, rel=0.02)
    # A Gaussian filter of width s gives rho = exp(-r^2/4s^2), whose square has the area 2 pi s^2.
    smooth = np.mean(
        [independent_pixels(g - g.mean(), everywhere) for g in (_surface(rng, 80, 2.0) for _ in range(30))]
    )
    assert smooth == pytest.approx(6400 / (2 * math.pi * 4.0), rel=0.25)


@pytest.mark.parametrize("width", [0.0, 1.5, 3.0])
def test_the_stated_uncertainty_is_the_scatter_over_many_surfaces(width: float) -> None:
    rng = np.random.default_rng(4)
    found = [roughness(_surface(rng, 64, width)) for _ in range(250)]
    # 250 surfaces know a standard deviation to 4.5 %; the estimate of M from one image carries the rest of 25 %.
    # Sz: its Gumbel form is asymptotic and 64^2 pixels are correlated, hence the wider band.
    for name, tolerance in (("Sq", 0.25), ("Sa", 0.25), ("Sz", 0.5)):
        scatter = float(np.std([getattr(r, name).value for r in found]))
        stated = float(np.median([getattr(r, name).u for r in found]))
        assert stated == pytest.approx(scatter, rel=tolerance), name
    for name in ("Ssk", "Sku"):
        scatter = float(np.std([getattr(r, name).value for r in found]))
        stated = float(np.median([getattr(r, name).u for r in found]))
        assert scatter < 1.15 * stated < 2.5 * scatter, name


def _surface(rng: np.random.Generator, size: int, width: float) -> Array:
    """A stationary Gaussian surface of unit height: a larger one is cut, so that its edges do not meet."""
    white = rng.standard_normal((size + 40, size + 40))
    h = gaussian_filter(white, width)[20:-20, 20:-20] if width else white[20:-20, 20:-20]
    return np.asarray(h * (2 * width * math.sqrt(math.pi) if width else 1.0), dtype=np.float64)
