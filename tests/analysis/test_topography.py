"""Topography: steps under tilt, registration under swelling, one plane for a series, flakes, irreversible maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import fourier_shift, gaussian_filter

from opsicm.analysis.topography.flakes import flake_height_changes, segment_flakes
from opsicm.analysis.topography.image_series import (
    LEVELLING,
    expansion_percent,
    height_change,
    irreversible_change,
    levelled_for_view,
    levelled_series,
    profile_along,
)
from opsicm.analysis.topography.levelling import plane, roughness
from opsicm.analysis.topography.registration import register, shifted
from opsicm.analysis.topography.steps import find_terraces, fit_terraces
from opsicm.core.errors import OutsideDomain
from tests.fixtures.foreign_images import NID, nid

F64 = NDArray[np.float64]
measured = pytest.mark.skipif(not NID.is_file(), reason="not at hand: set OPSICM_DATA")


def step_image(seed: int, size: int = 128, step: float = 10.0, tilt: tuple[float, float] = (0.31, -0.17)) -> F64:
    """A step of `step` nm in the middle, tilt in nm per pixel, white noise of 1 nm."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:size, 0:size].astype(float)
    return np.asarray(tilt[0] * y + tilt[1] * x + step * (x >= size // 2) + rng.standard_normal((size, size)))


def test_a_ten_nanometre_step_under_tilt_is_ten() -> None:
    h = step_image(1)
    fit = fit_terraces(h, find_terraces(h))
    assert abs(fit.height) == pytest.approx(10.0, abs=0.05)
    assert 0.01 < fit.u_height < 0.05
    assert fit.tilt == pytest.approx((0.31, -0.17), abs=1e-3)
    many = [abs(fit_terraces(image, find_terraces(image)).height) for image in map(step_image, range(2, 22))]
    # Twenty images know their mean to 0.007 nm: no bias of the labels, the guard or the tilt.
    assert float(np.mean(many)) == pytest.approx(10.0, abs=0.03)
    assert float(np.std(many)) == pytest.approx(fit.u_height, rel=0.5)
    # What naive levelling says: the plane takes three quarters of the step with it.
    naive = plane(h).heights
    assert naive[:, 64:].mean() - naive[:, :64].mean() == pytest.approx(2.5, abs=0.1)


def test_the_step_s_intervals_cover() -> None:
    """95 % intervals over 1000 simulations of 24² pixels with labels given: 93 to 97 %."""
    labels = np.where(np.arange(24) >= 12, 1, 0) * np.ones((24, 1), dtype=np.int64)
    fits = [fit_terraces(step_image(seed, 24, 10.0), labels) for seed in range(1000)]
    inside = [abs(fit.height - 10.0) <= 1.96 * fit.u_height for fit in fits]
    assert 0.93 <= float(np.mean(inside)) <= 0.97


def test_terraces_refuse_what_cannot_be_told() -> None:
    h = step_image(2, 16)
    with pytest.raises(OutsideDomain, match="three pixels"):
        fit_terraces(h, np.zeros(h.shape, dtype=np.int64))
    line = np.full((4, 6), -1, dtype=np.int64)
    line[:, 0], line[:, 5] = 0, 1
    with pytest.raises(OutsideDomain, match="distinguished"):
        fit_terraces(np.random.default_rng(0).standard_normal((4, 6)), line)


@measured
def test_a_step_on_a_measured_surface() -> None:
    """The texture of somebody's scan, with a 40 nm step drawn in: the joint fit finds it, naive levelling does not."""
    h = nid()
    before = fit_terraces(h, np.where(np.arange(256) >= 128, 1, 0) * np.ones((256, 1), dtype=np.int64))
    stepped = h + 40.0 * (np.arange(256) >= 128)
    labels = np.where(np.arange(256) >= 128, 1, 0) * np.ones((256, 1), dtype=np.int64)
    after = fit_terraces(stepped, labels)
    assert after.height - before.height == pytest.approx(40.0, abs=1e-6)
    found = find_terraces(stepped)
    assert np.mean(found[found >= 0] == labels[found >= 0]) > 0.98


@measured
def test_levelling_equals_five_other_programs() -> None:
    """Sq of nid-1.nid, raw and after a plane: Gwyddion, surfalize, SurfaceTopography, SPIEPy and NumPy, 8 digits."""
    h = nid()
    assert roughness(h).Sq.value == pytest.approx(239.589671, rel=5e-9)
    assert roughness(plane(h).heights).Sq.value == pytest.approx(7.11191697, rel=5e-9)


def rough(seed: int, size: int = 160) -> F64:
    rng = np.random.default_rng(seed)
    return np.asarray(
        300 * gaussian_filter(rng.standard_normal((size, size)), 4)
        + 8 * gaussian_filter(rng.standard_normal((size, size)), 1)
    )


def operando_pair(surface: F64, dy: float, dx: float, seed: int) -> tuple[F64, F64]:
    """Cut-outs of 128²: the second moved by (dy, dx), 6 % swollen, with a patch of new structure and noise."""
    rng = np.random.default_rng(seed)
    moved = np.real(np.fft.ifft2(fourier_shift(np.fft.fft2(surface), (dy, dx))))
    second = 1.06 * moved[16:144, 16:144]
    scale = float(np.std(surface))
    second[80:105, 20:50] += 1.5 * scale * gaussian_filter(rng.standard_normal((25, 30)), 3) / 0.1
    noise = 0.003 * scale
    return (
        surface[16:144, 16:144] + noise * rng.standard_normal((128, 128)),
        second + noise * rng.standard_normal((128, 128)),
    )


@pytest.mark.parametrize(("dy", "dx"), [(0.0, 0.0), (3.37, -5.62), (-0.48, 0.21), (7.5, 6.9)])
def test_registration_is_not_fooled_by_swelling_or_a_changed_patch(dy: float, dx: float) -> None:
    for seed in range(3):
        first, second = operando_pair(rough(seed), dy, dx, seed)
        found = register(first, second)
        assert found.dy == pytest.approx(dy, abs=0.05)
        assert found.dx == pytest.approx(dx, abs=0.05)
        assert found.u < 0.05


def test_u_of_a_registration_is_its_error() -> None:
    """100 pairs with 3 % noise and any shift: two shifts each, 95 % of them within 1.96 u."""
    inside = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        surface = rough(seed)
        dy, dx = rng.uniform(-3.0, 3.0, 2)
        moved = np.real(np.fft.ifft2(fourier_shift(np.fft.fft2(surface), (dy, dx))))
        noise = 0.03 * float(np.std(surface)) * rng.standard_normal((2, 128, 128))
        found = register(surface[16:144, 16:144] + noise[0], 1.06 * moved[16:144, 16:144] + noise[1])
        inside += [abs(found.dy - dy) <= 1.96 * found.u, abs(found.dx - dx) <= 1.96 * found.u]
    # 200 draws know 95 % to 1.5 %.
    assert 0.91 <= float(np.mean(inside)) <= 0.985


@measured
def test_registration_of_a_measured_surface() -> None:
    """Pixels of a real scan averaged by twos, cut 5 and -3 of its pixels apart: 2.5 and -1.5, without interpolation."""
    h = plane(nid()).heights[10:, 10:]

    def halved(y: int, x: int) -> F64:
        part = h[y : y + 200, x : x + 200]
        return np.asarray(part.reshape(100, 2, 100, 2).mean(axis=(1, 3)))

    found = register(halved(20, 20), 1.06 * halved(15, 23))
    assert (found.dy, found.dx) == pytest.approx((2.5, -1.5), abs=0.05)


def test_a_shift_is_reversed() -> None:
    surface = rough(9)
    first, second = surface[16:144, 16:144], surface[14:142, 19:147]
    found = register(first, second)
    assert (found.dy, found.dx) == pytest.approx((2.0, -3.0), abs=0.02)
    back = shifted(second, 2.0, -3.0)
    good = np.isfinite(back)
    assert int((~good).sum()) == 2 * 128 + 3 * 126
    np.testing.assert_allclose(back[5:-5, 5:-5], first[5:-5, 5:-5], atol=1e-6)


def test_a_series_keeps_its_swelling_on_the_first_frame_s_plane() -> None:
    y, x = np.mgrid[0:40, 0:50].astype(float)
    tilt = 3.0 + 0.2 * x - 0.1 * y
    swelling = np.where(x > 25, 8.0, 2.0)
    frames = np.stack([tilt, tilt + swelling])
    frames[0, 3, 4] = np.nan
    levelled = levelled_series(frames)
    known = np.isfinite(frames[0])
    np.testing.assert_allclose(levelled[0][known], 0.0, atol=1e-10)
    np.testing.assert_allclose(levelled[1], swelling, atol=1e-10)
    assert abs(plane(frames[1]).heights.mean()) < 1e-10


def test_height_change_and_irreversible_change() -> None:
    rng = np.random.default_rng(3)
    initial, noise = rough(4, 100), 1.0
    extreme = initial + 50.0 + noise * rng.standard_normal((100, 100))
    final = initial + noise * rng.standard_normal((100, 100))
    final[10:30, 40:60] += 25.0
    change = height_change(initial, extreme, noise, cross_talk=0.3)
    # Only one of the two frames is noisy here, so u of two is an upper bound.
    assert change.mean == pytest.approx(50.0, abs=3 * 0.0142)
    assert change.u == pytest.approx(np.hypot(0.0141, 0.424), rel=0.01)
    left = irreversible_change(initial, extreme, final, noise)
    assert left.area_fraction == pytest.approx(400 / 10_000, abs=0.001)
    assert float(np.nanmedian(left.fraction_of_change[10:30, 40:60])) == pytest.approx(0.5, abs=0.02)
    assert expansion_percent(initial, extreme, 1000.0).mean() == pytest.approx(5.0, rel=0.15)
    with pytest.raises(OutsideDomain, match="no pixel has both"):
        height_change(np.full((3, 3), np.nan), initial[:3, :3], 1.0)


def plates(seed: int) -> tuple[F64, NDArray[np.int64]]:
    """Four plates of different heights with steep edges on a 120² field, and which is which."""
    truth = np.zeros((120, 120), dtype=np.int64)
    truth[10:55, 10:50], truth[10:55, 60:110], truth[65:110, 10:60], truth[65:110, 70:110] = 1, 2, 3, 4
    heights = np.choose(truth, [0.0, 600.0, 900.0, 400.0, 1200.0])
    return gaussian_filter(heights, 1.0) + np.random.default_rng(seed).standard_normal((120, 120)), truth


def test_flakes_are_segmented_and_each_swells_by_its_own() -> None:
    heights, truth = plates(1)
    labels = segment_flakes(heights, depth=30.0)
    swelling = np.choose(truth, [0.0, 10.0, 20.0, 30.0, 40.0]) + np.random.default_rng(2).standard_normal(truth.shape)
    found = flake_height_changes(labels, swelling)
    assert found.label.size == 5
    for plate in range(1, 5):
        inside = labels[truth == plate]
        label = int(np.bincount(inside).argmax())
        # Intersection over union with the plate as drawn.
        assert ((labels == label) & (truth == plate)).sum() / ((labels == label) | (truth == plate)).sum() > 0.9
        row = int(np.flatnonzero(found.label == label)[0])
        assert found.change[row] == pytest.approx(10.0 * plate, abs=4 * found.u[row])


@measured
def test_flakes_of_a_measured_surface_cover_it() -> None:
    labels = segment_flakes(plane(nid()).heights, smallest=50)
    assert labels.max() >= 5
    assert (labels > 0).all()
    assert segment_flakes(np.zeros((20, 20))).max() == 0


def test_a_profile_runs_between_pixels_and_past_missing_ones() -> None:
    x, y = 1e-6 * np.arange(4.0), 1e-6 * np.arange(3.0)[::-1]  # hopped from the top
    plane_of = np.add.outer(1e6 * y, 10.0 * 1e6 * x)
    distance, height = profile_along(plane_of, x, y, (0.0, 2e-6, 3e-6, 0.5e-6))
    np.testing.assert_allclose(distance, np.hypot(1e-6, 0.5e-6) * np.arange(4.0))
    np.testing.assert_allclose(height, [2.0, 11.5, 21.0, 30.5])
    plane_of[1, 2] = np.nan
    np.testing.assert_allclose(profile_along(plane_of, x, y, (0.0, 2e-6, 3e-6, 2e-6))[1], [2.0, 12.0, 22.0, 32.0])
    beside = profile_along(plane_of, x, y, (0.0, 1.5e-6, 3e-6, 1.5e-6))[1]
    assert np.isnan(beside).tolist() == [False, False, True, False]
    beyond = profile_along(plane_of, x, y, (2e-6, 0.0, 5e-6, 0.0))[1]
    assert np.isnan(beyond).tolist() == [False, False, True, True]


def test_levellings_keep_and_lose_the_swelling_as_they_say() -> None:
    rng = np.random.default_rng(8)
    rows, columns = np.mgrid[0:24, 0:32]
    rough = 5e-9 * rng.standard_normal((24, 32))
    tilt = 2e-9 * rows + 1e-9 * columns
    frames = np.stack((rough + tilt, rough + tilt + 80e-9))
    frames[0, 3, 4] = np.nan
    for levelling in LEVELLING:
        change = 80e-9 if levelling in ("first-plane", "none") else 0.0
        level = levelled_for_view(frames, levelling)
        assert np.nanmean(level[1] - level[0]) == pytest.approx(change, abs=0.5e-9), levelling
        assert np.isnan(level[0, 3, 4])
        left = np.nanstd(level[0])
        assert (left < 6e-9) == (levelling in ("first-plane", "plane", "parabola")), levelling
    drifting = frames[1] + 100e-9 * rng.standard_normal(24)[:, None]
    assert np.nanstd(levelled_for_view(drifting[None], "rows")) < 12e-9
