"""The tip's memory as a sum of relaxations, against a diffusion solver of its own; lags against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import solve_banded

from opsicm.physics.pipette.geometry import Pipette
from opsicm.physics.pipette.ion_current import response_length
from opsicm.physics.pipette.memory import lags_along, tip_memory

D = 2.6e-10  # [m²/s]
MEMORY = tip_memory(Pipette(), D)


def shown_after_a_step(times: np.ndarray) -> np.ndarray:
    """Spherical diffusion into a cone whose mouth is stepped, weighted with its resistance: implicit finite volumes.

    Radius in rho_0, time in rho_0²/D; backward Euler on a mesh that widens away from the mouth, with steps that widen.
    """
    faces = 1.0 + np.concatenate(([0.0], np.geomspace(2e-3, 400.0, 260)))
    centres = 0.5 * (faces[1:] + faces[:-1])
    volume = np.diff(faces**3) / 3.0
    between = np.diff(np.concatenate(([faces[0]], centres, [faces[-1]])))
    flow = faces**2 / between
    flow[-1] = 0.0
    resistance = 1.0 / faces[:-1] - 1.0 / faces[1:]
    resistance /= resistance.sum()
    grid = np.concatenate(([0.0], np.geomspace(1e-6, times[-1], 900)))
    c, shown = np.zeros(centres.size), [0.0]
    for h in np.diff(grid):
        bands = np.zeros((3, c.size))
        bands[0, 1:], bands[2, :-1] = -h * flow[1:-1], -h * flow[1:-1]
        bands[1] = volume + h * (flow[:-1] + flow[1:])
        right = volume * c
        right[0] += h * flow[0]
        c = solve_banded((1, 1), bands, right)
        shown.append(float(resistance @ c))
    # In the end salt falls as 1/radius into the cone, and its mean weighted with 1/radius² is a half.
    return np.asarray(np.interp(times, grid, shown) / 0.5)


def test_a_step_outside_is_shown_as_diffusion_into_the_cone_shows_it() -> None:
    """Both ways within 1 %: the mesh's first cell and the sum of eleven relaxations are each good to some 0.3 %."""
    times = np.geomspace(1e-2, 300.0, 40)
    seconds = times * response_length(Pipette()) ** 2 / D
    step = 1.0 - np.exp(-seconds[:, None] / MEMORY.time) @ MEMORY.weight
    np.testing.assert_allclose(step, shown_after_a_step(times), atol=0.01)


def test_half_is_shown_within_a_millisecond_and_90_percent_after_77() -> None:
    """The numbers of docs/explanations/pipette.md, which a transient finite-element solution has as 0.8 and 65 ms."""
    shown = 1.0 - np.exp(-np.array([[0.8e-3], [77e-3]]) / MEMORY.time) @ MEMORY.weight
    np.testing.assert_allclose(shown, [0.5, 0.9], atol=0.01)
    assert MEMORY.weight.sum() == pytest.approx(1.0)
    assert np.all(MEMORY.weight > 0.0)


def test_the_lag_of_a_ramp_is_the_closed_form_however_the_time_is_cut() -> None:
    slope, end = 3.0, 2.0  # [mol/m³/s], [s]
    exact = slope * MEMORY.time * (1.0 - np.exp(-end / MEMORY.time))
    for cut in ([0, 2_000_000_000], [0, 7_000_000, 900_000_000, 2_000_000_000]):
        t_ns = np.array(cut)
        lags = lags_along(t_ns, slope * t_ns * 1e-9, np.zeros(MEMORY.time.size), MEMORY.time)
        np.testing.assert_allclose(lags[-1], exact, rtol=1e-12)
