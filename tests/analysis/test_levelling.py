"""Levelling against NumPy's least squares, on random images and on a real scan."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.topography.levelling import plane, total_degree
from opsicm.analysis.topography.results import image_results
from opsicm.core.errors import OutsideDomain

Array = NDArray[np.float64]


def lstsq(h: Array, degree: int, mask: NDArray[np.bool_] | None = None) -> Array:
    """The same by monomials and NumPy's SVD: shares nothing with the code under test."""
    rows, columns = h.shape
    y, x = np.mgrid[0:rows, 0:columns].astype(float)
    x, y = (x - x.mean()) / columns, (y - y.mean()) / rows
    basis = np.stack([x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)], axis=-1)
    use = np.isfinite(h) if mask is None else np.isfinite(h) & mask
    offset = h[use].mean()
    a, *_ = np.linalg.lstsq(basis[use], h[use] - offset, rcond=None)
    return np.asarray(h - offset - basis @ a, dtype=np.float64)


def real_scan() -> Array:
    """Zelle1 read by the standard library alone."""
    with tarfile.open(Path(__file__).parents[1] / "data" / "Zelle1.sicm") as tar:
        file = tar.extractfile("RMtyPg")
        assert file is not None
        return np.frombuffer(file.read(), "<u2").astype(np.float64).reshape(10, 10)


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(12, 12), (64, 40), (9, 200)])
def test_equals_lstsq_on_random_images(degree: int, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(degree)
    h = 40e3 + 100 * rng.standard_normal(shape) + 3e3 * np.linspace(0, 1, shape[1])
    # Heights of 40 µm in nm: 1e-8 nm is 2.5e-13 of them, some hundred roundings.
    np.testing.assert_allclose(total_degree(h, degree).heights, lstsq(h, degree), rtol=0, atol=1e-8)


@pytest.mark.parametrize("degree", [1, 2])
def test_equals_lstsq_on_the_real_scan(degree: int) -> None:
    h = real_scan()
    np.testing.assert_allclose(total_degree(h, degree).heights, lstsq(h, degree), rtol=0, atol=1e-8)
    assert np.std(total_degree(h, degree).heights) == pytest.approx(np.std(lstsq(h, degree)), rel=1e-8)


def test_real_scan_in_metres_gives_the_same_numbers() -> None:
    h = real_scan()
    np.testing.assert_allclose(1e9 * total_degree(1e-9 * h, 2).heights, lstsq(h, 2), rtol=0, atol=1e-8)


def test_a_polynomial_is_taken_away_whole() -> None:
    y, x = np.mgrid[0:31, 0:47].astype(float)
    h = 5.0 + 0.3 * x - 0.2 * y + 0.01 * x * y - 0.003 * x**2 + 0.002 * y**2
    assert np.abs(total_degree(h, 2).heights).max() < 1e-11
    assert np.abs(plane(h).heights).max() > 0.1


def test_missing_pixels_are_counted_and_stay_missing() -> None:
    h = real_scan()
    h[2, 3] = h[7, 7] = np.nan
    levelled = total_degree(h, 2)
    assert (levelled.used, levelled.missing, levelled.masked) == (98, 2, 0)
    assert int(np.isnan(levelled.heights).sum()) == 2
    finite = np.isfinite(h)
    np.testing.assert_allclose(levelled.heights[finite], lstsq(h, 2)[finite], rtol=0, atol=1e-8)


def test_a_mask_decides_the_plane_but_everything_is_levelled() -> None:
    y, x = np.mgrid[0:20, 0:20].astype(float)
    h = 0.5 * x - 0.25 * y + 7.0 * (x > 9)
    levelled = plane(h, mask=x <= 9)
    np.testing.assert_allclose(levelled.heights, 7.0 * (x > 9), atol=1e-12)
    assert levelled.masked == 200


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(OutsideDomain, match="do not determine"):
        plane(np.ones((1, 50)))
    h = np.full((5, 5), np.nan)
    h[0, 0] = h[3, 2] = 1.0
    with pytest.raises(OutsideDomain, match="2 pixels"):
        plane(h)


def test_image_results_name_all_three_levels() -> None:
    h = real_scan()
    found = {r.label: r for r in image_results(xr.DataArray(1e-9 * h, dims=("y", "x")))}
    expected = {"Sq raw": h, "Sq after plane": lstsq(h, 1), "Sq after total degree 2": lstsq(h, 2)}
    for name, levelled in expected.items():
        assert found[name].value == pytest.approx(float(np.std(levelled)), rel=1e-8)
        rows = float(np.mean(np.std(levelled, axis=1)))
        assert found[name.replace("Sq", "Rq")].value == pytest.approx(rows, rel=1e-7)
        assert found[name].unit == "nm"
        assert (found[name].u or 0.0) > 0.0
        assert found[name].trace is not None


def test_bad_images_have_named_outcomes() -> None:
    def outcomes(h: Array) -> set[str]:
        return {r.outcome for r in image_results(xr.DataArray(h, dims=("y", "x")))}

    assert outcomes(np.full((4, 4), np.nan)) == {"all NaN"}
    assert "too few pixels" in outcomes(np.arange(3.0).reshape(1, 3))
    assert "flat" in outcomes(np.full((8, 8), 3e-6))
