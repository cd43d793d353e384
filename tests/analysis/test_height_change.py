"""Height changes of points since their own first hop: a line on a slope that swells, an image, a point, two events."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from opsicm.analysis.hops.height_change import step_passes

F64 = NDArray[np.float64]


def hops_of(z: F64, segment: F64 | int = 1, step: str = "probe[0]", rows: int = 1) -> xr.Dataset:
    """Heights [pass, row·pixel] as hops, 0.1 s apart."""
    passes, points = z.shape
    n = z.size
    pixels = points // rows
    number = np.repeat(np.arange(passes), points)
    point = np.tile(np.arange(points), passes)
    ones = np.ones(n)
    return xr.Dataset(
        {
            "z_stop": ("hop", z.ravel()),
            "t_ns": ("hop", (1e8 * np.arange(n)).astype(np.int64)),
            "outcome": ("hop", np.zeros(n, int)),
            "line": ("hop", number * rows + point // pixels),
            "pixel": ("hop", point % pixels),
            "x": ("hop", 1e-7 * (point % pixels)),
            "y": ("hop", 1e-7 * (point // pixels)),
            "segment": ("hop", (segment * ones).astype(np.int64)),
            "step": ("hop", np.full(n, step)),
            "cell_potential": ("hop", 0.1 * ones),
            "cell_current": ("hop", -1e-6 * ones),
            "i_ref": ("hop", 4e-9 * ones),
        }
    )


def slow_rows(coarse: F64 | float = np.nan, t: F64 | None = None) -> xr.Dataset:
    t = np.arange(3.0) if t is None else t
    return xr.Dataset({"t_ns": ("row", (1e9 * t).astype(np.int64)), "coarse_z": ("row", coarse + 0.0 * t)})


def test_topography_is_no_change_of_height() -> None:
    """Eight pixels 300 nm apart in height that all rise by 10 nm a pass, one by 18 nm."""
    growth = np.full(8, 10e-9)
    growth[3] = 18e-9
    z = 300e-9 * np.arange(8.0) + np.arange(5.0)[:, None] * growth
    (line,) = step_passes(hops_of(z), slow_rows())
    assert (line.points, line.t.size, line.returned) == (8, 5, True)
    np.testing.assert_allclose(line.change, 10e-9 * np.arange(5.0), atol=1e-18)
    np.testing.assert_allclose(line.quartiles, [line.change, line.change], atol=1e-18)
    assert line.t[0] == pytest.approx(0.35)


def test_a_missing_first_pixel_counts_from_its_second_pass() -> None:
    z = np.array([[0.0, 1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0], [2.0, 3.0, 4.0, 5.0]]) * 1e-9
    hops = hops_of(z)
    hops["outcome"].values[0] = 1
    (line,) = step_passes(hops, slow_rows())
    np.testing.assert_allclose(line.change, [0.0, 1e-9, 2e-9], atol=1e-18)
    np.testing.assert_allclose(line.quartiles[0], [0.0, 0.75e-9, 1.75e-9], atol=1e-18)


def test_one_image_has_no_change_and_two_have_one() -> None:
    surface = 1e-6 * np.random.default_rng(3).standard_normal((1, 20))
    (one,) = step_passes(hops_of(surface, rows=4), slow_rows())
    assert not one.returned
    (two,) = step_passes(hops_of(np.vstack((surface, surface + 5e-9)), rows=4), slow_rows())
    np.testing.assert_allclose(two.change, [0.0, 5e-9], atol=1e-15)
    assert two.points == 20


def test_two_events_are_compared_through_the_coarse_height() -> None:
    z = np.zeros((1, 20))
    first, second = hops_of(z, 1, rows=4), hops_of(z - 2e-6, 2, rows=4)
    second["t_ns"].values[:] += 10_000_000_000
    both = xr.concat((first, second), "hop")
    t = np.array([0.5, 1.0, 10.5, 11.0])
    (step,) = step_passes(both, slow_rows(np.array([0.0, 0.0, 2.5e-6, 2.5e-6]), t))
    np.testing.assert_allclose(step.change, [0.0, 0.5e-6], atol=1e-15)
    (unknown,) = step_passes(both, slow_rows())
    np.testing.assert_allclose(unknown.change, [0.0, 0.0], atol=1e-15)


def test_every_hop_at_a_point_is_a_pass_and_steps_are_apart() -> None:
    rising = hops_of(np.arange(6.0)[:, None] * 1e-9)
    other = hops_of(np.arange(4.0)[:, None] * 2e-9, 2, "probe[1]")
    other["x"].values[:] += 1e-6
    point, second = step_passes(xr.concat((rising, other), "hop"), slow_rows())
    np.testing.assert_allclose(point.change, 1e-9 * np.arange(6.0), atol=1e-18)
    assert (second.step, second.points) == ("probe[1]", 1)
    np.testing.assert_allclose(second.change, 2e-9 * np.arange(4.0), atol=1e-18)


def test_two_steps_over_the_same_points_are_one_pattern() -> None:
    """An image by one step, another by a second step after a charge: every pixel has risen by 40 nm."""
    surface = 1e-6 * np.random.default_rng(4).standard_normal((1, 20))
    first, second = hops_of(surface, 1, "probe[1]", 4), hops_of(surface + 40e-9, 2, "probe[3]", 4)
    second["t_ns"].values[:] += 10_000_000_000
    t = np.array([0.5, 1.0, 10.5, 11.0])
    (both,) = step_passes(xr.concat((first, second), "hop"), slow_rows(0.0, t))
    assert both.step == "probe[1], probe[3]"
    np.testing.assert_allclose(both.change, [0.0, 40e-9], atol=1e-15)


def test_no_contact_gives_no_passes() -> None:
    hops = hops_of(np.zeros((2, 3)))
    hops["outcome"].values[:] = 1
    assert step_passes(hops, slow_rows()) == []
