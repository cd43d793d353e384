"""Hops stand on the coarse height of their own segment, not on where the pipette was parked before."""

from __future__ import annotations

import numpy as np
import xarray as xr

from opsicm.analysis.hops.series import coarse_heights

S = 1_000_000_000


def hops(t: list[float], segment: list[int]) -> xr.Dataset:
    return xr.Dataset({"t_ns": ("hop", np.array(t) * S), "segment": ("hop", np.array(segment))})


def slow(t: list[float], height: list[float]) -> xr.Dataset:
    return xr.Dataset({"t_ns": ("row", np.array(t) * S), "coarse_z": ("row", np.array(height))})


def test_the_first_hops_after_a_park_stand_on_the_segments_height() -> None:
    rows = slow([0.0, 5.0, 7.0, 8.0, 9.0], [10e-6, 10e-6, 3e-6, 3e-6, 3e-6])
    found = coarse_heights(hops([6.0, 6.5, 7.5, 8.5], [1, 1, 1, 1]), rows)
    assert found is not None
    assert np.all(found == 3e-6)


def test_a_segment_too_short_for_a_row_takes_the_next_one() -> None:
    rows = slow([0.0, 5.0, 7.0], [10e-6, 10e-6, 3e-6])
    found = coarse_heights(hops([6.0, 6.1], [4, 4]), rows)
    assert found is not None
    assert np.all(found == 3e-6)


def test_a_row_read_while_the_stage_travelled_does_not_count() -> None:
    rows = slow([1.0, 2.0, 3.0, 4.0], [7e-6, 3e-6, 3e-6, 3e-6])
    found = coarse_heights(hops([0.5, 3.5], [1, 1]), rows)
    assert found is not None
    assert np.all(found == 3e-6)


def test_without_a_row_there_is_no_coarse_height() -> None:
    assert coarse_heights(hops([1.0], [1]), slow([0.0], [np.nan])) is None
