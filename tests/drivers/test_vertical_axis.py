"""The frame of a coarse stage, and when it arrives."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opsicm.core.errors import OutsideDomain
from opsicm.drivers.vertical_axis import VerticalAxis, travel_time

TRAVEL = (0.0, 25e-3)


@pytest.mark.parametrize("up", [1, -1])
def test_height_and_position_are_one_another_inverted(up: int) -> None:
    axis = VerticalAxis("stage", up, engaged_at=12e-3, start_height=3e-6, lowest=-1e-3, highest=5e-3)
    assert axis.height(12e-3) == pytest.approx(3e-6)
    assert axis.height(12e-3 + up * 1e-3) == pytest.approx(1.003e-3)
    for height in (-1e-3, 0.0, 3e-6, 5e-3):
        assert axis.height(axis.position(height, TRAVEL)) == pytest.approx(height, abs=1e-15)


@pytest.mark.parametrize(
    ("height", "message"),
    [
        (-1.001e-3, r"height is -1001 µm; lowest_um and highest_um of the rig file allow -1000 … 20000 µm"),
        (math.nan, r"height is nan µm"),
        (14e-3, r"its position is 25997 µm; the stage's own limits are 0 … 25000 µm"),
    ],
)
def test_a_height_out_of_bounds_or_travel_is_refused(height: float, message: str) -> None:
    axis = VerticalAxis("stage", 1, engaged_at=12e-3, start_height=3e-6, lowest=-1e-3, highest=20e-3)
    with pytest.raises(OutsideDomain, match=message):
        axis.position(height, TRAVEL)


@pytest.mark.parametrize("distance", [1e-6, 62.4e-6, 62.6e-6, 1e-3, -1e-3])
@pytest.mark.parametrize("ramps", [(4e-3, 4e-3), (2e-3, 8e-3), (0.0, 4e-3), (0.0, 0.0)])
def test_the_time_of_travel_is_that_of_the_motion_integrated(distance: float, ramps: tuple[float, float]) -> None:
    """Against the integral of 1/v over the way; v is the lowest of what the limit and the two ramps allow there."""
    speed, count = 0.5e-3, 200_000
    step = abs(distance) / count
    way = (np.arange(count) + 0.5) * step
    allowed = np.full(count, speed)
    for rate, side in zip(ramps, (way, way[::-1]), strict=True):
        if rate > 0.0:
            allowed = np.minimum(allowed, np.sqrt(2.0 * rate * side))
    # The integrand's root at each end costs the midpoint rule some 0.6 √step: two parts in a thousand here.
    assert travel_time(distance, speed, *ramps) == pytest.approx(float(np.sum(step / allowed)), rel=2e-3)


def test_no_way_takes_no_time() -> None:
    assert travel_time(0.0, 1e-3, 4e-3, 4e-3) == travel_time(0.0, 1e-3, 0.0, 0.0) == 0.0
