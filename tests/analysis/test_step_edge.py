"""Straight step edges: found anywhere in an image, with a rim, on a bow; and nothing found where there is none."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from opsicm.analysis.topography.levelling import plane
from opsicm.analysis.topography.results import step_results
from opsicm.analysis.topography.steps import find_step_edge, fit_terraces
from opsicm.core.errors import OutsideDomain
from tests.fixtures.foreign_images import NID, nid

F64 = NDArray[np.float64]
measured = pytest.mark.skipif(not NID.is_file(), reason="not at hand: set OPSICM_DATA")


def edge_image(seed: int, size: int, degrees: float, step: float, rim: float, noise: float) -> F64:
    """nm: an edge through (0.45, 0.55) of the image whose far side is `step` higher and begins with a rim."""
    y, x = np.mgrid[0:size, 0:size].astype(float)
    a = np.radians(degrees)
    u = (x - 0.55 * size) * np.cos(a) + (y - 0.45 * size) * np.sin(a)
    h = 0.2 * x - 0.1 * y + np.where(u > 0.0, step + rim * np.exp(-((u / (0.08 * size)) ** 2)), 0.0)
    return np.asarray(h + noise * np.random.default_rng(seed).standard_normal(h.shape))


@pytest.mark.parametrize("degrees", [0.0, 33.0, 90.0, 127.0, 171.0])
def test_step_and_rim_come_back_at_any_angle(degrees: float) -> None:
    found = find_step_edge(edge_image(1, 96, degrees, 2.0, 10.0, 0.5))
    assert np.degrees(found.angle) % 180.0 == pytest.approx(degrees % 180.0, abs=1.0)
    assert found.height * np.sign(np.cos(found.angle - np.radians(degrees))) == pytest.approx(
        2.0, abs=3.0 * found.u_height
    )
    # The rim's highest pixel line is within one pixel of its vertex, where it has fallen by up to 2 %; the mean of
    # both terraces there is 1 nm above the lower one.
    assert found.rise == pytest.approx(11.0, abs=0.35 + 3.0 * found.u_rise)


def test_the_edge_s_intervals_cover() -> None:
    """95 % of 200 images: eight strips have seven degrees of freedom, of which Student's t is 2.365."""
    inside = []
    for seed in range(200):
        found = find_step_edge(edge_image(seed, 48, 20.0, 3.0, 0.0, 0.5))
        inside.append(abs(found.height - 3.0) <= 2.365 * found.u_height)
    # u is the larger of two estimates: it covers a little more than it says, never less.
    assert float(np.mean(inside)) >= 0.93


def test_rough_surfaces_bows_and_noise_have_no_edge() -> None:
    y, x = np.mgrid[0:96, 0:96].astype(float)
    rng = np.random.default_rng(0)
    images = [gaussian_filter(np.random.default_rng(s).standard_normal((96, 96)), 1 + s % 8) for s in range(40)]
    bow = 0.01 * (x - 50) ** 2 + 0.003 * (y - 30) ** 2
    images += [bow + rng.standard_normal(x.shape), rng.standard_normal(x.shape)]
    for image in images:
        with pytest.raises(OutsideDomain, match=r"six u|no line"):
            find_step_edge(image)


def test_few_pixels_are_refused_in_words() -> None:
    with pytest.raises(OutsideDomain, match="20 pixels along each side"):
        find_step_edge(np.zeros((10, 30)))


@measured
def test_a_step_of_measured_graphite() -> None:
    """nid-1 is somebody's scan of a cleaved surface: its steps, in regions of 64², against plain means of lines.

    The reference knows the edge only from looking: the means of 64 x 12 pixels along it, 5 pixels away on both sides,
    corrected by the mean slope of the two sides.
    """
    h = plane(nid()[112:176, 80:144]).heights
    found = find_step_edge(1e-9 * h)
    assert np.degrees(found.angle) == pytest.approx(129.0, abs=2.0)
    y, x = np.mgrid[0:64, 0:64] - 31.5
    a = np.radians(129.0)
    u = x * np.cos(a) + y * np.sin(a) + 6.0
    low, high = ((np.abs(u - at) < 6.0) for at in (-11.0, 11.0))
    slopes = [np.polyfit(u[side], h[side], 1)[0] for side in (low, high)]
    plain = h[high].mean() - h[low].mean() - 22.0 * float(np.mean(slopes))
    assert 1e9 * found.height == pytest.approx(plain, abs=2.0 * 1e9 * found.u_height)


@measured
def test_an_edge_with_a_rim_drawn_into_a_measured_surface() -> None:
    h = nid()[180:244, 20:84]
    y, x = np.mgrid[0:64, 0:64] - 30.0
    u = x * np.cos(0.4) + y * np.sin(0.4)
    drawn = h + np.where(u > 0.0, 8.0 + 20.0 * np.exp(-((u / 4.0) ** 2)), 0.0)
    results = {r.label: r for r in step_results(1e-9 * drawn)}
    step, rise = results["step_height"], results["step_edge_rise"]
    assert step.value is not None
    assert step.u is not None
    assert rise.value is not None
    assert rise.u is not None
    # The measured surface has steps of its own across the line: what the same terraces say without the drawing.
    own = fit_terraces(h, find_step_edge(drawn).labels)
    assert step.value - own.height == pytest.approx(8.0, abs=0.3)
    # The vertex lies on a line that pixels straddle: the farthest whole line is that from 0.5 to 1.5 pixels beyond.
    first_line = float(np.mean(np.exp(-((np.linspace(0.5, 1.5, 101) / 4.0) ** 2))))
    assert rise.value == pytest.approx(4.0 + 20.0 * first_line, abs=0.5 + 3.0 * rise.u)


@pytest.mark.parametrize("outline", [False, True])
def test_offsets_of_whole_lines_shift_both_terraces_alike(outline: bool) -> None:
    """The usual drift of a slow scan, 2 nm from line to line: a step across lines does not know it, nor does its u."""
    y, x = np.mgrid[0:128, 0:128].astype(np.float64)
    edge = (x - 64.0) ** 2 + (y - 64.0) ** 2 < 35.0**2 if outline else x > 60.5
    random = np.random.default_rng(12)
    heights, us = [], []
    for _ in range(40):
        noise = 0.3e-9 * random.standard_normal((128, 128)) + 2e-9 * random.standard_normal((128, 1))
        fit = fit_terraces(10e-9 * edge + 0.7e-9 * x - 0.2e-9 * y + noise, edge.astype(np.int64))
        heights.append(fit.height)
        us.append(fit.u_height)
    assert np.mean(heights) == pytest.approx(10e-9, abs=0.1e-9)
    assert 0.6 < np.std(heights) / np.median(us) < 1.4


@pytest.mark.parametrize("shape", [(4, 128), (128, 4), (3, 40)])
def test_a_strip_of_a_few_lines_has_its_step_and_a_bow_has_none(shape: tuple[int, int]) -> None:
    """Across four lines a fourth power is no term of its own: this was an error that no result survived."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(float)
    along = (x if shape[1] > shape[0] else y) / max(shape)
    noise: F64 = np.asarray(1e-9 * np.random.default_rng(3).standard_normal(shape))
    (step,) = step_results(noise + 40e-9 * (along > 0.4))
    assert step.name == "step_height"
    assert step.value == pytest.approx(40.0, abs=1.0)
    (bow,) = step_results(noise + 400e-9 * (along - 0.5) ** 2)
    assert (bow.value, bow.outcome) == (None, "no step")


@pytest.mark.parametrize("shape", [(1, 128), (128, 2), (3, 3)])
def test_what_is_too_narrow_for_a_step_says_so(shape: tuple[int, int]) -> None:
    heights = np.zeros(shape, np.float64)
    heights[:, ::2] = np.nan if shape == (3, 3) else 1e-6
    (result,) = step_results(heights)
    assert (result.value, result.outcome) == (None, "no step")
    assert result.reason


def test_steps_of_single_pixels_with_holes_never_warn() -> None:
    rng = np.random.default_rng(1)
    for _ in range(60):
        rows, columns = (int(n) for n in rng.integers(1, 12, 2))
        heights = 1e-6 * (rng.random((rows, columns)) > 0.5)
        heights[rng.random(heights.shape) < 0.3] = np.nan
        assert next(iter(step_results(np.asarray(heights, np.float64)))).name == "step_height"
