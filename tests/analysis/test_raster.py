"""Images from hop records: a surface drawn here, or a measured one, put into records by hand and found again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from opsicm.analysis.result import Result
from opsicm.analysis.topography.levelling import plane
from opsicm.analysis.topography.raster import Frame, areas, frames, is_raster, rows_of_passes
from opsicm.analysis.topography.registration import register
from opsicm.analysis.topography.results import raster_results, step_results
from opsicm.formats.sicm_archive import SicmScan, read_sicm
from opsicm.formats.wsxm import read_stp
from tests.fixtures.foreign_images import NID, nid

F64 = NDArray[np.float64]
PITCH = 150e-9
measured = pytest.mark.skipif(not NID.is_file(), reason="not at hand: set OPSICM_DATA")
ZELLE = Path(__file__).parents[1] / "data" / "Zelle1.sicm"


def records(surfaces: list[F64], serpentine: bool = True, angle: float = 0.0) -> xr.Dataset:
    """Hops of a raster: rows over the passes, the pixel is the column whichever way the row was gone through."""
    ny, nx = surfaces[0].shape
    rows = []
    for k, surface in enumerate(surfaces):
        for y in range(ny):
            order = range(nx) if y % 2 == 0 or not serpentine else range(nx - 1, -1, -1)
            rows += [(k * ny + y, x, x * PITCH, y * PITCH, surface[y, x]) for x in order]
    table = np.array(rows)
    n = len(rows)
    c, s = np.cos(angle), np.sin(angle)
    px, py = c * table[:, 2] - s * table[:, 3], s * table[:, 2] + c * table[:, 3]
    outcome = (np.arange(n) % 997 == 500).astype(int)
    return xr.Dataset(
        {
            "line": ("hop", table[:, 0].astype(int)),
            "pixel": ("hop", table[:, 1].astype(int)),
            "x": ("hop", px),
            "y": ("hop", py),
            "z_stop": ("hop", table[:, 4]),
            "outcome": ("hop", outcome),
            "t_ns": ("hop", (1e8 * np.arange(n)).astype(np.int64)),
            "cell_potential": ("hop", np.full(n, 0.5)),
            "cell_current": ("hop", np.zeros(n)),
        }
    )


def by_name(results: list[Result]) -> dict[str, Result]:
    return {r.label: r for r in results}


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_frames_are_the_surface_that_was_hopped(angle: float) -> None:
    rng = np.random.default_rng(1)
    surfaces = [rng.standard_normal((12, 20)) for _ in range(3)]
    hops = records(surfaces, angle=angle)
    assert is_raster(hops)
    found = frames(hops)
    assert len(found) == 3
    for frame, surface in zip(found, surfaces, strict=True):
        known = np.isfinite(frame.heights)
        np.testing.assert_array_equal(frame.heights[known], surface[known])
        assert frame.bad == int((~known).sum())
        np.testing.assert_allclose(np.diff(frame.x), PITCH, rtol=2e-3)
        np.testing.assert_allclose(np.diff(frame.y), PITCH, rtol=2e-3)
        # In the specimen's coordinates; turned rows lie along and across themselves about the centre of the image.
        middle = [hops["x"].values.mean(), hops["y"].values.mean()]
        np.testing.assert_allclose([frame.x.mean(), frame.y.mean()], middle, atol=1e-12)
        assert frame.rotation == pytest.approx(angle, abs=1e-9)
        assert ("40.1°" in frame.array().attrs.get("lateral_note", "")) == (angle == 0.7)


def test_an_image_hopped_from_its_top_has_the_coordinates_of_its_hops() -> None:
    hops = records([np.arange(240.0).reshape(12, 20)])
    upside_down = hops.assign(y=("hop", 5e-6 - hops["y"].values), x=("hop", hops["x"].values - 1e-6))
    (frame,) = frames(upside_down)
    np.testing.assert_allclose(frame.x, -1e-6 + PITCH * np.arange(20), atol=1e-15)
    np.testing.assert_allclose(frame.y, 5e-6 - PITCH * np.arange(12), atol=1e-15)


def test_a_line_hopped_again_is_no_raster() -> None:
    hops = records([np.zeros((1, 20))] * 5)
    assert not is_raster(hops)
    assert frames(hops) == []


def test_an_interrupted_raster_keeps_its_complete_passes() -> None:
    hops = records([np.zeros((12, 20)), np.ones((12, 20))]).isel(hop=slice(0, 12 * 20 + 30))
    assert len(frames(hops)) == 1


def in_visits(stack: list[F64], rows_of_last: int) -> xr.Dataset:
    """A raster that runs again and again: a segment for each visit, the last cut off after some rows."""
    visits = [records([surface]) for surface in stack]
    whole = [visit.assign(segment=("hop", np.full(visit.sizes["hop"], k))) for k, visit in enumerate(visits)]
    columns = stack[0].shape[1]
    whole[-1] = whole[-1].isel(hop=slice(0, rows_of_last * columns))
    hops = xr.concat(whole, "hop")
    return hops.assign(step=("hop", np.full(hops.sizes["hop"], "probe[0]")))


@pytest.mark.parametrize(("rows", "images"), [(4, 2), (8, 3), (12, 3)])
def test_a_visit_that_was_cut_off_is_part_of_an_image(rows: int, images: int) -> None:
    rng = np.random.default_rng(5)
    stack = [rng.standard_normal((12, 20)) for _ in range(3)]
    hops = in_visits(stack, rows)
    whole = rows_of_passes(hops)
    assert whole == {"probe[0]": 12}
    found = [
        frame
        for k in range(3)
        for frame in frames(hops.isel(hop=np.flatnonzero(hops["segment"].values == k)), None, whole["probe[0]"])
    ]
    assert len(found) == images
    assert areas(found) == [list(range(images))]
    assert np.isfinite(found[-1].heights[:, 0]).sum() <= max(rows, 12 if images == 2 else rows)


def test_images_of_two_areas_are_two_series() -> None:
    rng = np.random.default_rng(6)
    smooth = 1e-7 * gaussian_filter(rng.standard_normal((32, 32)), 2)
    here = frames(records([smooth, smooth + 50e-9, smooth + 20e-9]))
    there = [replace(frame, x=frame.x + 30e-6) for frame in frames(records([smooth, smooth + 80e-9]))]
    mixed = [here[0], there[0], here[1], there[1], here[2]]
    assert areas(mixed) == [[0, 2, 4], [1, 3]]
    changes = {r.of.image: r.value for r in raster_results(mixed, 28e-6) if r.name == "height_change"}
    assert changes == pytest.approx({3: 50.0, 5: 20.0, 4: 80.0}, abs=0.5)


def test_images_that_share_no_area_are_not_compared() -> None:
    one = frames(records([np.zeros((12, 20))]))[0]
    (result,) = (r for r in raster_results([one, replace(one, x=one.x + 1e-5)], 28e-6) if r.name == "height_change")
    assert result.reason == "no two images show the same pixels: image one area twice"


def test_a_series_gives_swelling_shift_irreversible_change_and_flakes() -> None:
    """Plates on 96², lifted by 80 nm and shifted by (1.5, -2) pixels, then back but for a patch of 40 nm."""
    rng = np.random.default_rng(2)
    y, x = np.mgrid[0:120, 0:120]
    plates = gaussian_filter(
        np.where((x // 20 + y // 24) % 2, 600e-9, 0.0) + 90e-9 * ((x // 20 + 3 * (y // 24)) % 5), 1
    )
    plates += 2e-9 * gaussian_filter(rng.standard_normal(plates.shape), 2)
    tilt = 3e-9 * x + 5e-9 * y

    def seen(height: F64, dy: int, dx: int) -> F64:
        # A specimen that drifts along the scanner's axes takes its tilt with it: 21 nm of height for this shift.
        part = (height + tilt)[10 - dy : 106 - dy, 10 - dx : 106 - dx]
        return np.asarray(part + 1e-9 * rng.standard_normal((96, 96)))

    left = plates.copy()
    left[50:74, 40:64] += 40e-9
    stack = [seen(plates, 0, 0), seen(plates + 80e-9, 2, -3), seen(left, 0, 0)]
    found = by_name(raster_results(frames(records(stack)), 28e-6))
    assert found["height_change image_2"].value == pytest.approx(80.0, abs=1.5)
    assert found["expansion image_2"].value == pytest.approx(100 * 80e-9 / 28e-6, rel=0.05)
    assert found["shift_y image_2"].value == pytest.approx(2 * 150.0, abs=0.05 * 150)
    assert found["shift_x image_2"].value == pytest.approx(-3 * 150.0, abs=0.05 * 150)
    assert found["irreversible_area"].value == pytest.approx(100 * 24 * 24 / 96**2, abs=1.0)
    assert found["flake_height_change"].value == pytest.approx(80.0, abs=2.0)
    assert found["flakes"].value is not None
    for level in ("raw", "after plane", "after total degree 2"):
        for name in ("Sq", "Sa", "Sz", "Ssk", "Sku"):
            assert found[f"{name} {level} image_3"].value is not None


def _step(heights: F64) -> Result:
    return step_results(heights)[0]


def test_a_step_is_found_where_there_is_one() -> None:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:64, 0:64].astype(float)
    step = 2e-9 * x - 1e-9 * y + np.where(x > 30, 10e-9, 0.0) + 0.5e-9 * rng.standard_normal((64, 64))
    found = _step(step)
    assert found.u is not None
    assert found.value == pytest.approx(10.0, abs=3.0 * found.u)
    assert found.u < 0.05  # the scatter of eight strips, and what a wider rim and other bands say
    assert _step(1e-9 * rng.standard_normal((64, 64)) + 2e-9 * x).outcome == "no step"
    assert _step(np.full((64, 64), np.nan)).outcome == "no step"


def zelle() -> F64:
    scan = read_sicm(ZELLE)
    assert isinstance(scan, SicmScan)
    return scan.heights


def halved(h: F64, y: int, x: int) -> F64:
    """100² pixels averaged by twos: odd offsets are then shifts of half a pixel, without interpolation."""
    part = h[y : y + 200, x : x + 200]
    return np.asarray(part.reshape(100, 2, 100, 2).mean(axis=(1, 3)))


def errors(heights: F64, lift: float) -> list[float]:
    """Errors of ten registrations: the second cut-out is 6 % swollen, and a ninth of it is other structure.

    That patch is lifted by `lift` times the image's rms.
    """
    h = plane(heights).heights[6:, 6:]
    found = []
    for seed in range(10):
        first, second = halved(h, 20, 20), 1.06 * halved(h, 15, 23)
        y, x = (int(v) for v in np.random.default_rng(seed).integers(10, 56, 2))
        second[y : y + 33, x : x + 33] = halved(h, 45, 0)[33:66, 33:66] + lift * float(np.std(h))
        shift = register(first, second)
        found.append(max(abs(shift.dy - 2.5), abs(shift.dx + 1.5)))
    return found


@measured
@pytest.mark.parametrize("lift", [0.0, 1.0, -2.0])
def test_registration_of_real_flakes_with_a_changed_patch(lift: float) -> None:
    """Flakes of graphene oxide (stp-1): every one of ten within 0.05 pixels."""
    path = NID.parent / "stp-1.stp"
    (image,) = read_stp(path.read_bytes(), path).images
    assert max(errors(1e9 * image.values, lift)) <= 0.05


@measured
@pytest.mark.parametrize("lift", [0.0, 1.0, -2.0])
def test_registration_of_a_nearly_flat_scan_with_a_changed_patch(lift: float) -> None:
    """nid-1, 7 nm rms in a few pits and steps: the patch may hold most of them."""
    assert max(errors(nid(), lift)) <= 0.05


def test_records_of_a_measured_scan_give_what_its_file_gives() -> None:
    """The published scan as hop records: the same Sq as an image of its own (2964, 2764, 2574 nm)."""
    found = by_name(raster_results(frames(records([zelle()])), 28e-6))
    assert found["Sq raw"].value == pytest.approx(2964.0, rel=5e-3)
    assert found["Sq after plane"].value == pytest.approx(2764.0, rel=5e-3)
    assert found["Sq after total degree 2"].value == pytest.approx(2574.0, rel=5e-3)


def test_the_rows_of_a_frame_make_an_image_of_any_column() -> None:
    surfaces = [np.arange(24.0).reshape(4, 6) * 1e-9 + 1e-7 * k for k in range(2)]
    hops = records(surfaces)
    hops["outcome"][30] = 1
    for surface, frame in zip(surfaces, frames(hops), strict=True):
        known = frame.rows >= 0
        assert np.array_equal(known, np.isfinite(frame.heights))
        assert np.array_equal(hops["z_stop"].values[frame.rows[known]], surface[known])
        assert np.array_equal(hops["pixel"].values[frame.rows[known]], np.nonzero(known)[1])
    assert sum(int((frame.rows < 0).sum()) for frame in frames(hops)) == 1


@pytest.mark.parametrize("degrees", [0.0, 1.0, 3.0])
def test_the_tilt_of_a_specimen_that_drifts_is_no_height_change(degrees: float) -> None:
    """One surface twice, three columns and two rows apart, on an image of other pitch across than along."""
    random = np.random.default_rng(0)
    pitch_x, pitch_y, n = 104e-9, 52e-9, 96
    base = gaussian_filter(random.standard_normal((200, 200)), 2.5)
    base *= 1e-7 / base.std()
    base += np.tan(np.radians(degrees)) * pitch_x * np.arange(200)[None, :]
    frames_of = [
        Frame(
            base[32 - dy : 128 - dy, 32 - dx : 128 - dx] + 1e-10 * random.standard_normal((n, n)),
            pitch_x * np.arange(float(n)),
            pitch_y * np.arange(float(n)),
            100.0 * k,
            0.5,
            0.0,
            0,
            n * n,
            np.arange(n * n).reshape(n, n),
        )
        for k, (dy, dx) in enumerate(((0, 0), (2, 3)))
    ]
    found = by_name(raster_results(frames_of, 50e-6))
    change = found["height_change image_2"]
    assert change.value is not None
    assert change.u is not None
    assert abs(change.value) < 3.0 * change.u < 0.6
    assert found["shift_x image_2"].value == pytest.approx(3 * 104.0, abs=1.0)
    assert found["shift_y image_2"].value == pytest.approx(2 * 52.0, abs=1.0)


def test_the_noise_of_coarse_images_is_that_of_their_differences() -> None:
    """24² pixels with 1 µm from one to the next, 0.7 nm of noise; lifted by 20 nm, then all but a part come back.

    Roughness taken for noise would give a mean to 22 nm, and call nothing irreversible below 2 µm.
    """
    rng = np.random.default_rng(9)
    surface = 1e-6 * rng.standard_normal((24, 24))
    left = np.zeros((24, 24))
    left[3:9, 4:12] = 15e-9
    heights = (surface, surface + 20e-9, surface + left)
    found = by_name(
        raster_results(frames(records([h + 0.7e-9 * rng.standard_normal(h.shape) for h in heights])), 28e-6)
    )
    lifted, area = found["height_change image_2"], found["irreversible_area"]
    assert lifted.value == pytest.approx(20.0, abs=0.3)
    # sqrt(2) · 0.7 nm over 24 pixels; the registration of a surface as steep as this is known to some 1e-4 pixels.
    assert lifted.u is not None
    assert 0.03 < lifted.u < 0.3
    assert area.value == pytest.approx(100.0 * 48 / 576, abs=1.0)
