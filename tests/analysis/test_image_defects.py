"""What people's images hold besides a surface: lines never scanned, bows, bad lines, dust, walls that slope."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from opsicm.analysis.topography.missing import scars, unscanned
from opsicm.analysis.topography.results import step_results
from opsicm.results.third_party import analyse_file

F64 = NDArray[np.float64]
SIZE = 64
Y, X = np.mgrid[0:SIZE, 0:SIZE] / (SIZE - 1) * 2.0 - 1.0
TILT = 200.0 * X - 120.0 * Y


def rough(seed: int, height: float = 10.0) -> F64:
    """nm: correlated over two pixels, and a little white noise."""
    rng = np.random.default_rng(seed)
    h = gaussian_filter(rng.standard_normal((SIZE, SIZE)), 2)
    return np.asarray(height * h / h.std() + 0.3 * rng.standard_normal(h.shape))


FILLS = {"zeros": 0.0, "NaN": np.nan, "a constant": 1.2e-6, "the mean": 3e-6}
ROWS = {
    "last": slice(40, 64),
    "first": slice(0, 20),
    "middle": slice(20, 30),
    "one": slice(63, 64),
    "most": slice(8, 64),
}


@pytest.mark.parametrize("digits", [None, 1e-9, 1e-12])
@pytest.mark.parametrize("rows", ROWS)
def test_lines_never_scanned_are_missing_pixels(rows: str, digits: float | None) -> None:
    heights = 3e-6 + 1e-9 * (rough(1) + TILT)
    heights = heights if digits is None else np.round(heights / digits) * digits
    assert not unscanned(heights).any()
    where = ROWS[rows]
    truth = np.zeros(heights.shape, bool)
    truth[where] = True
    for fill in FILLS.values():
        cut = heights.copy()
        cut[where] = fill
        np.testing.assert_array_equal(unscanned(cut), truth)
        np.testing.assert_array_equal(unscanned(cut.T), truth.T)
    if where.start:
        repeated = heights.copy()
        repeated[where] = repeated[where.start - 1]
        np.testing.assert_array_equal(unscanned(repeated), truth)


def test_a_line_stopped_half_way_is_missing_to_the_pixel() -> None:
    heights = 3e-6 + 1e-9 * rough(2)
    for rest in (0, 23):
        cut = heights.copy()
        cut[SIZE - rest :] = 0.0
        cut[SIZE - rest - 1, 20:] = 0.0
        truth = np.zeros(heights.shape, bool)
        truth[SIZE - rest :] = True
        truth[SIZE - rest - 1, 20:] = True
        np.testing.assert_array_equal(unscanned(cut), truth)


def test_flat_and_noiseless_images_lose_nothing() -> None:
    disc = np.where(X**2 + Y**2 < 0.3, 1.0, 0.0)
    edge = np.where(X + 0.3 * Y < 0.2, 0.0, 1.0)
    for image in (np.where(X < 0.0, 0.0, 1.0), np.where(Y < 0.0, 0.0, 1.0), X, Y, disc, edge, edge + 0.1 * X, 0.0 * X):
        assert not unscanned(image).any()


def test_a_file_that_stopped_half_way_gives_the_roughness_of_what_was_scanned(tmp_path: Path) -> None:
    heights = 3e-6 + 1e-9 * (rough(3) + TILT)
    heights[40:] = 0.0
    path = tmp_path / "stopped.txt"
    header = "# Channel: Z-Axis\n# Width: 1.00 um\n# Height: 1.00 um\n# Value units: m\n"
    path.write_text(header + "\n".join("\t".join(f"{v:.6e}" for v in row) for row in heights) + "\n")
    results = {r.label: r for r in analyse_file(path)}
    assert results["Sq after plane"].value == pytest.approx(10.0, abs=1.5)
    assert results["Sq after plane"].flags["missing_pixels"] == 24 * SIZE
    assert results["step_height"].outcome == "no step"
    assert results["plausibility_1"].outcome == "unscanned"
    assert "1536 pixels" in results["plausibility_1"].reason


BOWS = {
    "parabola": 1000.0 * X**2,
    "both ways": 1000.0 * X**2 + 600.0 * Y**2,
    "turned": 400.0 * (X + Y) ** 2,
    "cubic": 500.0 * X**3,
    "fourth": 500.0 * X**4,
    "round": 500.0 * (X**2 + Y**2) ** 2,
    "arc": 2000.0 * (1.0 - np.sqrt(1.0 - (0.6 * X) ** 2)),
    "wave": 300.0 * np.sin(3.0 * X),
    "catenary": 300.0 * np.cosh(2.0 * X),
}


@pytest.mark.parametrize("bow", BOWS)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("height", [1.0, 10.0])
def test_a_bow_is_no_step(bow: str, sign: float, height: float) -> None:
    for tilt in (0.0, 1.0):
        results = step_results(1e-9 * (rough(4, height) + sign * BOWS[bow] + tilt * TILT))
        assert [r.outcome for r in results] == ["no step"]


def dusty(image: F64, seed: int, count: int, size: float, height: float) -> F64:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    out = image.copy()
    for _ in range(count):
        cy, cx = rng.uniform(0, SIZE, 2)
        s = size * rng.uniform(0.5, 1.5)
        out += height * rng.uniform(0.5, 1.5) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2.0 * s**2))
    return out


@pytest.mark.parametrize("degrees", [0.0, 23.0, 67.0, 90.0])
@pytest.mark.parametrize("defect", ["none", "bow", "dust", "bad lines", "blunt"])
def test_a_step_comes_back_whatever_lies_on_it(degrees: float, defect: str) -> None:
    a = np.radians(degrees)
    u = (X - 0.1) * np.cos(a) + (Y + 0.05) * np.sin(a)
    for seed, step in ((1, 50.0), (2, -30.0), (3, 200.0)):
        image = rough(seed, 1.0) + TILT + step * (u > 0.0)
        if defect == "bow":
            image = image + 4.0 * step * X**2
        if defect == "dust":
            image = dusty(image, seed, 3, 1.5, 10.0 * abs(step))
        if defect == "bad lines":
            image[17] += 3.0 * step
            image[40] -= 5.0 * step
        if defect == "blunt":
            image = rough(seed, 1.0) + TILT + step / (1.0 + np.exp(-u * SIZE / 3.0))
        found, *rise = step_results(1e-9 * image)
        assert found.value is not None, (seed, found.reason)
        assert found.u is not None
        assert abs(found.value) == pytest.approx(abs(step), abs=3.0 * found.u + 0.01 * abs(step))
        if defect == "bad lines":
            assert found.flags["scar_lines"] == 2
        assert not rise or defect == "blunt"


def test_dust_and_bad_lines_alone_are_no_step() -> None:
    surface = rough(5, 1.0) + TILT
    line, two_lines, part = surface.copy(), surface.copy(), surface.copy()
    line[32] += 30.0
    two_lines[32:34] += 30.0
    part[21, 5:40] += 30.0
    images = [line, two_lines, part, dusty(surface, 1, 8, 1.5, 30.0), dusty(surface, 2, 1, 4.0, 50.0)]
    for image in images:
        assert [r.outcome for r in step_results(1e-9 * image)] == ["no step"]


def test_an_edge_between_two_rows_is_no_scar() -> None:
    assert not scars(rough(6) + 100.0 * (Y > 0.0)).any()
    bad = rough(6) + 100.0 * (Y > 0.0)
    bad[20] -= 200.0
    assert scars(bad).any(axis=1).nonzero()[0].tolist() == [20]


@pytest.mark.parametrize("wall", [0.3, 2.0])
def test_grooves_with_sloping_walls_are_as_deep_as_u_says(wall: float) -> None:
    y, x = np.mgrid[0:128, 0:128].astype(float)
    for period, duty in ((32.0, 0.5), (40.0, 0.3), (128.0, 0.4)):
        phase = ((x + 0.15 * y) / period) % 1.0
        away = np.abs(phase - 0.5) * period - 0.5 * duty * period
        noise = 0.5 * np.random.default_rng(1).standard_normal(x.shape)
        grooves = -300.0 / (1.0 + np.exp(away / wall))
        found = step_results(1e-9 * (grooves + 0.3 * x - 0.1 * y + noise))[0]
        assert found.value is not None
        assert found.u is not None
        assert abs(found.value) == pytest.approx(float(np.ptp(grooves)), abs=3.0 * found.u)
